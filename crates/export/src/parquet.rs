//! Rows as an Apache Parquet file.
//!
//! ```text
//!  rows ──► one buffer a column ──full──► row group: column after column, in pages ──finish──► footer
//! ```
//!
//! Every column is optional. Types: integers INT64, doubles DOUBLE, texts and addresses STRING, instants
//! TIMESTAMP(microseconds, UTC), lists LIST of INT32. A row group closes at 65,536 rows or about 64 MiB, whichever comes
//! first, so memory is bounded. Nothing can be read before the footer is there: an unfinished file is no file.

use std::error::Error;
use std::io;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;
use tapline_record::column::Kind;
use tapline_record::{Cell, Column};

use crate::cell_text::push_ip;
use crate::error::{ExportError, Whole};
use crate::output::Sink;
use crate::row_writer::TableMeta;

/// A Parquet file being written.
pub(crate) struct ParquetTable {
    file: SerializedFileWriter<Sink>,
    columns: Vec<ColumnBuffer>,
    buffered_rows: usize,
    buffered_bytes: usize,
    /// Definition levels of a column without nulls: [`GROUP_ROWS`] times present.
    all_present: Vec<i16>,
}

impl ParquetTable {
    pub(crate) fn new<R, T>(
        columns: &[Column<R>],
        tail: &[Column<T>],
        meta: TableMeta,
        sink: Sink,
    ) -> Result<Self, ExportError> {
        let open = || {
            let fields = columns.iter().map(field).chain(tail.iter().map(field)).collect::<Result<_, _>>()?;
            let schema = Type::group_type_builder("tapline").with_fields(fields).build()?;
            let metadata = [
                ("tapline.schema", meta.schema_id),
                ("tapline.schema_hash", meta.schema_hash),
                ("tapline.producer", meta.producer),
            ]
            .map(|(key, value)| KeyValue::new(key.to_owned(), value));
            let properties = WriterProperties::builder()
                .set_compression(compression())
                .set_key_value_metadata(Some(metadata.into()))
                .build();
            SerializedFileWriter::new(sink, Arc::new(schema), Arc::new(properties))
        };
        let file = open().map_err(|error| export_error(error, 0))?;
        let kinds = columns.iter().map(|column| column.kind).chain(tail.iter().map(|column| column.kind));
        Ok(Self {
            file,
            columns: kinds.map(ColumnBuffer::new).collect(),
            buffered_rows: 0,
            buffered_bytes: 0,
            all_present: vec![PRESENT; GROUP_ROWS],
        })
    }

    /// Adds a row and its tail; the columns of both are those of [`ParquetTable::new`].
    pub(crate) fn push_row<R, T>(
        &mut self,
        columns: &[Column<R>],
        row: &R,
        tail: &[Column<T>],
        tail_row: &T,
    ) -> Result<(), ExportError> {
        self.push_cells(0, columns, row)?;
        self.push_cells(columns.len(), tail, tail_row)?;
        self.buffered_rows += 1;
        if self.buffered_rows == GROUP_ROWS || self.buffered_bytes >= GROUP_BYTES {
            self.write_group()?;
        }
        Ok(())
    }

    /// Adds the cells of `columns`, the first of which is the table's column number `at`.
    fn push_cells<R>(&mut self, at: usize, columns: &[Column<R>], row: &R) -> Result<(), ExportError> {
        for (buffer, column) in self.columns[at..].iter_mut().zip(columns) {
            let cell = (column.cell)(row);
            match buffer.push(self.buffered_rows, &cell) {
                Some(bytes) => self.buffered_bytes += bytes,
                None => {
                    let source = Box::new(CellKindError { column: column.name, expect: column.kind });
                    return Err(ExportError::Parquet { whole: unreadable(self.bytes()), source });
                }
            }
        }
        Ok(())
    }

    /// Adds to the key-value metadata.
    pub(crate) fn annotate(&mut self, key: &str, value: String) {
        self.file.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
    }

    pub(crate) fn finish(mut self) -> Result<(), ExportError> {
        self.write_group()?;
        // Writes the footer and flushes.
        self.file.finish().map_err(|error| export_error(error, self.bytes()))?;
        Ok(())
    }

    /// Bytes that the output has accepted.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.inner().accepted_bytes()
    }

    fn write_group(&mut self) -> Result<(), ExportError> {
        if self.buffered_rows == 0 {
            return Ok(());
        }
        let present = &self.all_present[..self.buffered_rows];
        let outcome = self.file.next_row_group().and_then(|mut group| {
            for buffer in &mut self.columns {
                if let Some(mut column) = group.next_column()? {
                    buffer.write(&mut column, present)?;
                    column.close()?;
                }
            }
            group.close()?;
            Ok(())
        });
        self.buffered_rows = 0;
        self.buffered_bytes = 0;
        outcome.map_err(|error| export_error(error, self.bytes()))
    }
}

