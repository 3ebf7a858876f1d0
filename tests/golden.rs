//! The golden captures under each CICFlowMeter schema: rows byte for byte, for any number of workers.

use std::fs;

use crate::support::program::{root, stderr, tapline};

#[test]
fn rows_are_cicflowmeters() {
    let mut compared = 0;
    for (schema, version) in [("cic-2018", "v2018"), ("cic-head", "head"), ("cic-gints", "gints")] {
        for entry in fs::read_dir(root("tests/golden")).unwrap() {
            let capture = entry.unwrap().path();
            if capture.extension().is_none_or(|ending| ending != "pcap") {
                continue;
            }
            let expected = fs::read_to_string(capture.with_extension(format!("{version}.csv"))).unwrap();
            let expected = sorted(&expected);
            for workers in ["1", "3"] {
                let capture = capture.to_str().unwrap();
                let output = tapline(&[
                    "replay",
                    "--schema",
                    schema,
                    "--format",
                    "csv",
                    "--quiet",
                    "--workers",
                    workers,
                    "-o",
                    "-",
                    capture,
                ]);
                assert!(output.status.success(), "{capture}: {}", stderr(&output));
                let text = String::from_utf8(output.stdout).unwrap();
                let (_, rows) = text.split_once('\n').unwrap();
                assert_eq!(sorted(rows), expected, "{capture} under {schema}");
                compared += expected.len();
            }
        }
    }
    assert_eq!(compared, 2 * 301 - 2 * EMPTY_LINES, "every expected row was compared");
}

/// Lines of the expectations that hold no row: captures in which a tool finds no flow.
const EMPTY_LINES: usize = 2;

fn sorted(rows: &str) -> Vec<&str> {
    let mut rows: Vec<&str> = rows.lines().filter(|row| !row.is_empty()).collect();
    rows.sort_unstable();
    rows
}
