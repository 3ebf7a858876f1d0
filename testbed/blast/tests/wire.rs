//! The command on a veth pair in a network namespace of the test's own; skipped where none can be made.

#![expect(clippy::print_stdout, reason = "the helpers of a test are test code too")]

use std::process::{Command, Stdio};

/// Runs a shell script in a namespace with `near` and `far`, the two ends of a cable; `None` where that cannot be.
fn on_a_wire(script: &str) -> Option<(bool, String)> {
    const CABLE: &str = "mount -t sysfs sysfs /sys 2>/dev/null; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && \
        echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6 && \
        ip link add near type veth peer name far && ip link set near up && ip link set far up || exit 199\n";
    let ways: [&[&str]; 2] = [&["--net", "--mount"], &["--map-root-user", "--net", "--mount"]];
    for way in ways {
        let run = Command::new("timeout")
            .args(["30", "unshare"])
            .args(way)
            .args(["sh", "-c", &format!("{CABLE}{script}")])
            .env("BLAST", env!("CARGO_BIN_EXE_tapline-blast"))
            .stdin(Stdio::null())
            .output();
        if let Ok(run) = run
            && run.status.code() != Some(199)
            && !String::from_utf8_lossy(&run.stderr).contains("unshare")
        {
            let text = String::from_utf8_lossy(&run.stdout).into_owned();
            return Some((run.status.success(), text + &String::from_utf8_lossy(&run.stderr)));
        }
    }
    println!("skipped: no network namespace with a veth pair can be made here");
    None
}

#[test]
fn what_is_reported_as_sent_arrives_to_the_last_frame() {
    let script = "
        $BLAST --interface near --count 30000 --flows 500 --tuples zipf --seconds 20
        $BLAST --interface near --count 20000 --bytes 1000 --speed-pps 200000 --seconds 20
        cat /sys/class/net/far/statistics/rx_packets /sys/class/net/far/statistics/rx_bytes";
    let Some((good, text)) = on_a_wire(script) else { return };
    assert!(good, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let reports: Vec<serde_json::Value> =
        lines[..2].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let total = |key: &str| reports.iter().map(|report| report[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(total("sent") + total("failed"), 50_000);
    if lines[2] == "0" {
        println!("skipped: this namespace cannot see its own sysfs");
        return;
    }
    assert_eq!(lines[2..], [total("sent").to_string(), total("sent_bytes").to_string()]);
}

#[test]
fn a_cable_without_an_end_takes_no_frame() {
    let script = "ip link set far down; $BLAST --interface near --count 100 --seconds 20";
    let Some((good, text)) = on_a_wire(script) else { return };
    assert!(good, "{text}");
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((report["sent"].as_u64(), report["failed"].as_u64()), (Some(0), Some(100)), "{text}");
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let Some((good, text)) = on_a_wire("$BLAST --interface nothing --count 1") else { return };
    assert!(!good && text.contains("cannot send to nothing"), "{text}");
}

#[test]
fn the_hosts_interfaces_are_refused() {
    let run = Command::new(env!("CARGO_BIN_EXE_tapline-blast"))
        .args(["--interface", "nothing", "--count", "1"])
        .output();
    let run = run.unwrap();
    let text = String::from_utf8_lossy(&run.stderr);
    if run.status.code() == Some(69) {
        println!("skipped: this test runs in a namespace of its own");
        return;
    }
    assert_eq!(run.status.code(), Some(77), "{text}");
    assert!(text.contains("--force-host"), "{text}");
}
