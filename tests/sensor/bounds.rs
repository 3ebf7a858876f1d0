//! Memory has a bound whatever comes, and whatever comes is no reason to end.

use std::fs;

use tapline_blast::Pace;
use tapline_capture::{CaptureSet, ReadOptions};
use tapline_record::LinkType;

use super::full_size;
use super::process::Sensor;
use super::wire::on_a_wire;
use crate::support::packets::pcap_of_frames;
use crate::support::program::{shared, unpacked};

#[test]
fn memory_is_bounded_with_millions_of_tuples() {
    on_a_wire(|wire| {
        let (flows, memory, memory_kib) =
            if full_size() { (10_000_000, "512MiB", 512 << 10) } else { (1_000_000, "128MiB", 128 << 10) };
        let sensor = Sensor::start(
            wire,
            &[("sensor.memory", memory), ("sensor.workers", "2"), ("rows.format", "none")],
        );
        let sent = wire.send_flows(flows, flows.into(), Pace::Fastest).sent;
        let peak_kib: u64 = sensor.status_of_process("VmHWM").parse().unwrap();
        let ended = sensor.stop();
        assert_eq!((ended.packets("seen"), ended.packets("unaccounted")), (sent, 0));
        println!("{flows} tuples: {peak_kib} KiB at the most of {memory_kib} KiB");
        assert!(
            ended.stats["flows"]["evicted"].as_u64().unwrap() > 0 || ended.packets("ring_dropped") > 0,
            "{:#}",
            ended.stats
        );
        assert!(peak_kib <= memory_kib * 11 / 10, "{peak_kib} KiB of {memory_kib}");
    });
}

#[test]
fn malformed_frames_are_no_reason_to_end() {
    if shared("robustness/tcpdump-tests.tar.zst").is_none() {
        return;
    }
    on_a_wire(|wire| {
        let folder = unpacked(&shared("robustness/tcpdump-tests.tar.zst").unwrap(), "hostile");
        let mut frames = Vec::new();
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let Ok(mut captures) = CaptureSet::open(&[path], &ReadOptions::default()) else { continue };
                while let Some(Ok(frame)) = captures.next() {
                    // Of other link layers the bytes alone: they are as malformed as any.
                    let ethernet = frame.link == LinkType::ETHERNET;
                    let mut bytes =
                        if ethernet { Vec::new() } else { vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0] };
                    bytes.extend_from_slice(&frame.bytes[..frame.bytes.len().min(60_000)]);
                    frames.push((frames.len() as i64, bytes));
                }
            }
        }
        assert!(frames.len() > 5_000, "{}", frames.len());
        let capture = pcap_of_frames(1, frames);
        let sensor = Sensor::start(wire, &[("sensor.workers", "2")]);
        let sent = wire.send_capture(&capture, Pace::PerSecond(20_000)).sent;
        let ended = sensor.stop();
        ended.assert_clean();
        assert_eq!(ended.packets("seen"), sent);
        assert!(ended.packets("undecodable") > 0);
    });
}
