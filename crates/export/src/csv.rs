//! Rows as CSV: RFC 4180 with `\n` line ends, fields quoted only where they must be.
//!
//! [`Cell::Null`] is the empty field, a list is its values with one space between them.

use tapline_record::{Cell, Column};

use crate::NumberText;
use crate::cell_block::{BLOCK_COLUMNS, BlockCell, read_block};
use crate::cell_text::{push_ip, push_time};
use crate::number_text::{NUMBER_BYTES, NUMBER_ROOM, push_int, put_int};

/// Appends the names, without a line end.
pub(crate) fn push_header<R>(out: &mut Vec<u8>, columns: &[Column<R>]) {
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_text(out, column.name);
    }
}

/// Appends a row, without a line end.
#[inline]
pub(crate) fn push_row<R>(out: &mut Vec<u8>, columns: &[Column<R>], numbers: NumberText, row: &R) {
    let start = out.len();
    let mut cells = [BlockCell::Other; BLOCK_COLUMNS];
    // Numbers wait here, where their end is a register and not the length of a vector.
    let mut text = [0; BLOCK_COLUMNS * (NUMBER_BYTES + 1) + NUMBER_ROOM];
    for block in columns.chunks(BLOCK_COLUMNS) {
        let mut end = 0;
        read_block(&mut cells, block, row);
        for (cell, column) in cells.iter().zip(block) {
            match *cell {
                BlockCell::Float(value) => end = numbers.put_float(&mut text, end, value),
                BlockCell::Int(value) => end = put_int(&mut text, end, value),
                BlockCell::Other => {
                    out.extend_from_slice(&text[..end]);
                    end = 0;
                    push_other_cell(out, &(column.cell)(row));
                }
            }
            text[end] = b',';
            end += 1;
        }
        out.extend_from_slice(&text[..end]);
    }
    // Every cell has a comma after it; the last one goes.
    out.truncate(out.len().saturating_sub(1).max(start));
}

fn push_other_cell(out: &mut Vec<u8>, cell: &Cell) {
    match cell {
        // Numbers are written by the block.
        Cell::Null | Cell::Int(_) | Cell::Float(_) => {}
        Cell::Name(text) => push_text(out, text),
        Cell::Text(text) => push_text(out, text.as_str()),
        Cell::Names(names) => push_text(out, &names.as_slice().join(" ")),
        Cell::Ip(ip) => push_ip(out, *ip),
        Cell::Time(time) => push_time(out, *time),
        Cell::IntList(list) => {
            for (index, value) in list.as_slice().iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                push_int(out, i64::from(*value));
            }
        }
    }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    if !text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_rows::{COLUMNS, TestRow, rows, wide_columns};

    /// Splits one record by the grammar of RFC 4180, or nothing if it breaks it.
    fn fields(line: &str) -> Option<Vec<String>> {
        let mut fields = Vec::new();
        let mut rest = line;
        loop {
            let mut field = String::new();
            if let Some(quoted) = rest.strip_prefix('"') {
                rest = quoted;
                loop {
                    let (part, after) = rest.split_once('"')?;
                    field.push_str(part);
                    rest = after;
                    match rest.strip_prefix('"') {
                        Some(after) => {
                            field.push('"');
                            rest = after;
                        }
                        None => break,
                    }
                }
            } else {
                let end = rest.find(',').unwrap_or(rest.len());
                field.push_str(&rest[..end]);
                rest = &rest[end..];
                if field.contains(['"', '\n', '\r']) {
                    return None;
                }
            }
            fields.push(field);
            if rest.is_empty() {
                return Some(fields);
            }
            rest = rest.strip_prefix(',')?;
        }
    }

    fn line(row: &TestRow, numbers: NumberText) -> String {
        let mut out = Vec::new();
        push_row(&mut out, COLUMNS, numbers, row);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn header_and_rows() {
        let mut header = Vec::new();
        push_header(&mut header, COLUMNS);
        assert_eq!(
            String::from_utf8(header).unwrap(),
            "id,Flow Bytes/s,idle,\"label, \"\"quoted\"\"\",flow_id,src_ip,start,sequence"
        );
        assert_eq!(
            line(&TestRow::sample(), NumberText::Java),
            "-7,2.9221932114882506E7,0,\"scan, \"\"slow\"\"\",10.0.0.1-6,192.168.0.255,2023-11-14T22:13:20.123456Z,52 -1 0"
        );
        assert_eq!(line(&TestRow::default(), NumberText::Shortest), ",,,,,,,");
        let mut empty = b"earlier row\n".to_vec();
        push_row::<TestRow>(&mut empty, &[], NumberText::Java, &TestRow::default());
        assert_eq!(empty, b"earlier row\n");
    }

    proptest! {
        #[test]
        fn columns_do_not_disturb_each_other(row in rows()) {
            let mut out = b"earlier row\n".to_vec();
            push_row(&mut out, &wide_columns(), NumberText::Java, &row);
            let narrow = line(&row, NumberText::Java);
            let expect = format!("earlier row\n{}", vec![narrow; 5].join(","));
            prop_assert_eq!(String::from_utf8(out).unwrap(), expect);
        }

        #[test]
        fn fields_read_back(row in rows()) {
            for numbers in [NumberText::Shortest, NumberText::Java] {
                let fields = fields(&line(&row, numbers)).unwrap();
                prop_assert_eq!(fields.len(), COLUMNS.len());
                for (column, field) in COLUMNS.iter().zip(&fields) {
                    let same = match (column.cell)(&row) {
                        Cell::Null => field.is_empty(),
                        Cell::Int(value) => field.parse() == Ok(value),
                        Cell::Float(value) => {
                            let read: f64 = field.parse().unwrap();
                            read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan())
                        }
                        Cell::Name(text) => field == text,
                        Cell::Text(text) => field == text.as_str(),
                        Cell::Names(names) => *field == names.as_slice().join(" "),
                        Cell::Ip(ip) => field.parse() == Ok(ip),
                        Cell::Time(_) => field.ends_with('Z'),
                        Cell::IntList(list) => {
                            let read: Vec<i32> =
                                field.split_terminator(' ').map(|value| value.parse().unwrap()).collect();
                            read == list.as_slice()
                        }
                    };
                    prop_assert!(same, "{}: {:?}", column.name, field);
                }
            }
        }
    }
}
