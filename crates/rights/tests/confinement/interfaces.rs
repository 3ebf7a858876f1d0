//! Capturing goes on, and an interface that comes back is opened again, with everything dropped that can be.
//!
//! The interfaces are in a network namespace of the test's own: a process in it makes them, takes them away, and sends;
//! its child captures, and says how many frames it has seen each time that it is told a word.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tapline_capture::live::{FanoutConfig, FanoutMode, LiveConfig, LiveSupervisor};
use tapline_rights::{CapabilitySet, Paths, Plan, Rights, drop_all};

use crate::child::{self, Case};
use crate::reports::{NOBODY, unprivileged_by};

pub(crate) const CASES: &[Case] = &[("on_a_wire", on_a_wire), ("captures", captures)];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        child::test("capturing_goes_on_as_root", || in_namespace("root")),
        child::test("capturing_goes_on_as_another_user", || in_namespace("nobody")),
    ]
}

/// Who captures.
const USER: &str = "TAPLINE_CONFINED_USER";

fn in_namespace(user: &str) {
    let Some(unshare) = way_in() else {
        println!("skipped: no network namespace with packet sockets and veth can be made here");
        return;
    };
    let mut command = child::through(unshare, "on_a_wire", tempfile::tempdir().unwrap().path());
    command.env(USER, user);
    child::run(command);
}

/// How to get into a namespace of one's own: as root, or as root of a user namespace.
fn way_in() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] =
        [&["unshare", "--net", "--mount"], &["unshare", "--map-root-user", "--net", "--mount"]];
    ways.into_iter().find(|way| {
        let probe =
            "ip link add a0 type veth peer name b0 && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6";
        Command::new(way[0])
            .args(&way[1..])
            .args(["sh", "-c", probe])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// The process that owns the namespace and keeps its rights.
fn on_a_wire() {
    // sysfs shows the namespace it was mounted in.
    let _ = Command::new("mount").args(["-t", "sysfs", "sysfs", "/sys"]).stderr(Stdio::null()).status();
    for scope in ["all", "default"] {
        // No packets of the kernel's own.
        fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1").unwrap();
    }
    add_wire();
    let folder = tempfile::tempdir().unwrap();
    let command = match env::var(USER).unwrap().as_str() {
        "root" => child::command("captures", folder.path()),
        _ => {
            let by = ["--inh-caps", "-all,+net_raw", "--ambient-caps", "+net_raw"];
            let Some(setpriv) = unprivileged_by(&by) else { return };
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), None).unwrap();
            child::through(&setpriv, "captures", folder.path())
        }
    };
    let mut capturing = Capturing::start(command);
    assert_eq!(capturing.said(), "open");
    send(7);
    capturing.sees(7);
    // Down and up: the handle stays.
    ip("link set dev tap0 down");
    capturing.is("down");
    ip("link set dev tap0 up");
    capturing.is("up");
    send_until_seen(&mut capturing, 8);
    // Gone and back: a new interface of the same name, which takes a new socket, ring and filter.
    ip("link del tap0");
    capturing.is("down");
    add_wire();
    capturing.is("up");
    let seen = capturing.ask();
    send_until_seen(&mut capturing, seen + 5);
    capturing.end();
}

fn add_wire() {
    ip("link add tap0 address 02:00:00:00:00:02 type veth peer name wire0");
    ip("address add 10.9.0.1/24 dev wire0");
    for end in ["tap0", "wire0"] {
        ip(&format!("link set dev {end} up"));
    }
    ip("neighbour add 10.9.0.2 lladdr 02:00:00:00:00:02 dev wire0");
}

#[track_caller]
fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn send(count: usize) {
    let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
    for _ in 0..count {
        socket.send_to(b"frame", "10.9.0.2:9").unwrap();
    }
}

/// An interface that has just come back may lose a frame.
fn send_until_seen(capturing: &mut Capturing, wanted: usize) {
    let deadline = Instant::now() + PATIENCE;
    while capturing.ask() < wanted {
        assert!(Instant::now() < deadline, "{} of {wanted} frames seen", capturing.ask());
        send(1);
    }
}

/// The child, seen from its parent.
struct Capturing {
    process: std::process::Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Capturing {
    fn start(mut command: Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let to = process.stdin.take().unwrap();
        let from = BufReader::new(process.stdout.take().unwrap());
        Self { process, to, from }
    }

    #[track_caller]
    fn said(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the child ended: {:?}", self.process.wait());
        line.trim_end().to_owned()
    }

    /// How many frames it has seen.
    #[track_caller]
    fn ask(&mut self) -> usize {
        self.answer().1
    }

    #[track_caller]
    fn answer(&mut self) -> (String, usize) {
        writeln!(self.to).unwrap();
        let answer = self.said();
        let (state, seen) = answer.split_once(' ').unwrap();
        (state.to_owned(), seen.parse().unwrap())
    }

    #[track_caller]
    fn sees(&mut self, wanted: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.ask() != wanted {
            assert!(Instant::now() < deadline, "{} of {wanted} frames seen", self.ask());
        }
    }

    #[track_caller]
    fn is(&mut self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.answer().0 != wanted {
            assert!(Instant::now() < deadline, "still not {wanted}");
        }
    }

    fn end(self) {
        let Self { mut process, to, from: _ } = self;
        drop(to);
        assert!(process.wait().unwrap().success());
    }
}

/// The child: opens, drops, captures. It looks at its input between calls, each of which takes a tenth of a second.
fn captures() {
    assert!(Rights::now().can_capture(), "{}", Rights::now());
    let fanout = FanoutConfig { group: 4_711, size: 1, mode: FanoutMode::HostPair };
    let config = LiveConfig {
        block_timeout: Duration::from_millis(10),
        buffer_bytes: 4 << 20,
        filter: Some("udp".to_owned()),
        fanout: Some(fanout),
        ..LiveConfig::new("tap0")
    };
    let mut supervisor = LiveSupervisor::open_group(&config).unwrap().remove(0);
    let paths = Paths { write: vec![child::folder()], ..Paths::default() };
    let report = drop_all(&Plan { keep_net_raw: true, landlock: Some(paths), seccomp: true }).unwrap();
    assert!(report.kept.contains(CapabilitySet::NET_RAW), "{report}");
    println!("open");
    let mut seen = 0;
    for line in std::io::stdin().lines() {
        line.unwrap();
        supervisor.receive(256, |_| seen += 1);
        let statistics = supervisor.statistics();
        assert_eq!(statistics.delivered, seen, "{statistics:?}");
        let state = if supervisor.trouble().is_some() { "down" } else { "up" };
        println!("{state} {seen}");
    }
}

/// For what takes milliseconds, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);
