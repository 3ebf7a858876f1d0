//! Ends of all kinds: killed, told to stop with a million flows in hand, told twice.

use std::fs;
use std::thread;
use std::time::Duration;

use tapline_blast::{FrozenThread, Pace};

use super::full_size;
use super::process::{Sensor, csv_rows, until_rows};
use super::wire::on_a_wire;
use crate::support::generator::Random;
use crate::support::program::column;

#[test]
fn no_row_is_torn_or_doubled_after_fifty_kills() {
    on_a_wire(|wire| {
        let mut random = Random(11);
        let kills = 50;
        // Each frame is a flow of its own, which ends 100 ms later.
        let sending = wire.keep_sending(4_000_000, Pace::PerSecond(12_000));
        for kill in 0..kills {
            let settings = &[
                ("flow.idle_timeout", "100ms"),
                ("rows.rotate_size", "256KiB"),
                ("rows.keep_files", "100000"),
            ];
            if kill % 5 == 0 {
                // Early, before it is ready too.
                let sensor = Sensor::spawn(wire, &wire.path("rows"), settings, &[]);
                thread::sleep(Duration::from_micros(random.below(100_000)));
                sensor.kill();
            } else {
                let sensor = Sensor::start(wire, settings);
                thread::sleep(Duration::from_micros(random.below(250_000)));
                sensor.kill();
            }
        }
        let sensor = Sensor::start(wire, &[("flow.idle_timeout", "100ms")]);
        until_rows(&sensor);
        sending.stop();
        sensor.stop().assert_clean();

        // Sees to it that files end in whole rows.
        let rows = csv_rows(&wire.path("rows"));
        let cells = rows.lines().next().unwrap().split(',').count();
        assert!(rows.lines().all(|row| row.split(',').count() == cells), "a row with cells missing");
        assert!(rows.lines().count() > 100, "{} rows", rows.lines().count());
        // A flow has one row: its addresses and its start are in no other.
        let mut flows: Vec<_> = column(&rows, "src_ip")
            .into_iter()
            .zip(column(&rows, "src_port"))
            .zip(column(&rows, "start"))
            .collect();
        let all = flows.len();
        flows.sort_unstable();
        flows.dedup();
        assert_eq!(flows.len(), all, "rows are there twice");
    });
}

#[test]
fn a_stop_writes_all_live_flows() {
    on_a_wire(|wire| {
        let (flows, memory) = if full_size() { (1_000_000, "2GiB") } else { (100_000, "512MiB") };
        let sensor = Sensor::start(
            wire,
            &[("sensor.memory", memory), ("rows.rotate_size", "8GiB"), ("rows.keep_size", "16GiB")],
        );
        let sent = wire.send_flows(flows, u64::from(flows), Pace::PerSecond(50_000)).sent;
        assert_eq!(sent, u64::from(flows));
        let ended = sensor.stop();
        ended.assert_clean();
        assert_eq!(ended.packets("seen"), sent);
        assert_eq!(ended.packets("in_emitted_flows"), sent);
        let rows: usize = super::process::row_files(&wire.path("rows"))
            .iter()
            .map(|file| fs::read(file).unwrap().iter().filter(|byte| **byte == b'\n').count() - 1)
            .sum();
        assert_eq!(rows as u64, sent);
    });
}

#[test]
fn a_second_signal_ends_at_once() {
    on_a_wire(|wire| {
        for (signal, number) in [("TERM", 15), ("INT", 2)] {
            let mut sensor = Sensor::start(wire, &[("sensor.workers", "2")]);
            wire.send_flows(100, 10_000, Pace::Fastest);
            // One worker never gets done.
            let frozen = FrozenThread::freeze(sensor.pid(), sensor.thread("flow-1")).unwrap();
            sensor.signal(signal);
            thread::sleep(Duration::from_millis(700));
            assert!(sensor.is_running(), "it went without its worker: {}", sensor.errors());
            sensor.signal(signal);
            thread::sleep(Duration::from_millis(200));
            // If the worker were alive still, it would go on now, and the sensor end as after one signal.
            drop(frozen);
            assert_eq!(sensor.wait(Duration::from_secs(10)).status.code(), Some(128 + number));
        }
    });
}
