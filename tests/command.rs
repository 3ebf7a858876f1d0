//! The command's other faces: help, columns, completions, formats, outputs, inputs.

use std::fs;
use std::io::Write;

use crate::support::generator::{Shape, sequence};
use crate::support::packets::{Packet, pcap};
use crate::support::program::{rows, stderr, tapline, tapline_with_input};

fn stdout(args: &[&str]) -> String {
    let output = tapline(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn capture() -> Vec<u8> {
    pcap(&sequence(11, Shape { packets: 300, out_of_order: 0, loopback: false }))
}

#[test]
fn help_has_examples_everywhere() {
    assert!(stdout(&["--help"]).contains("EXIT CODES"));
    for command in
        [&["replay", "--help"][..], &["features", "--help"], &["completions", "--help"], &["man", "--help"]]
    {
        assert!(stdout(command).contains("EXAMPLES"), "{command:?}");
    }
}

#[test]
fn version_tells_the_build() {
    let version = stdout(&["--version"]);
    for fact in ["commit:", "rustc:", "target:", "features:"] {
        assert!(version.contains(fact), "{version}");
    }
}

#[test]
fn completions_and_manual_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&["completions", shell]).contains("replay"));
    }
    assert!(stdout(&["man"]).starts_with(".ie"));
}

#[test]
fn every_column_of_every_header_is_explained() {
    for schema in ["tapline-1", "cic-2018", "cic-head", "cic-gints"] {
        let header = rows(&["--schema", schema], &capture());
        let list = stdout(&["features", "list", "--schema", schema]);
        for name in header.lines().next().unwrap().split(',') {
            assert!(list.contains(&format!("\n{name} ")), "{schema}: {name} is not listed");
        }
    }
    let text = stdout(&["features", "explain", "FWD_BULKS"]);
    assert!(text.contains("meaning: Bulk transfers of the forward direction"), "{text}");
}

#[test]
fn formats_agree() {
    let capture = capture();
    let csv = rows(&[], &capture);
    let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    let ndjson = tapline_with_input(&["replay", "--quiet", "--format", "ndjson", "-"], &capture);
    let ndjson = String::from_utf8(ndjson.stdout).unwrap();
    assert_eq!(csv.lines().count() - 1, ndjson.lines().count());
    for (row, line) in csv.lines().skip(1).zip(ndjson.lines()) {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        for (name, cell) in header.iter().zip(row.split(',')) {
            let text = match &object[name] {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Array(list) => {
                    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
                }
                number => number.to_string(),
            };
            // The JSON parser rounds the last digit its own way.
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-12 * a.abs();
            let same =
                text == cell || text.parse().ok().zip(cell.parse().ok()).is_some_and(|(a, b)| close(a, b));
            assert!(same, "{name}: {cell:?} in CSV, {text:?} in JSON");
        }
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_appears_only_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("flows.parquet");
    let output = tapline_with_input(&["replay", "--quiet", "-o", out.to_str().unwrap(), "-"], &capture());
    assert!(output.status.success(), "{}", stderr(&output));
    let bytes = fs::read(&out).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no partial file is left");
}

#[test]
fn an_output_folder_gets_a_file_named_for_the_input() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("monday.pcap");
    fs::write(&input, capture()).unwrap();
    let out = folder.path().to_str().unwrap();
    stdout(&["replay", "--quiet", "-o", out, input.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(folder.path().join("monday.csv")).unwrap(), rows(&[], &capture()));
}

#[test]
fn compressed_captures_are_read_as_they_are() {
    let capture = capture();
    let plain = rows(&[], &capture);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&capture).unwrap();
    assert_eq!(rows(&[], &gzip.finish().unwrap()), plain);
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&capture).unwrap();
    assert_eq!(rows(&[], &lz4.finish().unwrap()), plain);
}

#[test]
fn duplicates_are_left_out_and_counted() {
    let packets = sequence(12, Shape { packets: 200, out_of_order: 0, loopback: false });
    let mut doubled = Vec::new();
    for (ordinal, packet) in packets.iter().enumerate() {
        // The acknowledgement number tells the packets of the sequence apart.
        let packet = Packet { ack: 10 + ordinal as u32, ..packet.clone() };
        doubled.push(packet.clone());
        doubled.push(Packet { ts_us: packet.ts_us + 5, ..packet });
    }
    doubled.retain(|packet| packet.protocol == 6);
    let only_tcp: Vec<Packet> = doubled.iter().step_by(2).cloned().collect();
    assert!(only_tcp.len() > 10);
    let output = tapline_with_input(&["replay", "--dedup", "10us", "-"], &pcap(&doubled));
    assert!(output.status.success(), "{}", stderr(&output));
    let left_out = format!("filtered: duplicate {}", only_tcp.len());
    assert!(stderr(&output).contains(&left_out), "{}", stderr(&output));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), rows(&[], &pcap(&only_tcp)));
}

#[test]
fn quiet_is_quiet() {
    let output = tapline_with_input(&["replay", "--quiet", "-"], &capture());
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    let output = tapline_with_input(&["replay", "-"], &capture());
    for part in ["packets  300 seen", "0 unaccounted", "flows ", "talkers"] {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}
