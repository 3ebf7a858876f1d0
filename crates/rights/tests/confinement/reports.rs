//! What dropping rights says of itself, and what it takes exception to.

use std::fs;
use std::path::{Path, PathBuf};
use std::slice;
use std::thread;

use libtest_mimic::Trial;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use tapline_rights::{CapabilitySet, Paths, Plan, Protection, Rights, RightsError, drop_all};

use crate::child::{self, Case};

pub(crate) const CASES: &[Case] = &[
    ("nothing_wanted", nothing_wanted),
    ("everything_wanted", everything_wanted),
    ("kernel_without", kernel_without),
    ("bad_paths", bad_paths),
    ("other_threads", other_threads),
    ("folder_of_another", folder_of_another),
];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        child::test("what_is_switched_off_is_said", || drop(child::run_case("nothing_wanted"))),
        child::test("what_is_in_force_can_be_seen_from_outside", || {
            drop(child::run_case("everything_wanted"))
        }),
        child::test("a_user_without_rights_can_drop_them_too", unprivileged),
        child::test("what_the_kernel_lacks_is_said", kernels_without),
        child::test("a_path_that_cannot_be_kept_is_an_error", || drop(child::run_case("bad_paths"))),
        child::test("other_threads_are_an_error", || drop(child::run_case("other_threads"))),
        child::test("a_folder_of_another_user_is_told_at_once", || {
            drop(child::run_case("folder_of_another"))
        }),
    ]
}

fn nothing_wanted() {
    let report = drop_all(&Plan { keep_net_raw: false, landlock: None, seccomp: false }).unwrap();
    assert_eq!((&report.landlock, &report.seccomp), (&Protection::SwitchedOff, &Protection::SwitchedOff));
    assert_eq!(report.kept, CapabilitySet::EMPTY);
    assert!(report.to_string().ends_with("; landlock: switched off; seccomp: switched off"), "{report}");
    let rights = Rights::now();
    assert!(rights.no_new_privileges && !rights.can_capture());
    assert_eq!(rights.capabilities, CapabilitySet::EMPTY);
    fs::read_dir("/etc").unwrap();
}

fn everything_wanted() {
    let before = Rights::now();
    let folder = child::folder();
    let paths = Paths { write: vec![folder], ..Paths::default() };
    let report = drop_all(&Plan { keep_net_raw: true, landlock: Some(paths), seccomp: true }).unwrap();
    println!("{report}");
    assert_eq!(
        report.kept.contains(CapabilitySet::NET_RAW),
        before.capabilities.contains(CapabilitySet::NET_RAW)
    );
    assert!(report.kept.count() <= 1);
    let line = report.to_string();
    assert!(!line.contains('\n') && !line.contains("switched off"), "{line}");

    let status = thread::spawn(|| fs::read_to_string("/proc/thread-self/status").unwrap()).join().unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let set = |name: &str| CapabilitySet::from_bits(u64::from_str_radix(field(name).unwrap(), 16).unwrap());
    assert_eq!((set("CapEff:"), set("CapPrm:")), (report.kept, report.kept));
    assert_eq!((set("CapInh:"), set("CapAmb:")), (CapabilitySet::EMPTY, CapabilitySet::EMPTY));
    assert_eq!(field("NoNewPrivs:"), Some("1"));
    if report.seccomp.is_in_force() {
        assert_eq!(field("Seccomp:"), Some("2"));
    }
    let bounding_emptied = !line.contains("bounding set left");
    assert_eq!(set("CapBnd:") == CapabilitySet::EMPTY, bounding_emptied, "{line}");

    // The kernel can still be asked, and says the same as before.
    let after = Rights::now();
    assert_eq!((after.landlock, after.seccomp_available), (before.landlock, before.seccomp_available));
    assert_eq!((after.capabilities, after.can_capture()), (report.kept, before.can_capture()));
}

/// The answer of a kernel, or a container, that lacks both measures.
const LACKING: &str = "TAPLINE_TEST_LACKING";

