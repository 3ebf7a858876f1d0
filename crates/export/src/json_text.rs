//! JSON written as text, key by key.

use std::net::IpAddr;

use crate::cell_text::push_ip;
use crate::number_text::push_int;

/// An object that is being written. Its members come in the order of the calls; keys are plain ASCII.
pub(crate) struct JsonObject<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> JsonObject<'a> {
    /// Appends an object; `members` writes what is in it.
    pub(crate) fn push(out: &'a mut Vec<u8>, members: impl FnOnce(&mut JsonObject<'_>)) {
        out.push(b'{');
        let mut object = JsonObject { out, empty: true };
        members(&mut object);
        object.out.push(b'}');
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        push_string(self.key(key), value);
    }

    /// A text that is written by a function and needs no escapes.
    pub(crate) fn plain(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let out = self.key(key);
        out.push(b'"');
        write(out);
        out.push(b'"');
    }

    pub(crate) fn ip(&mut self, key: &str, value: IpAddr) {
        self.plain(key, |out| push_ip(out, value));
    }

    pub(crate) fn int(&mut self, key: &str, value: impl Into<i64>) {
        push_int(self.key(key), value.into());
    }

    /// Saturated at the largest signed one, like all counts in rows.
    pub(crate) fn count(&mut self, key: &str, value: u64) {
        self.int(key, i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// What JSON cannot say is null.
    pub(crate) fn float(&mut self, key: &str, value: f64) {
        let out = self.key(key);
        if value.is_finite() {
            out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
        } else {
            out.extend_from_slice(b"null");
        }
    }

    pub(crate) fn bool(&mut self, key: &str, value: bool) {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub(crate) fn object(&mut self, key: &str, members: impl FnOnce(&mut JsonObject<'_>)) {
        JsonObject::push(self.key(key), members);
    }

    /// An array, of which `push` appends each element.
    pub(crate) fn array<T>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = T>,
        mut push: impl FnMut(&mut Vec<u8>, T),
    ) {
        let out = self.key(key);
        out.push(b'[');
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push(out, value);
        }
        out.push(b']');
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }
}

/// Appends a string with its quotes.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if !text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        out.extend_from_slice(text.as_bytes());
    } else {
        for byte in text.bytes() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..0x20 => {
                    out.extend_from_slice(b"\\u00");
                    out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                }
                _ => out.push(byte),
            }
        }
    }
    out.push(b'"');
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn objects() {
        let mut out = Vec::new();
        JsonObject::push(&mut out, |line| {
            line.object("none", |_| {});
            line.count("most", u64::MAX);
            line.float("rate", 1e-7);
            line.float("nan", f64::NAN);
            line.bool("yes", true);
            line.array("list", ["a", "\""], push_string);
        });
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"none":{},"most":9223372036854775807,"rate":1e-7,"nan":null,"yes":true,"list":["a","\""]}"#
        );
    }

    proptest! {
        #[test]
        fn strings_read_back(text: String) {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
