//! Interfaces that go and come back.

use std::thread;
use std::time::Duration;

use tapline_blast::Pace;

use super::process::{Sensor, rows_so_far};
use super::wire::{on_a_wire, until};

#[test]
fn a_turned_off_interface_is_waited_for() {
    on_a_wire(|wire| {
        let mut sensor = Sensor::start(wire, &[]);
        let mut sent = 0;
        for round in 0..3 {
            sent += wire.send_flows(100, 5_000, Pace::PerSecond(50_000)).sent;
            wire.set_near("down");
            let report = wire.send_flows(100, 50, Pace::Fastest);
            assert_eq!(report.sent, 0);
            if round == 0 {
                until("word of it", Duration::from_secs(10), || sensor.errors().contains("down"));
            }
            assert!(sensor.is_running());
            wire.set_near("up");
            // The far end takes frames once the kernel has noticed.
            let mut up = 0;
            until("the cable", Duration::from_secs(10), || {
                up = wire.send_flows(1, 1, Pace::Fastest).sent;
                up > 0
            });
            sent += up;
        }
        let ended = sensor.stop();
        ended.assert_clean();
        assert_eq!(ended.packets("seen"), sent);
    });
}

#[test]
fn a_deleted_interface_is_opened_again_when_it_is_back() {
    on_a_wire(|wire| {
        let mut sensor = Sensor::start(wire, &[("flow.idle_timeout", "100ms")]);
        let before = wire.send_flows(100, 5_000, Pace::PerSecond(50_000)).sent;
        wire.unplug();
        until("word of it", Duration::from_secs(10), || sensor.errors().contains("tap0"));
        assert!(sensor.is_running());
        wire.plug_in();
        let mut after = 0;
        let rows = || rows_so_far(&wire.path("rows"));
        // Not one of the first hundred. It ends if it gets some rest.
        until("a new flow", Duration::from_secs(20), || {
            after += wire.send_flows(200, 200, Pace::Fastest).sent;
            thread::sleep(Duration::from_millis(300));
            rows().contains(",10.0.0.199,")
        });
        // Now that it listens again, nothing is lost.
        let last = wire.send_flows(10, 5_000, Pace::PerSecond(50_000)).sent;
        let ended = sensor.stop();
        ended.assert_clean();
        let seen = ended.packets("seen");
        assert!(
            (before + last..=before + after + last).contains(&seen),
            "{seen} of {before} + {after} + {last}"
        );
        assert!(seen > before + last);
    });
}

#[test]
fn an_interface_that_is_not_there_at_the_start_is_an_error_that_names_it() {
    on_a_wire(|wire| {
        let sensor = Sensor::spawn(wire, &wire.path("rows"), &[("interface.0.name", "nosuch0")], &[]);
        let ended = sensor.wait(Duration::from_secs(20));
        assert!(!ended.status.success());
        assert!(ended.errors.contains("nosuch0"), "{}", ended.errors);
    });
}
