//! Rotation, retention, reopening, repair.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tapline_export::{Compression, FileRules, Fsync, RotatingFile, SinkMeter};

use crate::folder::{all_text, at, files, text};

fn rules(folder: &std::path::Path) -> FileRules {
    FileRules { fsync: Fsync::Never, ..FileRules::new(folder, "rows", "csv") }
}

fn open(rules: FileRules, header: &str, ms: i64) -> RotatingFile {
    RotatingFile::open(rules, header.as_bytes(), SinkMeter::new(), at(ms)).unwrap()
}

fn push(sink: &mut RotatingFile, line: &str, ms: i64) {
    sink.line().extend_from_slice(line.as_bytes());
    sink.end_row(at(ms));
}

#[derive(Clone, Debug)]
enum Step {
    /// Lines of these lengths.
    Lines(Vec<usize>),
    Tick,
    Reopen,
    /// Closed and opened again.
    Restart,
    /// Killed in the middle of a line of this length, and started again.
    Kill(usize),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec(0_usize..300, 1..40).prop_map(Step::Lines),
        3 => Just(Step::Tick),
        1 => Just(Step::Reopen),
        1 => Just(Step::Restart),
        1 => (1_usize..200).prop_map(Step::Kill),
        2 => (0_i64..20_000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn all_files_on_end_are_all_lines(
        steps in steps(),
        max_bytes in 20_u64..3_000,
        header in prop::sample::select(vec!["", "id,text\n"]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let rules = FileRules {
            max_bytes,
            max_age_us: Some(30_000_000),
            keep_files: None,
            keep_bytes: None,
            ..rules(folder.path())
        };
        let meter = SinkMeter::new();
        let open = |ms| RotatingFile::open(rules.clone(), header.as_bytes(), meter.clone(), at(ms)).unwrap();
        let mut sink = open(0);
        let (mut now, mut number, mut given, mut torn) = (0, 0_usize, Vec::new(), 0);
        for step in steps {
            match step {
                Step::Lines(lengths) => for length in lengths {
                    number += 1;
                    let line = format!("{number},{}", "x".repeat(length));
                    push(&mut sink, &line, now);
                    given.push(line);
                },
                Step::Tick => sink.tick(at(now)),
                Step::Reopen => sink.reopen(at(now)),
                Step::Restart => {
                    sink.close(at(now));
                    sink = open(now);
                }
                Step::Kill(length) => {
                    sink.close(at(now));
                    let mut file = fs::OpenOptions::new().append(true).open(folder.path().join("rows.csv")).unwrap();
                    std::io::Write::write_all(&mut file, &vec![b'y'; length]).unwrap();
                    torn += length as u64;
                    sink = open(now);
                }
                Step::Wait(ms) => now += ms,
            }
        }
        sink.close(at(now));

        let mut found = Vec::new();
        for path in files(folder.path(), "rows") {
            let text = text(&path);
            prop_assert!(text.is_empty() || text.ends_with('\n'));
            prop_assert!(text.is_empty() || text.starts_with(header));
            let lines = text.strip_prefix(header).unwrap_or_default();
            prop_assert!(text.len() as u64 <= max_bytes || lines.lines().count() == 1, "{} bytes", text.len());
            found.extend(lines.lines().map(str::to_owned));
        }
        prop_assert_eq!(found, given);
        let counters = meter.read();
        prop_assert_eq!((counters.written_rows, counters.dropped_rows(), counters.errors), (number as u64, 0, 0));
        prop_assert_eq!(counters.repaired_bytes, torn);
        let on_disk: u64 = all_text(folder.path(), "rows").len() as u64;
        prop_assert_eq!(counters.written_bytes, on_disk);
    }
}

#[test]
fn files_end_by_age_but_not_empty_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(FileRules { max_age_us: Some(10_000_000), ..rules(folder.path()) }, "n\n", 0);
    sink.tick(at(60_000));
    push(&mut sink, "1", 60_000);
    sink.tick(at(60_500));
    sink.tick(at(69_999));
    assert_eq!(sink.meter().read().rotated, 0);
    sink.tick(at(70_000));
    assert_eq!(sink.meter().read().rotated, 1);
    sink.tick(at(200_000));
    sink.close(at(200_000));
    let names: Vec<_> = files(folder.path(), "rows");
    // 22:13:20 and a minute.
    assert!(names[0].ends_with("rows-20231114T221420Z-000001.csv"), "{names:?}");
    assert_eq!((text(&names[0]).as_str(), text(&names[1]).as_str()), ("n\n1\n", ""));
}

#[test]
fn a_clock_set_back_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(FileRules { max_age_us: Some(10_000_000), ..rules(folder.path()) }, "", 500_000);
    push(&mut sink, "1", 500_000);
    sink.tick(at(500_000));
    sink.tick(at(0));
    assert_eq!(sink.meter().read().rotated, 1);
}

