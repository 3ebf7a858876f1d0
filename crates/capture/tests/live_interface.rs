//! Live capture on a veth pair in a network namespace of its own.
//!
//! Each test starts itself again under unshare(1), makes its interfaces there, and everything is gone when that process
//! ends, which it does after a minute at the latest. Where namespaces cannot be made, the tests say so and pass.

#![cfg(all(feature = "libpcap", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of a test are test code too"
)]

use std::env;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pcap::{Active, Capture};
use tapline_capture::Received;
use tapline_capture::live::{
    CaptureStatistics, FanoutConfig, FanoutMode, LiveConfig, LiveError, LiveSource, LiveSupervisor, Offload,
    TimestampSource, check_interface,
};
use tapline_record::LinkType;

const INSIDE: &str = "TAPLINE_TEST_IN_NAMESPACE";

/// Runs `body` in a fresh network namespace with `tap0` and `wire0`, the two ends of a cable, both up.
#[track_caller]
fn on_a_wire(test: &str, body: fn()) {
    if env::var_os(INSIDE).is_some() {
        // sysfs shows the namespace it was mounted in.
        let _ = Command::new("mount").args(["-t", "sysfs", "sysfs", "/sys"]).stderr(Stdio::null()).status();
        for scope in ["all", "default"] {
            // No packets of the kernel's own.
            fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1").unwrap();
        }
        add_wire();
        return body();
    }
    let Some(unshare) = way_in() else {
        println!("skipped {test}: no network namespace with packet sockets and veth can be made here");
        return;
    };
    let mut inside = Command::new("unshare")
        .args(unshare)
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1")
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = inside.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            inside.kill().unwrap();
            inside.wait().unwrap();
            panic!("{test} did not end within a minute");
        }
        thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success(), "{test} failed in its namespace: {status}");
}

