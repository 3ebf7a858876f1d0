//! `tapline doctor` as data: what stands in the way of a good measurement, and what to do about it.
//!
//! In: what is to be captured ([`CapturePlan`]), and what the kernel shows of itself, the adapters and the host in `/proc`
//! and `/sys`. Out: [`Finding`]s, in the order in which a packet meets what they are about, the good ones too. Nothing is
//! changed; what cannot be read is left out. It asks as the process that calls it: before rights are dropped.

mod host;
mod interface;
mod kernel;
mod output;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
pub(crate) use interface::RingSizes;

use crate::rights::Rights;

/// What is to be captured, and with what means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapturePlan {
    /// The program that is to capture: what rights are granted to.
    pub binary: PathBuf,
    /// The interfaces.
    pub interfaces: Vec<InterfacePlan>,
    /// Threads that keep flow tables.
    pub workers: usize,
    /// What tables, queues and capture buffers may take together.
    pub memory_bytes: u64,
    /// Where rows are written, if they are.
    pub output_folder: Option<PathBuf>,
    /// How much of them is kept, if that is bounded.
    pub keep_bytes: Option<u64>,
}

/// One interface that is to be captured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfacePlan {
    /// Its name.
    pub name: String,
    /// Capture handles that share it, each with a thread.
    pub readers: usize,
    /// Whether frames for other hosts are wanted.
    pub promiscuous: bool,
    /// What the capturing side said when it was asked to check the interface: its notices, or why it cannot be captured.
    /// `None` if it was not asked.
    pub check: Option<Result<Vec<String>, String>>,
}

/// What was found out about one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: an interface's name, `rights`, `kernel`, `memory` and the like.
    pub subject: String,
    /// How bad it is.
    pub state: State,
    /// What is the case.
    pub what: String,
    /// What to do about it: a line to type, where there is one.
    pub cure: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// All is well.
    Ok,
    /// The sensor runs, but something is lost, slower, or less safe than it could be.
    Warn,
    /// The sensor cannot run so.
    Bad,
}

/// Looks at this host.
#[must_use]
pub fn diagnose(plan: &CapturePlan) -> Vec<Finding> {
    let trees = Trees::of_host();
    let mut findings = kernel::findings(&trees, &Rights::now(), &plan.binary);
    for interface in &plan.interfaces {
        findings.extend(interface::findings(&trees, interface, interface::ring_sizes(&interface.name)));
    }
    findings.extend(host::findings(&trees, plan));
    if let Some(folder) = &plan.output_folder {
        findings.extend(output::findings(folder, plan.keep_bytes));
    }
    findings
}

impl Finding {
    fn ok(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { subject: subject.into(), state: State::Ok, what: what.into(), cure: None }
    }

    fn warn(subject: impl Into<String>, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { subject: subject.into(), state: State::Warn, what: what.into(), cure: Some(cure.into()) }
    }

    fn bad(subject: impl Into<String>, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { subject: subject.into(), state: State::Bad, what: what.into(), cure: Some(cure.into()) }
    }
}

/// One line: `warn  eth0: ... -> what to do`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<5} {}: {}", self.state.name(), self.subject, self.what)?;
        self.cure.iter().try_for_each(|cure| write!(f, " -> {cure}"))
    }
}

impl State {
    /// `ok`, `warn` or `bad`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// What the kernel shows of itself as files.
#[derive(Debug)]
struct Trees {
    proc: PathBuf,
    sys: PathBuf,
}

impl Trees {
    fn of_host() -> Self {
        Self { proc: PathBuf::from("/proc"), sys: PathBuf::from("/sys") }
    }

    fn proc(&self, path: &str) -> Option<String> {
        text(&self.proc.join(path))
    }

    fn sys(&self, path: &str) -> Option<String> {
        text(&self.sys.join(path))
    }
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

/// In the largest unit that leaves a number above 1.
fn size(bytes: u64) -> String {
    let unit =
        [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")].into_iter().find(|(bits, _)| bytes >> bits > 0);
    match unit {
        Some((bits, unit)) => {
            let tenths = (u128::from(bytes) * 10) >> bits;
            if tenths % 10 == 0 {
                format!("{} {unit}", tenths / 10)
            } else {
                format!("{}.{} {unit}", tenths / 10, tenths % 10)
            }
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod fake {
    use std::fs;

    use tempfile::TempDir;

    use super::Trees;

    /// Trees with these files.
    pub(super) fn trees(files: &[(&str, &str)]) -> (Trees, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        (Trees { proc: folder.path().join("proc"), sys: folder.path().join("sys") }, folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_at_a_glance() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (512 << 20, "512 MiB"),
            (1_700_000_000, "1.5 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_finding_is_one_line_with_its_cure() {
        let finding = Finding::warn("eth0", "no carrier", "check the cable");
        assert_eq!(finding.to_string(), "warn  eth0: no carrier -> check the cable");
        assert_eq!(Finding::ok("rights", "enough").to_string(), "ok    rights: enough");
        assert!(State::Ok < State::Warn && State::Warn < State::Bad);
    }

    #[test]
    fn this_host_can_be_diagnosed() {
        let folder = tempfile::tempdir().unwrap();
        let plan = CapturePlan {
            binary: PathBuf::from("/usr/bin/tapline"),
            interfaces: ["lo", "no-such-0"]
                .map(|name| InterfacePlan { name: name.to_owned(), readers: 1, ..InterfacePlan::default() })
                .to_vec(),
            workers: 1,
            memory_bytes: 1 << 20,
            output_folder: Some(folder.path().to_owned()),
            keep_bytes: Some(1),
        };
        let findings = diagnose(&plan);
        for finding in &findings {
            println!("{finding}");
            assert!(finding.state == State::Ok || finding.cure.is_some(), "{finding}");
            assert!(!finding.to_string().contains('\n'), "{finding}");
        }
        for subject in ["rights", "kernel", "lo", "no-such-0", "output"] {
            assert!(findings.iter().any(|finding| finding.subject == subject), "nothing about {subject}");
        }
        let absent = findings.iter().find(|finding| finding.subject == "no-such-0").unwrap();
        assert_eq!(absent.state, State::Bad);
    }
}
