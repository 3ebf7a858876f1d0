//! Rows as newline-delimited JSON: one object a line, every key in every object.
//!
//! [`Cell::Null`], NaN and the infinities are `null`, instants and addresses are strings, a list is an array.

use tapline_record::{Cell, Column};

use crate::NumberText;
use crate::cell_block::{BLOCK_COLUMNS, BlockCell, read_block};
use crate::cell_text::{push_ip, push_time};
use crate::json_text::push_string;
use crate::number_text::{NUMBER_BYTES, NUMBER_ROOM, push_int, put_int, put_short};

/// The text before each value, escaped once: `{"first":`, `,"second":`, ...
pub(crate) struct Keys {
    text: Vec<u8>,
    /// Where the text of each key ends in `text`.
    ends: Vec<usize>,
    /// Keys and numbers of a block wait here, where their end is a register and not the length of a vector. Long
    /// enough for the longest block.
    block_text: Vec<u8>,
}

impl Keys {
    pub(crate) fn new<R>(columns: &[Column<R>]) -> Self {
        let mut text = Vec::new();
        let mut ends = Vec::with_capacity(columns.len());
        let mut longest_block = 0;
        for block in columns.chunks(BLOCK_COLUMNS) {
            let start = text.len();
            for column in block {
                text.push(if ends.is_empty() { b'{' } else { b',' });
                push_string(&mut text, column.name);
                text.push(b':');
                ends.push(text.len());
            }
            longest_block = longest_block.max(text.len() - start);
        }
        let block_text = vec![0; longest_block + BLOCK_COLUMNS * NUMBER_BYTES + NUMBER_ROOM];
        Self { text, ends, block_text }
    }

    /// Appends a row, without a line end. The columns are those of [`Keys::new`].
    #[inline]
    pub(crate) fn push_row<R>(
        &mut self,
        out: &mut Vec<u8>,
        columns: &[Column<R>],
        numbers: NumberText,
        row: &R,
    ) {
        let text = &mut self.block_text[..];
        let mut cells = [BlockCell::Other; BLOCK_COLUMNS];
        let mut key_start = 0;
        for (block, key_ends) in columns.chunks(BLOCK_COLUMNS).zip(self.ends.chunks(BLOCK_COLUMNS)) {
            let mut end = 0;
            read_block(&mut cells, block, row);
            for ((cell, column), &key_end) in cells.iter().zip(block).zip(key_ends) {
                let key = &self.text[key_start..key_end];
                key_start = key_end;
                text[end..end + key.len()].copy_from_slice(key);
                end += key.len();
                match *cell {
                    BlockCell::Int(value) => end = put_int(text, end, value),
                    BlockCell::Float(value) if value.is_finite() => {
                        end = numbers.put_float(text, end, value);
                    }
                    BlockCell::Float(_) => end = put_short(text, end, b"null"),
                    BlockCell::Other => {
                        out.extend_from_slice(&text[..end]);
                        end = 0;
                        push_other_cell(out, &(column.cell)(row));
                    }
                }
            }
            out.extend_from_slice(&text[..end]);
        }
        out.extend_from_slice(if self.ends.is_empty() { b"{}" } else { b"}" });
    }
}

fn push_other_cell(out: &mut Vec<u8>, cell: &Cell) {
    match cell {
        // Numbers are written by the block.
        Cell::Null | Cell::Int(_) | Cell::Float(_) => out.extend_from_slice(b"null"),
        Cell::Name(text) => push_string(out, text),
        Cell::Text(text) => push_string(out, text.as_str()),
        Cell::Names(names) => push_string(out, &names.as_slice().join(" ")),
        Cell::Ip(ip) => {
            out.push(b'"');
            push_ip(out, *ip);
            out.push(b'"');
        }
        Cell::Time(time) => {
            out.push(b'"');
            push_time(out, *time);
            out.push(b'"');
        }
        Cell::IntList(list) => {
            out.push(b'[');
            for (index, value) in list.as_slice().iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_int(out, i64::from(*value));
            }
            out.push(b']');
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::test_rows::{COLUMNS, TestRow, rows, wide_columns};

    fn line(row: &TestRow, numbers: NumberText) -> String {
        let mut out = Vec::new();
        Keys::new(COLUMNS).push_row(&mut out, COLUMNS, numbers, row);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines() {
        assert_eq!(
            line(&TestRow::sample(), NumberText::Java),
            concat!(
                r#"{"id":-7,"Flow Bytes/s":2.9221932114882506E7,"idle":0,"label, \"quoted\"":"scan, \"slow\"","#,
                r#""flow_id":"10.0.0.1-6","src_ip":"192.168.0.255","#,
                r#""start":"2023-11-14T22:13:20.123456Z","sequence":[52,-1,0]}"#
            )
        );
        assert!(line(&TestRow::default(), NumberText::Shortest).starts_with(r#"{"id":null,"#));
        let mut empty = Vec::new();
        let none: &[Column<TestRow>] = &[];
        Keys::new(none).push_row(&mut empty, none, NumberText::Java, &TestRow::default());
        assert_eq!(empty, b"{}");
    }

    proptest! {
        #[test]
        fn columns_do_not_disturb_each_other(row in rows()) {
            let mut out = b"earlier row\n".to_vec();
            let columns = wide_columns();
            Keys::new(&columns).push_row(&mut out, &columns, NumberText::Java, &row);
            let narrow = line(&row, NumberText::Java);
            let inner = narrow[1..narrow.len() - 1].to_owned();
            let expect = format!("earlier row\n{{{}}}", vec![inner; 5].join(","));
            prop_assert_eq!(String::from_utf8(out).unwrap(), expect);
        }

        #[test]
        fn objects_read_back(row in rows()) {
            for numbers in [NumberText::Shortest, NumberText::Java] {
                let line = line(&row, numbers);
                prop_assert!(!line.contains('\n'));
                let object: serde_json::Map<String, Value> = serde_json::from_str(&line).unwrap();
                prop_assert_eq!(object.len(), COLUMNS.len());
                for column in COLUMNS {
                    let value = &object[column.name];
                    let same = match (column.cell)(&row) {
                        Cell::Null => value.is_null(),
                        Cell::Int(expect) => value.as_i64() == Some(expect),
                        Cell::Float(expect) if !expect.is_finite() => value.is_null(),
                        Cell::Float(expect) => {
                            let read = value.as_f64().unwrap();
                            (read - expect).abs() <= expect.abs() * 1e-15
                        }
                        Cell::Name(text) => value.as_str() == Some(text),
                        Cell::Text(text) => value.as_str() == Some(text.as_str()),
                        Cell::Names(names) => value.as_str() == Some(&names.as_slice().join(" ")),
                        Cell::Ip(ip) => value.as_str().unwrap().parse() == Ok(ip),
                        Cell::Time(_) => value.as_str().unwrap().ends_with('Z'),
                        Cell::IntList(list) => {
                            let read: Vec<i64> =
                                value.as_array().unwrap().iter().filter_map(Value::as_i64).collect();
                            read.iter().copied().eq(list.as_slice().iter().map(|&value| i64::from(value)))
                        }
                    };
                    prop_assert!(same, "{}: {}", column.name, value);
                }
            }
        }
    }
}
