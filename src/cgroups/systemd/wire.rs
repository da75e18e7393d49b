//! D-Bus messages as bytes (D-Bus Specification, "Marshaling", "Message Format"). Little endian is written, both are read.

use super::value::Value;

/// The longest message that is accepted: 1 MiB; the specification allows 128.
const MOST: usize = 1 << 20;
/// How deep values may nest; the specification's limit for arrays and structs together.
const DEPTH: usize = 64;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A method call.
    Call,
    /// Its answer.
    Return,
    /// Its failure.
    Error,
    /// To everybody who listens.
    Signal,
}

/// A message. Header fields that are empty are left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What it is for.
    pub kind: Kind,
    /// Its number, of the sender's counting.
    pub serial: u32,
    /// The number of the message that it answers.
    pub reply_to: u32,
    /// The object.
    pub path: String,
    /// `org.freedesktop.systemd1.Manager`
    pub interface: String,
    /// The method or signal.
    pub member: String,
    /// The error's name.
    pub error: String,
    /// Who it is for.
    pub destination: String,
    /// The arguments.
    pub body: Vec<Value>,
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Message {
    /// An empty one.
    pub fn new(kind: Kind) -> Self {
        let none = String::new;
        Self {
            kind,
            serial: 0,
            reply_to: 0,
            path: none(),
            interface: none(),
            member: none(),
            error: none(),
            destination: none(),
            body: Vec::new(),
        }
    }

    /// The bytes.
    ///
    /// # Errors
    /// Longer than a message may be.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut body = Vec::new();
        self.body.iter().try_for_each(|value| write(&mut body, value))?;
        let signature: String = self.body.iter().map(Value::signature).collect();
        let path = (1, Value::Path(self.path.clone()));
        let fields = [
            path,
            (2, Value::Text(self.interface.clone())),
            (3, Value::Text(self.member.clone())),
            (4, Value::Text(self.error.clone())),
            (6, Value::Text(self.destination.clone())),
            (8, Value::Signature(signature)),
        ];
        let given =
            fields.into_iter().filter(|(_, value)| value.as_text().is_some_and(|text| !text.is_empty()));
        let reply = (self.reply_to != 0).then_some((5, Value::U32(self.reply_to)));
        let field = |(code, value)| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
        let fields: Vec<_> = given.chain(reply).map(field).collect();
        // No flags; the protocol's version is 1.
        let mut bytes = vec![b'l', self.kind.code(), 0, 1];
        let length = u32::try_from(body.len()).map_err(|_| Malformed)?;
        bytes.extend(length.to_le_bytes());
        bytes.extend(self.serial.to_le_bytes());
        write(&mut bytes, &Value::Array("(yv)".into(), fields))?;
        pad(&mut bytes, 8);
        bytes.extend(body);
        if bytes.len() > MOST { Err(Malformed) } else { Ok(bytes) }
    }

    /// How long the message is that begins so; `None` as long as that can't be told.
    ///
    /// # Errors
    /// No message begins so.
    pub fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(head) = bytes.get(..16) else { return Ok(None) };
        let mut reader = Reader { bytes: head, at: 4, big: big(head[0])? };
        let (body, _serial, fields) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let size = |number: u32| usize::try_from(number).map_err(|_| Malformed).and_then(limited);
        limited((16 + size(fields)?).next_multiple_of(8) + size(body)?).map(Some)
    }

    /// Reads one message.
    ///
    /// # Errors
    /// It is not one, or of a kind or type that is not known.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let first = *bytes.first().ok_or(Malformed)?;
        let mut reader = Reader { bytes, at: 1, big: big(first)? };
        let kind = match reader.byte()? {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return Err(Malformed),
        };
        let mut message = Self::new(kind);
        reader.at = 8;
        message.serial = reader.u32()?;
        let mut signature = String::new();
        let Value::Array(_, fields) = reader.value(&mut "a(yv)", 0)? else { return Err(Malformed) };
        for field in fields {
            let Value::Struct(pair) = field else { return Err(Malformed) };
            let [Value::Byte(code), value] = &pair[..] else { return Err(Malformed) };
            let text = || value.inner().as_text().map(str::to_owned).ok_or(Malformed);
            match (code, value.inner()) {
                (1, _) => message.path = text()?,
                (2, _) => message.interface = text()?,
                (3, _) => message.member = text()?,
                (4, _) => message.error = text()?,
                (5, Value::U32(serial)) => message.reply_to = *serial,
                (6, _) => message.destination = text()?,
                (8, _) => signature = text()?,
                _ => {}
            }
        }
        reader.align(8)?;
        let mut rest = signature.as_str();
        while !rest.is_empty() {
            message.body.push(reader.value(&mut rest, 0)?);
        }
        Ok(message)
    }
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Call => 1,
            Self::Return => 2,
            Self::Error => 3,
            Self::Signal => 4,
        }
    }
}

