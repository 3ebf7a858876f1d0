//! The captures of tcpdump's own test suite, some 250 of them malformed on purpose: each is read to its end, or refused.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tapline_capture::{CaptureSet, FrameFilter, ReadOptions};

#[test]
#[expect(clippy::tests_outside_test_module, reason = "the whole file is a test")]
fn tcpdump_test_captures() {
    let archive =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/robustness/tcpdump-tests.tar.zst");
    if !archive.exists() {
        println!("skipped: {} is not there", archive.display());
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let unpacked =
        Command::new("tar").arg("--zstd").arg("-xf").arg(&archive).arg("-C").arg(folder.path()).status();
    if !unpacked.is_ok_and(|status| status.success()) {
        println!("skipped: tar --zstd cannot unpack {}", archive.display());
        return;
    }

    let mut files = Vec::new();
    list(folder.path(), &mut files);
    files.sort();
    let (mut frames, mut refused) = (0u64, 0u64);
    for path in &files {
        let begin = Instant::now();
        match read(path) {
            Ok(count) => frames += count,
            Err(error) => {
                println!("{}: {error}", path.file_name().unwrap().display());
                refused += 1;
            }
        }
        assert!(begin.elapsed() < Duration::from_secs(2), "{} took {:?}", path.display(), begin.elapsed());
    }
    println!("{} files, {frames} frames, {refused} files refused", files.len());
    assert!(frames > 0);

    // All at once, as a directory. Few of them are too many to be open together, unless the limit says otherwise.
    let options = ReadOptions { max_open_files: files.len() };
    let mut set = CaptureSet::open(&[folder.path().to_owned()], &options).unwrap();
    let (mut merged, mut errors) = (0u64, 0u64);
    while let Some(frame) = set.next() {
        match frame {
            Ok(_) => merged += 1,
            Err(_) => errors += 1,
        }
    }
    assert!(merged >= frames, "{merged} frames merged, {frames} read one by one");
    assert!(errors <= refused);
}

/// Frames of a file; every one is also put to a filter, which may find the link type unfit but must say so.
fn read(path: &Path) -> Result<u64, tapline_capture::CaptureError> {
    let mut filter = FrameFilter::compile("tcp or udp port 53").ok();
    let mut set = CaptureSet::open(&[path.to_owned()], &ReadOptions::default())?;
    let mut frames = 0;
    while let Some(frame) = set.next() {
        let frame = frame?;
        assert!(frame.wire_bytes as usize >= frame.bytes.len());
        if let Some(filter) = &mut filter {
            let _ = filter.matches(&frame);
        }
        frames += 1;
    }
    Ok(frames)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder was just unpacked") {
        let path = entry.expect("nobody else writes there").path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}
