//! Where in a JSON text a value stands, by its path, and which path a place belongs to.
//!
//! Needed only when there is something to complain about, so that the start path never builds this. It is lenient: a
//! text that breaks off or goes wrong gives the part before.

/// serde_json goes no deeper either.
const DEPTH: usize = 128;

/// One value of a JSON text.
#[derive(Debug)]
pub struct Node {
    /// The first byte of the member's name, or of the value where it has no name.
    pub from: usize,
    /// The value's first byte.
    pub start: usize,
    /// The byte after its last one; `usize::MAX` if it is not closed.
    pub end: usize,
    /// What is in it.
    pub content: Content,
}

/// What a [`Node`] holds.
#[derive(Debug)]
pub enum Content {
    /// A string, number, boolean or null; or nothing, where the text is broken.
    Scalar,
    /// The elements.
    Array(Vec<Node>),
    /// The members in the text's order.
    Object(Vec<(String, Node)>),
}

/// What [`Node::find`] came upon.
#[derive(Debug)]
pub struct Found<'n, 'p> {
    /// The deepest value on the path.
    pub node: &'n Node,
    /// The end of the path that the text doesn't have.
    pub rest: &'p str,
}

impl Node {
    /// Reads a text.
    pub fn parse(text: &[u8]) -> Self {
        let mut scanner = Scanner { text, at: 0, broken: false };
        scanner.blanks();
        scanner.value(scanner.at, 0)
    }

    /// Follows a path such as `mounts[2].options` or `linux.sysctl["net.core.somaxconn"]` as far as it goes. Names with
    /// dots in them may be quoted or not.
    pub fn find<'p>(&self, path: &'p str) -> Found<'_, 'p> {
        let (mut node, mut rest) = (self, path);
        while !rest.is_empty() {
            let step = match &node.content {
                Content::Scalar => None,
                Content::Array(list) => element(list, rest),
                Content::Object(members) => member(members, rest, rest.len() == path.len()),
            };
            let Some((child, behind)) = step else { break };
            (node, rest) = (child, behind);
        }
        Found { node, rest }
    }

    /// The deepest value that holds the byte at `offset`, with its path; a member's name belongs to its value.
    pub fn at(&self, offset: usize) -> (String, &Self) {
        let (mut node, mut path) = (self, String::new());
        loop {
            let inside = |child: &&Self| (child.from..child.end).contains(&offset);
            let next = match &node.content {
                Content::Scalar => None,
                Content::Array(list) => list
                    .iter()
                    .enumerate()
                    .find(|(_, child)| inside(child))
                    .map(|(index, child)| (format!("{path}[{index}]"), child)),
                Content::Object(members) => members
                    .iter()
                    .find(|(_, child)| inside(&child))
                    .map(|(name, child)| (join(&path, name), child)),
            };
            let Some((longer, child)) = next else { return (path, node) };
            (path, node) = (longer, child);
        }
    }

    /// The last value in an array or object that begins before `offset`.
    pub fn last_before(&self, offset: usize) -> Option<&Self> {
        match &self.content {
            Content::Scalar => None,
            Content::Array(list) => list.iter().rfind(|node| node.start < offset),
            Content::Object(members) => {
                members.iter().map(|(_, node)| node).rfind(|node| node.start < offset)
            }
        }
    }

    /// The member of that name.
    pub fn member(&self, name: &str) -> Option<&Self> {
        let Content::Object(members) = &self.content else { return None };
        members.iter().rev().find(|(known, _)| known == name).map(|(_, node)| node)
    }
}

/// The path of a member: `process.cwd`, or `annotations["com.example.key"]` for a name that would be mistaken.
pub fn join(path: &str, name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '*');
    match (name.is_empty() || !name.chars().all(plain), path.is_empty()) {
        (true, _) => format!("{path}[{name:?}]"),
        (false, true) => name.to_owned(),
        (false, false) => format!("{path}.{name}"),
    }
}

/// Line and column of a byte, both from 1; columns count characters, as editors do.
pub fn line_column(text: &[u8], offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.split(|byte| *byte == b'\n').next_back().unwrap_or_default();
    let characters = line.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
    (before.iter().filter(|byte| **byte == b'\n').count() + 1, characters + 1)
}

/// `[3].name` → the fourth element and `.name`.
fn element<'n, 'p>(list: &'n [Node], path: &'p str) -> Option<(&'n Node, &'p str)> {
    let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some((list.get(index.parse::<usize>().ok()?)?, rest))
}

