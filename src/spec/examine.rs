//! The thorough look at a config that something is wrong with: every fault, not the first one, with its place.
//!
//! What is wrong is blanked out and the rest read again, until it can be read. Blanks keep all places as they are.

use oci_spec::runtime::Spec;
use serde::de::IgnoredAny;

use super::locate::{Node, join, line_column};
use super::relax::{self, Edit, Later};
use super::shape::{self, Oddity};
use super::syntax::usual_mistake;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The config is refused.
    Error,
    /// It is carried out, but hardly as it was meant.
    Warning,
    /// Worth knowing.
    Note,
}

/// One thing to be said about a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// JSON path; empty for the whole text.
    pub path: String,
    /// The byte in the text.
    pub offset: usize,
    /// How bad.
    pub severity: Severity,
    /// What.
    pub message: String,
}

/// A config under examination.
#[derive(Debug)]
pub struct Examination<'a> {
    raw: &'a [u8],
    original: Node,
    /// The text without what was found wrong.
    rest: Vec<u8>,
    /// Where values were blanked out: from, to.
    blanked: Vec<(usize, usize)>,
    findings: Vec<Finding>,
    later: Later,
}

/// A text with more faults than this is no config.
const LIMIT: usize = 200;

impl<'a> Examination<'a> {
    /// Begins with the properties that are there.
    pub fn new(raw: &'a [u8]) -> Self {
        let mut this = Self {
            raw,
            original: Node::parse(raw),
            rest: raw.to_vec(),
            blanked: Vec::new(),
            findings: Vec::new(),
            later: Later::default(),
        };
        this.look();
        this.relax();
        this
    }

    /// What is said so far, in the text's order.
    pub fn findings(mut self) -> Vec<Finding> {
        let errors: Vec<String> = self.errors().map(|finding| finding.path.clone()).collect();
        // An error says more than a warning about the same place.
        self.findings
            .retain(|finding| finding.severity == Severity::Error || !errors.contains(&finding.path));
        self.findings.sort_by_key(|finding| finding.offset);
        self.findings.dedup();
        self.findings
    }

    /// The faults among the findings.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }

    /// Line and column of a finding.
    pub fn place(raw: &[u8], finding: &Finding) -> (usize, usize) {
        line_column(raw, finding.offset)
    }

    /// The config as far as it can be read; each value that can't be is a finding.
    pub fn spec(&mut self) -> Option<Spec> {
        if self.blanked.iter().any(|(from, _)| *from == self.original.start) {
            return None;
        }
        if let Err(error) = serde_json::from_slice::<IgnoredAny>(&self.rest) {
            self.syntax(&error);
            return None;
        }
        for _ in 0..LIMIT {
            match serde_json::from_slice::<Spec>(&self.rest) {
                Ok(mut spec) => {
                    relax::restore(&mut spec, self.later);
                    return Some(spec);
                }
                Err(error) => self.wrong_type(&error)?,
            }
        }
        None
    }

    /// Adds a broken rule that was found in the spec given last. A rule about something that was blanked out is none.
    pub fn add(&mut self, severity: Severity, path: &str, message: impl Into<String>) {
        let rest = Node::parse(&self.rest);
        let found = rest.find(path);
        let (mut place, _) = self.original.at(found.node.start);
        place.push_str(if place.is_empty() { found.rest.trim_start_matches('.') } else { found.rest });
        let there = self.original.find(&place);
        let gone = |node: &Node| self.blanked.iter().any(|(from, to)| (*from..*to).contains(&node.start));
        if gone(there.node) {
            return;
        }
        let offset = if there.rest.is_empty() { there.node.from } else { there.node.start };
        self.findings.push(Finding { path: place, offset, severity, message: message.into() });
    }

    /// Takes what is at `path` in the spec given last out of it, so that more can be found; false if nothing is there.
    pub fn remove(&mut self, path: &str) -> bool {
        let rest = Node::parse(&self.rest);
        let found = rest.find(path);
        if path.is_empty() || !found.rest.is_empty() {
            return false;
        }
        self.blank(found.node);
        true
    }

    fn look(&mut self) {
        let mut odd = Vec::new();
        shape::look(self.raw, &self.original, &mut |oddity, path, node| {
            let (severity, message) = match oddity {
                Oddity::ArrayForObject if path.is_empty() => {
                    (Severity::Error, "config must be a JSON object, not an array".to_owned())
                }
                Oddity::ArrayForObject => (Severity::Error, "must be an object, not an array".to_owned()),
                Oddity::Nul => (Severity::Error, "must not hold a NUL byte".to_owned()),
                Oddity::Unknown(None) => (Severity::Note, "unknown property, ignored".to_owned()),
                Oddity::Unknown(Some(close)) => {
                    (Severity::Note, format!("unknown property, ignored (did you mean {close:?}?)"))
                }
                Oddity::OtherPlatform => {
                    (Severity::Note, "is for another platform than Linux, ignored".to_owned())
                }
                Oddity::Missing => (Severity::Warning, "is required by the specification".to_owned()),
            };
            let place = (node.from, node.start, node.end);
            let out = severity == Severity::Error || oddity == Oddity::OtherPlatform;
            odd.push((out.then_some(place), Finding { path, offset: node.from, severity, message }));
        });
        for (place, finding) in odd {
            if let Some((from, start, end)) = place {
                self.blank_range(from, start, end);
            }
            self.findings.push(finding);
        }
    }

