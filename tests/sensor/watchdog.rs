//! The watchdog: told that all is well while every worker moves, and only then.

use std::time::{Duration, Instant};

use tapline_blast::FrozenThread;

use super::full_size;
use super::process::Sensor;
use super::wire::on_a_wire;

/// How many times the watchdog is told within a time.
fn pings(sensor: &mut Sensor, time: Duration) -> usize {
    let end = Instant::now() + time;
    let mut pings = 0;
    while Instant::now() < end {
        pings += usize::from(sensor.next_told().is_some_and(|told| told == "WATCHDOG=1"));
    }
    pings
}

#[test]
fn the_watchdog_is_told_only_while_every_worker_moves() {
    on_a_wire(|wire| {
        let environment = &[("WATCHDOG_USEC", "1000000")];
        let settings = &[("sensor.workers", "3")];
        let threads: &[&str] =
            if full_size() { &["flow-1", "read-0", "export"] } else { &["flow-1", "read-0"] };
        for thread in threads {
            let mut sensor = Sensor::spawn(wire, &wire.path("rows"), settings, environment);
            sensor.wait_for("READY=1", Duration::from_secs(20));
            // Quiet or not: there is not one packet.
            assert!(pings(&mut sensor, Duration::from_millis(2_500)) >= 3);
            let frozen = FrozenThread::freeze(sensor.pid(), sensor.thread(thread)).unwrap();
            // Some time for it to be noticed.
            pings(&mut sensor, Duration::from_millis(1_500));
            assert_eq!(
                pings(&mut sensor, Duration::from_secs(2)),
                0,
                "the watchdog does not know of {thread}"
            );
            assert!(sensor.errors().contains("does not move"), "{}", sensor.errors());
            drop(frozen);
            sensor.wait_for("WATCHDOG=1", Duration::from_secs(10));
            sensor.stop().assert_clean();
        }
    });
}