#[test]
fn retention_keeps_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let rules =
        FileRules { max_bytes: 1_000, keep_files: Some(7), keep_bytes: Some(6_000), ..rules(folder.path()) };
    let stranger = folder.path().join("notes.txt");
    fs::write(&stranger, vec![b'x'; 100_000]).unwrap();
    let mut sink = open(rules, "", 0);
    for number in 0..1_000 {
        push(&mut sink, &format!("{number:099}"), number);
        sink.tick(at(number));
        let bytes: u64 =
            files(folder.path(), "rows").iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(bytes <= 6_000, "{bytes}");
    }
    let counters = sink.meter().read();
    assert_eq!((counters.rotated, counters.removed), (99, 94));
    sink.close(at(1_000));
    assert!(stranger.exists());
    // The newest lines are those that stay.
    let text = all_text(folder.path(), "rows");
    assert_eq!(text.lines().count(), 60);
    assert!(text.lines().map(|line| line.parse::<u64>().unwrap()).eq(940..1_000));
}

#[test]
fn logrotate_renames_then_signals() {
    let folder = tempfile::tempdir().unwrap();
    let active = folder.path().join("rows.csv");
    let mut sink = open(rules(folder.path()), "n\n", 0);
    push(&mut sink, "1", 0);
    sink.tick(at(0));
    fs::rename(&active, folder.path().join("rows.csv.1")).unwrap();
    // Between the rename and the signal: rows go to the renamed file.
    push(&mut sink, "2", 1);
    sink.tick(at(1));
    push(&mut sink, "3", 2);
    sink.reopen(at(2));
    assert_eq!(text(&folder.path().join("rows.csv.1")), "n\n1\n2\n3\n");
    push(&mut sink, "4", 3);
    // A signal without a rename changes nothing.
    sink.reopen(at(4));
    let counters = sink.meter().read();
    assert_eq!((counters.reopened, counters.rotated, counters.written_rows), (1, 0, 4));
    sink.close(at(5));
    assert_eq!(text(&active), "n\n4\n");
}

#[test]
fn what_others_renamed_is_not_renamed_again() {
    let folder = tempfile::tempdir().unwrap();
    let active = folder.path().join("rows.csv");
    let mut sink = open(FileRules { max_bytes: 4, ..rules(folder.path()) }, "", 0);
    push(&mut sink, "1", 0);
    sink.tick(at(0));
    fs::rename(&active, folder.path().join("rows.csv.1")).unwrap();
    // As logrotate's `create` does.
    fs::write(&active, "").unwrap();
    for line in ["2", "3", "4", "5"] {
        push(&mut sink, line, 0);
    }
    sink.close(at(1));
    assert_eq!(text(&folder.path().join("rows.csv.1")), "1\n2\n");
    let numbered = files(folder.path(), "rows-");
    assert_eq!(numbered.iter().map(|path| text(path)).collect::<Vec<_>>(), ["3\n4\n"]);
    assert_eq!(text(&active), "5\n");
}

