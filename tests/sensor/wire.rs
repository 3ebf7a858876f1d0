//! A cable between two interfaces in a network namespace of the test's own: what is sent into one end comes out of the
//! other, and nothing else does.
//!
//! A test starts itself again under unshare(1) and makes its cable there. Everything is gone when that process ends, which
//! it does in time whatever happens.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tapline_blast::{
    Blast, Bounds, CaptureFrames, FlowFrames, Pace, Report, StampedReception, Tuples, Where,
};
use tapline_capture::Received;
use tapline_capture::live::{LiveConfig, LiveSource};
use tempfile::TempDir;

use crate::support::packets::pcap_of_frames;

/// The end that the sensor watches.
pub(crate) const NEAR: &str = "tap0";
/// The end that tests send into.
const FAR: &str = "wire0";

/// The cable, and a folder for what a test writes.
pub(crate) struct Wire {
    folder: TempDir,
    /// Several sockets then get the same stamp for the same packet.
    _stamps: StampedReception,
}

/// Runs the body of a test on a wire, in a process of its own. To be called with a closure from the test's function.
#[track_caller]
pub(crate) fn on_a_wire<F: FnOnce(&Wire)>(body: F) {
    within(Duration::from_secs(if super::full_size() { 900 } else { 90 }), body);
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
#[track_caller]
fn within<F: FnOnce(&Wire)>(limit: Duration, body: F) {
    if let Some(witness) = env::var_os(WITNESS) {
        body(&Wire::new());
        fs::write(witness, "done").unwrap();
        return;
    }
    let test = name_of::<F>();
    let Some(unshare) = way_in() else {
        println!("skipped {test}: no network namespace with packet sockets and veth can be made here");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("witness");
    let mut inside = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(unshare)
        .arg(env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(WITNESS, &witness)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = inside.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            inside.kill().unwrap();
            inside.wait().unwrap();
            panic!("{test} did not end within {limit:?}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{test} failed in its namespace: {status}");
    assert!(witness.exists(), "{test} did not run in its namespace");
}

/// The path of a test from the closure that is its body: `tests::a::b::{{closure}}` is `a::b`.
fn name_of<F>() -> String {
    let path = std::any::type_name::<F>();
    let path = path.split_once("::").map_or(path, |(_, rest)| rest);
    path.trim_end_matches("::{{closure}}").to_owned()
}

/// How to get into a namespace of one's own: as root, or as root of a user namespace.
fn way_in() -> Option<&'static [&'static str]> {
    static WAY: OnceLock<Option<&'static [&'static str]>> = OnceLock::new();
    *WAY.get_or_init(|| {
        let ways: [&[&str]; 2] = [&["--net", "--mount"], &["--map-root-user", "--net", "--mount"]];
        let probe =
            "ip link add a0 type veth peer name b0 && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6";
        let works = |way: &&[&str]| {
            Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "unshare"])
                .args(*way)
                .args(["sh", "-c", probe])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        ways.into_iter().find(works)
    })
}

impl Wire {
    fn new() -> Self {
        // sysfs shows the namespace it was mounted in.
        let _ = Command::new("mount").args(["-t", "sysfs", "sysfs", "/sys"]).stderr(Stdio::null()).status();
        for scope in ["all", "default"] {
            // No packets of the kernel's own.
            fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1").unwrap();
        }
        let wire = Self { folder: tempfile::tempdir().unwrap(), _stamps: StampedReception::ask().unwrap() };
        wire.plug_in();
        wire
    }

    /// Makes the cable, both ends up.
    pub(crate) fn plug_in(&self) {
        ip(&format!("link add {NEAR} mtu 65535 type veth peer name {FAR} mtu 65535"));
        ip(&format!("link set dev {NEAR} up"));
        ip(&format!("link set dev {FAR} up"));
    }

    /// Deletes both ends.
    pub(crate) fn unplug(&self) {
        ip(&format!("link delete {NEAR}"));
    }

