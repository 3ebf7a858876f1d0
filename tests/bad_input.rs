//! Bad input: each row is a message and an exit code. Messages say what, where and what to do; nothing panics, and what
//! was whole is processed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::generator::{Shape, sequence};
use crate::support::packets::{pcap, pcap_of_frames};
use crate::support::program::{stderr, tapline, tapline_with_input};

/// Runs `tapline replay` in a folder with `input.pcap` of these bytes.
#[track_caller]
fn check(input: &[u8], args: &[&str], code: i32, rows: usize, says: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input.pcap");
    fs::write(&path, input).unwrap();
    let mut all = vec!["replay"];
    all.extend(args);
    all.push(path.to_str().unwrap());
    let output = tapline(&all);
    let errors = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().skip(1).count(), rows, "{errors}");
    for part in says {
        assert!(errors.contains(part), "{part:?} is not in: {errors}");
    }
    assert!(!errors.contains("panicked"), "{errors}");
}

fn capture() -> Vec<u8> {
    pcap(&sequence(7, Shape { packets: 50, out_of_order: 0, loopback: false }))
}

#[test]
fn an_empty_file() {
    check(&[], &[], 65, 0, &["input.pcap", "empty"]);
}

#[test]
fn not_a_capture() {
    check(b"GIF89a, for example", &[], 65, 0, &["input.pcap", "47 49 46 38", "pcapng"]);
}

#[test]
fn a_header_without_packets_is_fine() {
    check(&capture()[..24], &[], 0, 0, &["0 seen"]);
}

#[test]
fn a_truncated_header() {
    check(&capture()[..20], &[], 0, 0, &["0 seen", "notice", "input.pcap"]);
}

#[test]
fn a_truncated_last_record_is_reported_and_the_rest_counts() {
    let whole = capture();
    check(
        &whole[..whole.len() - 3],
        &[],
        0,
        rows_of(&whole[..whole.len() - 3]),
        &["49 seen", "notice", "input.pcap"],
    );
}

#[test]
fn garbage_in_the_middle_is_refused_with_its_offset() {
    let mut capture = capture();
    let first = 24 + 16 + u32::from_le_bytes(capture[32..36].try_into().unwrap()) as usize;
    capture[first + 8..first + 12].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    check(&capture, &[], 65, 1, &["input.pcap", &format!("{first}"), "1 seen"]);
}

#[test]
fn a_link_type_that_is_not_supported() {
    let frames = (0..3).map(|i| (i, vec![0; 60]));
    check(&pcap_of_frames(147, frames), &[], 65, 0, &["none of 3 packets", "unsupported_link_type 3", "147"]);
}

#[test]
fn nothing_but_arp() {
    let mut frame = vec![0xff; 12];
    frame.extend([0x08, 0x06]);
    frame.resize(60, 0);
    check(&pcap_of_frames(1, [(0, frame)]), &[], 65, 0, &["none of 1 packets", "arp 1"]);
}

#[test]
fn a_filter_that_matches_nothing_is_fine() {
    check(&capture(), &["--filter", "port 9"], 0, 0, &["50 filtered"]);
}

#[test]
fn a_filter_that_does_not_compile() {
    check(&capture(), &["--filter", "port port"], 2, 0, &["port port"]);
}

#[test]
fn a_file_that_is_not_there() {
    let output = tapline(&["replay", "no/such/file.pcap"]);
    assert_eq!(output.status.code(), Some(66));
    assert!(stderr(&output).contains("no/such/file.pcap"));
}

#[test]
fn one_bad_file_of_several_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = write("a.pcap", &capture());
    let mut damaged = capture();
    let first = 24 + 16 + u32::from_le_bytes(damaged[32..36].try_into().unwrap()) as usize;
    damaged[first + 8..first + 12].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let bad = write("b.pcap", &damaged);
    let output = tapline(&["replay", &good, &bad]);
    assert_eq!(output.status.code(), Some(65), "{}", stderr(&output));
    assert!(stderr(&output).contains("51 seen"), "{}", stderr(&output));
    assert!(stderr(&output).contains("b.pcap"));
}

#[test]
fn wrong_command_lines() {
    for (args, says) in [
        (&["replay"][..], "FILE"),
        (&["replay", "--workers", "0", "x"], "workers"),
        (&["replay", "--schema", "cic", "x"], "cic-gints"),
        (&["replay", "--idle-timeout", "120", "x"], "120s"),
        (&["replay", "--active-timeout", "2h", "x"], "at most 1h"),
        (&["replay", "--schema", "cic-head", "--idle-timeout", "5s", "x"], "tapline-1"),
        (&["replay", "--max-flows", "1", "x"], "max-flows"),
        (&["replay", "--format", "xml", "x"], "ndjson"),
        (&["features", "explain", "fwd_pktz"], "fwd_pkts"),
    ] {
        let output = tapline(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn an_output_that_cannot_be_created() {
    check(&capture(), &["-o", "no/such/folder/flows.csv"], 73, 0, &["no/such/folder/flows.csv"]);
}

#[test]
fn a_full_disk() {
    if !Path::new("/dev/full").exists() {
        println!("skipped: no /dev/full here");
        return;
    }
    check(&capture(), &["-o", "/dev/full"], 74, 0, &["/dev/full", "full"]);
    check(&capture(), &["-o", "/dev/full", "--workers", "3"], 74, 0, &["/dev/full", "full"]);
}

#[test]
fn a_closed_pipe() {
    let packets = sequence(8, Shape { packets: 20_000, out_of_order: 0, loopback: false });
    let mut child = Command::new(env!("CARGO_BIN_EXE_tapline"))
        .args(["replay", "--quiet", "--workers", "2", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // The program may go before it has read everything.
    drop(std::io::Write::write_all(&mut stdin, &pcap(&packets)));
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    assert!(stderr(&output).contains("standard output"), "{}", stderr(&output));
}

#[test]
fn a_broken_archive() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&capture()).unwrap();
    let mut packed = encoder.finish().unwrap();
    let middle = packed.len() / 2;
    packed.truncate(middle);
    let output = tapline_with_input(&["replay", "-"], &packed);
    // A cut archive is a cut capture: what was whole counts.
    assert!([Some(0), Some(65)].contains(&output.status.code()), "{}", stderr(&output));
    assert!(!stderr(&output).contains("panicked"));
    packed[20] ^= 0x55;
    packed[21] ^= 0x55;
    let output = tapline_with_input(&["replay", "-"], &packed);
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}

fn rows_of(input: &[u8]) -> usize {
    let output = tapline_with_input(&["replay", "-"], input);
    String::from_utf8_lossy(&output.stdout).lines().skip(1).count()
}
