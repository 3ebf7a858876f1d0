//! Real and hostile captures, where they are at hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::program::{shared, stderr, tapline, unpacked};

#[test]
fn the_labelled_corpus_is_accounted_for() {
    let Some(archive) = shared("corpus/captures.tar.zst") else { return };
    let corpus = unpacked(&archive, "corpus");
    let stats = corpus.join("stats.json");
    let output = tapline(&[
        "replay",
        "--format",
        "none",
        "--stats",
        stats.to_str().unwrap(),
        corpus.to_str().unwrap(),
    ]);
    // Damaged files are reported; nothing else may be wrong.
    assert!([Some(0), Some(65)].contains(&output.status.code()), "{}", stderr(&output));
    let stats: serde_json::Value = serde_json::from_slice(&fs::read(stats).unwrap()).unwrap();
    assert_eq!(stats["packets"]["unaccounted"], 0, "{stats:#}");
    assert!(stats["packets"]["seen"].as_u64().unwrap() > 100_000, "{stats:#}");
    println!("{}", stderr(&output));
}

/// Malformed captures of another project's test suite: each ends in a documented exit code, in time.
#[test]
fn hostile_captures_end_in_an_exit_code() {
    let Some(archive) = shared("robustness/tcpdump-tests.tar.zst") else { return };
    let folder = unpacked(&archive, "hostile");
    let mut tried = 0;
    for capture in files_below(&folder) {
        for schema in ["tapline-1", "cic-gints"] {
            let mut child = Command::new(env!("CARGO_BIN_EXE_tapline"))
                .args(["replay", "--quiet", "--schema", schema, "-o", "/dev/null"])
                .arg(&capture)
                .stdin(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let began = Instant::now();
            while child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(child.kill());
            let output = child.wait_with_output().unwrap();
            let code = output.status.code();
            assert!(
                [Some(0), Some(65), Some(66)].contains(&code),
                "{}: {code:?} {}",
                capture.display(),
                stderr(&output)
            );
        }
        tried += 1;
    }
    assert!(tried > 500, "only {tried} files");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != ".unpacked") {
                found.push(path);
            }
        }
    }
    found
}
