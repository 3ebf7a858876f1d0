//! The account is exact whatever is lost: what was sent is what was seen, and each packet seen has a place.

use tapline_blast::Pace;

use super::full_size;
use super::process::{Ended, Sensor, csv_rows};
use super::wire::{Wire, on_a_wire};

/// Every term of the left side of the account but those that are not lost.
const LOSSES: [&str; 3] = ["kernel_dropped", "ring_dropped", "shed"];

/// The account of a sensor that was sent so many frames of IPv4, and the share of them that was lost.
#[track_caller]
fn check(ended: &Ended, sent: u64) -> f64 {
    let lost: u64 = LOSSES.map(|term| ended.packets(term)).iter().sum();
    assert_eq!(ended.packets("seen"), sent, "{:#}", ended.stats);
    assert_eq!(
        ended.packets("processed") + lost + ended.packets("filtered") + ended.packets("undecodable"),
        sent
    );
    assert_eq!(
        ended.packets("in_emitted_flows") + ended.packets("in_live_flows") + ended.packets("non_flow"),
        ended.packets("processed")
    );
    assert_eq!(ended.packets("unaccounted"), 0, "{:#}", ended.stats);
    // Packets that are lost are no failure of the sensor's, but they are told.
    assert!(ended.status.success(), "{}: {}", ended.status, ended.errors);
    assert_eq!(lost > 0, ended.errors.contains("packets are lost"), "{lost} lost: {}", ended.errors);
    lost as f64 / sent as f64
}

/// The packets of all rows.
fn packets_in_rows(wire: &Wire) -> u64 {
    let rows = csv_rows(&wire.path("rows"));
    let column = |name| {
        crate::support::program::column(&rows, name).iter().map(|n| n.parse::<u64>().unwrap()).sum::<u64>()
    };
    column("fwd_pkts") + column("bwd_pkts")
}

#[test]
fn nothing_is_lost_at_a_moderate_rate() {
    on_a_wire(|wire| {
        let (count, rate) = if full_size() { (10_000_000, 100_000) } else { (150_000, 50_000) };
        let sensor = Sensor::start(wire, &[("sensor.workers", "2")]);
        let sent = wire.send_flows(2_000, count, Pace::PerSecond(rate)).sent;
        let lost = check(&sensor.stop(), sent);
        assert!(lost == 0.0, "{lost}");
        assert_eq!(packets_in_rows(wire), sent);
    });
}

#[test]
fn a_few_percent_lost_are_counted_to_the_packet() {
    on_a_wire(|wire| {
        let sensor = Sensor::start(wire, &[("interface.0.buffer", "1MiB")]);
        let mut sent = 0;
        for _ in 0..3 {
            sent += wire.send_flows(500, 30_000, Pace::PerSecond(60_000)).sent;
            // More than the ring holds while nobody reads it.
            sensor.signal("STOP");
            sent += wire.send_flows(500, 7_500, Pace::Fastest).sent;
            sensor.signal("CONT");
        }
        let ended = sensor.stop();
        let lost = check(&ended, sent);
        println!("{:.2} % of {sent} packets lost", 100.0 * lost);
        assert!((0.005..0.3).contains(&lost), "{lost}: {:#}", ended.stats);
        assert_eq!(packets_in_rows(wire), ended.packets("processed"));
    });
}

#[test]
fn nearly_all_lost_are_counted_to_the_packet() {
    on_a_wire(|wire| {
        let sensor = Sensor::start(wire, &[("interface.0.buffer", "1MiB")]);
        let before = wire.send_flows(100, 1_000, Pace::PerSecond(10_000)).sent;
        sensor.signal("STOP");
        let sent = before + wire.send_flows(500, 250_000, Pace::Fastest).sent;
        sensor.signal("CONT");
        let ended = sensor.stop();
        let lost = check(&ended, sent);
        println!("{:.2} % of {sent} packets lost", 100.0 * lost);
        assert!(lost > 0.95, "{lost}: {:#}", ended.stats);
        assert_eq!(packets_in_rows(wire), ended.packets("processed"));
    });
}

/// As fast as it can be sent, into a small ring, past two readers and three workers: whatever is lost where.
#[test]
fn a_flood_is_counted_to_the_packet() {
    on_a_wire(|wire| {
        let settings = [
            ("interface.0.buffer", "2MiB"),
            ("interface.0.readers", "2"),
            ("sensor.workers", "3"),
            ("rows.format", "none"),
        ];
        let sensor = Sensor::start(wire, &settings);
        let sent =
            wire.send_flows(100_000, if full_size() { 20_000_000 } else { 1_000_000 }, Pace::Fastest).sent;
        check(&sensor.stop(), sent);
    });
}

/// What a filter keeps out is not seen; all else is.
#[test]
fn a_filter_in_the_kernel_leaves_the_account_exact() {
    on_a_wire(|wire| {
        let sensor = Sensor::start(wire, &[("interface.0.filter", "udp and src host 10.0.0.7")]);
        let report = wire.send_flows(1_000, 20_000, Pace::PerSecond(40_000));
        assert_eq!(report.sent, 20_000);
        check(&sensor.stop(), 20);
    });
}

/// The end of a burst is still in the kernel when the signal comes: it counts.
#[test]
fn what_waits_in_the_kernel_at_the_end_counts() {
    on_a_wire(|wire| {
        for _ in 0..5 {
            let sensor = Sensor::start(wire, &[]);
            let sent = wire.send_flows(300, 20_000, Pace::Fastest).sent;
            let ended = sensor.stop();
            check(&ended, sent);
        }
    });
}
