//! Rows for tests: one column of every kind.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use tapline_record::column::Kind;
use tapline_record::{Cell, Column, IntList, ShortText, Timestamp};

/// A row; what is absent is null.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestRow {
    pub(crate) id: Option<i64>,
    pub(crate) rate: Option<f64>,
    pub(crate) idle: Option<f64>,
    pub(crate) label: Option<&'static str>,
    pub(crate) flow_id: Option<String>,
    pub(crate) src_ip: Option<IpAddr>,
    pub(crate) start: Option<i64>,
    pub(crate) sequence: Option<Vec<i32>>,
}

impl TestRow {
    pub(crate) fn sample() -> Self {
        Self {
            id: Some(-7),
            rate: Some(29_221_932.114_882_506),
            idle: Some(0.0),
            label: Some("scan, \"slow\""),
            flow_id: Some("10.0.0.1-6".to_owned()),
            src_ip: Some(Ipv4Addr::new(192, 168, 0, 255).into()),
            start: Some(1_700_000_000_123_456),
            sequence: Some(vec![52, -1, 0]),
        }
    }
}

pub(crate) const COLUMNS: &[Column<TestRow>] = &[
    column("id", Kind::Int, |row| row.id.map_or(Cell::Null, Cell::Int)),
    column("Flow Bytes/s", Kind::Float, |row| row.rate.map_or(Cell::Null, Cell::Float)),
    // As CICFlowMeter: an integer where there is no data.
    column("idle", Kind::FloatOrZero, |row| match row.idle {
        Some(0.0) => Cell::Int(0),
        idle => idle.map_or(Cell::Null, Cell::Float),
    }),
    column("label, \"quoted\"", Kind::Text, |row| row.label.map_or(Cell::Null, Cell::Name)),
    column("flow_id", Kind::Text, |row| {
        row.flow_id.as_ref().map_or(Cell::Null, |id| {
            let mut text = ShortText::new();
            text.push_ascii(id.as_bytes());
            Cell::Text(text)
        })
    }),
    column("src_ip", Kind::Ip, |row| row.src_ip.map_or(Cell::Null, Cell::Ip)),
    column("start", Kind::Time, |row| {
        row.start.map_or(Cell::Null, |micros| Cell::Time(Timestamp::from_micros(micros)))
    }),
    column("sequence", Kind::IntList, |row| {
        row.sequence
            .as_ref()
            .map_or(Cell::Null, |values| Cell::IntList(IntList::collect(values.iter().copied())))
    }),
];

const fn column(name: &'static str, kind: Kind, cell: fn(&TestRow) -> Cell) -> Column<TestRow> {
    Column { name, kind, unit: "", definition: "", cell }
}

/// All columns five times over: more than a block of them.
pub(crate) fn wide_columns() -> Vec<Column<TestRow>> {
    let columns = COLUMNS.iter().cycle().take(5 * COLUMNS.len());
    columns.map(|&Column { name, kind, cell, .. }| column(name, kind, cell)).collect()
}

pub(crate) fn rows() -> impl Strategy<Value = TestRow> {
    let label =
        prop::option::of(prop::sample::select(vec!["", "benign", "a,b", "\"", "two\nlines", "tab\t\r"]));
    (
        any::<Option<i64>>(),
        any::<Option<f64>>(),
        any::<Option<f64>>(),
        label,
        prop::option::of("[ -~\n\"]{0,40}"),
        any::<Option<IpAddr>>(),
        any::<Option<i64>>(),
        prop::option::of(prop::collection::vec(any::<i32>(), 0..16)),
    )
        .prop_map(|(id, rate, idle, label, flow_id, src_ip, start, sequence)| TestRow {
            id,
            rate,
            idle,
            label,
            flow_id,
            src_ip,
            start,
            sequence,
        })
}
