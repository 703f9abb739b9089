//! Values of blobmsg: what methods take and give.

use super::{put, split};

const EXTENDED: u32 = 1 << 31;

/// A value. Its `Display` is JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing known.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number; written in 32 bits if it fits, as OpenWrt's tools do.
    Int(i64),
    /// Any other number.
    Double(f64),
    /// Text.
    Str(String),
    /// A list.
    Array(Vec<Value>),
    /// Named values, in their order.
    Table(Vec<(String, Value)>),
    /// Any type with any content, to be written only.
    Raw(u8, Vec<u8>),
}

impl Value {
    /// A table.
    pub fn table<const N: usize>(fields: [(&str, Value); N]) -> Value {
        Value::Table(fields.map(|(name, value)| (name.to_string(), value)).into())
    }

    /// The value of this name in a table.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn at(&self, name: &str) -> &Value {
        match self.get(name) {
            Some(value) => value,
            None => panic!("no {name} in {self}"),
        }
    }

    /// The value of this name, if it is a table that has one.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let Value::Table(fields) = self else {
            return None;
        };
        fields
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value)
    }

    /// The names in a table, in their order.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Value::Table(fields) => fields.iter().map(|(name, _)| name.as_str()).collect(),
            _ => Vec::new(),
        }
    }

    /// The list.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn list(&self) -> &[Value] {
        match self {
            Value::Array(list) => list,
            other => panic!("{other} is no list"),
        }
    }

    /// The number.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Value::Int(value) => *value,
            other => panic!("{other} is no number"),
        }
    }

    /// The text.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn str(&self) -> &str {
        match self {
            Value::Str(text) => text,
            other => panic!("{other} is no text"),
        }
    }

    /// A table's fields as blobmsg: what stands in a message's data.
    pub fn to_fields(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Value::Table(fields) = self {
            for (name, value) in fields {
                value.write(name, &mut bytes);
            }
        }
        bytes
    }

    /// Reads the fields of a message's data. A name may come twice; all are kept.
    ///
    /// # Errors
    /// With what is wrong: padding, lengths, types, text that is not UTF-8.
    pub fn from_fields(bytes: &[u8]) -> Result<Value, String> {
        Value::read_all(bytes, 0).map(Value::Table)
    }

    fn write(&self, name: &str, to: &mut Vec<u8>) {
        let (kind, content) = match self {
            Value::Null => (0, Vec::new()),
            Value::Array(list) => {
                let mut content = Vec::new();
                list.iter().for_each(|value| value.write("", &mut content));
                (1, content)
            }
            Value::Table(_) => (2, self.to_fields()),
            Value::Str(text) => (3, [text.as_bytes(), &[0]].concat()),
            Value::Int(value) => match i32::try_from(*value) {
                Ok(short) => (5, short.to_be_bytes().into()),
                Err(_) => (4, value.to_be_bytes().into()),
            },
            Value::Bool(value) => (7, vec![u8::from(*value)]),
            Value::Double(value) => (8, value.to_be_bytes().into()),
            Value::Raw(kind, content) => (*kind, content.clone()),
        };
        let mut payload = (name.len() as u16).to_be_bytes().to_vec();
        payload.extend(name.as_bytes());
        payload.push(0);
        payload.resize(payload.len().next_multiple_of(4), 0);
        payload.extend(content);
        put(to, EXTENDED | u32::from(kind) << 24, &payload);
    }

    fn read_all(bytes: &[u8], depth: usize) -> Result<Vec<(String, Value)>, String> {
        if depth > 8 {
            return Err("deeper than anything here is".into());
        }
        let read = |(header, payload)| Value::read(header, payload, depth);
        split(bytes)?.into_iter().map(read).collect()
    }

    fn read(header: u32, payload: &[u8], depth: usize) -> Result<(String, Value), String> {
        let wrong = |what: &str| format!("{what} in {header:08x} {payload:02x?}");
        if header & EXTENDED == 0 {
            return Err(wrong("no name"));
        }
        let name_len = payload
            .first_chunk()
            .map(|len| usize::from(u16::from_be_bytes(*len)));
        let name_end = 2 + name_len.ok_or_else(|| wrong("half a name"))?;
        let name = payload.get(2..name_end).ok_or_else(|| wrong("half a name"))?;
        let content = payload
            .get((name_end + 1).next_multiple_of(4)..)
            .ok_or_else(|| wrong("half a name"))?;
        if payload[name_end] != 0 {
            return Err(wrong("no NUL"));
        }
        let name = String::from_utf8(name.to_vec()).map_err(|_| wrong("no UTF-8"))?;
        let length = |_| wrong("a wrong length");
        let value = match (header >> 24) & 0x7f {
            0 if content.is_empty() => Value::Null,
            1 => {
                let all = Value::read_all(content, depth + 1)?;
                if all.iter().any(|(name, _)| !name.is_empty()) {
                    return Err(wrong("a name in an array"));
                }
                Value::Array(all.into_iter().map(|(_, value)| value).collect())
            }
            2 => Value::Table(Value::read_all(content, depth + 1)?),
            3 => {
                let text = content.strip_suffix(&[0]).filter(|text| !text.contains(&0));
                let text = text.ok_or_else(|| wrong("a NUL too many or too few"))?;
                Value::Str(String::from_utf8(text.to_vec()).map_err(|_| wrong("no UTF-8"))?)
            }
            4 => Value::Int(i64::from_be_bytes(content.try_into().map_err(length)?)),
            5 => Value::Int(i32::from_be_bytes(content.try_into().map_err(length)?).into()),
            6 => Value::Int(i16::from_be_bytes(content.try_into().map_err(length)?).into()),
            7 => Value::Bool(<[u8; 1]>::try_from(content).map_err(length)? != [0]),
            8 => Value::Double(f64::from_be_bytes(content.try_into().map_err(length)?)),
            _ => return Err(wrong("no such type")),
        };
        Ok((name, value))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Str(text.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}
