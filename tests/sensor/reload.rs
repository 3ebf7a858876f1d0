//! SIGHUP: good configurations come into force, bad ones do not, and neither costs a packet.

use std::fs;
use std::time::Duration;

use tapline_blast::Pace;

use super::process::{Sensor, csv_rows, rows_so_far};
use super::wire::{on_a_wire, until};
use crate::support::model;

/// Writes a configuration anew, with one text replaced by another.
fn change(sensor: &Sensor, from: &str, to: &str) {
    let text = fs::read_to_string(&sensor.config).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(&sensor.config, text.replace(from, to)).unwrap();
}

#[test]
fn a_good_configuration_comes_into_force() {
    on_a_wire(|wire| {
        let mut sensor = Sensor::start(wire, &[]);
        let mut sent = wire.send_flows(50, 5_000, Pace::PerSecond(20_000)).sent;
        change(&sensor, "[flow]", "[log]\nlevel = \"error\"\n[flow]");
        sensor.signal("HUP");
        sensor.wait_for("RELOADING=1", Duration::from_secs(10));
        sensor.wait_for("READY=1", Duration::from_secs(10));
        let before = sensor.errors();
        sent += wire.send_flows(50, 5_000, Pace::PerSecond(20_000)).sent;
        until("the reload", Duration::from_secs(10), || sensor.status()["config"]["reloads"] == 1);
        let ended = sensor.stop();
        ended.assert_clean();
        assert_eq!(ended.errors, before, "it has nothing to say any more that is no error");
        assert_eq!((sent, ended.packets("seen"), ended.packets("processed")), (10_000, sent, sent));
    });
}

#[test]
fn what_waits_for_a_restart_is_named() {
    on_a_wire(|wire| {
        let mut sensor = Sensor::start(wire, &[]);
        change(&sensor, "[flow]", "[flow]\nidle_timeout = \"100ms\"");
        sensor.signal("HUP");
        sensor.wait_for("RELOADING=1", Duration::from_secs(10));
        sensor.wait_for("READY=1", Duration::from_secs(10));
        let log = sensor.errors();
        assert!(log.contains("wait for a restart") && log.contains("flow.idle_timeout"), "{log}");
        sensor.stop().assert_clean();
    });
}

#[test]
fn a_bad_configuration_is_refused_and_the_old_one_stays() {
    on_a_wire(|wire| {
        let mut sensor = Sensor::start(wire, &[("flow.idle_timeout", "100ms")]);
        for (from, to, says) in [
            ("[flow]", "[flow]\nidle_timeuot = \"1s\"", "idle_timeout"),
            ("idle_timeuot = \"1s\"", "active_timeout = \"soon\"", "active_timeout"),
            ("active_timeout = \"soon\"", "active_timeout = ", "tapline.toml"),
        ] {
            change(&sensor, from, to);
            sensor.signal("HUP");
            until("a refusal", Duration::from_secs(10), || sensor.errors().contains(says));
            assert!(sensor.is_running());
            // A service manager that asked for it is told that it is over.
            sensor.wait_for("READY=1", Duration::from_secs(10));
        }
        let sent = wire.send_flows(50, 5_000, Pace::PerSecond(20_000)).sent;
        until("rows", Duration::from_secs(20), || rows_so_far(&wire.path("rows")).lines().count() > 50);
        let ended = sensor.stop();
        ended.assert_clean();
        assert_eq!(ended.packets("seen"), sent);
    });
}

#[test]
fn a_model_is_swapped_without_losing_a_packet() {
    on_a_wire(|wire| {
        let folders = ["one", "two"].map(|name| wire.path(name));
        for (folder, id) in folders.iter().zip(["one", "two"]) {
            model::write_as(folder, id);
        }
        let in_force = wire.path("model");
        // What is in force is a link, as an operator would do it.
        std::os::unix::fs::symlink(&folders[0], &in_force).unwrap();
        let mut sensor = Sensor::start(
            wire,
            &[
                ("scoring.model", in_force.to_str().unwrap()),
                ("flow.idle_timeout", "100ms"),
                ("sensor.workers", "2"),
            ],
        );
        let sending = wire.keep_sending(2_000, Pace::PerSecond(30_000));
        for swap in 0..6 {
            let next = wire.path("next");
            std::os::unix::fs::symlink(&folders[(swap + 1) % 2], &next).unwrap();
            fs::rename(&next, &in_force).unwrap();
            sensor.signal("HUP");
            sensor.wait_for("RELOADING=1", Duration::from_secs(10));
            sensor.wait_for("READY=1", Duration::from_secs(10));
            let now = ["two", "one"][swap % 2];
            until("a model that takes over", Duration::from_secs(10), || {
                // Part of its contents' hash follows.
                sensor.status()["sensor"]["model"]["id"].as_str().is_some_and(|id| id.starts_with(now))
            });
        }
        // A model that is none is refused, and the old one goes on.
        let broken = wire.path("broken");
        fs::create_dir(&broken).unwrap();
        let next = wire.path("next");
        std::os::unix::fs::symlink(&broken, &next).unwrap();
        fs::rename(&next, &in_force).unwrap();
        sensor.signal("HUP");
        until("a refusal", Duration::from_secs(10), || sensor.errors().contains("model"));
        let sent = sending.stop().sent;
        let ended = sensor.stop();
        ended.assert_clean();
        assert_eq!((ended.packets("seen"), ended.packets("processed")), (sent, sent), "{:#}", ended.stats);
        let rows = csv_rows(&wire.path("rows"));
        let flows = ended.stats["flows"]["emitted"].as_u64().unwrap();
        assert_eq!(rows.lines().count() as u64, 1 + flows);
    });
}