/// The member whose quoted name the path begins with, else the one with the longest name; of several with one name the
/// last, as serde does it.
fn member<'n, 'p>(members: &'n [(String, Node)], path: &'p str, top: bool) -> Option<(&'n Node, &'p str)> {
    let dotted = if top { Some(path) } else { path.strip_prefix('.') };
    let mut quoted = None;
    let mut plain: Option<(&Node, &str)> = None;
    for (name, node) in members {
        if let Some(rest) = path.strip_prefix(format!("[{name:?}]").as_str()) {
            quoted = Some((node, rest));
        }
        if let Some(rest) = dotted.and_then(|path| path.strip_prefix(name.as_str()))
            && (rest.is_empty() || rest.starts_with(['.', '[']))
            && plain.is_none_or(|(_, shortest)| rest.len() <= shortest.len())
        {
            plain = Some((node, rest));
        }
    }
    quoted.or(plain)
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    broken: bool,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn value(&mut self, from: usize, depth: usize) -> Node {
        let start = self.at;
        let content = match self.peek() {
            Some(b'{' | b'[') if depth >= DEPTH => {
                self.broken = true;
                Content::Scalar
            }
            Some(b'{') => Content::Object(self.object(depth)),
            Some(b'[') => Content::Array(self.array(depth)),
            Some(b'"') => {
                self.string();
                Content::Scalar
            }
            _ => {
                let end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b':' | b'"' | b'[' | b'{' | 0..=32);
                let rest = self.text.get(start..).unwrap_or_default();
                self.at += rest.iter().position(end).unwrap_or(rest.len());
                self.broken |= self.at == start;
                Content::Scalar
            }
        };
        Node { from, start, end: if self.broken { usize::MAX } else { self.at }, content }
    }

    fn object(&mut self, depth: usize) -> Vec<(String, Node)> {
        let mut members = Vec::new();
        self.at += 1;
        while !self.broken {
            self.blanks();
            match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    break;
                }
                Some(b',') => self.at += 1,
                Some(b'"') => {
                    let from = self.at;
                    let name = self.string();
                    self.blanks();
                    if self.broken || self.peek() != Some(b':') {
                        self.broken = true;
                        let content = Content::Scalar;
                        members.push((name, Node { from, start: self.at, end: usize::MAX, content }));
                        break;
                    }
                    self.at += 1;
                    self.blanks();
                    let node = self.value(from, depth + 1);
                    members.push((name, node));
                }
                _ => self.broken = true,
            }
        }
        members
    }

    fn array(&mut self, depth: usize) -> Vec<Node> {
        let mut list = Vec::new();
        self.at += 1;
        while !self.broken {
            self.blanks();
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    break;
                }
                Some(b',') => self.at += 1,
                None => self.broken = true,
                Some(_) => list.push(self.value(self.at, depth + 1)),
            }
        }
        list
    }

    /// Goes past a string; gives what it means, or its text where that is nothing.
    fn string(&mut self) -> String {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None => {
                    self.broken = true;
                    break;
                }
                Some(b'\\') => self.at = (self.at + 2).min(self.text.len()),
                Some(b'"') => {
                    self.at += 1;
                    break;
                }
                Some(_) => self.at += 1,
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        serde_json::from_slice(text).unwrap_or_else(|_| String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const TEXT: &str = "{\n \"a\": [1, {\"b\": \"x\"}],\n \"é\": {\"net.core\": 5, \"d\": {\"e\": [ ]}}\n}\n";

    fn place(path: &str) -> (usize, usize, &str) {
        let tree = Node::parse(TEXT.as_bytes());
        let found = tree.find(path);
        let (line, column) = line_column(TEXT.as_bytes(), found.node.start);
        (line, column, found.rest)
    }

    #[test]
    fn paths_are_found_as_far_as_they_go() {
        assert_eq!(place(""), (1, 1, ""));
        assert_eq!(place("a[1].b"), (2, 17, ""));
        assert_eq!(place("é.net.core"), (3, 20, ""));
        assert_eq!(place("é[\"net.core\"]"), (3, 20, ""));
        assert_eq!(place("é.d.e[0].x"), (3, 34, "[0].x"));
        assert_eq!(place("nothere.x"), (1, 1, "nothere.x"));
        assert_eq!(place("a[7]"), (2, 7, "[7]"));
    }

    #[test]
    fn places_have_a_path() {
        let path = |text: &str, offset: usize| Node::parse(text.as_bytes()).at(offset).0;
        let at = TEXT.find("net").unwrap();
        assert_eq!(path(TEXT, at), "é[\"net.core\"]");
        assert_eq!(path(TEXT, TEXT.len() - 2), "");
        assert_eq!(path("{\"a\": {\"b\": [1, 2", 17), "a.b");
        assert_eq!(path("{\"a\": {\"b\" 5}}", 11), "a.b");
        assert_eq!(path("{\"a\": {}", 8), "");
    }

    #[test]
    fn anything_can_be_read() {
        for text in
            ["", "]", "{]", "[[", "{\"", "{\"a", "{\"a\":", "\"\\", "{\"a\":,}", "nul", "[1 2]", "\u{0}"]
        {
            let _ = Node::parse(text.as_bytes()).at(text.len());
        }
        let deep = "[".repeat(100_000);
        let _ = Node::parse(deep.as_bytes());
    }

    pub(crate) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-z.\\[\\]\" é]{0,4}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn every_path(value: &Value, path: &str, check: &mut impl FnMut(&str, &Value)) {
        check(path, value);
        match value {
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    every_path(value, &format!("{path}[{index}]"), check);
                }
            }
            Value::Object(members) => {
                for (name, value) in members {
                    every_path(value, &join(path, name), check);
                }
            }
            _ => {}
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Each path of any JSON leads to the text of the value there, and that place back to the path.
        #[test]
        fn every_value_is_where_its_path_says(value in any_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.unwrap();
            let tree = Node::parse(text.as_bytes());
            every_path(&value, "", &mut |path, value| {
                let found = tree.find(path);
                assert_eq!(found.rest, "", "{path} in {text}");
                let there: Value = serde_json::from_str(&text[found.node.start..found.node.end]).unwrap();
                assert_eq!(&there, value, "{path} in {text}");
                assert_eq!(tree.at(found.node.start).0, path);
            });
        }

        /// No text is too broken to be read.
        #[test]
        fn broken_texts_are_read(value in any_json(), cut in any::<prop::sample::Index>(), junk in ".{0,3}") {
            let mut text = value.to_string().into_bytes();
            text.truncate(cut.index(text.len() + 1));
            text.extend(junk.as_bytes());
            let tree = Node::parse(&text);
            for offset in 0..=text.len() {
                let (path, _) = tree.at(offset);
                let _ = tree.find(&path);
            }
        }
    }
}
