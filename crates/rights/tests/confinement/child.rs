//! This program again, as a process whose main thread may drop its rights.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use libtest_mimic::{Failed, Trial};

/// What a child does, by name.
pub(crate) type Case = (&'static str, fn());

const CASE: &str = "TAPLINE_CONFINED";
const FOLDER: &str = "TAPLINE_CONFINED_FOLDER";

/// In a child, does what it was started for, and ends. A panic is its failure.
pub(crate) fn run_if_asked(cases: &[&[Case]]) {
    let Ok(asked) = env::var(CASE) else { return };
    let case = cases.iter().copied().flatten().find(|(name, _)| *name == asked);
    (case.unwrap_or_else(|| panic!("no case {asked}")).1)();
    process::exit(0);
}

/// The folder that the parent made for the child.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env::var_os(FOLDER).unwrap())
}

/// A test of this program.
pub(crate) fn test(name: &'static str, body: fn()) -> Trial {
    Trial::test(name, move || -> Result<(), Failed> {
        body();
        Ok(())
    })
}

/// The command that starts a child.
pub(crate) fn command(case: &str, folder: &Path) -> Command {
    through(&[], case, folder)
}

/// The command that starts a child by another program, which takes it as its arguments.
pub(crate) fn through(program: &[&str], case: &str, folder: &Path) -> Command {
    let own = env::current_exe().unwrap();
    let mut words = program.iter().map(OsStr::new).chain([own.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).env(CASE, case).env(FOLDER, folder).env_remove("NOTIFY_SOCKET");
    command
}

/// Runs a child to its end; it must succeed.
#[track_caller]
pub(crate) fn run(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{}: {said}", output.status);
    // What a test passes over is told; the rest is noise.
    said.lines().filter(|line| line.starts_with("skipped")).for_each(|line| println!("{line}"));
    said
}

/// Runs a case in a folder of its own.
#[track_caller]
pub(crate) fn run_case(case: &str) -> String {
    run(command(case, tempfile::tempdir().unwrap().path()))
}

/// Whether tests may have rights to drop.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
