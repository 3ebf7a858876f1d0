//! The one door: rows in, bytes out.

use std::fmt;
use std::io;

use tapline_record::Column;

use crate::error::{ExportError, Whole};
use crate::line_buffer::LineBuffer;
use crate::line_encoder::LineEncoder;
use crate::output::{Output, Sink};
#[cfg(feature = "parquet")]
use crate::parquet::ParquetTable;
use crate::{Format, NumberText};

/// Writes rows of type `R`, described by their columns, to one output. Each may have a tail: further columns over a value
/// of type `T` that is not part of `R` and is known only when the row is written.
///
/// The accessor of a column may be called more than once for a row, and out of the order of the columns.
///
/// [`RowWriter::finish`] must be called: dropping a writer loses the rows it still holds.
pub struct RowWriter<R: 'static, T: 'static = ()> {
    columns: &'static [Column<R>],
    tail: &'static [Column<T>],
    numbers: NumberText,
    encoder: Encoder,
    rows: u64,
    /// The first failure; the output is not touched after it.
    failed: Option<(io::ErrorKind, Whole)>,
}

/// What a table says about itself where its format has room for it: the key-value metadata of Parquet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableMeta {
    /// Name of the schema, `tapline.schema`.
    pub schema_id: String,
    /// Hash of the columns, `tapline.schema_hash`.
    pub schema_hash: String,
    /// Program and version, `tapline.producer`.
    pub producer: String,
}

enum Encoder {
    Lines(LineBuffer, LineEncoder),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetTable>),
}

impl<R: 'static> RowWriter<R> {
    /// A writer of `columns`, in their order, to `out`. The CSV header is written at once.
    ///
    /// # Errors
    ///
    /// [`ExportError::FormatNotBuilt`] if this build lacks the format, else whatever the output says to its first bytes.
    pub fn new(
        format: Format,
        columns: &'static [Column<R>],
        numbers: NumberText,
        meta: TableMeta,
        out: Output,
    ) -> Result<Self, ExportError> {
        Self::with_tail(format, columns, &[], numbers, meta, out)
    }

    /// Writes a row. It may wait in a buffer for others; see [`RowWriter::flush`].
    ///
    /// # Errors
    ///
    /// Those of the output, which may speak of rows given earlier.
    #[inline]
    pub fn write(&mut self, row: &R) -> Result<(), ExportError> {
        self.write_with(row, &())
    }
}

impl<R: 'static, T: 'static> RowWriter<R, T> {
    /// A writer of `columns` and then `tail`, in their order, to `out`. The CSV header is written at once.
    ///
    /// # Errors
    ///
    /// Those of [`RowWriter::new`].
    pub fn with_tail(
        format: Format,
        columns: &'static [Column<R>],
        tail: &'static [Column<T>],
        numbers: NumberText,
        meta: TableMeta,
        out: Output,
    ) -> Result<Self, ExportError> {
        let sink = Sink::new(out);
        let encoder = match format {
            Format::Csv => {
                let mut lines = LineBuffer::new(sink);
                LineEncoder::Csv.push_header(lines.line(), columns, tail);
                lines.end_header()?;
                Encoder::Lines(lines, LineEncoder::Csv)
            }
            Format::Ndjson => Encoder::Lines(LineBuffer::new(sink), LineEncoder::ndjson(columns, tail)),
            #[cfg(feature = "parquet")]
            Format::Parquet => Encoder::Parquet(Box::new(ParquetTable::new(columns, tail, meta, sink)?)),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => {
                drop(meta);
                return Err(ExportError::FormatNotBuilt { format });
            }
        };
        Ok(Self { columns, tail, numbers, encoder, rows: 0, failed: None })
    }

    /// Writes a row and its tail. It may wait in a buffer for others; see [`RowWriter::flush`].
    ///
    /// # Errors
    ///
    /// Those of the output, which may speak of rows given earlier.
    #[inline]
    pub fn write_with(&mut self, row: &R, tail: &T) -> Result<(), ExportError> {
        self.check()?;
        let outcome = match &mut self.encoder {
            Encoder::Lines(lines, encoder) => {
                encoder.push_row(lines.line(), self.numbers, (self.columns, row), (self.tail, tail));
                lines.end_row()
            }
            #[cfg(feature = "parquet")]
            Encoder::Parquet(table) => table.push_row(self.columns, row, self.tail, tail),
        };
        self.rows += 1;
        outcome.map_err(|error| self.fail(error))
    }

