//! Lines to files that end by size and age, survive full disks and kills, and make room for those that follow.
//!
//! ```text
//!  line, end_row ──► buffer ──flush: one write(2)──► flows.ndjson ──too long, too old──► flows-<time>-<number>.ndjson
//!                    256 KiB      │                  (the tail is repaired at the start)   │
//!                                 └ refused: cut back to the last whole line,              ├► Compressor, in a thread of
//!                                   the rest dropped and counted, tried again              │  its own
//!                                   after a second                                         └► the oldest are removed
//! ```
//!
//! In: lines, and the time with every call that may need it. Out: files in which every line is whole. Nothing here fails
//! once the file is open: what cannot be written is dropped by whole lines and counted in a
//! [`SinkMeter`], which also tells the latest error.
//!
//! A killed program leaves at most one torn line, the last; the next start cuts it off and counts it. Lines that were
//! still in the buffer are lost: call [`RotatingFile::tick`] at least once a second.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use tapline_record::Timestamp;

use crate::compressor::Compressor;
use crate::file_archive::{Compression, FileArchive, FileRules, Fsync, SinkError};
use crate::sink_counters::{Count, DropCause, SinkMeter};

/// A file of lines under [`FileRules`].
///
/// [`RotatingFile::close`] must be called: dropping it loses the lines that it still holds.
#[derive(Debug)]
pub struct RotatingFile {
    archive: Arc<FileArchive>,
    meter: SinkMeter,
    /// Stands at the beginning of every file, line end included; may be empty.
    header: Vec<u8>,
    /// Lines not yet handed over, and the line being built.
    text: Vec<u8>,
    /// Where each finished line of `text` ends.
    line_ends: Vec<u32>,
    /// Header and first lines of a new file, joined.
    first_block: Vec<u8>,
    active: Option<Active>,
    sequence: u64,
    /// After a failure: when, and what lines are dropped for until [`RETRY_US`] later.
    failed: Option<(Timestamp, DropCause)>,
    /// After a file that could not get its final name: when.
    rotation_failed: Option<Timestamp>,
}

/// The file that is written.
#[derive(Debug)]
struct Active {
    file: File,
    bytes: u64,
    start: Timestamp,
    synced: Timestamp,
    dirty: bool,
    /// A torn line that could not be cut off yet: what the length should be.
    cut_to: Option<u64>,
}

