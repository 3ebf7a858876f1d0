//! Fifty kills: after the next start no line is torn, none is missing and none is there twice.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use tapline_export::{Compression, FileRules, Fsync, RotatingFile, SinkMeter};

use crate::folder::{all_text, at, files, text};
use crate::killed_child;

fn rules(folder: &Path) -> FileRules {
    FileRules {
        max_bytes: 150_000,
        keep_files: None,
        keep_bytes: None,
        compression: Compression::Zstd,
        fsync: Fsync::Never,
        ..FileRules::new(folder, "rows", "ndjson")
    }
}

fn line(number: u64) -> String {
    // Of many lengths, so that blocks end anywhere in a page.
    format!("{{\"n\":{number},\"x\":\"{}\"}}", "x".repeat((number * 7_919 % 997) as usize))
}

/// Not a test: what the parent starts and kills.
#[test]
#[ignore = "the child of the test below"]
fn child() {
    let Some(folder) = killed_child::folder() else { return };
    let folder = Path::new(&folder);
    let meter = SinkMeter::new();
    let mut sink = RotatingFile::open(rules(folder), b"", meter, at(0)).unwrap();
    let first = last_number(folder).map_or(0, |last| last + 1);
    let compressor = sink.compressor().unwrap();
    thread::spawn(move || compressor.run(&AtomicBool::new(false)));
    for number in first.. {
        sink.line().extend_from_slice(line(number).as_bytes());
        sink.end_row(at(0));
        if number % 37 == 0 {
            sink.tick(at(0));
            // Else most of the test would be reading what fifty children wrote.
            thread::sleep(Duration::from_micros(300));
        }
    }
}

fn last_number(folder: &Path) -> Option<u64> {
    let files = files(folder, "rows");
    let text = files.iter().rev().map(|path| text(path)).find(|text| !text.is_empty())?;
    number_of(text.lines().last()?)
}

fn number_of(line: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(line).ok()?.get("n")?.as_u64()
}

#[test]
fn no_torn_line_after_fifty_kills() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = fastrand::Rng::with_seed(7);
    let mut rows = 0;
    let mut repaired = 0;
    for kill in 0..50 {
        // From before it has opened anything to well within writing.
        killed_child::kill("kill::child", folder.path(), Duration::from_micros(dice.u64(1_000..60_000)));

        let meter = SinkMeter::new();
        RotatingFile::open(rules(folder.path()), b"", meter.clone(), at(0)).unwrap().close(at(0));
        repaired += meter.read().repaired_rows;
        assert_eq!(meter.read().errors, 0);
        let files = files(folder.path(), "rows");
        assert!(!files.iter().any(|path| path.to_string_lossy().ends_with(".partial")), "{files:?}");
        if kill % 10 == 9 {
            let text = all_text(folder.path(), "rows");
            assert!(text.is_empty() || text.ends_with('\n'));
            let now = text.lines().count() as u64;
            assert!(text.lines().map(|line| number_of(line).unwrap()).eq(0..now), "kill {kill}");
            assert!(now >= rows);
            rows = now;
        }
    }
    println!("{rows} rows, {repaired} torn tails repaired");
    assert!(rows > 0);
}