    /// Puts right what only oci-spec finds wrong, and finds what it does not.
    fn relax(&mut self) {
        let whole = Node::parse(self.raw);
        let (edits, later) = relax::edits(self.raw, &whole);
        self.later = later;
        for edit in edits {
            match edit {
                Edit::Drop(node) => self.blank(node),
                Edit::Put(node, text) => self.put(node, &text),
            }
        }
        if let Some((node, path, message)) = relax::missing(&whole) {
            let (path, message) = (path.into(), message.into());
            self.findings.push(Finding { path, offset: node.from, severity: Severity::Error, message });
        }
    }

    /// Another string in the place of one that is at least as long.
    fn put(&mut self, node: &Node, text: &str) {
        let quoted = format!("{text:?}");
        let Some(place) = self.rest.get_mut(node.start..node.end).filter(|place| quoted.len() <= place.len())
        else {
            return;
        };
        place.fill(b' ');
        place[..quoted.len()].copy_from_slice(quoted.as_bytes());
    }

    fn syntax(&mut self, error: &serde_json::Error) {
        let offset = if error.is_eof() { self.raw.len() } else { offset(self.raw, error) };
        let (path, _) = self.original.at(offset);
        // What comes after a fault of the text is guesswork.
        self.findings.clear();
        let mut message = cause(error);
        if let Some(mistake) = usual_mistake(self.raw, offset) {
            message = format!("{message}: {mistake}");
        }
        self.findings.push(Finding { path, offset, severity: Severity::Error, message });
    }

    /// Records a value that has the wrong type and takes it out; `None` if that would leave nothing.
    fn wrong_type(&mut self, error: &serde_json::Error) -> Option<()> {
        let tree = Node::parse(&self.rest);
        let at = offset(&self.rest, error);
        let (_, node) = tree.at(at);
        let message = match self.raw.trim_ascii() {
            b"null" => "config cannot be null".to_owned(),
            _ => cause(error),
        };
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        // Rules in the parser's code are found broken when the value has been read, a comma or bracket behind it.
        let late = missing.is_none() && !message.starts_with("invalid ");
        let culprit = node.last_before(at).filter(|_| late).unwrap_or(node);
        let (path, known) = self.original.at(culprit.start);
        let taken_out = missing.is_some_and(|name| known.member(name).is_some());
        if !taken_out {
            let path = missing.map_or(path.clone(), |name| join(&path, name));
            let message = relax::reword(&path, &message).unwrap_or(message);
            self.findings.push(self.finding(path, culprit, message));
        }
        if path_is_root(culprit, &tree) {
            return None;
        }
        self.blank(culprit);
        Some(())
    }

    fn finding(&self, path: String, culprit: &Node, message: String) -> Finding {
        let text = self.rest.get(culprit.start..culprit.end).unwrap_or_default();
        // config.md: capabilities that cannot be granted MUST be logged as a warning and SHOULD NOT be an error.
        if path.starts_with("process.capabilities.")
            && path.ends_with(']')
            && let Ok(name) = serde_json::from_slice::<String>(text)
        {
            let message = format!("unknown capability {name} is ignored");
            return Finding { path, offset: culprit.from, severity: Severity::Warning, message };
        }
        Finding { path, offset: culprit.from, severity: Severity::Error, message }
    }

    fn blank(&mut self, node: &Node) {
        self.blank_range(node.from, node.start, node.end);
    }

    /// Blanks out a member or element with one of the commas around it.
    fn blank_range(&mut self, from: usize, start: usize, end: usize) {
        let end = end.min(self.rest.len());
        self.blanked.push((start, end));
        self.rest[from..end].fill(b' ');
        let after = self.rest[end..].iter().position(|byte| !byte.is_ascii_whitespace()).map(|at| end + at);
        let before = self.rest[..from].iter().rposition(|byte| !byte.is_ascii_whitespace());
        for comma in [after, before].into_iter().flatten() {
            if self.rest[comma] == b',' {
                self.rest[comma] = b' ';
                break;
            }
        }
    }
}

fn path_is_root(node: &Node, tree: &Node) -> bool {
    node.start == tree.start
}

/// The byte that serde_json stopped at.
fn offset(text: &[u8], error: &serde_json::Error) -> usize {
    let lines = error.line().saturating_sub(1);
    let start = match lines {
        0 => 0,
        _ => text
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .nth(lines - 1)
            .map_or(text.len(), |(at, _)| at + 1),
    };
    (start + error.column()).saturating_sub(1)
}