/// How to get into a namespace of one's own: as root, or as root of a user namespace.
fn way_in() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["--net", "--mount"], &["--map-root-user", "--net", "--mount"]];
    ways.into_iter().find(|way| {
        let probe =
            "ip link add a0 type veth peer name b0 && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6";
        Command::new("unshare")
            .args(*way)
            .args(["sh", "-c", probe])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

#[track_caller]
fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn add_wire() {
    ip("link add tap0 type veth peer name wire0");
    for end in ["tap0", "wire0"] {
        ip(&format!("link set dev {end} up"));
    }
}

/// Sends on the far end of the wire.
struct Sender(Capture<Active>);

impl Sender {
    fn new() -> Self {
        Self::on("wire0")
    }

    fn on(interface: &str) -> Self {
        Self(Capture::from_device(interface).unwrap().open().unwrap())
    }

    fn send(&mut self, frame: &[u8]) {
        // A full queue of the sending device is not what is tested.
        for _ in 0..1000 {
            if self.0.sendpacket(frame).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("the wire takes no more frames");
    }
}

/// An Ethernet frame of UDP over IPv4 behind the given tags (protocol and number), numbered.
fn frame(number: u32, tags: &[(u16, u16)], source: u32, destination: u32, bytes: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    for (protocol, tag) in tags {
        frame.extend(protocol.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    frame.extend([8, 0]);
    let bytes = bytes.max(frame.len() + 32);
    let length = (bytes - frame.len()) as u16;
    frame.extend([0x45, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend(source.to_be_bytes());
    frame.extend(destination.to_be_bytes());
    frame.extend([0, 53, 0x0f, 0xa0]);
    frame.extend((length - 20).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(number.to_be_bytes());
    frame.resize(bytes, number as u8);
    frame
}

const A: u32 = 0x0a00_0001;
const B: u32 = 0x0a00_0002;

fn config() -> LiveConfig {
    LiveConfig { block_timeout: Duration::from_millis(10), ..LiveConfig::new("tap0") }
}

/// All frames that come until the source has been stopped and is empty.
fn rest(source: &mut LiveSource) -> Vec<Vec<u8>> {
    source.stop().unwrap();
    let mut all = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    while source.receive(256, |frame| all.push(frame.bytes.to_vec())).unwrap() != Received::Ended {
        assert!(Instant::now() < deadline, "the source does not end");
    }
    all
}

/// Receives until `done`, ten seconds at most.
#[track_caller]
fn until(supervisor: &mut LiveSupervisor, frames: &mut Vec<Vec<u8>>, done: fn(Received, usize) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let received = supervisor.receive(256, |frame| frames.push(frame.bytes.to_vec()));
        if done(received, frames.len()) {
            return;
        }
        assert!(Instant::now() < deadline, "still {received:?} with {} frames", frames.len());
    }
}

#[test]
fn live_frames_arrive_whole_and_in_order() {
    on_a_wire("live_frames_arrive_whole_and_in_order", || {
        let mut source = LiveSource::open(&config()).unwrap();
        assert_eq!(source.link(), LinkType::ETHERNET);
        assert!(source.filters_in_kernel());
        let sent: Vec<_> = (0..3000)
            .map(|n| {
                let tags: &[_] = match n % 4 {
                    0 => &[],
                    1 => &[(0x8100, 0x2064)],
                    2 => &[(0x88a8, 7), (0x8100, 42)],
                    _ => &[(0x8100, 1), (0x8100, 2), (0x8100, 3)],
                };
                frame(n, tags, A, B, 60 + n as usize % 1400)
            })
            .collect();
        let before = now_us();
        let mut sender = Sender::new();
        sent.iter().for_each(|frame| sender.send(frame));

        source.stop().unwrap();
        let mut got = Vec::new();
        let mut latest = before;
        loop {
            // A small budget stops in the middle of blocks.
            let received = source.receive(7, |frame| {
                assert_eq!((frame.wire_bytes as usize, frame.link), (frame.bytes.len(), LinkType::ETHERNET));
                assert!(frame.ts.micros >= latest, "time goes backwards");
                latest = frame.ts.micros;
                got.push(frame.bytes.to_vec());
            });
            match received.unwrap() {
                Received::Frames(count) => assert!((1..=7).contains(&count)),
                Received::Ended => break,
                other => assert_eq!(other, Received::Quiet),
            }
        }
        assert!(latest <= now_us());
        assert_eq!(got.len(), sent.len());
        assert!(got == sent, "a frame differs from what was sent");
        let statistics = source.statistics().unwrap();
        assert_eq!((statistics.seen, statistics.kernel_dropped, statistics.delivered), (3000, 0, 3000));
        assert_eq!(statistics.waiting(), 0);
        if statistics.interface != Default::default() {
            assert_eq!(statistics.interface.packets, 3000);
        }
        assert_eq!(source.receive(1, |_| ()).unwrap(), Received::Ended);
    });
}

fn now_us() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64
}

#[test]
fn live_snap_length_cuts_but_lengths_stay() {
    on_a_wire("live_snap_length_cuts_but_lengths_stay", || {
        let mut source = LiveSource::open(&LiveConfig { snap_bytes: 96, ..config() }).unwrap();
        let mut sender = Sender::new();
        (0..10).for_each(|n| sender.send(&frame(n, &[], A, B, 1000)));
        source.stop().unwrap();
        let mut lengths = Vec::new();
        while source.receive(256, |f| lengths.push((f.wire_bytes, f.bytes.len()))).unwrap() != Received::Ended
        {
        }
        assert_eq!(lengths, [(1000, 96); 10]);
    });
}

#[test]
fn live_quiet_wire_does_not_hold_the_caller() {
    on_a_wire("live_quiet_wire_does_not_hold_the_caller", || {
        let mut source = LiveSource::open(&config()).unwrap();
        for _ in 0..5 {
            let began = Instant::now();
            assert_eq!(source.receive(256, |_| ()).unwrap(), Received::Quiet);
            // It neither blocks nor spins. (The bound is 100 ms; the rest is for a busy machine.)
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(50) && took < Duration::from_secs(2), "{took:?}");
        }
        // After a packet it is quiet again: this is where a blocking handle would hang.
        Sender::new().send(&frame(1, &[], A, B, 60));
        while source.receive(256, |_| ()).unwrap() == Received::Quiet {}
        assert_eq!(source.receive(256, |_| ()).unwrap(), Received::Quiet);
    });
}

#[test]
fn live_filter_runs_in_the_kernel() {
    on_a_wire("live_filter_runs_in_the_kernel", || {
        // `vlan` looks at metadata in the kernel, where the tag is no longer among the bytes.
        for (filter, wanted) in [("host 10.0.0.9", 1), ("vlan 5 and udp", 2), ("greater 900", 3), ("arp", 4)]
        {
            let mut source =
                LiveSource::open(&LiveConfig { filter: Some(filter.to_owned()), ..config() }).unwrap();
            assert!(source.filters_in_kernel());
            let mut sender = Sender::new();
            for n in 0..100 {
                sender.send(&frame(0, &[], A, B, 60 + n));
                sender.send(&frame(1, &[], A, 0x0a00_0009, 60));
                sender.send(&frame(2, &[(0x8100, 5)], A, B, 60));
                sender.send(&frame(3, &[], A, B, 1000));
            }
            let got = rest(&mut source);
            let expected = if filter == "arp" { 0 } else { 100 };
            assert_eq!(got.len(), expected, "{filter}");
            assert!(got.iter().all(|frame| *frame.last().unwrap() == wanted), "{filter}");
            let statistics = source.statistics().unwrap();
            assert_eq!((statistics.seen, statistics.filtered), (expected as u64, 0));
        }
        let refused = LiveSource::open(&LiveConfig { filter: Some("port and".to_owned()), ..config() });
        assert!(matches!(refused, Err(LiveError::Filter(_))));
    });
}

#[test]
fn live_books_balance_at_every_loss() {
    on_a_wire("live_books_balance_at_every_loss", || {
        const SENT: u64 = 20_000;
        let mut losses = Vec::new();
        for buffer_bytes in [64 << 20, 8 << 20, 1 << 18] {
            let mut source = LiveSource::open(&LiveConfig { buffer_bytes, ..config() }).unwrap();
            let mut sender = Sender::new();
            // Nobody reads meanwhile.
            (0..SENT).for_each(|n| sender.send(&frame(n as u32, &[], A, B, 1000)));
            let got = rest(&mut source).len() as u64;
            let statistics = source.statistics().unwrap();
            assert_eq!(statistics.seen, SENT);
            assert_eq!(got + statistics.kernel_dropped, SENT);
            assert_eq!((statistics.delivered, statistics.waiting()), (got, 0));
            losses.push(statistics.kernel_dropped * 100 / SENT);
        }
        println!("lost {losses:?} %");
        assert_eq!(losses[0], 0);
        assert!(losses[1] > 10 && losses[2] > 90, "{losses:?}");
    });
}

#[test]
fn live_books_balance_from_the_first_packet_of_a_busy_wire() {
    on_a_wire("live_books_balance_from_the_first_packet_of_a_busy_wire", || {
        let load = thread::spawn(|| {
            let mut sender = Sender::new();
            (0..150_000).for_each(|n| sender.send(&frame(n, &[], A, B, 200)));
        });
        let mut openings = 0;
        let filters = [None, Some("udp".to_owned())];
        while !load.is_finished() && openings < 50 {
            let filter = filters[openings % 2].clone();
            let mut source =
                LiveSource::open(&LiveConfig { buffer_bytes: 1 << 20, filter, ..config() }).unwrap();
            let mut got = 0;
            for _ in 0..20 {
                let before = got;
                if let Received::Frames(count) = source.receive(100, |_| got += 1).unwrap() {
                    assert_eq!(got - before, count as u64);
                }
            }
            got += rest(&mut source).len() as u64;
            let CaptureStatistics { seen, kernel_dropped, delivered, .. } = source.statistics().unwrap();
            assert_eq!((seen, got), (got + kernel_dropped, delivered));
            openings += 1;
        }
        load.join().unwrap();
        assert!(openings > 2);
    });
}

#[test]
fn live_fanout_splits_by_hosts_and_loses_nothing() {
    on_a_wire("live_fanout_splits_by_hosts_and_loses_nothing", || {
        for mode in [FanoutMode::HostPair, FanoutMode::Hash] {
            let fanout = Some(FanoutConfig { group: 4711, size: 2, mode });
            let mut sources = LiveSource::open_group(&LiveConfig { fanout, ..config() }).unwrap();
            assert_eq!(sources.len(), 2);
            let mut sender = Sender::new();
            for n in 0..64u32 {
                // The same hosts in both directions, behind tags and without.
                for tags in [&[][..], &[(0x8100, 5)], &[(0x88a8, 6), (0x8100, 7)]] {
                    sender.send(&frame(n, tags, A + n, B + 1000, 100));
                    sender.send(&frame(n, tags, B + 1000, A + n, 100));
                }
            }
            let shares: Vec<_> = sources.iter_mut().map(rest).collect();
            println!("{mode:?}: {} and {} frames", shares[0].len(), shares[1].len());
            assert_eq!(shares[0].len() + shares[1].len(), 64 * 6);
            let numbers: Vec<Vec<u8>> = shares
                .iter()
                .map(|share| share.iter().map(|frame| *frame.last().unwrap()).collect())
                .collect();
            assert!(numbers.iter().all(|share| share.len() > 64), "one handle has almost everything");
            if mode == FanoutMode::HostPair {
                assert!(numbers[0].iter().all(|n| !numbers[1].contains(n)), "two hosts at two handles");
            }
            let total: u64 = sources.iter_mut().map(|source| source.statistics().unwrap().seen).sum();
            assert_eq!(total, 64 * 6);
        }
    });
}

#[test]
fn live_fanout_refuses_a_group_of_another_kind() {
    on_a_wire("live_fanout_refuses_a_group_of_another_kind", || {
        let with = |mode| LiveConfig { fanout: Some(FanoutConfig { group: 9, size: 1, mode }), ..config() };
        let _first = LiveSource::open(&with(FanoutMode::Hash)).unwrap();
        let error = LiveSource::open(&with(FanoutMode::HostPair)).unwrap_err();
        assert!(matches!(error, LiveError::Fanout { group: 9, .. }), "{error}");
    });
}

#[test]
fn live_interface_goes_down_and_up() {
    on_a_wire("live_interface_goes_down_and_up", || {
        for fanout in [None, Some(FanoutConfig { group: 3, size: 1, mode: FanoutMode::HostPair })] {
            let mut supervisor = LiveSupervisor::open(&LiveConfig { fanout, ..config() }).unwrap();
            let mut frames = Vec::new();
            let mut sender = Sender::new();
            (0..10).for_each(|n| sender.send(&frame(n, &[], A, B, 60)));
            ip("link set dev tap0 down");
            // What came before is not lost.
            until(&mut supervisor, &mut frames, |_, count| count == 10);
            until(&mut supervisor, &mut frames, |received, _| received == Received::Down);
            assert!(matches!(supervisor.trouble(), Some(LiveError::Down { .. })));
            let began = Instant::now();
            assert_eq!(supervisor.receive(1, |_| ()), Received::Down);
            assert!(began.elapsed() >= Duration::from_millis(50), "it spins");

            ip("link set dev tap0 up");
            until(&mut supervisor, &mut frames, |received, _| received == Received::Quiet);
            assert!(supervisor.trouble().is_none());
            (10..20).for_each(|n| sender.send(&frame(n, &[], A, B, 60)));
            until(&mut supervisor, &mut frames, |_, count| count == 20);
            let statistics = supervisor.statistics();
            assert_eq!((statistics.seen, statistics.delivered, statistics.kernel_dropped), (20, 20, 0));
        }
    });
}

#[test]
fn live_interface_is_deleted_and_made_anew() {
    on_a_wire("live_interface_is_deleted_and_made_anew", || {
        let fanout = Some(FanoutConfig { group: 3, size: 2, mode: FanoutMode::HostPair });
        let mut supervisors = LiveSupervisor::open_group(&LiveConfig { fanout, ..config() }).unwrap();
        let (first, second) = supervisors.split_at_mut(1);
        let (first, second) = (&mut first[0], &mut second[0]);
        let mut frames = Vec::new();
        for round in 1..=3 {
            let mut sender = Sender::new();
            (0..50).for_each(|n| sender.send(&frame(n, &[], A + n, B, 60)));
            drop(sender);
            // Deleted with the frames still in the ring: they come first.
            ip("link del dev tap0");
            until(first, &mut frames, |received, _| received == Received::Gone);
            until(second, &mut frames, |received, _| received == Received::Gone);
            assert_eq!(frames.len(), 50 * round);
            assert!(matches!(first.trouble(), Some(LiveError::NoSuchInterface { .. })));
            let began = Instant::now();
            assert_eq!(first.receive(1, |_| ()), Received::Gone);
            assert!(began.elapsed() < Duration::from_secs(2));

            add_wire();
            until(first, &mut frames, |received, _| received == Received::Quiet);
            until(second, &mut frames, |received, _| received == Received::Quiet);
        }
        let mut total = first.statistics();
        total += second.statistics();
        assert_eq!((total.seen, total.delivered, total.kernel_dropped, total.reopened), (150, 150, 0, 6));
        if total.interface != Default::default() {
            // Both handles look at the same adapter. Its last numbers went with it.
            assert!(total.interface.packets <= 300);
        }
        first.stop();
        until(first, &mut frames, |received, _| received == Received::Ended);
    });
}

#[test]
fn live_interface_may_come_later() {
    on_a_wire("live_interface_may_come_later", || {
        ip("link set dev tap0 down");
        assert!(matches!(LiveSupervisor::open(&config()), Err(LiveError::Down { .. })));
        let mut supervisor = LiveSupervisor::open_or_wait(&config()).unwrap();
        assert_eq!(supervisor.receive(1, |_| ()), Received::Down);
        ip("link set dev tap0 up");
        let mut frames = Vec::new();
        until(&mut supervisor, &mut frames, |received, _| received == Received::Quiet);
        Sender::new().send(&frame(1, &[], A, B, 60));
        until(&mut supervisor, &mut frames, |_, count| count == 1);
        assert_eq!(supervisor.statistics().reopened, 0);

        ip("link del dev tap0");
        until(&mut supervisor, &mut frames, |received, _| received == Received::Gone);
        supervisor.stop();
        assert_eq!(supervisor.receive(1, |_| ()), Received::Ended);
    });
}

#[test]
fn live_loopback_and_own_frames_are_counted_once() {
    on_a_wire("live_loopback_and_own_frames_are_counted_once", || {
        ip("link set dev lo up");
        let mut loopback = LiveSource::open(&LiveConfig {
            block_timeout: Duration::from_millis(10),
            ..LiveConfig::new("lo")
        })
        .unwrap();
        let mut sender = Sender::on("lo");
        (0..10).for_each(|n| sender.send(&frame(n, &[], A, B, 60)));
        assert_eq!(rest(&mut loopback).len(), 10);
        assert_eq!(loopback.statistics().unwrap().seen, 10);

        for (outgoing, expected) in [(true, 20), (false, 10)] {
            for fanout in [None, Some(FanoutConfig { group: 8, size: 1, mode: FanoutMode::HostPair })] {
                let mut source = LiveSource::open(&LiveConfig { outgoing, fanout, ..config() }).unwrap();
                let (mut near, mut far) = (Sender::on("tap0"), Sender::new());
                (0..10).for_each(|n| near.send(&frame(n, &[], A, B, 60)));
                (0..10).for_each(|n| far.send(&frame(n, &[], B, A, 60)));
                assert_eq!(rest(&mut source).len(), expected);
                assert_eq!(source.statistics().unwrap().seen, expected as u64);
            }
        }
    });
}

#[test]
fn live_checks_say_what_to_do() {
    on_a_wire("live_checks_say_what_to_do", || {
        // veth segments what it sends; it does not merge what it receives.
        let notices = check_interface(&config()).unwrap();
        let text = notices[0].to_string();
        assert!(text.ends_with("ethtool -K tap0 tso off gso off"), "{text}");
        assert!(text.contains(Offload::Tso.name()));
        assert!(check_interface(&LiveConfig { outgoing: false, ..config() }).unwrap().is_empty());

        let adapter = LiveConfig { timestamp: TimestampSource::Adapter, ..config() };
        assert!(matches!(check_interface(&adapter), Err(LiveError::NoAdapterTimestamps { .. })));
        ip("link set dev tap0 down");
        let error = LiveSource::open(&config()).unwrap_err().to_string();
        assert!(error.ends_with("ip link set dev tap0 up"), "{error}");

        // Without the right: this very check, in a process that has given it up.
        let dropped = Command::new("setpriv")
            .args(["--bounding-set", "-net_raw", "--inh-caps", "-net_raw"])
            .arg(env::current_exe().unwrap())
            .args(["--exact", "without_the_right", "--ignored", "--nocapture"])
            .output();
        match dropped {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success(), "{text}");
                assert!(text.contains("--cap-add NET_RAW"), "{text}");
            }
            Err(_) => println!("setpriv is not there to drop CAP_NET_RAW with"),
        }
    });
}

#[test]
#[ignore = "a part of live_checks_say_what_to_do"]
fn without_the_right() {
    let error = LiveSource::open(&config()).unwrap_err();
    assert!(matches!(error, LiveError::Rights { .. }), "{error}");
    println!("{error}");
}
