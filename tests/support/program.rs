//! The program under test.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs `tapline` with `args`.
pub(crate) fn tapline(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tapline")).args(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs `tapline` with `args` and `input` on standard input.
pub(crate) fn tapline_with_input(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tapline"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // The program may stop reading before the end; that is its business.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

/// The rows that `tapline replay` with `args` writes for a capture, header first.
pub(crate) fn rows(args: &[&str], capture: &[u8]) -> String {
    let mut all = vec!["replay", "--quiet", "--format", "csv"];
    all.extend(args);
    all.push("-");
    let output = tapline_with_input(&all, capture);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder of the checkout.
pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A folder beside the checkout that only developers have; says so and gives `None` without it.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let found = root("../shared").join(path);
    if found.exists() {
        return Some(found);
    }
    println!("skipped: {} is not there", found.display());
    None
}

/// Unpacks a `.tar.zst` below `target/` once.
pub(crate) fn unpacked(archive: &Path, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let done = folder.join(".unpacked");
    if !done.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let status =
            Command::new("tar").arg("--zstd").arg("-xf").arg(archive).arg("-C").arg(&folder).status();
        assert!(status.unwrap().success(), "unpacking {}", archive.display());
        std::fs::write(done, "").unwrap();
    }
    folder
}

/// One column of CSV rows whose fields need no quoting.
pub(crate) fn column<'a>(csv: &'a str, name: &str) -> Vec<&'a str> {
    let mut lines = csv.lines();
    let header = lines.next().unwrap();
    let at =
        header.split(',').position(|column| column == name).unwrap_or_else(|| panic!("no column {name}"));
    lines.map(|line| line.split(',').nth(at).unwrap()).collect()
}