impl RotatingFile {
    /// Opens the active file, which an earlier run may have left, and repairs its tail. A file that begins with another
    /// header is finished first.
    ///
    /// # Errors
    ///
    /// [`SinkError`]. A full disk is none: lines are dropped and counted until there is room.
    pub fn open(
        rules: FileRules,
        header: &[u8],
        meter: SinkMeter,
        now: Timestamp,
    ) -> Result<Self, SinkError> {
        let (archive, sequence) = FileArchive::open(rules, meter.clone())?;
        let path = archive.active_path();
        if fs::metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            return Err(SinkError::NotAFile { path });
        }
        let mut sink = Self {
            archive: Arc::new(archive),
            meter,
            header: header.to_owned(),
            text: Vec::with_capacity(BLOCK_BYTES + LINE_BYTES),
            line_ends: Vec::with_capacity(MAX_LINES),
            first_block: Vec::new(),
            active: None,
            sequence,
            failed: None,
            rotation_failed: None,
        };
        match sink.open_active(now) {
            Ok(active) => sink.active = Some(active),
            Err(error) if cause_of(&error) == DropCause::DiskFull => sink.fail(&error, now),
            Err(source) => return Err(SinkError::open(&path, source)),
        }
        if sink.active.as_ref().is_some_and(|active| !sink.begins_with_header(active)) {
            sink.rotate(now);
        }
        Ok(sink)
    }

    /// Where the next line is built, without its end. Lines that wait stand before it: append only.
    #[inline]
    pub fn line(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Ends the line. It waits for others; see [`RotatingFile::tick`].
    #[inline]
    pub fn end_row(&mut self, now: Timestamp) {
        self.text.push(b'\n');
        self.line_ends.push(self.text.len() as u32);
        if self.text.len() >= BLOCK_BYTES || self.line_ends.len() == MAX_LINES {
            self.flush(now);
        }
    }

    /// To be called about once a second: hands over the lines that wait, ends a file that is too old, opens one again that
    /// was removed, forces bytes to the disk if the rules say so.
    pub fn tick(&mut self, now: Timestamp) {
        self.look_at_the_file(now);
        self.flush(now);
        let header_bytes = self.header.len() as u64;
        let rules = &self.archive.rules;
        if let Some(active) = &mut self.active {
            let old = rules.max_age_us.is_some_and(|age| is_past(active.start, age, now));
            let sync = matches!(rules.fsync, Fsync::EveryUs(gap) if active.dirty && is_past(active.synced, gap, now));
            if active.bytes <= header_bytes {
                // Nothing is in it: its time begins with its first line.
                active.start = now;
            } else if old && self.may_rotate(now) {
                self.rotate(now);
            } else if sync {
                self.sync(now);
            }
        }
    }

    /// Opens the active file by its name again, after `logrotate` has renamed the old one: for SIGHUP. If that fails, the
    /// old file is written on.
    pub fn reopen(&mut self, now: Timestamp) {
        self.flush(now);
        if self.archive.rules.fsync != Fsync::Never {
            self.sync(now);
        }
        if self.active.as_ref().is_some_and(|active| self.stands_at_its_name(active)) {
            return;
        }
        match self.open_active(now) {
            Ok(active) => {
                self.active = Some(active);
                self.failed = None;
                self.meter.add(Count::Reopened, 1);
            }
            Err(error) if self.active.is_none() => self.fail(&error, now),
            Err(error) => self.tell("reopening", &error),
        }
    }

    /// Hands over the lines that wait and forces them to the disk, unless the rules say never. The active file keeps its
    /// name: the next run goes on with it.
    pub fn close(mut self, now: Timestamp) {
        // The last chance, so the pause after a failure does not count.
        self.failed = None;
        self.flush(now);
        if self.archive.rules.fsync != Fsync::Never {
            self.sync(now);
        }
    }

    /// What has been written, dropped and so on.
    #[must_use]
    pub const fn meter(&self) -> &SinkMeter {
        &self.meter
    }

    /// Packs finished files, in a thread that the daemon gives it; none if the rules do not ask for it.
    #[must_use]
    pub fn compressor(&self) -> Option<Compressor> {
        (self.archive.rules.compression != Compression::None)
            .then(|| Compressor::new(Arc::clone(&self.archive), self.meter.clone()))
    }

    /// Hands over every finished line, in one write per file.
    pub fn flush(&mut self, now: Timestamp) {
        let mut first = 0;
        while first < self.line_ends.len() {
            if let Some(cause) = self.out_of_order(now) {
                self.meter.add_dropped(cause, (self.line_ends.len() - first) as u64);
                break;
            }
            match self.lines_that_fit(first) {
                Some(end) => {
                    self.write(first, end, now);
                    first = end;
                }
                None if self.may_rotate(now) => self.rotate(now),
                None => {
                    let end = self.line_ends.len();
                    self.write(first, end, now);
                    first = end;
                }
            }
        }
        self.text.clear();
        self.line_ends.clear();
    }

    /// Somebody may have removed the active file, or made it shorter, as `copytruncate` does.
    fn look_at_the_file(&mut self, now: Timestamp) {
        let Some(active) = &mut self.active else { return };
        let Ok(meta) = active.file.metadata() else { return };
        active.bytes = active.bytes.min(meta.len());
        if meta.nlink() == 0 {
            self.active = None;
            match self.open_active(now) {
                Ok(active) => {
                    self.active = Some(active);
                    self.meter.add(Count::Reopened, 1);
                }
                Err(error) => self.fail(&error, now),
            }
        }
    }

    /// Which lines from `first` on fit into the active file; none if it must end first.
    fn lines_that_fit(&self, first: usize) -> Option<usize> {
        let bytes = self.active.as_ref().map_or(0, |active| active.bytes);
        let empty = bytes <= self.header.len() as u64;
        let used = if bytes == 0 { self.header.len() as u64 } else { bytes };
        let room = self.archive.rules.max_bytes.saturating_sub(used);
        let start = self.line_start(first);
        let fit = self.line_ends[first..].partition_point(|&end| u64::from(end - start) <= room);
        match fit {
            0 if empty => Some(first + 1),
            0 => None,
            fit => Some(first + fit),
        }
    }

    /// Writes lines `first..end` to the active file. What it does not take is dropped, by whole lines.
    fn write(&mut self, first: usize, end: usize, now: Timestamp) {
        let start = self.line_start(first);
        let stop = self.line_ends[end - 1];
        let lines = &self.text[start as usize..stop as usize];
        let Some(active) = &mut self.active else { return };
        let header_bytes = if active.bytes == 0 { self.header.len() } else { 0 };
        let block = if header_bytes == 0 {
            lines
        } else {
            self.first_block.clear();
            self.first_block.extend_from_slice(&self.header);
            self.first_block.extend_from_slice(lines);
            &self.first_block
        };
        let (accepted, refusal) = write_block(&mut active.file, block);
        let (rows, kept) = match &refusal {
            None => (end - first, block.len()),
            Some(_) => {
                let whole = |line_end: &u32| (line_end - start) as usize + header_bytes <= accepted;
                let rows = self.line_ends[first..end].partition_point(whole);
                let kept =
                    rows.checked_sub(1).map_or(0, |last| (self.line_ends[first + last] - start) as usize);
                (rows, if rows == 0 { 0 } else { kept + header_bytes })
            }
        };
        active.bytes += kept as u64;
        active.dirty |= kept > 0;
        self.meter.add(Count::WrittenRows, rows as u64);
        self.meter.add(Count::WrittenBytes, kept as u64);
        if let Some(error) = refusal {
            if accepted > kept {
                active.cut((accepted - kept) as u64);
            }
            self.meter.add_dropped(cause_of(&error), (end - first - rows) as u64);
            self.fail(&error, now);
        }
    }

    /// Why nothing can be written now, if so. A file that failed is tried again once its pause is over.
    fn out_of_order(&mut self, now: Timestamp) -> Option<DropCause> {
        if let Some((since, cause)) = self.failed {
            if !is_past(since, RETRY_US, now) {
                return Some(cause);
            }
            self.meter.add(Count::Retries, 1);
            self.failed = None;
        }
        let outcome = match &mut self.active {
            Some(active) => active.cut_torn_line(),
            None => self.open_active(now).map(|active| self.active = Some(active)),
        };
        match outcome {
            Ok(()) => None,
            Err(error) => {
                self.fail(&error, now);
                Some(cause_of(&error))
            }
        }
    }

    /// Gives the active file its final name and opens the next.
    fn rotate(&mut self, now: Timestamp) {
        if self.archive.rules.fsync != Fsync::Never {
            self.sync(now);
        }
        let Some(active) = &self.active else { return };
        if self.stands_at_its_name(active) {
            let path = self.archive.finished_path(active.start, self.sequence);
            if let Err(error) = fs::rename(self.archive.active_path(), &path) {
                self.tell("renaming", &error);
                self.rotation_failed = Some(now);
                return;
            }
            if self.archive.rules.fsync != Fsync::Never
                && let Err(error) = self.archive.sync_folder()
            {
                self.tell("syncing the folder of", &error);
            }
            self.sequence += 1;
            self.meter.add(Count::Rotated, 1);
        } else {
            // Somebody has renamed it before us.
            self.meter.add(Count::Reopened, 1);
        }
        self.rotation_failed = None;
        self.active = None;
        self.archive.retain(self.archive.rules.max_bytes);
        self.archive.announce();
        match self.open_active(now) {
            Ok(active) => self.active = Some(active),
            Err(error) => self.fail(&error, now),
        }
    }

    fn may_rotate(&self, now: Timestamp) -> bool {
        self.rotation_failed.is_none_or(|since| is_past(since, RETRY_US, now))
    }

    fn open_active(&self, now: Timestamp) -> io::Result<Active> {
        let path = self.archive.active_path();
        let mut file =
            File::options().read(true).append(true).create(true).mode(self.archive.rules.mode).open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let torn_bytes = torn_tail(&mut file, meta.len())?;
        let bytes = meta.len() - torn_bytes;
        if torn_bytes > 0 {
            file.set_len(bytes)?;
            file.seek(SeekFrom::End(0))?;
            self.meter.add(Count::RepairedRows, 1);
            self.meter.add(Count::RepairedBytes, torn_bytes);
        }
        // A file of an earlier run is as old as it is; what the file system does not know begins now.
        let born = meta.created().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let start = match born.and_then(|since| i64::try_from(since.as_micros()).ok()) {
            Some(born) if bytes > 0 && born < now.micros => Timestamp::from_micros(born),
            _ => now,
        };
        Ok(Active { file, bytes, start, synced: now, dirty: false, cut_to: None })
    }

    fn begins_with_header(&self, active: &Active) -> bool {
        let mut begin = vec![0; self.header.len()];
        active.bytes == 0 || (active.file.read_exact_at(&mut begin, 0).is_ok() && begin == self.header)
    }

    fn stands_at_its_name(&self, active: &Active) -> bool {
        let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let named = fs::metadata(self.archive.active_path()).map(identity);
        let open = active.file.metadata().map(identity);
        matches!((named, open), (Ok(named), Ok(open)) if named == open)
    }

    fn sync(&mut self, now: Timestamp) {
        let Some(active) = &mut self.active else { return };
        if active.dirty {
            active.dirty = false;
            active.synced = now;
            if let Err(error) = active.file.sync_data() {
                self.tell("syncing", &error);
            }
        }
    }

    #[cold]
    fn fail(&mut self, error: &io::Error, now: Timestamp) {
        self.tell("writing", error);
        self.failed = Some((now, cause_of(error)));
    }

    #[cold]
    fn tell(&self, doing: &str, error: &io::Error) {
        self.meter.add_error(format_args!("{doing} {}: {error}", self.archive.active_path().display()));
    }

    fn line_start(&self, line: usize) -> u32 {
        line.checked_sub(1).map_or(0, |before| self.line_ends[before])
    }
}