/// The message without the place.
fn cause(error: &serde_json::Error) -> String {
    let full = error.to_string();
    full.rsplit_once(" at line ").map_or(full.clone(), |(cause, _)| cause.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `path: message` of each finding, and whether something could be read.
    fn examine(text: &str) -> (Vec<String>, bool) {
        let mut examination = Examination::new(text.as_bytes());
        let spec = examination.spec().is_some();
        let findings = examination.findings();
        let texts = findings.iter().filter(|finding| finding.severity != Severity::Note).map(|finding| {
            let (line, column) = line_column(text.as_bytes(), finding.offset);
            format!("{line}:{column}: {}: {}", finding.path, finding.message)
        });
        (texts.collect(), spec)
    }

    /// [E14] [E16]
    #[test]
    fn every_wrong_type_is_found() {
        let text = r#"{"ociVersion": "1.0.0", "root": {"path": "r"},
 "process": {"cwd": 5, "args": ["a", 6, 7, "b"], "user": {"uid": "root", "gid": 0}},
 "mounts": [{"destination": "/a"}, {"destination": 1}, {"destination": "/b", "options": "ro"}],
 "linux": {"namespaces": [{"type": "bogus"}, {"type": "pid"}, 3], "resources": []}
}"#;
        let (found, read) = examine(text);
        let starts = [
            "2:14: process.cwd: invalid type: integer `5`",
            "2:38: process.args[1]: invalid type: integer `6`",
            "2:41: process.args[2]: invalid type: integer `7`",
            "2:59: process.user.uid: invalid type: string",
            "3:37: mounts[1].destination: invalid type: integer `1`",
            "3:78: mounts[2].options: invalid type: string",
            "4:28: linux.namespaces[0].type: unknown variant `bogus`",
            "4:63: linux.namespaces[2]: invalid type: integer `3`",
            "4:67: linux.resources: must be an object, not an array",
        ];
        assert_eq!(found.len(), starts.len(), "{found:#?}");
        for (found, start) in found.iter().zip(starts) {
            assert!(found.starts_with(start), "{found} is not {start}");
        }
        assert!(read);
    }

    #[test]
    fn missing_and_repeated_properties() {
        let (found, _) =
            examine(r#"{"ociVersion": "1.0.0", "process": {"args": ["x"], "cwd": "/", "cwd": "/x"}}"#);
        assert!(found[0].contains("process.user: missing field `user`"), "{found:?}");
        assert!(found[1].contains("process.cwd: duplicate field `cwd`"), "{found:?}");
        let (found, _) =
            examine(r#"{"ociVersion": "1.0.0", "linux": {"devices": [{"path": "/x"}, {"type": "c"}]}}"#);
        assert_eq!(found[0], "1:47: linux.devices[0].type: missing field `type`");
        assert_eq!(found[1], "1:63: linux.devices[1].path: is required by the specification");
        assert_eq!(found.len(), 2);
    }

    /// [E14]
    #[test]
    fn broken_texts_have_a_place() {
        assert_eq!(examine("{]").0, ["1:2: : key must be a string"]);
        assert_eq!(examine("{\"process\": {\n\"cwd\" 5}}").0, ["2:7: process.cwd: expected `:`"]);
        assert!(examine("{\"process\": {\n\"cwd\": \"").0[0].starts_with("2:9: process.cwd: EOF"));
        assert!(examine("").0[0].starts_with("1:1: : EOF"));
        let (found, read) = examine("[]");
        assert!(found[0].contains("must be a JSON object, not an array") && !read, "{found:?}");
        assert!(!examine("5").1);
    }

    /// [P11] [E13]
    #[test]
    fn unknown_capabilities_are_warnings() {
        let text = r#"{"ociVersion": "1.0.0", "process": {"cwd": "/", "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": ["CAP_CHOWN", "CAP_FOO"], "effective": ["CAP_FOO", 5]}}}"#;
        let mut examination = Examination::new(text.as_bytes());
        let spec = examination.spec().unwrap();
        let capabilities = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 1);
        assert_eq!(examination.errors().count(), 1);
        let findings = examination.findings();
        assert_eq!(findings.len(), 3, "{findings:#?}");
        assert_eq!(findings[0].path, "process.capabilities.bounding[1]");
        assert_eq!(findings[0].severity, Severity::Warning);
        assert_eq!(findings[2].path, "process.capabilities.effective[1]");
        assert_eq!(findings[2].severity, Severity::Error);
    }

    /// Rules see the rest of the config; their places are those of the whole.
    #[test]
    fn rules_after_types() {
        let text = r#"{"ociVersion": "1.0.0", "mounts": [5, {"destination": "a"}, {"destination": "b"}]}"#;
        let mut examination = Examination::new(text.as_bytes());
        assert_eq!(examination.spec().unwrap().mounts().as_ref().unwrap().len(), 2);
        examination.add(Severity::Error, "mounts[1].destination", "x");
        examination.add(Severity::Error, "mounts[0].source", "y");
        examination.add(Severity::Error, "process", "z");
        assert!(examination.remove("mounts[1].destination"));
        assert!(!examination.remove("mounts[0].source"));
        let paths: Vec<_> = examination.findings().into_iter().map(|finding| finding.path).collect();
        assert_eq!(paths, ["process", "mounts[0]", "mounts[1].source", "mounts[2].destination"]);
    }
}