fn kernels_without() {
    for (answer, reason) in [
        (libc::ENOSYS, "the kernel has none"),
        (libc::EOPNOTSUPP, "the kernel was started without it"),
        (libc::EPERM, "a seccomp filter forbids it"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = child::command("kernel_without", folder.path());
        command.env(LACKING, answer.to_string());
        let said = child::run(command);
        assert!(said.contains(reason) || said.contains("skipped"), "{said}");
    }
}

fn kernel_without() {
    let answer: i32 = std::env::var(LACKING).unwrap().parse().unwrap();
    // Another filter, as a container has one, answers for the kernel; it cannot answer so to who installs it.
    let answers_all = SeccompAction::Errno(answer.cast_unsigned());
    let calls = [(libc::SYS_landlock_create_ruleset, Vec::new()), (libc::SYS_seccomp, Vec::new())];
    let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let filter = SeccompFilter::new(calls.into(), SeccompAction::Allow, answers_all, arch).unwrap();
    if seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).is_err() {
        return println!("skipped: no seccomp here");
    }
    let plan = Plan { keep_net_raw: true, landlock: Some(Paths::default()), seccomp: true };
    if answer == libc::EOPNOTSUPP {
        // Not what seccomp(2) says of itself, therefore no excuse.
        let error = drop_all(&plan).unwrap_err();
        assert!(matches!(error, RightsError::Seccomp { .. }), "{error}");
    }
    let report = drop_all(&Plan { seccomp: answer != libc::EOPNOTSUPP, ..plan }).unwrap();
    println!("{report}");
    assert!(report.falls_short() && matches!(report.landlock, Protection::Unavailable { .. }), "{report}");
    assert!(!report.seccomp.is_in_force(), "{report}");
    // What there is holds all the same.
    assert!(Rights::now().no_new_privileges && report.capabilities.is_in_force());
}

/// As systemd starts it: another user, CAP_NET_RAW at most.
fn unprivileged() {
    let Some(setpriv) = unprivileged_by(&["--bounding-set", "-all"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(NOBODY), None).unwrap();
    child::run(child::through(&setpriv, "everything_wanted", folder.path()));
}

/// setpriv(1) to a user without rights, if there is a way.
pub(crate) fn unprivileged_by(further: &[&'static str]) -> Option<Vec<&'static str>> {
    let reachable = |path: &Path| {
        path.ancestors().all(|folder| {
            fs::metadata(folder)
                .is_ok_and(|there| std::os::unix::fs::PermissionsExt::mode(&there.permissions()) & 1 != 0)
        })
    };
    if !child::is_root() || !reachable(&std::env::current_exe().unwrap()) {
        println!("skipped: takes root, and a program that others may run");
        return None;
    }
    let fixed = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let setpriv = [&fixed[..], further].concat();
    let works = std::process::Command::new(setpriv[0]).args(&setpriv[1..]).arg("true").status();
    if !works.is_ok_and(|status| status.success()) {
        println!("skipped: setpriv is not there, or may not");
        return None;
    }
    Some(setpriv)
}

/// nobody, in Debian and Fedora alike.
pub(crate) const NOBODY: u32 = 65_534;

fn bad_paths() {
    let folder = child::folder();
    fs::write(folder.join("file"), "").unwrap();
    let attempt = |read: &[PathBuf], write: &[PathBuf]| {
        let paths = Paths { read: read.to_vec(), write: write.to_vec(), ..Paths::default() };
        drop_all(&Plan { keep_net_raw: true, landlock: Some(paths), seccomp: false })
    };
    if let Protection::Unavailable { .. } = attempt(&[], &[]).unwrap().landlock {
        return println!("skipped: no Landlock here");
    }
    // Who is restricted already can still see what is there, if not what is in it.
    let absent = folder.join("absent");
    let error = attempt(slice::from_ref(&absent), &[]).unwrap_err();
    assert!(matches!(&error, RightsError::Path { path, .. } if *path == absent), "{error}");
    assert!(error.to_string().contains("make it, or take it out"), "{error}");
    let error = attempt(&[], slice::from_ref(&absent)).unwrap_err();
    assert!(matches!(&error, RightsError::Path { path, .. } if *path == absent), "{error}");
    let error = attempt(&[], &[folder.join("file")]).unwrap_err();
    assert!(matches!(&error, RightsError::NotAFolder { .. }), "{error}");
}

fn other_threads() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let other = thread::spawn(move || stopped.recv());
    let plan = Plan { keep_net_raw: true, landlock: None, seccomp: false };
    let error = drop_all(&plan).unwrap_err();
    assert!(matches!(error, RightsError::OtherThreads { count: 2 }), "{error}");
    assert!(!Rights::now().no_new_privileges);
    drop(stop);
    let _ = other.join().unwrap();
    drop_all(&plan).unwrap();
}

fn folder_of_another() {
    if !child::is_root() {
        return println!("skipped: takes root");
    }
    let folder = child::folder().join("rows");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(NOBODY), None).unwrap();
    // Root's capabilities are what let it write there until now.
    fs::write(folder.join("before"), "").unwrap();
    let paths = Paths { write: vec![folder.clone()], ..Paths::default() };
    let error = drop_all(&Plan { keep_net_raw: true, landlock: Some(paths), seccomp: true }).unwrap_err();
    assert!(matches!(&error, RightsError::NotWritable { user_id: 0, .. }), "{error}");
    assert!(error.to_string().ends_with(&format!("chown 0 {}", folder.display())), "{error}");
}
