//! What must fail.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process;
use std::thread;

use libtest_mimic::Trial;
use tapline_rights::{Landlock, Paths, Plan, Rights, TcpConnect, drop_all};

use crate::child::{self, Case};
use crate::raw_call;

pub(crate) const CASES: &[Case] =
    &[("refused_calls", refused_calls), ("refused_files", refused_files), ("refused_ports", refused_ports)];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        child::test("system_calls_that_are_not_needed_fail", || drop(child::run_case("refused_calls"))),
        child::test("files_that_were_not_named_cannot_be_opened", files_are_refused),
        child::test("ports_that_were_not_named_cannot_be_used", || drop(child::run_case("refused_ports"))),
    ]
}

fn refused_calls() {
    let report = drop_all(&Plan { keep_net_raw: true, landlock: None, seccomp: true }).unwrap();
    if !report.seccomp.is_in_force() {
        println!("skipped: seccomp is {}", report.seccomp);
        return;
    }
    // In the main thread, and in one made later.
    try_refused_calls();
    thread::spawn(try_refused_calls).join().unwrap();
}

fn try_refused_calls() {
    for (name, call) in [
        ("execve", libc::SYS_execve),
        ("execveat", libc::SYS_execveat),
        ("ptrace", libc::SYS_ptrace),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("process_vm_writev", libc::SYS_process_vm_writev),
        ("kcmp", libc::SYS_kcmp),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("pivot_root", libc::SYS_pivot_root),
        ("chroot", libc::SYS_chroot),
        ("move_mount", libc::SYS_move_mount),
        ("open_tree", libc::SYS_open_tree),
        ("fsopen", libc::SYS_fsopen),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("mknodat", libc::SYS_mknodat),
        ("symlinkat", libc::SYS_symlinkat),
        ("fchownat", libc::SYS_fchownat),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("kexec_load", libc::SYS_kexec_load),
        ("kexec_file_load", libc::SYS_kexec_file_load),
        ("init_module", libc::SYS_init_module),
        ("finit_module", libc::SYS_finit_module),
        ("delete_module", libc::SYS_delete_module),
        ("reboot", libc::SYS_reboot),
        ("swapon", libc::SYS_swapon),
        ("syslog", libc::SYS_syslog),
        ("acct", libc::SYS_acct),
        ("setuid", libc::SYS_setuid),
        ("setgid", libc::SYS_setgid),
        ("setreuid", libc::SYS_setreuid),
        ("setresuid", libc::SYS_setresuid),
        ("setresgid", libc::SYS_setresgid),
        ("setgroups", libc::SYS_setgroups),
        ("setfsuid", libc::SYS_setfsuid),
        ("capset", libc::SYS_capset),
        ("personality", libc::SYS_personality),
        ("setns", libc::SYS_setns),
        ("unshare", libc::SYS_unshare),
        ("sethostname", libc::SYS_sethostname),
        ("add_key", libc::SYS_add_key),
        ("request_key", libc::SYS_request_key),
        ("keyctl", libc::SYS_keyctl),
        ("clock_settime", libc::SYS_clock_settime),
        ("settimeofday", libc::SYS_settimeofday),
        ("seccomp", libc::SYS_seccomp),
        ("memfd_create", libc::SYS_memfd_create),
        ("shmat", libc::SYS_shmat),
        // These are allowed with other arguments.
        ("clone, a process", libc::SYS_clone),
        ("landlock_create_ruleset, a rule set", libc::SYS_landlock_create_ruleset),
    ] {
        assert_eq!(raw_call::errno_of(call, [0; 5]), Some(libc::EPERM), "{name}");
    }
    #[cfg(target_arch = "x86_64")]
    for (name, call) in [
        ("fork", libc::SYS_fork),
        ("vfork", libc::SYS_vfork),
        ("mknod", libc::SYS_mknod),
        ("iopl", libc::SYS_iopl),
        ("modify_ldt", libc::SYS_modify_ldt),
    ] {
        assert_eq!(raw_call::errno_of(call, [0; 5]), Some(libc::EPERM), "{name}");
    }
    assert_eq!(raw_call::fork(), Some(libc::EPERM));
    for (name, call) in [("clone3", libc::SYS_clone3), ("a call of the future", 4_000)] {
        assert_eq!(raw_call::errno_of(call, [0; 5]), Some(libc::ENOSYS), "{name}");
    }

    // A thread in a namespace of its own.
    let flags = (libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VM | libc::CLONE_NEWNET) as usize;
    assert_eq!(raw_call::errno_of(libc::SYS_clone, [flags, 0, 0, 0, 0]), Some(libc::EPERM));
    // Signal 0 only asks.
    assert_eq!(raw_call::errno_of(libc::SYS_kill, [1, 0, 0, 0, 0]), Some(libc::EPERM));
    assert_eq!(raw_call::errno_of(libc::SYS_kill, [process::id() as usize, 0, 0, 0, 0]), None);
    let limits = [0, libc::RLIMIT_NOFILE as usize, 1, 0, 0];
    assert_eq!(raw_call::errno_of(libc::SYS_prlimit64, limits), Some(libc::EPERM));
    let terminal = [0, libc::TIOCSTI as usize, 0, 0, 0];
    assert_eq!(raw_call::errno_of(libc::SYS_ioctl, terminal), Some(libc::EPERM));
    let securebits = [libc::PR_SET_SECUREBITS as usize, 0, 0, 0, 0];
    assert_eq!(raw_call::errno_of(libc::SYS_prctl, securebits), Some(libc::EPERM));
    for (family, kind, protocol) in [
        (libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        (libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        (libc::AF_KEY, libc::SOCK_RAW, 2),
        (libc::AF_BLUETOOTH, libc::SOCK_RAW, 1),
        (libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        (libc::AF_INET6, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_ICMPV6),
        (libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER),
    ] {
        let arguments = [family as usize, kind as usize, protocol as usize, 0, 0];
        assert_eq!(raw_call::errno_of(libc::SYS_socket, arguments), Some(libc::EPERM), "family {family}");
    }

    let both = libc::PROT_WRITE | libc::PROT_EXEC;
    assert_eq!(raw_call::map_page(both), Some(libc::EPERM));
    assert_eq!(raw_call::map_page(libc::PROT_READ | libc::PROT_EXEC), None);
    assert_eq!(raw_call::make_page_executable(), Some(libc::EPERM));
}

/// The name of an abstract socket that the parent listens on.
const OUTSIDE: &str = "TAPLINE_TEST_OUTSIDE";

fn files_are_refused() {
    let name = format!("tapline-outside-{}", process::id());
    let address = UnixAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = child::command("refused_files", folder.path());
    command.env(OUTSIDE, name);
    child::run(command);
}

fn refused_files() {
    let folder = child::folder();
    let [own, other] = ["own", "other"].map(|name| folder.join(name));
    for folder in [&own, &other] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("file"), "what was there").unwrap();
    }
    // Open before, and so for good.
    let mut held = File::open(other.join("file")).unwrap();
    let Some(abi) = restrict(Paths { write: vec![own.clone()], ..Paths::default() }) else { return };

    for path in ["/etc/shadow", "/etc/passwd", "/root/.bashrc", "/proc/1/environ", "/var/log/syslog"] {
        if Path::new(path).exists() || path == "/etc/shadow" {
            denied(path, File::open(path));
        }
    }
    denied("another's file", File::open(other.join("file")));
    denied("another's folder", fs::read_dir(&other));
    denied("/etc", fs::read_dir("/etc"));
    denied("a new file elsewhere", File::create(other.join("new")));
    denied("a new folder elsewhere", fs::create_dir(other.join("new")));
    denied("removing elsewhere", fs::remove_file(other.join("file")));
    denied("a socket elsewhere", UnixListener::bind(other.join("socket")));
    denied("writing what may be read", OpenOptions::new().write(true).open("/etc/hosts"));
    denied("a program", process::Command::new("/bin/true").status());
    denied("a device", File::open("/dev/zero"));
    if abi >= 2 {
        let moved = fs::rename(own.join("file"), other.join("moved")).unwrap_err();
        assert!(matches!(moved.kind(), ErrorKind::PermissionDenied | ErrorKind::CrossesDevices), "{moved}");
    }
    if abi >= 6 {
        let outside = UnixAddr::from_abstract_name(env::var(OUTSIDE).unwrap()).unwrap();
        denied("an abstract socket from outside", UnixStream::connect_addr(&outside));
    }
    assert_eq!(io::read_to_string(&mut held).unwrap(), "what was there");
    fs::write(own.join("file"), "own").unwrap();
    denied("in a thread", thread::spawn(|| File::open("/etc/shadow")).join().unwrap());
}

fn refused_ports() {
    // One listener for each side of the rule, opened before it.
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [named, other] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let tcp_connect = TcpConnect::Ports(vec![named.port()]);
    let Some(abi) = restrict(Paths { tcp_connect, ..Paths::default() }) else { return };
    if abi < 4 {
        println!("skipped: Landlock knows no ports before ABI 4, and this is {abi}");
        return;
    }
    denied("another port", TcpStream::connect(other));
    denied("a new listener", TcpListener::bind("127.0.0.1:0"));
    let answered = thread::spawn(move || listeners[0].accept().unwrap().1);
    let stream = TcpStream::connect(named).unwrap();
    let seen: SocketAddr = answered.join().unwrap();
    assert_eq!(stream.local_addr().unwrap(), seen);
}

/// Landlock alone: what is refused is refused by it. Its version, if it is there.
fn restrict(paths: Paths) -> Option<u32> {
    let Landlock::Abi(abi) = Rights::now().landlock else {
        println!("skipped: landlock is {}", Rights::now().landlock);
        return None;
    };
    let report = drop_all(&Plan { keep_net_raw: false, landlock: Some(paths), seccomp: false }).unwrap();
    assert!(report.landlock.is_in_force(), "{report}");
    Some(abi)
}

#[track_caller]
fn denied<T>(what: &str, result: io::Result<T>) {
    match result {
        Ok(_) => panic!("{what} was allowed"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}: {error}"),
    }
}
