//! Columns: name, unit, meaning and accessor of each value of a row, in one place.
//!
//! A schema is a `const` table of [`Column`]s. CSV header, JSON keys, Parquet schema, documentation, model input order
//! and the schema hash are all read from it, so none of them can drift from the others.

use std::net::IpAddr;

use crate::Timestamp;

/// One column of a schema over rows of type `R`.
#[derive(Debug)]
pub struct Column<R: ?Sized> {
    /// The name, exactly as it stands in a header.
    pub name: &'static str,
    /// Type of every cell of the column.
    pub kind: Kind,
    /// Unit of the value, empty if it has none.
    pub unit: &'static str,
    /// What the value is, with its edge cases.
    pub definition: &'static str,
    /// Reads the value from a row.
    pub cell: fn(&R) -> Cell,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 64-bit integer.
    Int,
    /// Double.
    Float,
    /// Double, but CICFlowMeter prints an integer `0` where it has no data.
    FloatOrZero,
    /// Text.
    Text,
    /// IP address.
    Ip,
    /// Instant.
    Time,
    /// List of integers.
    IntList,
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// No value: empty in CSV, null elsewhere.
    Null,
    /// Integer.
    Int(i64),
    /// Double.
    Float(f64),
    /// Text known at build time.
    Name(&'static str),
    /// Text made for the row.
    Text(ShortText),
    /// A few names known at build time: text, with one space between them.
    Names(Names),
    /// IP address.
    Ip(IpAddr),
    /// Instant.
    Time(Timestamp),
    /// List of integers.
    IntList(IntList),
}

impl Cell {
    /// An unsigned count, saturated at the largest signed one.
    #[must_use]
    #[inline]
    pub fn count(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

/// Text of at most 55 bytes, inline: a Flow ID, a Community ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortText {
    len: u8,
    bytes: [u8; Self::CAPACITY],
}

impl ShortText {
    const CAPACITY: usize = 55;

    /// Empty text.
    #[must_use]
    pub const fn new() -> Self {
        Self { len: 0, bytes: [0; Self::CAPACITY] }
    }

    /// Appends ASCII bytes; what does not fit is left out, which the callers' formats rule out.
    pub fn push_ascii(&mut self, ascii: &[u8]) {
        let start = usize::from(self.len);
        let end = (start + ascii.len()).min(Self::CAPACITY);
        self.bytes[start..end].copy_from_slice(&ascii[..end - start]);
        self.len = end as u8;
    }

    /// Appends a number in decimal.
    pub fn push_number(&mut self, mut value: u32) {
        let mut digits = [0; 10];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.push_ascii(&digits[at..]);
    }

    /// Appends a number in decimal, zero-padded to `width` (at most 10) digits.
    pub fn push_padded(&mut self, value: u32, width: usize) {
        let digits = value.checked_ilog10().map_or(1, |log| log as usize + 1);
        self.push_ascii(&b"0000000000"[..width.min(10).saturating_sub(digits)]);
        self.push_number(value);
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl Default for ShortText {
    fn default() -> Self {
        Self::new()
    }
}

/// At most three names, inline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names {
    len: u8,
    names: [&'static str; Self::CAPACITY],
}

impl Names {
    /// The most names.
    pub const CAPACITY: usize = 3;

    /// The list of `names`; those beyond the capacity are left out.
    #[must_use]
    pub fn collect(names: impl Iterator<Item = &'static str>) -> Self {
        let mut list = Self::default();
        for (slot, name) in list.names.iter_mut().zip(names) {
            *slot = name;
            list.len += 1;
        }
        list
    }

    /// The names.
    #[must_use]
    pub fn as_slice(&self) -> &[&'static str] {
        &self.names[..usize::from(self.len)]
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// At most 16 integers, inline: the early sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntList {
    len: u8,
    values: [i32; Self::CAPACITY],
}

impl IntList {
    /// The longest list.
    pub const CAPACITY: usize = 16;

    /// The list of `values`; those beyond the capacity are left out.
    #[must_use]
    pub fn collect(values: impl Iterator<Item = i32>) -> Self {
        let mut list = Self { len: 0, values: [0; Self::CAPACITY] };
        for (slot, value) in list.values.iter_mut().zip(values) {
            *slot = value;
            list.len += 1;
        }
        list
    }

    /// The values.
    #[must_use]
    pub fn as_slice(&self) -> &[i32] {
        &self.values[..usize::from(self.len)]
    }
}
