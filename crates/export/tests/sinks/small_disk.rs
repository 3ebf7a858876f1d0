//! A disk of one megabyte: what does not fit is dropped by whole lines and counted, and there is no torn one.

use std::fs;
use std::path::Path;
use std::process::Command;

use tapline_export::{DropCause, FileRules, RotatingFile, SinkMeter};

use crate::folder::{all_text, at};

/// A file system in memory, unmounted when dropped.
pub(crate) struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// None, with a message, where mounting is not allowed.
    pub(crate) fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            println!("skipped: mounting a tmpfs needs root");
        }
        mounted.then_some(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

fn lines(sink: &mut RotatingFile, numbers: std::ops::Range<u64>, ms: i64) {
    for number in numbers {
        // 3,009 bytes with the line end: no multiple of a page.
        sink.line().extend_from_slice(format!("{number:03008}").as_bytes());
        sink.end_row(at(ms));
    }
}

#[test]
fn a_full_disk_is_survived_and_counted() {
    let Some(disk) = SmallDisk::mount() else { return };
    let rules = FileRules::new(disk.path(), "rows", "ndjson");
    let meter = SinkMeter::new();
    let mut sink = RotatingFile::open(rules, b"", meter.clone(), at(0)).unwrap();
    for second in 0..10 {
        lines(&mut sink, second * 100..second * 100 + 100, second as i64 * 1_000);
        sink.tick(at(second as i64 * 1_000 + 500));
        let text = all_text(disk.path(), "rows");
        assert!(text.is_empty() || text.ends_with('\n'));
        let counters = meter.read();
        assert_eq!(counters.written_rows, text.lines().count() as u64);
        assert_eq!(counters.written_rows + counters.dropped_rows(), (second + 1) * 100);
    }
    let full = meter.read();
    assert_eq!(full.written_rows, (1 << 20) / 3_009);
    assert_eq!(full.dropped_by(DropCause::DiskFull), full.dropped_rows());
    let error = meter.take_error().unwrap();
    assert!(error.ends_with("rows.ndjson: No space left on device (os error 28)"), "{error}");

    // Somebody makes room; within five seconds rows are written again.
    let active = disk.path().join("rows.ndjson");
    fs::OpenOptions::new().write(true).open(&active).unwrap().set_len(3_009 * 10).unwrap();
    lines(&mut sink, 2_000..2_010, 14_000);
    sink.tick(at(14_000));
    let counters = meter.read();
    assert_eq!(counters.written_rows, full.written_rows + 10);
    assert_eq!(counters.dropped_rows(), full.dropped_rows());
    sink.close(at(15_000));
    let text = all_text(disk.path(), "rows");
    assert!(text.ends_with('\n') && text.lines().all(|line| line.len() == 3_008));
    assert!(text.lines().skip(10).map(|line| line.parse::<u64>().unwrap()).eq(2_000..2_010));
}

#[test]
fn a_disk_that_is_full_at_the_start_is_waited_for() {
    let Some(disk) = SmallDisk::mount() else { return };
    let filler = disk.path().join("filler");
    let _ = fs::write(&filler, vec![0; 2 << 20]);
    let meter = SinkMeter::new();
    let rules = FileRules { max_bytes: 100_000, ..FileRules::new(disk.path(), "rows", "csv") };
    let mut sink = RotatingFile::open(rules, b"n\n", meter.clone(), at(0)).unwrap();
    lines(&mut sink, 0..100, 0);
    sink.tick(at(0));
    assert_eq!(meter.read().dropped_by(DropCause::DiskFull), 100);
    fs::remove_file(filler).unwrap();
    lines(&mut sink, 100..200, 1_000);
    sink.close(at(1_000));
    assert_eq!(meter.read().written_rows, 100);
    let text = all_text(disk.path(), "rows");
    let numbers = text.lines().filter(|line| *line != "n").map(|line| line.parse::<u64>().unwrap());
    assert!(numbers.eq(100..200));
}

#[test]
fn retention_makes_room_on_a_small_disk() {
    let Some(disk) = SmallDisk::mount() else { return };
    let meter = SinkMeter::new();
    let rules = FileRules {
        max_bytes: 200_000,
        keep_bytes: Some(800_000),
        ..FileRules::new(disk.path(), "rows", "csv")
    };
    let mut sink = RotatingFile::open(rules, b"", meter.clone(), at(0)).unwrap();
    lines(&mut sink, 0..2_000, 0);
    sink.close(at(1));
    let counters = meter.read();
    assert_eq!((counters.written_rows, counters.dropped_rows(), counters.errors), (2_000, 0, 0));
}