/// The cells of one column that wait for their row group.
struct ColumnBuffer {
    values: Values,
    /// One definition level a row, empty as long as no row is null; lists need one an element too and keep their own.
    levels: Vec<i16>,
}

enum Values {
    Int(Vec<i64>),
    Float(Vec<f64>),
    /// Texts on end, and where each of them ends.
    Text {
        bytes: Vec<u8>,
        ends: Vec<usize>,
    },
    /// Elements on end, and the levels that part them: see [`LIST_NULL`].
    List {
        elements: Vec<i32>,
        definition: Vec<i16>,
        repetition: Vec<i16>,
    },
    Time(Vec<i64>),
}

impl ColumnBuffer {
    fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Int => Values::Int(Vec::new()),
            Kind::Float | Kind::FloatOrZero => Values::Float(Vec::new()),
            Kind::Text | Kind::Ip => Values::Text { bytes: Vec::new(), ends: Vec::new() },
            Kind::Time => Values::Time(Vec::new()),
            Kind::IntList => {
                Values::List { elements: Vec::new(), definition: Vec::new(), repetition: Vec::new() }
            }
        };
        Self { values, levels: Vec::new() }
    }

    /// Adds a cell after `rows` others. Gives the bytes it takes, or nothing if it is not of the column's kind.
    #[inline]
    fn push(&mut self, rows: usize, cell: &Cell) -> Option<usize> {
        let bytes = match (&mut self.values, cell) {
            (Values::List { elements, definition, repetition }, Cell::IntList(list)) => {
                let list = list.as_slice();
                elements.extend_from_slice(list);
                definition.extend(list.iter().map(|_| LIST_ELEMENT));
                repetition.extend(list.iter().enumerate().map(|(index, _)| i16::from(index > 0)));
                if list.is_empty() {
                    definition.push(LIST_EMPTY);
                    repetition.push(0);
                }
                return Some(size_of_val(list) + 2 * size_of::<i16>() * list.len().max(1));
            }
            (Values::List { definition, repetition, .. }, Cell::Null) => {
                definition.push(LIST_NULL);
                repetition.push(0);
                return Some(2 * size_of::<i16>());
            }
            (_, Cell::Null) => {
                if self.levels.is_empty() {
                    self.levels.resize(rows, PRESENT);
                }
                self.levels.push(NULL);
                return Some(size_of::<i16>());
            }
            (Values::Int(values), Cell::Int(value)) => {
                values.push(*value);
                size_of::<i64>()
            }
            (Values::Float(values), Cell::Float(value)) => {
                values.push(*value);
                size_of::<f64>()
            }
            // The integer 0 of CICFlowMeter's empty statistics.
            (Values::Float(values), Cell::Int(value)) => {
                values.push(*value as f64);
                size_of::<f64>()
            }
            (Values::Time(values), Cell::Time(time)) => {
                values.push(time.micros);
                size_of::<i64>()
            }
            (Values::Text { bytes, ends }, cell) => {
                let start = bytes.len();
                match cell {
                    Cell::Name(text) => bytes.extend_from_slice(text.as_bytes()),
                    Cell::Text(text) => bytes.extend_from_slice(text.as_str().as_bytes()),
                    Cell::Names(names) => bytes.extend_from_slice(names.as_slice().join(" ").as_bytes()),
                    Cell::Ip(ip) => push_ip(bytes, *ip),
                    _ => return None,
                }
                ends.push(bytes.len());
                bytes.len() - start + size_of::<usize>()
            }
            _ => return None,
        };
        if !self.levels.is_empty() {
            self.levels.push(PRESENT);
        }
        Some(bytes)
    }

    /// Writes every cell and forgets it.
    fn write(
        &mut self,
        column: &mut SerializedColumnWriter<'_>,
        all_present: &[i16],
    ) -> Result<(), ParquetError> {
        let levels = Some(if self.levels.is_empty() { all_present } else { &self.levels });
        match &mut self.values {
            Values::Int(values) | Values::Time(values) => {
                column.typed::<Int64Type>().write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Float(values) => {
                column.typed::<DoubleType>().write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Text { bytes, ends } => {
                // One shared allocation; the slices count references to it.
                let texts = ByteArray::from(std::mem::take(bytes));
                let mut start = 0;
                let slices: Vec<_> = ends
                    .drain(..)
                    .map(|end| {
                        let text = texts.slice(start, end - start);
                        start = end;
                        text
                    })
                    .collect();
                column.typed::<ByteArrayType>().write_batch(&slices, levels, None)?;
            }
            Values::List { elements, definition, repetition } => {
                column.typed::<Int32Type>().write_batch(elements, Some(definition), Some(repetition))?;
                elements.clear();
                definition.clear();
                repetition.clear();
            }
        }
        self.levels.clear();
        Ok(())
    }
}

fn field<R>(column: &Column<R>) -> Result<Arc<Type>, ParquetError> {
    let optional = |physical, logical: Option<LogicalType>| {
        Type::primitive_type_builder(column.name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    match column.kind {
        Kind::Int => optional(Physical::INT64, None),
        Kind::Float | Kind::FloatOrZero => optional(Physical::DOUBLE, None),
        Kind::Text | Kind::Ip => optional(Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Time => {
            let micros = LogicalType::timestamp(true, TimeUnit::MICROS);
            optional(Physical::INT64, Some(micros))
        }
        Kind::IntList => {
            let element = Type::primitive_type_builder("element", Physical::INT32)
                .with_repetition(Repetition::REQUIRED)
                .build()?;
            let list = Type::group_type_builder("list")
                .with_repetition(Repetition::REPEATED)
                .with_fields(vec![Arc::new(element)])
                .build()?;
            Type::group_type_builder(column.name)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(Some(LogicalType::List))
                .with_converted_type(ConvertedType::LIST)
                .with_fields(vec![Arc::new(list)])
                .build()
                .map(Arc::new)
        }
    }
}

#[cfg(feature = "parquet-zstd")]
fn compression() -> Compression {
    Compression::ZSTD(parquet::basic::ZstdLevel::default())
}

#[cfg(not(feature = "parquet-zstd"))]
const fn compression() -> Compression {
    Compression::SNAPPY
}

/// The encoder wraps what the output said; what the output said decides the kind of error.
fn export_error(error: ParquetError, accepted_bytes: u64) -> ExportError {
    let whole = unreadable(accepted_bytes);
    let source: Box<dyn Error + Send + Sync> = match error {
        ParquetError::External(source) => source,
        error => Box::new(error),
    };
    match source.downcast::<io::Error>() {
        Ok(source) => ExportError::of_io(*source, whole),
        Err(source) => ExportError::Parquet { whole, source },
    }
}

const fn unreadable(accepted_bytes: u64) -> Whole {
    Whole { rows: 0, bytes: 0, torn_bytes: accepted_bytes }
}

#[derive(Debug, thiserror::Error)]
#[error("a cell of column {column:?} is not of its kind, {expect:?}")]
struct CellKindError {
    column: &'static str,
    expect: Kind,
}

/// Most rows of a row group.
const GROUP_ROWS: usize = 1 << 16;

/// A row group closes once it holds this much, before encoding.
const GROUP_BYTES: usize = 64 << 20;

/// Definition levels of an optional column.
const NULL: i16 = 0;
const PRESENT: i16 = 1;

/// Definition levels of `optional group name (LIST) { repeated group list { required int32 element } }`: how deep the
/// path exists. A repetition level of 0 starts a row, 1 goes on with its list.
const LIST_NULL: i16 = 0;
const LIST_EMPTY: i16 = 1;
const LIST_ELEMENT: i16 = 2;

#[cfg(test)]
mod tests {
    use std::fs::File;

    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, Row, RowAccessor};
    use proptest::prelude::*;
    use tempfile::NamedTempFile;

    use super::*;
    use crate::test_rows::{COLUMNS, TestRow, rows};
    use crate::{Format, NumberText, RowWriter};

    fn write(rows: &[TestRow]) -> NamedTempFile {
        let file = NamedTempFile::new().unwrap();
        let meta = TableMeta {
            schema_id: "test-1".to_owned(),
            schema_hash: "c0ffee".to_owned(),
            producer: "tapline 0.1.0".to_owned(),
        };
        let out = file.reopen().unwrap().into();
        let mut writer = RowWriter::new(Format::Parquet, COLUMNS, NumberText::Java, meta, out).unwrap();
        for row in rows {
            writer.write(row).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), rows.len() as u64);
        file
    }

    fn read(file: &NamedTempFile) -> SerializedFileReader<File> {
        SerializedFileReader::new(file.reopen().unwrap()).unwrap()
    }

    fn list(row: &Row, column: usize) -> Option<Vec<i32>> {
        let (_, field) = row.get_column_iter().nth(column).unwrap();
        let Field::ListInternal(list) = field else {
            assert_eq!(*field, Field::Null);
            return None;
        };
        let element = |field: &Field| match field {
            Field::Int(value) => *value,
            other => panic!("{other:?}"),
        };
        Some(list.elements().iter().map(element).collect())
    }

    fn bits(value: Option<f64>) -> Option<u64> {
        value.map(f64::to_bits)
    }

    #[track_caller]
    fn check_same(expect: &TestRow, row: &Row) {
        let text = |column| row.get_string(column).ok().map(String::as_str);
        assert_eq!(row.get_long(0).ok(), expect.id);
        assert_eq!(bits(row.get_double(1).ok()), bits(expect.rate));
        // The integer 0 of an empty column has no sign.
        assert_eq!(
            bits(row.get_double(2).ok()),
            bits(expect.idle.map(|idle| if idle == 0.0 { 0.0 } else { idle }))
        );
        assert_eq!(text(3), expect.label);
        assert_eq!(text(4), expect.flow_id.as_deref());
        assert_eq!(text(5), expect.src_ip.map(|ip| ip.to_string()).as_deref());
        assert_eq!(row.get_timestamp_micros(6).ok(), expect.start);
        assert_eq!(list(row, 7), expect.sequence);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn rows_read_back(rows in prop::collection::vec(rows(), 0..40)) {
            let file = write(&rows);
            let reader = read(&file);
            let read: Vec<Row> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), rows.len());
            for (expect, row) in rows.iter().zip(&read) {
                check_same(expect, row);
            }
        }
    }

    #[test]
    fn the_file_says_what_it_holds() {
        let file = write(&[TestRow::sample()]);
        let reader = read(&file);
        let metadata = reader.metadata().file_metadata();
        let pairs: Vec<_> = metadata
            .key_value_metadata()
            .unwrap()
            .iter()
            .map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("tapline.schema", "test-1"),
                ("tapline.schema_hash", "c0ffee"),
                ("tapline.producer", "tapline 0.1.0")
            ]
        );
        let mut schema = Vec::new();
        parquet::schema::printer::print_schema(&mut schema, metadata.schema());
        assert_eq!(
            String::from_utf8(schema).unwrap(),
            "message tapline {
  OPTIONAL INT64 id;
  OPTIONAL DOUBLE Flow Bytes/s;
  OPTIONAL DOUBLE idle;
  OPTIONAL BYTE_ARRAY label, \"quoted\" (STRING);
  OPTIONAL BYTE_ARRAY flow_id (STRING);
  OPTIONAL BYTE_ARRAY src_ip (STRING);
  OPTIONAL INT64 start (TIMESTAMP(MICROS,true));
  OPTIONAL group sequence (LIST) {
    REPEATED group list {
      REQUIRED INT32 element;
    }
  }
}
"
        );
    }

    #[test]
    fn what_is_known_late_stands_behind_the_rest() {
        let file = NamedTempFile::new().unwrap();
        let out = file.reopen().unwrap().into();
        let meta = TableMeta::default();
        let mut writer = RowWriter::new(Format::Parquet, COLUMNS, NumberText::Java, meta, out).unwrap();
        writer.write(&TestRow::sample()).unwrap();
        writer.annotate("rows", "1".to_owned());
        writer.finish().unwrap();
        let reader = read(&file);
        let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap();
        assert_eq!(pairs.len(), 4);
        assert_eq!((pairs[3].key.as_str(), pairs[3].value.as_deref()), ("rows", Some("1")));
    }

    #[test]
    fn row_groups_are_bounded() {
        let row = |id: usize| TestRow { id: Some(id as i64), ..TestRow::default() };
        let rows: Vec<_> = (0..GROUP_ROWS + 2).map(row).collect();
        let file = write(&rows);
        let reader = read(&file);
        let groups: Vec<_> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(groups, [GROUP_ROWS as i64, 2]);
        let last = reader.get_row_iter(None).unwrap().last().unwrap().unwrap();
        check_same(&row(GROUP_ROWS + 1), &last);
    }

    #[test]
    fn a_cell_of_another_kind_is_refused() {
        const LYING: &[Column<TestRow>] =
            &[Column { name: "lie", kind: Kind::Int, unit: "", definition: "", cell: |_| Cell::Name("1") }];
        let out = crate::Output::stream(io::sink());
        let mut writer =
            RowWriter::new(Format::Parquet, LYING, NumberText::Java, TableMeta::default(), out).unwrap();
        let error = writer.write(&TestRow::default()).unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "a cell of column \"lie\" is not of its kind, Int");
        assert!(writer.finish().is_err());
    }
}
