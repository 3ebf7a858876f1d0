//! The files of one sink in its folder: their names, who may write them, and how many stay.
//!
//! ```text
//!  flows.ndjson                                the active file, appended to
//!  flows-20261123T090000Z-000017.ndjson        finished: UTC time of its first line, and a number that only grows
//!  flows-20261123T080000Z-000016.ndjson.zst    finished and compressed
//!  flows-20261123T090000Z-000018.parquet.partial    a table being written
//!  flows-20261122T110000Z-000009.parquet.broken     a table that a crash left unfinished, set aside
//!  .flows.ndjson.lock                          held by the process that writes
//! ```
//!
//! In: [`FileRules`]. Out: names, and files removed once there are too many. Files that are not named so are not touched.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tapline_record::Timestamp;

use crate::sink_counters::{Count, SinkMeter};

/// Where the files of a sink stand, when they end and how many of them stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRules {
    /// Made if it is not there.
    pub folder: PathBuf,
    /// Name before the time or the ending: `flows`.
    pub stem: String,
    /// Ending without a dot: `ndjson`.
    pub extension: String,
    /// A file ends before it would be longer; only a single line longer than this makes a longer file. For Parquet it is
    /// asked after each row group.
    pub max_bytes: u64,
    /// A file with rows ends once it is so old, in microseconds; `None` for never.
    pub max_age_us: Option<i64>,
    /// The most finished files.
    pub keep_files: Option<usize>,
    /// The most bytes on disk, the active file included (it counts as `max_bytes` long).
    pub keep_bytes: Option<u64>,
    /// How finished text files are packed, by a [`Compressor`](crate::Compressor).
    pub compression: Compression,
    /// When bytes are forced to the disk.
    pub fsync: Fsync,
    /// What becomes of unfinished Parquet files of an earlier run.
    pub leftovers: Leftovers,
    /// Permissions of new files: `0o640`.
    pub mode: u32,
}

impl FileRules {
    /// Rules with defaults: 256 MiB, an hour, 48 files, 8 GiB, no compression, fsync when a file ends.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, stem: &str, extension: &str) -> Self {
        Self {
            folder: folder.into(),
            stem: stem.to_owned(),
            extension: extension.to_owned(),
            max_bytes: 256 << 20,
            max_age_us: Some(3_600_000_000),
            keep_files: Some(48),
            keep_bytes: Some(8 << 30),
            compression: Compression::None,
            fsync: Fsync::OnRotation,
            leftovers: Leftovers::SetAside,
            mode: 0o640,
        }
    }
}

/// How finished files are packed. All of it is Rust: no C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// They are not.
    None,
    /// gzip, level 6.
    Gzip,
    /// Zstandard, about its level 1, in frames of 4 MiB on end.
    Zstd,
}

impl Compression {
    const fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// When bytes are forced to the disk. Without it the system writes them within half a minute or so: a killed program loses
/// nothing of what it wrote, a power cut may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Never.
    Never,
    /// When a file ends, before it gets its final name; and when the sink is closed.
    OnRotation,
    /// That, and while it is written, so many microseconds apart at least.
    EveryUs(i64),
}

/// What becomes of an unfinished Parquet file, which nobody can read: its footer is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// It is removed.
    Remove,
    /// It gets the ending `.broken`; retention counts it like any other.
    SetAside,
}

/// A sink could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The system refused.
    #[error("opening {}", path.display())]
    Open {
        /// What was to be opened.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// Another process, or another sink of this one, writes these files.
    #[error("{} is locked: another process writes these files", path.display())]
    InUse {
        /// The lock.
        path: PathBuf,
    },
    /// The active file is a pipe, a device or a folder.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What stands there.
        path: PathBuf,
    },
    /// The stem or the extension cannot be part of a file's name.
    #[error("{name:?} cannot be part of a file name")]
    BadName {
        /// The part.
        name: String,
    },
    /// This build cannot write the format.
    #[error("{format} output is not in this build (feature {format:?})")]
    FormatNotBuilt {
        /// The format asked for.
        format: crate::Format,
    },
}

impl SinkError {
    pub(crate) fn open(path: &Path, source: io::Error) -> Self {
        Self::Open { path: path.to_owned(), source }
    }
}

/// The folder of a sink, while the sink holds its lock.
#[derive(Debug)]
pub(crate) struct FileArchive {
    pub(crate) rules: FileRules,
    meter: SinkMeter,
    /// Held by whoever removes or replaces finished files: retention and the compressor.
    files: Mutex<()>,
    /// Whether a file has been finished since the compressor looked.
    finished: Mutex<bool>,
    wake: Condvar,
    lock: File,
}

impl Drop for FileArchive {
    fn drop(&mut self) {
        // Closing is not enough: a child process that is just being started holds a copy until it runs its program, and the lock lives
        // as long as the last copy. The kernel ends it with the last of them if this fails.
        let _ = self.lock.unlock();
    }
}