    /// Adds to what the table says about itself, beside [`TableMeta`], where its format has room for it. At any time: it
    /// is written by [`RowWriter::finish`].
    pub fn annotate(&mut self, key: &str, value: String) {
        match &mut self.encoder {
            Encoder::Lines(..) => drop((key, value)),
            #[cfg(feature = "parquet")]
            Encoder::Parquet(table) => table.annotate(key, value),
        }
    }

    /// Hands every whole row over to the output now, for a reader that waits. Parquet rows stay until their row group
    /// is full, because small row groups are slow to read.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn flush(&mut self) -> Result<(), ExportError> {
        self.check()?;
        let outcome = match &mut self.encoder {
            Encoder::Lines(lines, _) => lines.flush(),
            #[cfg(feature = "parquet")]
            Encoder::Parquet(_) => Ok(()),
        };
        outcome.map_err(|error| self.fail(error))
    }

    /// Writes what is still held, and the footer of Parquet, and flushes the output. Gives the number of rows.
    ///
    /// # Errors
    ///
    /// Those of the output; after a failed write the same again.
    pub fn finish(mut self) -> Result<u64, ExportError> {
        self.check()?;
        match self.encoder {
            Encoder::Lines(ref mut lines, _) => lines.flush()?,
            #[cfg(feature = "parquet")]
            Encoder::Parquet(table) => table.finish()?,
        }
        Ok(self.rows)
    }

    /// Rows given to [`RowWriter::write`].
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Length of the output so far, with text that waits in the buffer; without Parquet rows that wait for their
    /// row group, because their encoded length is not known.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.encoder {
            Encoder::Lines(lines, _) => lines.bytes(),
            #[cfg(feature = "parquet")]
            Encoder::Parquet(table) => table.bytes(),
        }
    }

    #[inline]
    fn check(&self) -> Result<(), ExportError> {
        match self.failed {
            None => Ok(()),
            Some((kind, whole)) => Err(ExportError::of_io(kind.into(), whole)),
        }
    }

    #[cold]
    fn fail(&mut self, error: ExportError) -> ExportError {
        self.failed = Some((error.io_kind(), error.whole()));
        error
    }
}

