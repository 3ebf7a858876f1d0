//! Rows to files that end by size and age, in any format.
//!
//! In: rows with their tails, and the time. Out: CSV and NDJSON through a [`RotatingFile`]; Parquet
//! as files that show only when they are whole. Like all sinks it never fails once it is open: see
//! [`SinkMeter`].

use std::fmt;

use tapline_record::{Column, Timestamp};

use crate::compressor::Compressor;
use crate::file_archive::{FileRules, SinkError};
use crate::line_encoder::LineEncoder;
use crate::rotating_file::RotatingFile;
#[cfg(feature = "parquet")]
use crate::rotating_table::RotatingTable;
use crate::sink_counters::SinkMeter;
use crate::{Format, NumberText, TableMeta};

/// A [`RowWriter`](crate::RowWriter) that never ends: rows of type `R` with tails of type `T`, under [`FileRules`].
///
/// [`RotatingRows::close`] must be called: dropping it loses the rows that it still holds.
pub struct RotatingRows<R: 'static, T: 'static = ()>(Box<dyn RowFiles<R, T> + Send>);

/// Files of one format.
pub(crate) trait RowFiles<R, T> {
    fn write_with(&mut self, row: &R, tail: &T, now: Timestamp);
    fn tick(&mut self, now: Timestamp);
    fn reopen(&mut self, now: Timestamp);
    fn close(self: Box<Self>, now: Timestamp);
    fn meter(&self) -> &SinkMeter;
    fn compressor(&self) -> Option<Compressor>;
}

/// CSV and NDJSON.
struct LineFiles<R: 'static, T: 'static> {
    columns: &'static [Column<R>],
    tail: &'static [Column<T>],
    numbers: NumberText,
    encoder: LineEncoder,
    lines: RotatingFile,
}

impl<R: 'static, T: 'static> RotatingRows<R, T> {
    /// Opens the files. `meta` is what Parquet says about itself.
    ///
    /// # Errors
    ///
    /// [`SinkError`]. A full disk is none: rows are dropped and counted until there is room.
    #[expect(clippy::too_many_arguments, reason = "the five of a row writer, and the three of a file")]
    pub fn open(
        rules: FileRules,
        format: Format,
        columns: &'static [Column<R>],
        tail: &'static [Column<T>],
        numbers: NumberText,
        meta: TableMeta,
        meter: SinkMeter,
        now: Timestamp,
    ) -> Result<Self, SinkError> {
        let encoder = match format {
            Format::Csv => LineEncoder::Csv,
            Format::Ndjson => LineEncoder::ndjson(columns, tail),
            #[cfg(feature = "parquet")]
            Format::Parquet => {
                return Ok(Self(Box::new(RotatingTable::open(rules, columns, tail, meta, meter, now)?)));
            }
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => {
                drop(meta);
                return Err(SinkError::FormatNotBuilt { format });
            }
        };
        let mut header = Vec::new();
        encoder.push_header(&mut header, columns, tail);
        if !header.is_empty() {
            header.push(b'\n');
        }
        let lines = RotatingFile::open(rules, &header, meter, now)?;
        Ok(Self(Box::new(LineFiles { columns, tail, numbers, encoder, lines })))
    }

    /// Takes a row and its tail. It waits for others; see [`RotatingRows::tick`].
    #[inline]
    pub fn write_with(&mut self, row: &R, tail: &T, now: Timestamp) {
        self.0.write_with(row, tail, now);
    }

    /// To be called about once a second: hands over lines that wait, ends a file that is too old. Rows of Parquet wait for
    /// their row group.
    pub fn tick(&mut self, now: Timestamp) {
        self.0.tick(now);
    }

    /// For SIGHUP: opens the active file by its name again; ends the Parquet file that is being written.
    pub fn reopen(&mut self, now: Timestamp) {
        self.0.reopen(now);
    }

    /// Writes what is still held; the Parquet file that is being written gets its footer and its name.
    pub fn close(self, now: Timestamp) {
        self.0.close(now);
    }

    /// What has been written, dropped and so on.
    #[must_use]
    pub fn meter(&self) -> &SinkMeter {
        self.0.meter()
    }

    /// As [`RotatingFile::compressor`]; none for Parquet, which is compressed in itself.
    #[must_use]
    pub fn compressor(&self) -> Option<Compressor> {
        self.0.compressor()
    }
}

impl<R: 'static, T: 'static> RowFiles<R, T> for LineFiles<R, T> {
    #[inline]
    fn write_with(&mut self, row: &R, tail: &T, now: Timestamp) {
        let line = self.lines.line();
        self.encoder.push_row(line, self.numbers, (self.columns, row), (self.tail, tail));
        self.lines.end_row(now);
    }

    fn tick(&mut self, now: Timestamp) {
        self.lines.tick(now);
    }

    fn reopen(&mut self, now: Timestamp) {
        self.lines.reopen(now);
    }

    fn close(self: Box<Self>, now: Timestamp) {
        self.lines.close(now);
    }

    fn meter(&self) -> &SinkMeter {
        self.lines.meter()
    }

    fn compressor(&self) -> Option<Compressor> {
        self.lines.compressor()
    }
}

impl<R, T> fmt::Debug for RotatingRows<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RotatingRows").field("meter", self.meter()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rows::{COLUMNS, TestRow};
    use crate::{Output, RowWriter};

    const TAIL: &[Column<i64>] = &[Column {
        name: "n",
        kind: tapline_record::column::Kind::Int,
        unit: "",
        definition: "a number",
        cell: |n| tapline_record::Cell::Int(*n),
    }];

    #[test]
    fn lines_are_those_of_the_row_writer() {
        for format in [Format::Csv, Format::Ndjson] {
            let folder = tempfile::tempdir().unwrap();
            let now = Timestamp::from_micros(0);
            let rules = FileRules::new(folder.path(), "rows", format.name());
            let (numbers, meta) = (NumberText::Shortest, TableMeta::default());
            let meter = SinkMeter::new();
            let mut sink =
                RotatingRows::open(rules, format, COLUMNS, TAIL, numbers, meta.clone(), meter.clone(), now)
                    .unwrap();
            let one = folder.path().join("one");
            let out = Output::from(std::fs::File::create(&one).unwrap());
            let mut writer = RowWriter::with_tail(format, COLUMNS, TAIL, numbers, meta, out).unwrap();
            for n in 0..3 {
                sink.write_with(&TestRow::sample(), &n, now);
                writer.write_with(&TestRow::sample(), &n).unwrap();
            }
            sink.close(now);
            writer.finish().unwrap();
            let expect = std::fs::read(one).unwrap();
            assert_eq!(std::fs::read(folder.path().join(format!("rows.{}", format.name()))).unwrap(), expect);
            assert_eq!(meter.read().written_rows, 3);
        }
    }

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn parquet_is_not_built() {
        let rules = FileRules::new("/nonexistent", "rows", "parquet");
        let (numbers, meta) = (NumberText::Shortest, TableMeta::default());
        let now = Timestamp::from_micros(0);
        let error =
            RotatingRows::open(rules, Format::Parquet, COLUMNS, TAIL, numbers, meta, SinkMeter::new(), now);
        assert!(matches!(error, Err(SinkError::FormatNotBuilt { .. })));
    }
}