impl Active {
    /// Takes the last `torn_bytes` back, now or before the next write.
    fn cut(&mut self, torn_bytes: u64) {
        // The position is where the failed write stopped, also in a file opened for appending.
        let Ok(end) = self.file.stream_position() else { return };
        self.cut_to = end.checked_sub(torn_bytes);
        // If it fails now, it is tried again before the next write; until then nothing is written.
        let _ = self.cut_torn_line();
    }

    fn cut_torn_line(&mut self) -> io::Result<()> {
        if let Some(bytes) = self.cut_to {
            self.file.set_len(bytes)?;
            self.file.seek(SeekFrom::Start(bytes))?;
            self.cut_to = None;
        }
        Ok(())
    }
}

/// One write, unless the system takes only a part: then the rest, to learn why. Gives what was accepted.
fn write_block(file: &mut File, block: &[u8]) -> (usize, Option<io::Error>) {
    let mut accepted = 0;
    while accepted < block.len() {
        match file.write(&block[accepted..]) {
            Ok(0) => return (accepted, Some(io::ErrorKind::WriteZero.into())),
            Ok(bytes) => accepted += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (accepted, Some(error)),
        }
    }
    (accepted, None)
}

/// Bytes behind the last line end of a file of `bytes`.
fn torn_tail(file: &mut File, bytes: u64) -> io::Result<u64> {
    let mut block = [0; 4_096];
    let mut end = bytes;
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|&byte| byte == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    file.seek(SeekFrom::End(0))?;
    Ok(bytes - end)
}

/// Whether `age_us` have passed since `since`; also if the clock was set back.
pub(crate) fn is_past(since: Timestamp, age_us: i64, now: Timestamp) -> bool {
    !(0..age_us).contains(&now.micros_since(since))
}

pub(crate) fn cause_of(error: &io::Error) -> DropCause {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DropCause::DiskFull,
        _ => DropCause::File,
    }
}

/// Forces a file that stands at `path` to the disk, and its name.
pub(crate) fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Pause after a failed write or opening.
pub(crate) const RETRY_US: i64 = 1_000_000;

/// A block is handed over once it is this long.
const BLOCK_BYTES: usize = 256 << 10;

/// Room after a block for the line that fills it.
const LINE_BYTES: usize = 16 << 10;

/// A block is handed over once it has this many lines; bounds memory only.
const MAX_LINES: usize = BLOCK_BYTES / 64;