impl<R, T> fmt::Debug for RowWriter<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.encoder {
            Encoder::Lines(_, LineEncoder::Csv) => Format::Csv,
            Encoder::Lines(_, LineEncoder::Ndjson(..)) => Format::Ndjson,
            #[cfg(feature = "parquet")]
            Encoder::Parquet(_) => Format::Parquet,
        };
        f.debug_struct("RowWriter").field("format", &format).field("rows", &self.rows).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::{Arc, Mutex};

    use tapline_record::Cell;
    use tapline_record::column::Kind;

    use super::*;
    use crate::test_rows::{COLUMNS, TestRow};

    /// Accepts `room` bytes, then refuses with `refusal`.
    #[derive(Clone)]
    struct Narrow {
        held: Arc<Mutex<Vec<u8>>>,
        room: usize,
        refusal: io::ErrorKind,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut held = self.held.lock().unwrap();
            let taken = bytes.len().min(self.room - held.len());
            if taken == 0 && !bytes.is_empty() {
                return Err(self.refusal.into());
            }
            held.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn narrow(room: usize, refusal: io::ErrorKind) -> Narrow {
        Narrow { held: Arc::default(), room, refusal }
    }

    fn writer(format: Format, out: Output) -> Result<RowWriter<TestRow>, ExportError> {
        RowWriter::new(format, COLUMNS, NumberText::Java, TableMeta::default(), out)
    }

    #[test]
    fn header_is_written_at_once() {
        let out = narrow(10_000, io::ErrorKind::Other);
        let rows = writer(Format::Csv, Output::stream(out.clone())).unwrap();
        let header = out.held.lock().unwrap().clone();
        assert!(header.starts_with(b"id,") && header.ends_with(b"\n"));
        assert_eq!(rows.bytes(), header.len() as u64);
        assert_eq!(rows.finish().unwrap(), 0);
    }

    #[test]
    fn a_tail_stands_behind_the_row() {
        const TAIL: &[Column<i64>] = &[
            Column { name: "n", kind: Kind::Int, unit: "", definition: "a number", cell: |n| Cell::Int(*n) },
            Column { name: "none", kind: Kind::Text, unit: "", definition: "nothing", cell: |_| Cell::Null },
        ];
        for (format, header, seam) in
            [(Format::Csv, ",n,none\n", ",7,\n"), (Format::Ndjson, "", ",\"n\":7,\"none\":null}\n")]
        {
            let text = |tail: bool| {
                let out = narrow(100_000, io::ErrorKind::Other);
                let stream = Output::stream(out.clone());
                if tail {
                    let numbers = NumberText::Java;
                    let meta = TableMeta::default();
                    let mut rows =
                        RowWriter::with_tail(format, COLUMNS, TAIL, numbers, meta, stream).unwrap();
                    rows.write_with(&TestRow::sample(), &7).unwrap();
                    rows.finish().unwrap();
                } else {
                    let mut rows = writer(format, stream).unwrap();
                    rows.write(&TestRow::sample()).unwrap();
                    rows.finish().unwrap();
                }
                String::from_utf8(out.held.lock().unwrap().clone()).unwrap()
            };
            let expect: String = (text(false).lines().enumerate())
                .map(|(at, line)| match (format, at) {
                    (Format::Csv, 0) => format!("{line}{header}"),
                    (Format::Csv, _) => format!("{line}{seam}"),
                    _ => format!("{}{seam}", line.strip_suffix('}').unwrap()),
                })
                .collect();
            assert_eq!(text(true), expect);
        }
    }

    #[test]
    fn flush_shows_rows_to_a_waiting_reader() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let mut rows = writer(Format::Ndjson, Output::stream(pipe)).unwrap();
        rows.write(&TestRow::sample()).unwrap();
        rows.flush().unwrap();
        let mut text = vec![0; usize::try_from(rows.bytes()).unwrap()];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(text.last(), Some(&b'\n'));
        assert_eq!(rows.rows(), 1);
        assert_eq!(rows.finish().unwrap(), 1);
        assert_eq!(reader.read(&mut text).unwrap(), 0);
    }

    #[test]
    fn a_closed_pipe_is_told_apart() {
        for format in [Format::Csv, Format::Ndjson] {
            let (reader, pipe) = io::pipe().unwrap();
            let mut rows = writer(format, Output::stream(pipe)).unwrap();
            drop(reader);
            rows.write(&TestRow::sample()).unwrap();
            assert!(rows.flush().unwrap_err().is_closed_pipe());
            assert!(rows.write(&TestRow::sample()).unwrap_err().is_closed_pipe());
            assert!(rows.finish().unwrap_err().is_closed_pipe());
        }
    }

    #[test]
    fn a_full_disk_is_said_once_and_stays_said() {
        let out = narrow(1_000, io::ErrorKind::StorageFull);
        let mut rows = writer(Format::Csv, Output::stream(out.clone())).unwrap();
        let error = loop {
            if let Err(error) = rows.write(&TestRow::sample()).and_then(|()| rows.flush()) {
                break error;
            }
        };
        assert!(error.is_full());
        assert_eq!(error.whole().rows + 1, rows.rows());
        assert_eq!(error.whole().bytes + error.whole().torn_bytes, 1_000);
        assert_eq!(
            error.to_string(),
            "the output is full; 8 whole rows in 903 bytes were written, 97 torn bytes follow them"
        );
        assert_eq!(rows.write(&TestRow::sample()).unwrap_err().whole(), error.whole());
        let again = rows.finish().unwrap_err();
        assert!(again.is_full());
        assert_eq!(again.whole(), error.whole());
        assert_eq!(out.held.lock().unwrap().len(), 1_000);
    }

    #[test]
    fn an_output_that_takes_nothing_is_known_before_the_first_row() {
        let out = narrow(0, io::ErrorKind::PermissionDenied);
        let error = writer(Format::Csv, Output::stream(out)).unwrap_err();
        assert!(matches!(error, ExportError::Io { whole: Whole { rows: 0, bytes: 0, torn_bytes: 0 }, .. }));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_full_device() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(writer(Format::Csv, full.into()).unwrap_err().is_full());
    }

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn parquet_is_not_built() {
        let error = writer(Format::Parquet, Output::stream(io::sink())).unwrap_err();
        assert_eq!(error.to_string(), "parquet output is not in this build (feature \"parquet\")");
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn parquet_errors_say_that_nothing_can_be_read() {
        for room in [0, 3, 100, 2_000] {
            let out = narrow(room, io::ErrorKind::StorageFull);
            let outcome = writer(Format::Parquet, Output::stream(out)).and_then(|mut rows| {
                rows.write(&TestRow::sample())?;
                rows.finish()
            });
            let error = outcome.unwrap_err();
            assert!(error.is_full());
            assert_eq!(error.whole(), Whole { rows: 0, bytes: 0, torn_bytes: room as u64 });
        }
    }
}
