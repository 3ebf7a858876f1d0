//! Parquet files one after the other, each with its final name only when it is whole.
//!
//! ```text
//!  rows ──► <name>.parquet.partial ──long or old enough: footer, fsync, rename──► <name>.parquet
//! ```
//!
//! Nothing of a Parquet file can be read before its footer is there. So its rows count as written when it has its name;
//! if the disk fills up before, all rows of the file are dropped and counted, and it is removed. A killed program loses
//! the file that it was writing: small or young files lose less.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use tapline_record::{Column, Timestamp};

use crate::compressor::Compressor;
use crate::error::ExportError;
use crate::file_archive::{FileArchive, FileRules, Fsync, SinkError, with_ending};
use crate::rotating_file::{RETRY_US, cause_of, is_past};
use crate::rotating_rows::RowFiles;
use crate::row_writer::{RowWriter, TableMeta};
use crate::sink_counters::{Count, DropCause, SinkMeter};
use crate::{Format, NumberText, Output};

pub(crate) struct RotatingTable<R: 'static, T: 'static> {
    archive: FileArchive,
    meter: SinkMeter,
    columns: &'static [Column<R>],
    tail: &'static [Column<T>],
    meta: TableMeta,
    /// `None` until there is a row.
    active: Option<Active<R, T>>,
    sequence: u64,
    /// After a failure: when, and what rows are dropped for until [`RETRY_US`] later.
    failed: Option<(Timestamp, DropCause)>,
}

/// The file that is written.
struct Active<R: 'static, T: 'static> {
    rows: RowWriter<R, T>,
    /// The same file, to be synced once the writer has ended.
    file: File,
    /// Its final name.
    path: PathBuf,
    partial: PathBuf,
    start: Timestamp,
}

impl<R: 'static, T: 'static> RotatingTable<R, T> {
    pub(crate) fn open(
        rules: FileRules,
        columns: &'static [Column<R>],
        tail: &'static [Column<T>],
        meta: TableMeta,
        meter: SinkMeter,
        now: Timestamp,
    ) -> Result<Self, SinkError> {
        let (archive, sequence) = FileArchive::open(rules, meter.clone())?;
        let mut table = Self { archive, meter, columns, tail, meta, active: None, sequence, failed: None };
        // A folder that cannot be written to should be known now and not at the first row.
        match table.begin(now) {
            Ok(active) => {
                drop(active.rows);
                let removed = fs::remove_file(&active.partial);
                removed.map_err(|source| SinkError::open(&active.partial, source))?;
            }
            Err(error) if cause_of(&error) == DropCause::DiskFull => table.fail(&error, now),
            Err(source) => return Err(SinkError::open(&table.archive.rules.folder, source)),
        }
        Ok(table)
    }

    /// Ends the file that is written, if there is one.
    fn rotate(&mut self, now: Timestamp) {
        let Some(Active { rows, file, path, partial, .. }) = self.active.take() else { return };
        let given = rows.rows();
        let finished = match rows.finish() {
            Ok(_) => self.publish(&file, &partial, &path),
            Err(error) => Err(io_error(error)),
        };
        match finished {
            Ok(bytes) => {
                self.meter.add(Count::WrittenRows, given);
                self.meter.add(Count::WrittenBytes, bytes);
                self.meter.add(Count::Rotated, 1);
                self.archive.retain(self.archive.rules.max_bytes);
            }
            Err(error) => self.lose(given, &partial, &error, now),
        }
    }

    /// Gives a whole file its name, durably.
    fn publish(&self, file: &File, partial: &PathBuf, path: &PathBuf) -> io::Result<u64> {
        let bytes = file.metadata()?.len();
        let durable = self.archive.rules.fsync != Fsync::Never;
        if durable {
            file.sync_all()?;
        }
        fs::rename(partial, path)?;
        if durable && let Err(error) = self.archive.sync_folder() {
            // It has its name; only a power cut could take it back.
            self.meter.add_error(format_args!("syncing the folder of {}: {error}", path.display()));
        }
        Ok(bytes)
    }

    /// Whether there is a file now; if not, the row is counted.
    fn open_active(&mut self, now: Timestamp) -> bool {
        if let Some((since, cause)) = self.failed {
            if !is_past(since, RETRY_US, now) {
                self.meter.add_dropped(cause, 1);
                return false;
            }
            self.failed = None;
            self.meter.add(Count::Retries, 1);
        }
        match self.begin(now) {
            Ok(active) => {
                self.sequence += 1;
                self.active = Some(active);
                true
            }
            Err(error) => {
                self.meter.add_dropped(cause_of(&error), 1);
                self.fail(&error, now);
                false
            }
        }
    }

    fn begin(&self, now: Timestamp) -> io::Result<Active<R, T>> {
        let path = self.archive.finished_path(now, self.sequence);
        let partial = with_ending(&path, ".partial");
        let file =
            File::options().write(true).create_new(true).mode(self.archive.rules.mode).open(&partial)?;
        let begin = || {
            let out = Output::from(file.try_clone()?);
            let meta = self.meta.clone();
            RowWriter::with_tail(Format::Parquet, self.columns, self.tail, NumberText::Shortest, meta, out)
                .map_err(io_error)
        };
        match begin() {
            Ok(rows) => Ok(Active { rows, file, path, partial, start: now }),
            Err(error) => {
                let _ = fs::remove_file(partial);
                Err(error)
            }
        }
    }

    /// The file cannot become whole any more.
    #[cold]
    fn give_up(&mut self, error: ExportError, now: Timestamp) {
        let Some(active) = self.active.take() else { return };
        self.lose(active.rows.rows(), &active.partial, &io_error(error), now);
    }

    #[cold]
    fn lose(&mut self, rows: u64, partial: &PathBuf, error: &io::Error, now: Timestamp) {
        self.meter.add_dropped(cause_of(error), rows);
        // Its room is what the next file needs.
        let _ = fs::remove_file(partial);
        self.fail(error, now);
    }

    #[cold]
    fn fail(&mut self, error: &io::Error, now: Timestamp) {
        let folder = self.archive.rules.folder.display();
        self.meter.add_error(format_args!("writing Parquet to {folder}: {error}"));
        self.failed = Some((now, cause_of(error)));
    }
}

impl<R: 'static, T: 'static> RowFiles<R, T> for RotatingTable<R, T> {
    #[inline]
    fn write_with(&mut self, row: &R, tail: &T, now: Timestamp) {
        if self.active.is_none() && !self.open_active(now) {
            return;
        }
        let Some(active) = &mut self.active else { return };
        if let Err(error) = active.rows.write_with(row, tail) {
            self.give_up(error, now);
        } else if active.rows.bytes() >= self.archive.rules.max_bytes {
            self.rotate(now);
        }
    }

    fn tick(&mut self, now: Timestamp) {
        let age = self.archive.rules.max_age_us;
        let old = |active: &Active<R, T>| age.is_some_and(|age| is_past(active.start, age, now));
        if self.active.as_ref().is_some_and(old) {
            self.rotate(now);
        }
    }

    fn reopen(&mut self, now: Timestamp) {
        self.rotate(now);
    }

    fn close(mut self: Box<Self>, now: Timestamp) {
        self.rotate(now);
    }

    fn meter(&self) -> &SinkMeter {
        &self.meter
    }

    fn compressor(&self) -> Option<Compressor> {
        None
    }
}

/// What the output said, if it was the output.
fn io_error(error: ExportError) -> io::Error {
    match error {
        ExportError::Io { source, .. } | ExportError::Full { source, .. } => source,
        error => io::Error::other(error),
    }
}