fn limited(length: usize) -> Result<usize, Malformed> {
    if length > MOST { Err(Malformed) } else { Ok(length) }
}

fn big(first: u8) -> Result<bool, Malformed> {
    match first {
        b'l' => Ok(false),
        b'B' => Ok(true),
        _ => Err(Malformed),
    }
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

/// Where a value of this type may begin: multiples of this.
fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

fn write(bytes: &mut Vec<u8>, value: &Value) -> Result<(), Malformed> {
    pad(bytes, alignment(&value.signature()));
    match value {
        Value::Byte(byte) => bytes.push(*byte),
        Value::Bool(truth) => bytes.extend(u32::from(*truth).to_le_bytes()),
        Value::I16(number) => bytes.extend(number.to_le_bytes()),
        Value::U16(number) => bytes.extend(number.to_le_bytes()),
        Value::I32(number) => bytes.extend(number.to_le_bytes()),
        Value::U32(number) => bytes.extend(number.to_le_bytes()),
        Value::I64(number) => bytes.extend(number.to_le_bytes()),
        Value::U64(number) => bytes.extend(number.to_le_bytes()),
        Value::Double(number) => bytes.extend(number.to_le_bytes()),
        Value::Text(text) | Value::Path(text) => {
            bytes.extend(u32::try_from(text.len()).map_err(|_| Malformed)?.to_le_bytes());
            write_text(bytes, text)?;
        }
        Value::Signature(text) => {
            bytes.push(u8::try_from(text.len()).map_err(|_| Malformed)?);
            write_text(bytes, text)?;
        }
        Value::Array(element, list) => {
            let place = bytes.len();
            bytes.extend([0; 4]);
            pad(bytes, alignment(element));
            let start = bytes.len();
            list.iter().try_for_each(|value| write(bytes, value))?;
            let length = u32::try_from(bytes.len() - start).map_err(|_| Malformed)?;
            bytes[place..place + 4].copy_from_slice(&length.to_le_bytes());
        }
        Value::Struct(fields) => fields.iter().try_for_each(|value| write(bytes, value))?,
        Value::Variant(inner) => {
            write(bytes, &Value::Signature(inner.signature()))?;
            write(bytes, inner)?;
        }
    }
    Ok(())
}

fn write_text(bytes: &mut Vec<u8>, text: &str) -> Result<(), Malformed> {
    if text.contains('\0') {
        return Err(Malformed);
    }
    bytes.extend(text.as_bytes());
    bytes.push(0);
    Ok(())
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    big: bool,
}

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Result<&'b [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<(), Malformed> {
        let next = self.at.next_multiple_of(to);
        self.take(next - self.at).map(|_| ())
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.align(N)?;
        let mut bytes: [u8; N] = self.take(N)?.try_into().map_err(|_| Malformed)?;
        if self.big {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.fixed().map(u32::from_le_bytes)
    }

    fn text(&mut self, length: usize) -> Result<String, Malformed> {
        let text = self.take(length)?.to_vec();
        self.take(1)?;
        String::from_utf8(text).map_err(|_| Malformed)
    }

    fn long_text(&mut self) -> Result<String, Malformed> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        self.text(length)
    }

    fn short_text(&mut self) -> Result<String, Malformed> {
        let length = self.byte()?;
        self.text(length.into())
    }

    /// Reads one value of the first type in `signature`, and takes that type off.
    fn value(&mut self, signature: &mut &str, depth: usize) -> Result<Value, Malformed> {
        if depth > DEPTH {
            return Err(Malformed);
        }
        let (code, rest) = (signature.bytes().next().ok_or(Malformed)?, signature.get(1..).ok_or(Malformed)?);
        let whole = *signature;
        *signature = rest;
        Ok(match code {
            b'y' => Value::Byte(self.byte()?),
            b'b' => Value::Bool(self.u32()? != 0),
            b'n' => Value::I16(self.fixed().map(i16::from_le_bytes)?),
            b'q' => Value::U16(self.fixed().map(u16::from_le_bytes)?),
            b'i' => Value::I32(self.fixed().map(i32::from_le_bytes)?),
            b'u' | b'h' => Value::U32(self.u32()?),
            b'x' => Value::I64(self.fixed().map(i64::from_le_bytes)?),
            b't' => Value::U64(self.fixed().map(u64::from_le_bytes)?),
            b'd' => Value::Double(self.fixed().map(f64::from_le_bytes)?),
            b's' => Value::Text(self.long_text()?),
            b'o' => Value::Path(self.long_text()?),
            b'g' => Value::Signature(self.short_text()?),
            b'v' => {
                let inner = self.short_text()?;
                let mut rest = inner.as_str();
                let value = self.value(&mut rest, depth + 1)?;
                if !rest.is_empty() {
                    return Err(Malformed);
                }
                Value::Variant(Box::new(value))
            }
            b'(' | b'{' => {
                self.align(8)?;
                let end = if code == b'(' { ')' } else { '}' };
                let mut fields = Vec::new();
                while !signature.starts_with(end) {
                    fields.push(self.value(signature, depth + 1)?);
                }
                *signature = &signature[1..];
                Value::Struct(fields)
            }
            b'a' => {
                let element = first_type(&whole[1..], depth)?;
                *signature = &whole[1 + element.len()..];
                self.array(element, depth)?
            }
            _ => return Err(Malformed),
        })
    }

    fn array(&mut self, element: &str, depth: usize) -> Result<Value, Malformed> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        self.align(alignment(element))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(Malformed)?;
        let mut list = Vec::new();
        while self.at < end {
            let before = self.at;
            list.push(self.value(&mut &*element, depth + 1)?);
            if self.at == before {
                // An empty struct takes no room, so it would never end.
                return Err(Malformed);
            }
        }
        if self.at != end {
            return Err(Malformed);
        }
        Ok(Value::Array(element.into(), list))
    }
}

