//! What the sensor may do once it has started: capture, and write where it was told to.

use std::fs;
use std::time::Duration;

use tapline_blast::Pace;

use super::process::Sensor;
use super::wire::{on_a_wire, until};

/// CAP_NET_RAW.
const NET_RAW: u64 = 1 << 13;

#[test]
fn rights_are_dropped_in_every_thread() {
    on_a_wire(|wire| {
        let sensor = Sensor::start(wire, &[("sensor.workers", "2")]);
        let mut threads = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", sensor.pid())).unwrap() {
            let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                line.unwrap_or_else(|| panic!("no {name} in {status}")).trim()
            };
            for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
                let rights = u64::from_str_radix(field(set), 16).unwrap();
                assert_eq!(rights & !NET_RAW, 0, "{set} {status}");
            }
            assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1", "2"), "{status}");
            threads += 1;
        }
        assert!(threads > 3, "{threads}");
        // It still does what it is for.
        assert_eq!(wire.send_flows(10, 1_000, Pace::Fastest).sent, 1_000);
        let ended = sensor.stop();
        ended.assert_clean();
        assert_eq!(ended.packets("seen"), 1_000);
    });
}

/// The sensor opens its configuration again at SIGHUP: if that is now a link to somewhere else, it may not.
#[test]
fn files_that_the_configuration_does_not_name_cannot_be_opened() {
    on_a_wire(|wire| {
        let elsewhere = wire.path("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        for (landlock, target) in [("true", "/etc/shadow"), ("true", "copy"), ("false", "copy")] {
            let mut sensor = Sensor::start(wire, &[("rights.landlock", landlock)]);
            let config = sensor.config.clone();
            let target = if target == "copy" {
                // A good configuration that everybody may read.
                fs::copy(&sensor.config, elsewhere.join("copy.toml")).unwrap();
                elsewhere.join("copy.toml")
            } else {
                target.into()
            };
            fs::remove_file(&sensor.config).unwrap();
            std::os::unix::fs::symlink(&target, &sensor.config).unwrap();
            sensor.signal("HUP");
            sensor.wait_for("READY=1", Duration::from_secs(10));
            if landlock == "true" {
                let refused = |text: String| text.contains("ermission denied");
                until("a refusal", Duration::from_secs(10), || refused(sensor.errors()));
            } else {
                assert!(!sensor.errors().contains("ermission denied"), "{}", sensor.errors());
            }
            sensor.stop().assert_clean();
            fs::remove_file(&config).unwrap();
        }
    });
}