    /// Turns the near end off or on.
    pub(crate) fn set_near(&self, state: &str) {
        ip(&format!("link set dev {NEAR} {state}"));
    }

    /// A path in the test's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Mounts a file system of so many bytes, in the test's own mount namespace.
    pub(crate) fn small_disk(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        let options = format!("size={bytes}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).status();
        assert!(mounted.unwrap().success());
        path
    }

    /// Sends the frames of a classic pcap, once.
    pub(crate) fn send_capture(&self, capture: &[u8], pace: Pace) -> Report {
        let frames = CaptureFrames::parse(capture).unwrap();
        let bounds = Bounds { frames: u64::MAX, time: Duration::from_secs(60) };
        far().capture(&frames, 1, pace, bounds, &AtomicBool::new(false)).unwrap()
    }

    /// Sends `count` frames of 100 bytes of `flows` flows in turn.
    pub(crate) fn send_flows(&self, flows: u32, count: u64, pace: Pace) -> Report {
        send_flows(flows, 100, count, pace, &AtomicBool::new(false))
    }

    /// The same in the background, until it is told to stop.
    pub(crate) fn keep_sending(&self, flows: u32, pace: Pace) -> Sending {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || send_flows(flows, 100, u64::MAX, pace, &told));
        Sending { stop, thread }
    }

    /// Records the near end beside whoever else listens there.
    pub(crate) fn record(&self) -> Recording {
        let config = LiveConfig {
            block_timeout: Duration::from_millis(10),
            buffer_bytes: 32 << 20,
            ..LiveConfig::new(NEAR)
        };
        let mut source = LiveSource::open(&config).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut frames: Vec<(i64, Vec<u8>)> = Vec::new();
            let mut stopped = false;
            loop {
                if !stopped && told.load(Ordering::Relaxed) {
                    source.stop().unwrap();
                    stopped = true;
                }
                let received =
                    source.receive(256, |frame| frames.push((frame.ts.micros, frame.bytes.to_vec())));
                if received.unwrap() == Received::Ended {
                    break;
                }
            }
            assert_eq!(source.statistics().unwrap().kernel_dropped, 0, "the recorder is too slow");
            frames
        });
        Recording { stop, thread }
    }
}

fn far() -> Blast {
    // The namespace is this test's own: it made it.
    Blast::on(FAR, Where::OwnNamespace).unwrap()
}

fn send_flows(flows: u32, bytes: u16, count: u64, pace: Pace, stop: &AtomicBool) -> Report {
    let mut frames = FlowFrames::new(flows, Tuples::Distinct, bytes, 1).unwrap();
    let time = Duration::from_secs(if super::full_size() { 600 } else { 60 });
    far().flows(&mut frames, pace, Bounds { frames: count, time }, stop).unwrap()
}

/// A sender in the background.
pub(crate) struct Sending {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Report>,
}

impl Sending {
    pub(crate) fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A recorder in the background.
pub(crate) struct Recording {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(i64, Vec<u8>)>>,
}

impl Recording {
    /// All that came, with the kernel's stamps.
    pub(crate) fn stop(self) -> Vec<(i64, Vec<u8>)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }

    /// The same as a capture.
    pub(crate) fn into_pcap(self) -> Vec<u8> {
        pcap_of_frames(1, self.stop())
    }
}

#[track_caller]
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Waits for something to come true, bounded.
#[track_caller]
pub(crate) fn until(what: &str, limit: Duration, mut true_now: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !true_now() {
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Where the process in the namespace leaves word that it ran to the end.
const WITNESS: &str = "TAPLINE_TEST_WITNESS";

#[test]
fn two_listeners_get_the_same_frames_with_the_same_stamps() {
    on_a_wire(|wire| {
        let recordings = [wire.record(), wire.record()];
        let report = wire.send_flows(50, 20_000, Pace::Fastest);
        assert_eq!((report.sent, report.failed), (20_000, 0));
        let [one, other] = recordings.map(Recording::stop);
        assert_eq!(one.len(), 20_000);
        assert!(one == other, "they differ");
    });
}
