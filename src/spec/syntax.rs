//! What is usually wrong where a text is no JSON.

/// The mistake that people make, if the text at `offset` shows one.
pub(super) fn usual_mistake(raw: &[u8], offset: usize) -> Option<&'static str> {
    match raw {
        [0xef, 0xbb, 0xbf, ..] => return Some("it begins with a byte order mark, which JSON has not"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some("it is UTF-16, and must be UTF-8"),
        _ if raw.trim_ascii().is_empty() => return Some("the file is empty"),
        _ => {}
    }
    let before = raw.get(..offset)?.trim_ascii_end();
    match raw.get(offset..)? {
        [b'}' | b']', ..] if before.ends_with(b",") => Some("no comma may stand before a closing bracket"),
        [b'/', b'/' | b'*', ..] | [b'#', ..] => Some("JSON has no comments"),
        [b'\'', ..] => Some("JSON has double quotes only"),
        // `}` of one object more, or the next of two objects.
        _ if before.ends_with(b"}") && serde_json::from_slice::<serde_json::Value>(before).is_ok() => {
            Some("the configuration has ended before it")
        }
        [b'"', ..] if before.ends_with(b"\"") || before.ends_with(b"}") || before.ends_with(b"]") => {
            Some("a comma is missing before it")
        }
        [] => Some("a bracket or quote is not closed, or the file was cut off"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::load::parse;

    /// [E14] Broken files: the parser's words, the place, and what it most likely is.
    #[test]
    fn mistakes_are_named() {
        for (text, place, mistake) in [
            ("\u{feff}{}", "line 1 column 1", "it begins with a byte order mark"),
            ("", "line 1 column 1", "the file is empty"),
            (" \r\n\n", "line 3 column 1", "the file is empty"),
            ("{\"a\": 1,\n}", "line 2 column 1", "no comma may stand before a closing bracket"),
            ("{\"a\": [1, ]}", "line 1 column 11", "no comma may stand before a closing bracket"),
            ("// x\n{}", "line 1 column 1", "JSON has no comments"),
            ("{\n# x\n}", "line 2 column 1", "JSON has no comments"),
            ("{'a': 1}", "line 1 column 2", "JSON has double quotes only"),
            ("{}\n}", "line 2 column 1", "the configuration has ended before it"),
            ("{\"a\": \"b\"\n\"c\": 1}", "line 2 column 1", "a comma is missing before it"),
            ("{\"a\": {\n", "line 2 column 1", "a bracket or quote is not closed"),
        ] {
            let fault = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(fault.starts_with(place) && fault.contains(mistake), "{text:?}: {fault}");
        }
        let fault = parse(b"\xff\xfe{\0}\0").unwrap_err().to_string();
        assert!(fault.contains("it is UTF-16"), "{fault}");
    }
}
