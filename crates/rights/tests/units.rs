//! The units of `systemd/`, as systemd itself judges them. Where it is not there, the tests say so and pass.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "the helpers of a test are test code too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const UNITS: [&str; 2] = ["tapline.service", "tapline@.service"];

/// The whole of `systemd/`, in a place where it may be changed.
fn copied() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systemd")
}

/// Runs one of systemd's tools; nothing if it is not there, or is too old for these arguments.
fn tool(name: &str, arguments: &[&str], at: &Path) -> Option<Output> {
    let output = Command::new(name).args(arguments).current_dir(at).env("SYSTEMD_COLORS", "0").output();
    let output = output.ok().filter(|output| {
        let said = String::from_utf8_lossy(&output.stderr);
        !said.contains("unrecognized option") && !said.contains("unknown option")
    });
    if output.is_none() {
        println!("skipped: {name} is not there, or too old for {arguments:?}");
    }
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn exposure_is_at_most_two() {
    let folder = copied();
    for unit in UNITS {
        let arguments = ["security", "--offline=true", "--no-pager", unit];
        let Some(output) = tool("systemd-analyze", &arguments, folder.path()) else { return };
        let said = text(&output);
        let verdict = said.lines().find(|line| line.contains("Overall exposure level")).unwrap_or(&said);
        let score = verdict.rsplit(": ").next().unwrap().split(' ').next().unwrap();
        println!("{verdict}");
        assert!(score.parse::<f64>().unwrap() <= 2.0, "{said}");
    }
}

#[test]
fn units_are_without_mistakes() {
    let folder = copied();
    // The program need not be installed to be named.
    let program = folder.path().join("tapline");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let here = folder.path().to_str().unwrap();
    for (unit, as_started) in UNITS.into_iter().zip(["tapline.service", "tapline@eth0.service"]) {
        let unit = fs::read_to_string(folder.path().join(unit)).unwrap();
        fs::write(
            folder.path().join(as_started),
            unit.replace("/usr/bin/tapline ", &format!("{here}/tapline ")),
        )
        .unwrap();
        let path = folder.path().join(as_started);
        let arguments = ["verify", "--man=no", path.to_str().unwrap()];
        let Some(output) = tool("systemd-analyze", &arguments, folder.path()) else { return };
        assert!(output.status.success() && text(&output).is_empty(), "{}", text(&output));
    }
}

#[test]
fn both_units_grant_the_same() {
    let settings = UNITS.map(|unit| {
        let unit = fs::read_to_string(source().join(unit)).unwrap();
        let own = ["ExecStart", "LogsDirectory=", "RuntimeDirectory=", "Description="];
        let lines = unit
            .lines()
            .filter(|line| !line.starts_with('#') && !own.iter().any(|own| line.starts_with(own)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(settings[0], settings[1]);
    for line in ["Type=notify", "WatchdogSec=10", "ExecReload=/bin/kill -HUP $MAINPID"] {
        assert!(settings[0].iter().any(|setting| setting == line), "{line}");
    }
    // What the message about missing rights tells to write stands there too.
    let help = tapline_rights::capture_denied_help(Path::new("/usr/bin/tapline"), "eth0");
    let told: Vec<_> = help.lines().map(str::trim).filter(|line| line.ends_with("=CAP_NET_RAW")).collect();
    assert_eq!(told.len(), 2, "{help}");
    assert!(told.iter().all(|line| settings[0].iter().any(|setting| setting == line)), "{help}");
}

#[test]
fn user_and_folders_are_made() {
    let folder = copied();
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let root_is = format!("--root={}", root.path().display());
    let [users, folders] =
        ["sysusers", "tmpfiles"].map(|kind| format!("{}/tapline.{kind}.conf", folder.path().display()));
    let Some(made) = tool("systemd-sysusers", &[&root_is, &users], folder.path()) else {
        return;
    };
    if !made.status.success() {
        println!("skipped: no users can be made here: {}", text(&made));
        return;
    }
    let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let user: Vec<_> = users.lines().find(|line| line.starts_with("tapline:")).unwrap().split(':').collect();
    assert_eq!(user[4..], ["Tapline network sensor", "/var/log/tapline", "/usr/sbin/nologin"]);

    let arguments = ["--create", &root_is, &folders];
    let Some(made) = tool("systemd-tmpfiles", &arguments, folder.path()) else { return };
    if !rustix::process::geteuid().is_root() {
        println!("skipped: folders for another user are made by root only: {}", text(&made));
        return;
    }
    assert!(made.status.success(), "{}", text(&made));
    for (path, mode) in [("etc/tapline", 0o755), ("var/log/tapline", 0o750), ("run/tapline", 0o750)] {
        let there = fs::metadata(root.path().join(path)).unwrap();
        assert_eq!(there.permissions().mode() & 0o7777, mode, "{path}");
    }
}
