//! Training tables for tests, as `tapline dataset build` would write them.

use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use tempfile::NamedTempFile;

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct TestRow {
    pub(crate) x: Vec<f32>,
    pub(crate) class: &'static str,
    pub(crate) behaviour: &'static str,
    pub(crate) site: &'static str,
    pub(crate) run: &'static str,
    pub(crate) split: &'static str,
    pub(crate) host: &'static str,
    pub(crate) target: &'static str,
    pub(crate) start_us: i64,
    pub(crate) decided_us: i64,
    pub(crate) view: &'static str,
}

impl Default for TestRow {
    fn default() -> Self {
        Self {
            x: Vec::new(),
            class: "benign",
            behaviour: "",
            site: "a",
            run: "a",
            split: "train",
            host: "10.0.0.1",
            target: "10.0.0.2",
            start_us: 0,
            decided_us: 0,
            view: "whole",
        }
    }
}

/// What is unlike a good table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    None,
    /// Columns that begin so are left out.
    Without(&'static str),
    /// A column has no value in a row.
    Null(&'static str, usize),
    /// `start` is text, copied from this column.
    Text(&'static str),
    GroupRows(usize),
}

enum Cells {
    Text(Vec<String>),
    Integers(Vec<i64>),
    Doubles(Vec<f64>),
}

/// Writes a table of inputs of these names.
pub(crate) fn write(inputs: &[&str], rows: &[TestRow], change: Change) -> NamedTempFile {
    let text = |of: fn(&TestRow) -> &str| Cells::Text(rows.iter().map(|row| of(row).to_owned()).collect());
    let integers = |of: fn(&TestRow) -> i64| Cells::Integers(rows.iter().map(of).collect());
    let mut columns = vec![
        ("src_ip".to_owned(), text(|row| row.host)),
        ("dst_ip".to_owned(), text(|row| row.target)),
        ("dst_port".to_owned(), integers(|_| 80)),
        ("start".to_owned(), integers(|row| row.start_us)),
        ("label_class".to_owned(), text(|row| row.class)),
        ("label_hostile".to_owned(), integers(|row| i64::from(row.class != "benign"))),
        ("label_behaviour".to_owned(), text(|row| row.behaviour)),
        ("site".to_owned(), text(|row| row.site)),
        ("run".to_owned(), text(|row| row.run)),
        ("split".to_owned(), text(|row| row.split)),
        ("decided_us".to_owned(), integers(|row| row.decided_us)),
        ("view".to_owned(), text(|row| row.view)),
        ("source".to_owned(), Cells::Text(rows.iter().map(|row| format!("testbed/{}", row.site)).collect())),
    ];
    for (at, input) in inputs.iter().enumerate() {
        columns.push((
            format!("x_{input}"),
            Cells::Doubles(rows.iter().map(|row| f64::from(row.x[at])).collect()),
        ));
    }
    if let Change::Without(prefix) = change {
        columns.retain(|(name, _)| !name.starts_with(prefix));
    }
    if let Change::Text(other) = change {
        let texts = columns.iter().find_map(|(name, cells)| match cells {
            Cells::Text(texts) if name == other => Some(texts.clone()),
            _ => None,
        });
        columns.iter_mut().find(|(name, _)| name == "start").unwrap().1 = Cells::Text(texts.unwrap());
    }

    let fields = columns.iter().map(|(name, cells)| {
        let (physical, logical) = match cells {
            Cells::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Cells::Integers(_) if name == "start" => {
                (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS)))
            }
            Cells::Integers(_) => (Physical::INT64, None),
            Cells::Doubles(_) => (Physical::DOUBLE, None),
        };
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
            .unwrap()
    });
    let schema = Type::group_type_builder("tapline").with_fields(fields.collect()).build().unwrap();
    let metadata = [("tapline.inputs", "inputs-1 c0ffee")]
        .map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(metadata.into()))
        .build();
    let file = NamedTempFile::new().unwrap();
    let out = file.reopen().unwrap();
    let mut writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties)).unwrap();
    let group_rows = match change {
        Change::GroupRows(rows) => rows,
        _ => rows.len().max(1),
    };
    for first in (0..rows.len()).step_by(group_rows) {
        let group_rows = first..(first + group_rows).min(rows.len());
        let mut group = writer.next_row_group().unwrap();
        for (name, cells) in &columns {
            let null = match change {
                Change::Null(column, row) if column == name => Some(row),
                _ => None,
            };
            let levels: Vec<i16> = group_rows.clone().map(|row| i16::from(null != Some(row))).collect();
            let present = group_rows.clone().filter(|row| null != Some(*row));
            let mut column = group.next_column().unwrap().unwrap();
            match cells {
                Cells::Text(texts) => {
                    let values: Vec<ByteArray> = present.map(|row| texts[row].as_str().into()).collect();
                    column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
                }
                Cells::Integers(integers) => {
                    let values: Vec<i64> = present.map(|row| integers[row]).collect();
                    column.typed::<Int64Type>().write_batch(&values, Some(&levels), None).unwrap();
                }
                Cells::Doubles(doubles) => {
                    let values: Vec<f64> = present.map(|row| doubles[row]).collect();
                    column.typed::<DoubleType>().write_batch(&values, Some(&levels), None).unwrap();
                }
            }
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    file
}
