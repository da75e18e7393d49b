//! As much of protocol buffers as the CRI needs: numbers, texts and messages, by field number.

use std::collections::BTreeMap;

/// A message under construction.
#[derive(Clone, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    pub fn new() -> Self {
        Self::default()
    }

    /// A field of type `int64`, `uint32`, `bool` or an enumeration.
    pub fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    /// A field of type `string` or `bytes`; again for each item of a repeated one.
    pub fn text(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// A field that is a message.
    pub fn message(self, field: u64, value: &Self) -> Self {
        self.text(field, &value.0)
    }

    /// An entry of a `map<string, string>`.
    pub fn entry(self, field: u64, key: &str, value: &str) -> Self {
        self.message(field, &Self::new().text(1, key).text(2, value))
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap());
    }
}

/// A message that was read: the values of each field.
#[derive(Debug, Default)]
pub struct Fields(BTreeMap<u64, Vec<Value>>);

#[derive(Clone, Debug)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Fields {
    /// Panics on what is no message.
    pub fn read(mut bytes: &[u8]) -> Self {
        let mut fields = Self::default();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let value = match key & 7 {
                0 => Value::Number(varint(&mut bytes)),
                1 => Value::Bytes(take(&mut bytes, 8)),
                2 => {
                    let length = usize::try_from(varint(&mut bytes)).unwrap();
                    Value::Bytes(take(&mut bytes, length))
                }
                5 => Value::Bytes(take(&mut bytes, 4)),
                kind => panic!("wire type {kind}"),
            };
            fields.0.entry(key >> 3).or_default().push(value);
        }
        fields
    }

    /// A number; 0, as the format has it, if it is not there.
    pub fn number(&self, field: u64) -> u64 {
        match self.0.get(&field).and_then(|values| values.last()) {
            Some(Value::Number(number)) => *number,
            _ => 0,
        }
    }

    /// A text, empty if it is not there.
    pub fn text(&self, field: u64) -> String {
        String::from_utf8_lossy(&self.all(field).pop().unwrap_or_default()).into_owned()
    }

    /// A message, empty if it is not there.
    pub fn message(&self, field: u64) -> Self {
        Self::read(&self.all(field).pop().unwrap_or_default())
    }

    /// All items of a repeated message.
    pub fn messages(&self, field: u64) -> Vec<Self> {
        self.all(field).iter().map(|bytes| Self::read(bytes)).collect()
    }

    fn all(&self, field: u64) -> Vec<Vec<u8>> {
        let values = self.0.get(&field).cloned().unwrap_or_default();
        let bytes = values.into_iter().filter_map(|value| match value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Number(_) => None,
        });
        bytes.collect()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first().expect("a whole number");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        shift += 7;
        if first & 0x80 == 0 {
            return value;
        }
    }
}

fn take(bytes: &mut &[u8], length: usize) -> Vec<u8> {
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken.to_vec()
}
