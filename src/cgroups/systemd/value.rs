//! Values as D-Bus types them (D-Bus Specification, "Type System").

use serde::Serialize;

/// One value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `a…`: the signature of an element, and the elements, which all have it.
    Array(String, Vec<Value>),
    /// `(…)`
    Struct(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// Its type, as messages name it.
    pub fn signature(&self) -> String {
        match self {
            Self::Byte(_) => "y".into(),
            Self::Bool(_) => "b".into(),
            Self::I16(_) => "n".into(),
            Self::U16(_) => "q".into(),
            Self::I32(_) => "i".into(),
            Self::U32(_) => "u".into(),
            Self::I64(_) => "x".into(),
            Self::U64(_) => "t".into(),
            Self::Double(_) => "d".into(),
            Self::Text(_) => "s".into(),
            Self::Path(_) => "o".into(),
            Self::Signature(_) => "g".into(),
            Self::Array(element, _) => format!("a{element}"),
            Self::Struct(fields) => format!("({})", fields.iter().map(Self::signature).collect::<String>()),
            Self::Variant(_) => "v".into(),
        }
    }

    /// An array of strings.
    pub fn texts(list: &[&str]) -> Self {
        Self::Array("s".into(), list.iter().map(|text| Self::Text((*text).into())).collect())
    }

    /// An array of bytes.
    pub fn bytes(list: &[u8]) -> Self {
        Self::Array("y".into(), list.iter().map(|byte| Self::Byte(*byte)).collect())
    }

    /// The text of a string, object path or signature.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Path(text) | Self::Signature(text) => Some(text),
            _ => None,
        }
    }

    /// What a variant holds; the value itself otherwise.
    pub fn inner(&self) -> &Self {
        match self {
            Self::Variant(inner) => inner.inner(),
            other => other,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// A property of a unit (org.freedesktop.systemd1(5), systemd.resource-control(5)).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Property {
    /// `MemoryMax`
    pub name: String,
    /// Its value.
    pub value: Value,
    /// What an older systemd that does not know it may go without: the cgroup's file is written all the same.
    pub optional: bool,
}

impl Property {
    /// One that systemd must know.
    pub fn new(name: &str, value: Value) -> Self {
        Self { name: name.into(), value, optional: false }
    }

    /// One that doubles what is written to the cgroup.
    pub fn limit(name: &str, value: Value) -> Self {
        Self { name: name.into(), value, optional: true }
    }

    /// As `StartTransientUnit` takes it: `(sv)`.
    pub(super) fn to_value(&self) -> Value {
        Value::Struct(vec![self.name.as_str().into(), Value::Variant(Box::new(self.value.clone()))])
    }
}
