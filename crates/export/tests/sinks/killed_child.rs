//! A process that writes into a folder until it is killed.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const FOLDER: &str = "TAPLINE_SINK_TEST_FOLDER";

/// The folder, in the child; nothing where nobody asked for a child.
pub(crate) fn folder() -> Option<OsString> {
    env::var_os(FOLDER)
}

/// Runs `child`, an ignored test of this program that writes until it is killed, for so long.
pub(crate) fn kill(child: &str, folder: &Path, after: Duration) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([child, "--exact", "--ignored", "--quiet"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}