/// A file of an archive that is not the active one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchivedFile {
    pub(crate) sequence: u64,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Finished,
    Packed,
    Broken,
    /// A table, or a packed copy, that is being written.
    Partial,
    PackedPartial,
}

impl FileArchive {
    /// Takes the lock, clears away what an earlier run left unfinished, and gives the next number.
    pub(crate) fn open(rules: FileRules, meter: SinkMeter) -> Result<(Self, u64), SinkError> {
        for part in [&rules.stem, &rules.extension] {
            if part.is_empty() || part.starts_with('.') || part.contains(['/', '\0']) {
                return Err(SinkError::BadName { name: part.clone() });
            }
        }
        fs::create_dir_all(&rules.folder).map_err(|source| SinkError::open(&rules.folder, source))?;
        let lock_path = rules.folder.join(format!(".{}.{}.lock", rules.stem, rules.extension));
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(rules.mode)
            .open(&lock_path)
            .map_err(|source| SinkError::open(&lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SinkError::InUse { path: lock_path }),
            // A file system without locks: then nobody is kept out.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(source)) => return Err(SinkError::open(&lock_path, source)),
        }
        let archive = Self {
            rules,
            meter,
            files: Mutex::default(),
            // Files that an earlier run finished may still wait for the compressor.
            finished: Mutex::new(true),
            wake: Condvar::new(),
            lock,
        };
        let files = archive.files().map_err(|source| SinkError::open(&archive.rules.folder, source))?;
        archive.clear_leftovers(&files);
        let next = files.iter().map(|file| file.sequence + 1).max().unwrap_or(1);
        archive.retain(0);
        Ok((archive, next))
    }

    /// The name of the active file of a text format.
    pub(crate) fn active_path(&self) -> PathBuf {
        self.rules.folder.join(format!("{}.{}", self.rules.stem, self.rules.extension))
    }

    /// The name of a finished file that began at `start`.
    pub(crate) fn finished_path(&self, start: Timestamp, sequence: u64) -> PathBuf {
        let FileRules { folder, stem, extension, .. } = &self.rules;
        let c = start.civil();
        folder.join(format!(
            "{stem}-{:04}{:02}{:02}T{:02}{:02}{:02}Z-{sequence:06}.{extension}",
            c.year.clamp(0, 9_999),
            c.month,
            c.day,
            c.hour,
            c.minute,
            c.second
        ))
    }

    /// Every file of the archive but the active one, the oldest first.
    pub(crate) fn files(&self) -> io::Result<Vec<ArchivedFile>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.rules.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((sequence, state)) = name.to_str().and_then(|name| self.parse(name)) else { continue };
            // Gone since the folder was read, or not a file.
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_file() {
                files.push(ArchivedFile { sequence, path: entry.path(), bytes: meta.len(), state });
            }
        }
        files.sort_by(|a, b| a.sequence.cmp(&b.sequence).then_with(|| a.path.cmp(&b.path)));
        Ok(files)
    }

    /// Removes the oldest finished files until the rules hold with another `active_bytes` beside them.
    pub(crate) fn retain(&self, active_bytes: u64) {
        let _files = self.hold_files();
        let mut files = match self.files() {
            Ok(files) => files,
            Err(error) => {
                self.meter.add_error(format_args!("reading {}: {error}", self.rules.folder.display()));
                return;
            }
        };
        files.retain(|file| !matches!(file.state, State::Partial | State::PackedPartial));
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let mut count = files.len();
        for file in &files {
            let too_many = self.rules.keep_files.is_some_and(|keep| count > keep);
            let too_long =
                self.rules.keep_bytes.is_some_and(|keep| bytes.saturating_add(active_bytes) > keep);
            if !too_many && !too_long {
                break;
            }
            match fs::remove_file(&file.path) {
                Ok(()) => self.meter.add(Count::Removed, 1),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.meter.add_error(format_args!("removing {}: {error}", file.path.display()));
                    // Perhaps the next one can be removed; this one still takes its room.
                    continue;
                }
            }
            bytes -= file.bytes;
            count -= 1;
        }
    }

    /// Tells the compressor that there is work.
    pub(crate) fn announce(&self) {
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    /// Waits for [`announce`](Self::announce), at most `longest`; whether there was one.
    pub(crate) fn wait(&self, longest: Duration) -> bool {
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut finished, _) = self
            .wake
            .wait_timeout_while(finished, longest, |finished| !*finished)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *finished)
    }

    /// Puts a packed copy in the place of its original, unless retention took the original meanwhile.
    pub(crate) fn replace(&self, original: &Path, partial: &Path) -> io::Result<bool> {
        let _files = self.hold_files();
        if !original.exists() {
            fs::remove_file(partial)?;
            return Ok(false);
        }
        fs::rename(partial, self.packed_path(original))?;
        fs::remove_file(original)?;
        Ok(true)
    }

    pub(crate) fn packed_path(&self, original: &Path) -> PathBuf {
        with_ending(original, self.rules.compression.extension())
    }

    /// Makes a rename last through a power cut.
    pub(crate) fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.rules.folder)?.sync_all()
    }

    fn hold_files(&self) -> std::sync::MutexGuard<'_, ()> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear_leftovers(&self, files: &[ArchivedFile]) {
        let has_original = |packed: &ArchivedFile| {
            let original = packed.path.with_extension("");
            files.iter().any(|file| file.state == State::Finished && file.path == original)
        };
        for file in files {
            let cleared = match (file.state, self.rules.leftovers) {
                // The original is still there: packing ended before it was removed.
                (State::PackedPartial, _) | (State::Partial, Leftovers::Remove) => {
                    fs::remove_file(&file.path)
                }
                (State::Partial, Leftovers::SetAside) => {
                    fs::rename(&file.path, file.path.with_extension("broken"))
                }
                (State::Packed, _) if has_original(file) => fs::remove_file(&file.path),
                (State::Finished | State::Packed | State::Broken, _) => continue,
            };
            match cleared {
                Ok(()) => self.meter.add(Count::Leftovers, 1),
                Err(error) => {
                    self.meter.add_error(format_args!("clearing away {}: {error}", file.path.display()));
                }
            }
        }
    }

    fn parse(&self, name: &str) -> Option<(u64, State)> {
        let rest = name.strip_prefix(&self.rules.stem)?.strip_prefix('-')?;
        let (time, rest) = rest.split_once('-')?;
        let (sequence, ending) = rest.split_once('.')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let well_formed = time.len() == 16
            && time.is_ascii()
            && digits(&time[..8])
            && &time[8..9] == "T"
            && digits(&time[9..15])
            && &time[15..] == "Z"
            && sequence.len() >= 6
            && digits(sequence);
        if !well_formed {
            return None;
        }
        let state = match ending.strip_prefix(self.rules.extension.as_str())? {
            "" => State::Finished,
            ".gz" | ".zst" => State::Packed,
            ".broken" => State::Broken,
            ".partial" => State::Partial,
            ".gz.partial" | ".zst.partial" => State::PackedPartial,
            _ => return None,
        };
        Some((sequence.parse().ok()?, state))
    }
}