/// The first whole type of a signature.
pub fn first_type(signature: &str, depth: usize) -> Result<&str, Malformed> {
    if depth > DEPTH {
        return Err(Malformed);
    }
    let length = match signature.bytes().next() {
        Some(b'a') => 1 + first_type(&signature[1..], depth + 1)?.len(),
        Some(open @ (b'(' | b'{')) => {
            let close = if open == b'(' { b')' } else { b'}' };
            let mut at = 1;
            while signature.as_bytes().get(at) != Some(&close) {
                at += first_type(signature.get(at..).ok_or(Malformed)?, depth + 1)?.len();
            }
            at + 1
        }
        Some(code) if b"ybnqiuxtdsogvh".contains(&code) => 1,
        _ => return Err(Malformed),
    };
    signature.get(..length).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: Vec<Value>) -> Message {
        Message {
            serial: 7,
            path: "/o".into(),
            interface: "a.b".into(),
            member: "M".into(),
            destination: "c.d".into(),
            body,
            ..Message::new(Kind::Call)
        }
    }

    /// Byte by byte, by the specification: header, four fields of eight-byte structs, padding, body.
    #[test]
    fn layout() {
        let bytes = message(vec![Value::Byte(5), Value::U32(6)]).encode().unwrap();
        let mut expected = b"l\x01\x00\x01\x08\0\0\0\x07\0\0\0".to_vec();
        expected.extend([0x3e, 0, 0, 0]);
        expected.extend(b"\x01\x01o\0\x02\0\0\0/o\0\0\0\0\0\0");
        expected.extend(b"\x02\x01s\0\x03\0\0\0a.b\0\0\0\0\0");
        expected.extend(b"\x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0");
        // The member's struct ends at a multiple of eight by its padding; destination and signature follow.
        expected[12] = u8::try_from(48 + 16 + 7).unwrap();
        expected.extend(b"\x06\x01s\0\x03\0\0\0c.d\0\0\0\0\0");
        expected.extend(b"\x08\x01g\0\x02yu\0");
        expected.extend(b"\x05\0\0\0\x06\0\0\0");
        expected[12] = u8::try_from(bytes.len() - 16 - 8).unwrap();
        assert_eq!(bytes, expected);
        assert_eq!(Message::length(&bytes), Ok(Some(bytes.len())));
        assert_eq!(Message::length(&bytes[..15]), Ok(None));
    }

    #[test]
    fn every_type_comes_back() {
        let body = vec![
            Value::Byte(1),
            Value::Bool(true),
            Value::I16(-2),
            Value::U16(3),
            Value::I32(-4),
            Value::U32(5),
            Value::I64(-6),
            Value::U64(u64::MAX),
            Value::Double(0.5),
            Value::Text("é".into()),
            Value::Path("/x".into()),
            Value::Signature("a(sv)".into()),
            Value::Array("t".into(), Vec::new()),
            Value::Array(
                "(sv)".into(),
                vec![super::super::Property::new("A", Value::bytes(&[1, 2])).to_value()],
            ),
            Value::Array("as".into(), vec![Value::texts(&["a", "b"]), Value::texts(&[])]),
            Value::Struct(vec![Value::Byte(1), Value::U64(2)]),
        ];
        let sent = message(body);
        let bytes = sent.encode().unwrap();
        assert_eq!(Message::decode(&bytes), Ok(sent));
        // Cut off anywhere, or changed anywhere, it is refused or is another one, but nothing panics.
        for at in 0..bytes.len() {
            assert!(Message::decode(&bytes[..at]).is_err(), "{at}");
            for value in [0, 1, 0x7f, 0xff] {
                let mut other = bytes.clone();
                other[at] = value;
                let _ = (Message::decode(&other), Message::length(&other));
            }
        }
    }

    #[test]
    fn big_endian_is_read() {
        let mut bytes = b"B\x02\0\x01\0\0\0\x04\0\0\0\x09\0\0\0\x0f".to_vec();
        bytes.extend(b"\x05\x01u\0\0\0\0\x03\x08\x01g\0\x01u\0\0\0\0\0\x2a");
        let message = Message::decode(&bytes).unwrap();
        assert_eq!((message.kind, message.serial, message.reply_to), (Kind::Return, 9, 3));
        assert_eq!(message.body, [Value::U32(42)]);
    }

    #[test]
    fn what_is_no_message() {
        for bytes in [&b"x"[..], b"", b"l\x09\0\x01\0\0\0\0\x01\0\0\0\0\0\0\0"] {
            assert_eq!(Message::decode(bytes), Err(Malformed));
        }
        assert_eq!(Message::length(b"l\x01\0\x01\xff\xff\xff\xff\x01\0\0\0\0\0\0\0"), Err(Malformed));
        assert_eq!(message(vec![Value::Text("a\0b".into())]).encode(), Err(Malformed));
        assert!(first_type(&"a".repeat(300), 0).is_err() && first_type("(i", 0).is_err());
        assert_eq!(first_type("a(sv)u", 0), Ok("a(sv)"));
    }
}