#[test]
fn a_removed_file_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(rules(folder.path()), "n\n", 0);
    push(&mut sink, "1", 0);
    sink.tick(at(0));
    fs::remove_file(folder.path().join("rows.csv")).unwrap();
    push(&mut sink, "2", 1);
    sink.tick(at(1));
    push(&mut sink, "3", 2);
    let meter = sink.meter().clone();
    sink.close(at(2));
    assert_eq!(all_text(folder.path(), "rows"), "n\n2\n3\n");
    assert_eq!(meter.read().reopened, 1);
}

#[test]
fn copytruncate_goes_on_at_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let active = folder.path().join("rows.csv");
    let mut sink = open(rules(folder.path()), "n\n", 0);
    push(&mut sink, "1", 0);
    sink.tick(at(0));
    fs::OpenOptions::new().write(true).open(&active).unwrap().set_len(0).unwrap();
    push(&mut sink, "2", 1);
    sink.tick(at(1));
    sink.close(at(1));
    assert_eq!(text(&active), "n\n2\n");
}

#[test]
fn another_header_begins_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(rules(folder.path()), "a\n", 0);
    push(&mut sink, "1", 0);
    sink.close(at(0));
    let mut sink = open(rules(folder.path()), "a,b\n", 1);
    push(&mut sink, "1,2", 1);
    sink.close(at(1));
    let files = files(folder.path(), "rows");
    let texts: Vec<_> = files.iter().map(|path| text(path)).collect();
    assert_eq!(texts, ["a\n1\n", "a,b\n1,2\n"]);
}

#[test]
fn a_file_without_a_line_end_is_all_torn() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rows.csv"), vec![b'x'; 10_000]).unwrap();
    let sink = open(rules(folder.path()), "", 0);
    let counters = sink.meter().read();
    assert_eq!((counters.repaired_rows, counters.repaired_bytes), (1, 10_000));
    assert_eq!(all_text(folder.path(), "rows"), "");
}

#[test]
fn two_sinks_do_not_share_files() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(rules(folder.path()), "", 0);
    let error = RotatingFile::open(rules(folder.path()), b"", SinkMeter::new(), at(0)).unwrap_err();
    assert!(error.to_string().ends_with("another process writes these files"), "{error}");
    first.close(at(0));
    open(rules(folder.path()), "", 0).close(at(0));
}

#[test]
fn a_pipe_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rows.csv")).unwrap();
    let error = RotatingFile::open(rules(folder.path()), b"", SinkMeter::new(), at(0)).unwrap_err();
    assert!(error.to_string().ends_with("rows.csv is not a regular file"), "{error}");
}

#[test]
fn finished_files_are_packed_by_another_thread() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let folder = tempfile::tempdir().unwrap();
        let rules = FileRules { max_bytes: 200_000, compression, ..rules(folder.path()) };
        let mut sink = open(rules, "n\n", 0);
        let compressor = sink.compressor().unwrap();
        let stop = AtomicBool::new(false);
        let meter = sink.meter().clone();
        thread::scope(|scope| {
            scope.spawn(|| compressor.run(&stop));
            for number in 0..100_000 {
                push(&mut sink, &format!("{number},192.168.{}.1,tcp", number % 256), number);
            }
            sink.close(at(100_000));
            while meter.read().compressed < meter.read().rotated {
                thread::sleep(Duration::from_millis(10));
            }
            stop.store(true, Ordering::Relaxed);
        });
        let counters = meter.read();
        assert!(counters.rotated >= 10 && counters.errors == 0, "{counters:?}");
        let text = all_text(folder.path(), "rows");
        let numbers = text.lines().filter(|line| *line != "n").map(|line| line.split(',').next().unwrap());
        assert!(numbers.map(|number| number.parse::<u64>().unwrap()).eq(0..100_000));
        let on_disk: u64 =
            files(folder.path(), "rows").iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(on_disk * 2 < text.len() as u64, "{on_disk} of {}", text.len());
    }
}
