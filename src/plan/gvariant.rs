//! Values as text (GLib, "GVariant Text Format"), as far as D-Bus has them and no dictionaries or maybe-types occur.

use crate::cgroups::systemd::{Value, first_type};

/// How deep values may nest.
const DEPTH: usize = 32;

type Parsed<T> = std::result::Result<T, String>;

/// Reads one value: `uint64 5000000`, `'str'`, `true`, `['a', 'b']`, `@as []`, `(1, 'x')`, `<'v'>`.
///
/// # Errors
/// What is wrong, and where, as text.
pub fn parse(text: &str) -> Parsed<Value> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(None, 0)?;
    parser.space();
    if parser.at < text.len() { parser.fail("nothing more") } else { Ok(value) }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn fail<T>(&self, wanted: &str) -> Parsed<T> {
        match self.rest().chars().next() {
            Some(found) => Err(format!("{wanted} is expected at {found:?}, character {}", self.at + 1)),
            None => Err(format!("{wanted} is expected at the end")),
        }
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.space();
        let found = self.rest().starts_with(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    /// A value, of the type that is asked for if one is.
    fn value(&mut self, wanted: Option<&str>, depth: usize) -> Parsed<Value> {
        if depth > DEPTH {
            return Err("it nests too deep".into());
        }
        self.space();
        let value = match self.rest().chars().next() {
            Some('\'' | '"') => {
                let text = self.quoted()?;
                match wanted {
                    Some("o") => Value::Path(text),
                    Some("g") => Value::Signature(text),
                    _ => Value::Text(text),
                }
            }
            Some('[') => self.array(wanted, depth)?,
            Some('(') => self.tuple(wanted, depth)?,
            Some('<') => {
                self.at += 1;
                let inner = self.value(None, depth + 1)?;
                if !self.eat('>') {
                    return self.fail("\">\"");
                }
                Value::Variant(Box::new(inner))
            }
            Some('@') => {
                self.at += 1;
                let Ok(typed) = first_type(self.rest(), 0) else { return self.fail("a type") };
                self.at += typed.len();
                self.value(Some(typed), depth + 1)?
            }
            Some(c) if c.is_ascii_alphanumeric() || "+-.".contains(c) => self.plain(wanted, depth)?,
            _ => return self.fail("a value"),
        };
        match wanted {
            Some(wanted) if value.signature() != wanted => {
                Err(format!("a value of type {wanted:?} is expected, not {:?}", value.signature()))
            }
            _ => Ok(value),
        }
    }

    /// A truth, a number, or a type's name before one.
    fn plain(&mut self, wanted: Option<&str>, depth: usize) -> Parsed<Value> {
        let word = self.word();
        let named = match word {
            "true" => return Ok(Value::Bool(true)),
            "false" => return Ok(Value::Bool(false)),
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            _ => return number(word, wanted),
        };
        self.value(Some(named), depth + 1)
    }

    fn quoted(&mut self) -> Parsed<String> {
        let mut chars = self.rest().char_indices();
        let quote = chars.next().map(|(_, quote)| quote);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            if Some(c) == quote {
                self.at += at + 1;
                return Ok(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next().map(|(_, c)| c) {
                Some(kind @ ('u' | 'U')) => {
                    let count = if kind == 'u' { 4 } else { 8 };
                    let digits: String = chars.by_ref().take(count).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                    text.push(code.ok_or_else(|| format!("\\{kind}{digits} is no character"))?);
                }
                Some(letter) => text.push(match letter {
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\u{b}',
                    other => other,
                }),
                None => break,
            }
        }
        Err("a text has no end".into())
    }

    fn array(&mut self, wanted: Option<&str>, depth: usize) -> Parsed<Value> {
        let start = self.at;
        let given = wanted.and_then(|wanted| wanted.strip_prefix('a'));
        let list = self.list(']', |parser, _| parser.value(given, depth + 1))?;
        let Some(first) = list.first() else {
            return match given {
                Some(element) => Ok(Value::Array(element.into(), list)),
                None => Err("an empty array needs its type in front: @as []".into()),
            };
        };
        let types: Vec<_> = list.iter().map(Value::signature).collect();
        // A number without a type is as the others are.
        let element = types.iter().find(|found| *found != "i").cloned().unwrap_or_else(|| first.signature());
        if types.iter().all(|found| *found == element) {
            return Ok(Value::Array(element, list));
        }
        self.at = start;
        let list = self.list(']', |parser, _| parser.value(Some(&element), depth + 1))?;
        Ok(Value::Array(element, list))
    }

    fn tuple(&mut self, wanted: Option<&str>, depth: usize) -> Parsed<Value> {
        let mut types = wanted.and_then(|wanted| wanted.strip_prefix('(')).unwrap_or_default();
        let list = self.list(')', |parser, _| {
            let one = first_type(types, 0).ok();
            types = &types[one.map_or(0, str::len)..];
            parser.value(one, depth + 1)
        })?;
        if list.is_empty() {
            Err("an empty tuple is no value of D-Bus".into())
        } else {
            Ok(Value::Struct(list))
        }
    }

    /// Values with commas between, from the bracket on to the one that closes.
    fn list(
        &mut self,
        close: char,
        mut one: impl FnMut(&mut Self, usize) -> Parsed<Value>,
    ) -> Parsed<Vec<Value>> {
        self.at += 1;
        let mut list = Vec::new();
        while !self.eat(close) {
            if !list.is_empty() && !self.eat(',') {
                return self.fail("\",\"");
            }
            // As in `(1,)`.
            if !list.is_empty() && self.eat(close) {
                break;
            }
            list.push(one(self, 0)?);
        }
        Ok(list)
    }
}

fn number(word: &str, wanted: Option<&str>) -> Parsed<Value> {
    let wrong = || format!("{word:?} is no value of type {:?}", wanted.unwrap_or("i"));
    let double = || word.parse::<f64>().ok().filter(|number| number.is_finite());
    let looks_double = word.contains('.') || (word.contains(['e', 'E']) && !word.contains(['x', 'X']));
    if wanted == Some("d") || (wanted.is_none() && looks_double) {
        return double().map(Value::Double).ok_or_else(wrong);
    }
    let number = integer(word).ok_or_else(wrong)?;
    let value = match wanted.unwrap_or("i") {
        "y" => number.try_into().ok().map(Value::Byte),
        "n" => number.try_into().ok().map(Value::I16),
        "q" => number.try_into().ok().map(Value::U16),
        "i" => number.try_into().ok().map(Value::I32),
        "u" => number.try_into().ok().map(Value::U32),
        "x" => number.try_into().ok().map(Value::I64),
        "t" => number.try_into().ok().map(Value::U64),
        _ => None,
    };
    value.ok_or_else(wrong)
}

/// Decimal, `0x` hexadecimal, `0` octal.
fn integer(word: &str) -> Option<i128> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        if hex.starts_with('+') {
            return None;
        }
        i128::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i128::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    number.ok().map(|number| if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [H20] What CRI-O sends, and each type.
    #[test]
    fn values() {
        let table = [
            ("uint64 5000000", Value::U64(5_000_000)),
            ("true", Value::Bool(true)),
            (" false ", Value::Bool(false)),
            ("['crio.service']", Value::texts(&["crio.service"])),
            ("'inactive-or-failed'", "inactive-or-failed".into()),
            (r#""a\"\u00e9\n'""#, "a\"é\n'".into()),
            ("5", Value::I32(5)),
            ("-0x10", Value::I32(-16)),
            ("010", Value::I32(8)),
            ("byte 255", Value::Byte(255)),
            ("int16 -1", Value::I16(-1)),
            ("uint16 1", Value::U16(1)),
            ("@u 7", Value::U32(7)),
            ("int64 -9", Value::I64(-9)),
            ("1.5", Value::Double(1.5)),
            ("double 2", Value::Double(2.0)),
            ("objectpath '/a'", Value::Path("/a".into())),
            ("signature 'as'", Value::Signature("as".into())),
            ("@as []", Value::texts(&[])),
            ("[uint64 1, 2]", Value::Array("t".into(), vec![Value::U64(1), Value::U64(2)])),
            ("[1, uint64 2]", Value::Array("t".into(), vec![Value::U64(1), Value::U64(2)])),
            ("(1, 'x')", Value::Struct(vec![Value::I32(1), "x".into()])),
            ("@(ts) (1, 'x')", Value::Struct(vec![Value::U64(1), "x".into()])),
            ("[('/dev/sda', uint64 1)]", {
                let pair = Value::Struct(vec!["/dev/sda".into(), Value::U64(1)]);
                Value::Array("(st)".into(), vec![pair])
            }),
            ("<5>", Value::Variant(Box::new(Value::I32(5)))),
        ];
        for (text, value) in table {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    /// [H20]
    #[test]
    fn faults() {
        for text in [
            "",
            "xyz",
            "[]",
            "'a",
            "[1, 'a']",
            "byte 256",
            "uint64 -1",
            "5 6",
            "(1",
            "()",
            "[1 2]",
            "0x",
            "@z 1",
            "{'a': 1}",
            "uint64 true",
            "08",
            "0x+1",
            "'\\uzzzz'",
        ] {
            assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
        }
        assert!(parse(&"[".repeat(10_000)).unwrap_err().contains("too deep"));
        assert!(parse(&"<".repeat(10_000)).is_err());
        assert_eq!(parse("nothing"), Err("\"nothing\" is no value of type \"i\"".into()));
    }
}
