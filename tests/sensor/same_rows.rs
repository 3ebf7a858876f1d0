//! What the sensor writes of a wire is what replay writes of a recording of that wire, byte for byte.
//!
//! The recording is made beside the sensor, by a handle of the test's own; the kernel stamps each packet once for both.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tapline_blast::Pace;
use tapline_capture::{CaptureSet, ReadOptions};
use tapline_record::LinkType;

use super::process::{Sensor, csv_rows, rows_so_far, sorted};
use super::wire::{Wire, on_a_wire, until};
use crate::support::generator::{Shape, sequence};
use crate::support::packets::{Packet, pcap, pcap_of_frames};
use crate::support::program::{root, rows};

/// The settings of a sensor, and what makes replay do the same.
type Ways = (&'static [(&'static str, &'static str)], &'static [&'static str]);

/// No flow that waits for its end when the sensor is stopped may have ended by the clock, therefore no short timeouts here.
const WAYS: [Ways; 3] = [
    (&[], &["--workers", "1"]),
    (&[("sensor.workers", "3")], &["--workers", "2"]),
    (
        &[("flow.partial", r#"["5ms", "50ms", "200ms"]"#), ("flow.vlan_in_key", "false")],
        &["--partial", "5ms,50ms,200ms", "--no-vlan-key"],
    ),
];

/// How long a capture takes, whatever it took when it was made.
const DURATION_S: f64 = 0.4;

/// Sends a capture past a sensor and a recorder, and compares.
#[track_caller]
fn check(wire: &Wire, name: &str, capture: &[u8], settings: &[(&str, &str)], arguments: &[&str]) -> usize {
    let folder = wire.path(name);
    let recording = wire.record();
    let sensor = Sensor::start_in(wire, &folder, settings);
    let report = wire.send_capture(capture, Pace::AsCaptured(factor(capture)));
    let ended = sensor.stop();
    let recorded = recording.into_pcap();
    ended.assert_clean();
    assert_eq!(ended.packets("seen"), report.sent, "{name}");

    let live = csv_rows(&folder);
    let replayed = rows(arguments, &recorded);
    let (header, of_replay) = replayed.split_once('\n').unwrap();
    let replayed = sorted(header, of_replay.lines().map(str::to_owned).collect());
    assert_same(name, &live, &replayed);
    live.lines().count() - 1
}

/// The same in one of the ways.
#[track_caller]
fn check_way(wire: &Wire, name: &str, capture: &[u8], number: usize) -> usize {
    let (settings, arguments) = WAYS[number % WAYS.len()];
    check(wire, name, capture, settings, arguments)
}

/// Equal texts, or the first line and the columns in which they differ.
#[track_caller]
fn assert_same(name: &str, live: &str, replayed: &str) {
    if live == replayed {
        return;
    }
    let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) = (live.lines().collect(), replayed.lines().collect());
    let only_live: Vec<_> = ours.difference(&theirs).take(2).collect();
    let only_replayed: Vec<_> = theirs.difference(&ours).take(2).collect();
    let columns: Vec<&str> = live.lines().next().unwrap_or("").split(',').collect();
    let mut differ = Vec::new();
    if let (Some(live), Some(replayed)) = (only_live.first(), only_replayed.first()) {
        let cells = live.split(',').zip(replayed.split(','));
        differ.extend(columns.iter().zip(cells).filter(|(_, (live, replayed))| live != replayed));
    }
    panic!(
        "{name}: {} rows live, {} replayed\nonly live: {only_live:#?}\nonly replayed: {only_replayed:#?}\n{differ:?}",
        live.lines().count(),
        replayed.lines().count(),
    );
}

/// How much faster a capture goes, so that it takes [`DURATION_S`].
fn factor(capture: &[u8]) -> f64 {
    let frames = tapline_blast::CaptureFrames::parse(capture).unwrap();
    let span_s = frames.time_ns(frames.len() - 1) as f64 / 1e9;
    (span_s / DURATION_S).max(1.0)
}

/// The frames of a capture file of any kind, as a classic pcap, in parts of at most so many frames.
fn parts(file: PathBuf, frames_each: usize) -> Vec<Vec<u8>> {
    let mut captures = CaptureSet::open(&[file], &ReadOptions::default()).unwrap();
    let mut parts = Vec::new();
    let mut part: Vec<(i64, Vec<u8>)> = Vec::new();
    while let Some(frame) = captures.next() {
        let frame = frame.unwrap();
        assert_eq!(frame.link, LinkType::ETHERNET);
        // What was cut when it was captured has its whole length on the wire.
        let mut bytes = frame.bytes.to_vec();
        bytes.resize(frame.wire_bytes as usize, 0);
        part.push((frame.ts.micros, bytes));
        if part.len() == frames_each {
            parts.push(pcap_of_frames(1, part.drain(..)));
        }
    }
    parts.push(pcap_of_frames(1, part));
    parts
}

#[test]
fn rows_of_the_golden_captures_are_replays() {
    on_a_wire(|wire| {
        let mut compared = 0;
        for (number, name) in
            ["fuzz00", "fuzz01", "fuzz03", "fuzz05", "fuzz13", "fuzz15"].into_iter().enumerate()
        {
            let capture = fs::read(root("tests/golden").join(name).with_extension("pcap")).unwrap();
            compared += check_way(wire, name, &capture, number);
        }
        assert!(compared > 20, "{compared}");
    });
}

#[test]
fn rows_of_random_sequences_are_replays() {
    on_a_wire(|wire| {
        for seed in 1..=3 {
            let shape = Shape { packets: 3_000, out_of_order: 10, loopback: true };
            let compared =
                check_way(wire, &format!("random{seed}"), &pcap(&sequence(seed, shape)), seed as usize);
            assert!(compared > 10, "{compared}");
        }
    });
}

#[test]
fn rows_of_a_companys_traffic_are_replays() {
    on_a_wire(|wire| {
        let parts = parts(root("tests/data/demo.pcap.zst"), 15_000);
        assert_eq!(parts.len(), 6);
        for (number, part) in parts.iter().enumerate() {
            let compared = check_way(wire, &format!("part{number}"), part, number);
            assert!(compared > 300, "{compared}");
        }
    });
}

#[test]
fn rows_of_several_readers_are_replays() {
    on_a_wire(|wire| {
        let part = parts(root("tests/data/demo.pcap.zst"), 15_000).remove(1);
        let settings =
            &[("interface.0.readers", "2"), ("sensor.workers", "2"), ("interface.0.buffer", "16MiB")];
        check(wire, "readers", &part, settings, &[]);
    });
}

/// Verdicts are a function of the flows and of packet time.
#[test]
fn verdicts_are_replays() {
    on_a_wire(|wire| {
        let model = root("models/default");
        let model = model.to_str().unwrap();
        for (number, part) in parts(root("tests/data/demo.pcap.zst"), 15_000).iter().take(2).enumerate() {
            let settings = [("scoring.model", model)];
            let name = format!("scored{number}");
            let compared = check(wire, &name, part, &settings, &["--model", model]);
            assert!(compared > 300, "{compared}");
        }
    });
}

/// On a wire that has gone quiet flows end by the clock, as if a packet had come later.
#[test]
fn rows_of_a_quiet_wire_come_by_themselves() {
    on_a_wire(|wire| {
        let compared = check_at_rest(
            wire,
            "flows",
            || wire.send_flows(500, 2_500, Pace::PerSecond(20_000)).sent,
            &[("flow.idle_timeout", "300ms")],
            &["--idle-timeout", "300ms"],
        );
        assert_eq!(compared, 500);
        let part = parts(root("tests/data/demo.pcap.zst"), 15_000).remove(2);
        let compared = check_at_rest(
            wire,
            "company",
            || wire.send_capture(&part, Pace::AsCaptured(factor(&part))).sent,
            &[
                ("flow.idle_timeout", "200ms"),
                ("flow.active_timeout", "300ms"),
                ("flow.partial", r#"["20ms", "100ms"]"#),
                ("sensor.workers", "2"),
            ],
            &["--idle-timeout", "200ms", "--active-timeout", "300ms", "--partial", "20ms,100ms"],
        );
        assert!(compared > 500, "{compared}");
    });
}

/// Sends, waits until the sensor has written all rows without being told to stop, and compares with replay.
#[track_caller]
fn check_at_rest(
    wire: &Wire,
    name: &str,
    send: impl FnOnce() -> u64,
    settings: &[(&str, &str)],
    arguments: &[&str],
) -> usize {
    let folder = wire.path(name);
    let recording = wire.record();
    let sensor = Sensor::start_in(wire, &folder, settings);
    let sent = send();
    until("the end of all flows", Duration::from_secs(30), || {
        let status = sensor.status();
        let (packets, flows) = (&status["packets"], &status["flows"]);
        packets["seen"] == sent && flows["opened"] != 0 && flows["live"] == 0
    });
    let rows_out = |text: &str| text.lines().count().saturating_sub(1) as u64;
    until("their rows", Duration::from_secs(20), || {
        let status = sensor.status();
        let count = |name: &str| status["flows"][name].as_u64().unwrap();
        let all = count("emitted") + count("partial");
        count("live") == 0
            && count("emitted") == count("opened")
            && sensor.rows_sink()["written_rows"] == all
            && rows_out(&rows_so_far(&folder)) == all
    });
    let before = rows_out(&rows_so_far(&folder));
    let ended = sensor.stop();
    ended.assert_clean();
    assert_eq!((ended.packets("seen"), ended.packets("in_live_flows")), (sent, 0));
    let live = csv_rows(&folder);
    assert_eq!(rows_out(&live), before, "rows came at the end only");

    let mut recorded = recording.stop();
    let later_us = recorded.last().unwrap().0 + 600_000_000;
    recorded.push((later_us, stranger(later_us).frame()));
    let replayed = rows(arguments, &pcap_of_frames(1, recorded));
    let (header, of_replay) = replayed.split_once('\n').unwrap();
    let of_replay = of_replay.lines().filter(|row| !row.contains(STRANGER)).map(str::to_owned);
    assert_same(name, &live, &sorted(header, of_replay.collect()));
    live.lines().count() - 1
}

/// A packet of hosts that have no other.
fn stranger(ts_us: i64) -> Packet {
    Packet {
        ts_us,
        src: STRANGER.parse().unwrap(),
        dst: [203, 0, 113, 78].into(),
        protocol: 17,
        sport: 1,
        dport: 2,
        flags: 0,
        seq: 0,
        ack: 0,
        window: 0,
        payload: 8,
        options: 0,
    }
}

const STRANGER: &str = "203.0.113.77";