/// `path` with `ending` behind its name.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".lock"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_own_names_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let rules = FileRules { keep_files: Some(0), ..FileRules::new(folder.path(), "flows", "csv") };
        let others = [
            "flows.csv",
            "flows-20260101T000000Z-000001.ndjson",
            "flows-20260101T000000Z-000001.csv.1",
            "flows-2026-000001.csv",
            "flows-20260101T000000Z-1.csv",
            "flows-20260101T00000éZ-000001.csv",
            "more-flows-20260101T000000Z-000001.csv",
        ];
        for name in others {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let own = ["flows-20260101T000000Z-000041.csv", "flows-20260101T000000Z-000007.csv.zst"];
        for name in own {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let meter = SinkMeter::new();
        let (archive, next) = FileArchive::open(rules.clone(), meter.clone()).unwrap();
        assert_eq!((next, meter.read().removed), (42, 2));
        let mut left = others.map(str::to_owned);
        left.sort();
        assert_eq!(names(folder.path()), left);
        let start = Timestamp::from_micros(1_700_000_000_123_456);
        let name = archive.finished_path(start, 7);
        assert_eq!(name.file_name().unwrap(), "flows-20231114T221320Z-000007.csv");
        assert_eq!(
            FileArchive::open(rules, SinkMeter::new()).unwrap_err().to_string(),
            format!(
                "{} is locked: another process writes these files",
                folder.path().join(".flows.csv.lock").display()
            )
        );
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for (stem, extension) in [("../flows", "csv"), ("", "csv"), ("flows", ".csv"), ("flows", "a/b")] {
            let rules = FileRules::new("/nonexistent", stem, extension);
            let error = FileArchive::open(rules, SinkMeter::new()).unwrap_err();
            assert!(matches!(error, SinkError::BadName { .. }), "{error}");
        }
    }

    #[test]
    fn leftovers() {
        for (leftovers, expect) in [
            (Leftovers::Remove, &["flows-20260101T000000Z-000001.parquet"][..]),
            (
                Leftovers::SetAside,
                &["flows-20260101T000000Z-000001.parquet", "flows-20260101T000000Z-000002.parquet.broken"],
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for name in ["1.parquet", "1.parquet.gz.partial", "2.parquet.partial"] {
                fs::write(folder.path().join(format!("flows-20260101T000000Z-00000{name}")), "PAR1").unwrap();
            }
            let rules = FileRules { leftovers, ..FileRules::new(folder.path(), "flows", "parquet") };
            let meter = SinkMeter::new();
            let (_, next) = FileArchive::open(rules, meter.clone()).unwrap();
            assert_eq!((next, meter.read().leftovers), (3, 2));
            assert_eq!(names(folder.path()), expect);
        }
    }
}
