//! Parquet: whole files or none, on disks that fill up and after kills.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::Duration;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use tapline_export::{
    DropCause, FileRules, Format, Fsync, Leftovers, NumberText, RotatingRows, SinkMeter, TableMeta,
};
use tapline_record::column::Kind;
use tapline_record::{Cell, Column};

use crate::folder::{at, files};
use crate::killed_child;
use crate::small_disk::SmallDisk;

const COLUMNS: &[Column<u64>] = &[
    Column { name: "n", kind: Kind::Int, unit: "", definition: "", cell: |n| Cell::count(*n) },
    // Noise, so that compression cannot help a small disk.
    Column {
        name: "noise",
        kind: Kind::Int,
        unit: "",
        definition: "",
        cell: |n| Cell::Int(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) as i64),
    },
];

fn open(rules: FileRules, meter: &SinkMeter) -> RotatingRows<u64> {
    let (numbers, meta) = (NumberText::Shortest, TableMeta::default());
    RotatingRows::open(rules, Format::Parquet, COLUMNS, &[], numbers, meta, meter.clone(), at(0)).unwrap()
}

/// Numbers of all rows, file by file; every file must be readable.
fn numbers(folder: &Path) -> Vec<u64> {
    let mut numbers = Vec::new();
    for path in files(folder, "rows").into_iter().filter(|path| path.extension().unwrap() == "parquet") {
        let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
        for row in reader.get_row_iter(None).unwrap() {
            numbers.push(u64::try_from(row.unwrap().get_long(0).unwrap()).unwrap());
        }
    }
    numbers
}

#[test]
fn files_end_by_size_age_and_signal() {
    let folder = tempfile::tempdir().unwrap();
    let rules = FileRules {
        max_age_us: Some(5_000_000),
        max_bytes: 1_500_000,
        ..FileRules::new(folder.path(), "rows", "parquet")
    };
    let meter = SinkMeter::new();
    let mut sink = open(rules, &meter);
    assert!(files(folder.path(), "rows").is_empty());
    // Two row groups of 65,536 rows pass a million and a half bytes.
    for number in 0..131_072 {
        sink.write_with(&number, &(), at(0));
    }
    assert_eq!((meter.read().rotated, meter.read().written_rows), (1, 131_072));
    sink.write_with(&131_072, &(), at(1_000));
    sink.tick(at(5_999));
    assert_eq!(meter.read().rotated, 1);
    sink.tick(at(6_000));
    assert_eq!(meter.read().rotated, 2);
    sink.write_with(&131_073, &(), at(7_000));
    sink.reopen(at(7_000));
    assert_eq!(meter.read().rotated, 3);
    sink.write_with(&131_074, &(), at(8_000));
    assert!(
        files(folder.path(), "rows").last().unwrap().to_string_lossy().ends_with("-000004.parquet.partial")
    );
    sink.close(at(8_000));
    assert!(numbers(folder.path()).into_iter().eq(0..131_075));
    let on_disk: u64 =
        files(folder.path(), "rows").iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!((meter.read().written_bytes, meter.read().dropped_rows()), (on_disk, 0));
}

#[test]
fn a_full_disk_costs_the_file_that_was_written() {
    let Some(disk) = SmallDisk::mount() else { return };
    let meter = SinkMeter::new();
    let rules = FileRules { keep_files: None, ..FileRules::new(disk.path(), "rows", "parquet") };
    let mut sink = open(rules, &meter);
    for number in 0..20_000 {
        sink.write_with(&number, &(), at(0));
    }
    sink.reopen(at(0));
    assert_eq!(meter.read().written_rows, 20_000);
    // A row group that does not fit any more.
    for number in 20_000..120_000 {
        sink.write_with(&number, &(), at(1_000));
    }
    let full = meter.read();
    assert_eq!((full.written_rows, full.dropped_by(DropCause::DiskFull)), (20_000, 100_000));
    assert!(meter.take_error().unwrap().ends_with("No space left on device (os error 28)"));
    // What was lost has left its room.
    for number in 120_000..120_100 {
        sink.write_with(&number, &(), at(3_000));
    }
    sink.close(at(3_000));
    assert!(numbers(disk.path()).into_iter().eq((0..20_000).chain(120_000..120_100)));
    assert_eq!(meter.read().written_rows + meter.read().dropped_rows(), 120_100);
}

fn child_rules(folder: &Path) -> FileRules {
    FileRules {
        keep_files: None,
        keep_bytes: None,
        fsync: Fsync::Never,
        leftovers: Leftovers::SetAside,
        ..FileRules::new(folder, "rows", "parquet")
    }
}

/// Not a test: what the parent starts and kills.
#[test]
#[ignore = "the child of the test below"]
fn child() {
    let Some(folder) = killed_child::folder() else { return };
    let mut sink = open(child_rules(Path::new(&folder)), &SinkMeter::new());
    for number in 0.. {
        sink.write_with(&number, &(), at(0));
        if number % 1_000 == 999 {
            sink.reopen(at(0));
            thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn a_kill_leaves_whole_files_and_one_that_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = fastrand::Rng::with_seed(11);
    let (mut before, mut set_aside) = (0, 0);
    for _ in 0..20 {
        killed_child::kill("tables::child", folder.path(), Duration::from_micros(dice.u64(1_000..60_000)));
        let meter = SinkMeter::new();
        open(child_rules(folder.path()), &meter).close(at(0));
        set_aside += meter.read().leftovers;
        let names = files(folder.path(), "rows");
        let with =
            |ending: &str| names.iter().filter(|path| path.to_string_lossy().ends_with(ending)).count();
        assert_eq!((with(".broken") as u64, with(".partial")), (set_aside, 0));
        assert_eq!(meter.read().errors, 0);
        // Every file that has its name is whole.
        let rows = numbers(folder.path());
        assert_eq!(rows.len() % 1_000, 0);
        assert!(rows.len() >= before);
        before = rows.len();
    }
    println!("{before} rows, {set_aside} files set aside");
    assert!(before > 0);
}
