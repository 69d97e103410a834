//! What a client reads.

use std::ffi::{CStr, CString};

use crate::model::failure::Failure;

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `:1`
    Integer(i64),
    /// A bulk string.
    Bytes(Vec<u8>),
    /// `+OK`
    Status(&'static CStr),
    /// `-CODE text`
    Error(CString),
    /// An array.
    List(Vec<Value>),
    /// A map; in RESP2 an array of names and values.
    Map(Vec<(String, Value)>),
}

/// An error's text in bytes, at most: a database's message may hold a value of any size.
const ERROR_MAX: usize = 1024;

impl Value {
    /// `+OK`
    pub const OK: Value = Value::Status(c"OK");

    /// An error reply. What can't be in one line of RESP becomes a space.
    pub fn error(text: impl AsRef<[u8]>) -> Value {
        let text = text.as_ref();
        let mut bytes: Vec<u8> = text[..cut(text, ERROR_MAX)]
            .iter()
            .map(|&b| if matches!(b, 0 | b'\r' | b'\n') { b' ' } else { b })
            .collect();
        if bytes.len() < text.len() {
            bytes.extend("…".as_bytes());
        }
        Value::Error(CString::new(bytes).expect("NUL was replaced"))
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Bytes(text.into().into_bytes())
    }
}

/// A length of `most` bytes at most that cuts no UTF-8 character in two.
fn cut(text: &[u8], most: usize) -> usize {
    if text.len() <= most {
        return text.len();
    }
    // A continuation byte is 10xxxxxx.
    (most - 3..=most).rev().find(|&at| text[at] & 0xc0 != 0x80).unwrap_or(most)
}

impl From<&Failure> for Value {
    fn from(failure: &Failure) -> Value {
        Value::error(failure.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_of_any_bytes() {
        let Value::Error(text) = Value::error("ERR ä\r\n\0%s") else { unreachable!() };
        assert_eq!(text.as_bytes(), "ERR ä   %s".as_bytes());
        let Value::Error(text) = Value::error("ä".repeat(1000)) else { unreachable!() };
        assert_eq!(text.to_str().unwrap().chars().count(), 513);
    }
}
