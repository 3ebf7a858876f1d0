//! One interface: whether it is there and up, what its adapter drops, and why.

use super::{Finding, InterfacePlan, Trees};

/// Places in an adapter's receive ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingSizes {
    pub(crate) now: u32,
    pub(crate) most: u32,
}

/// Asks the adapter; nothing if it does not say.
pub(super) fn ring_sizes(interface: &str) -> Option<RingSizes> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsFd;

        use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
        crate::kernel_call::ring_sizes(socket.as_fd(), interface).ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = interface;
        None
    }
}

pub(super) fn findings(trees: &Trees, plan: &InterfacePlan, ring: Option<RingSizes>) -> Vec<Finding> {
    let name = plan.name.as_str();
    let sys = |file: &str| trees.sys(&format!("class/net/{name}/{file}"));
    let flags = sys("flags").and_then(|flags| u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok());
    let Some(flags) = flags.filter(|_| !name.contains('/')) else {
        return vec![Finding::bad(
            name,
            "there is no such interface",
            "list those there are: ip -brief link",
        )];
    };
    if flags & IFF_UP == 0 {
        return vec![Finding::bad(name, "it is down", format!("ip link set dev {name} up"))];
    }
    let mut findings = vec![carrier(name, sys("carrier").as_deref(), sys("speed").as_deref())];
    findings.extend(promiscuous(plan, flags, sys("uevent").as_deref()));
    findings.extend(checked(plan));
    if let Some(ring) = ring.filter(|ring| ring.most > 0) {
        findings.push(Finding::ok(
            name,
            format!("the adapter's receive ring has {} places of at most {}", ring.now, ring.most),
        ));
    }
    let counter = |counter: &str| sys(&format!("statistics/{counter}")).and_then(|count| count.parse().ok());
    findings.extend(drops(name, ring, counter));
    findings
}

fn carrier(name: &str, carrier: Option<&str>, speed_mbit: Option<&str>) -> Finding {
    if carrier == Some("0") {
        return Finding::warn(
            name,
            "it has no carrier: nothing comes in",
            format!("check the cable and the mirror port: ethtool {name}"),
        );
    }
    // Virtual ones have no speed, or -1.
    match speed_mbit.and_then(|speed| speed.parse::<u32>().ok()).filter(|speed| *speed != u32::MAX) {
        Some(speed) => Finding::ok(name, format!("it is up, with {speed} Mbit/s")),
        None => Finding::ok(name, "it is up"),
    }
}

fn promiscuous(plan: &InterfacePlan, flags: u32, uevent: Option<&str>) -> Option<Finding> {
    if !plan.promiscuous {
        return None;
    }
    let name = plan.name.as_str();
    if uevent.is_some_and(|uevent| uevent.lines().any(|line| line == "DEVTYPE=wlan")) {
        return Some(Finding::warn(
            name,
            "it is wireless: frames for other hosts do not come in, whatever `promiscuous` says",
            "capture on the wire behind the access point",
        ));
    }
    Some(Finding::ok(
        name,
        if flags & IFF_PROMISC == 0 {
            "it takes frames for this host only, until the sensor asks for all"
        } else {
            "it takes frames for all hosts"
        },
    ))
}

/// What the capturing side said: a notice's last clause is what to do.
fn checked(plan: &InterfacePlan) -> Vec<Finding> {
    let name = plan.name.as_str();
    match &plan.check {
        None => Vec::new(),
        Some(Ok(notices)) if notices.is_empty() => {
            vec![Finding::ok(name, "it hands over packets as they are on the wire")]
        }
        Some(Ok(notices)) => notices
            .iter()
            .map(|notice| match notice.rsplit_once("; ") {
                Some((what, cure)) => Finding::warn(name, what, cure),
                None => Finding::warn(name, notice, "see docs/rights.md"),
            })
            .collect(),
        Some(Err(refusal)) => {
            let mut lines = refusal.lines().map(str::trim).filter(|line| !line.is_empty());
            let what = lines.next().unwrap_or("it cannot be captured").to_owned();
            match (lines.next(), what.rsplit_once("; ")) {
                (Some(cure), _) => vec![Finding::bad(name, what, cure)],
                (None, Some((what, cure))) => vec![Finding::bad(name, what, cure)],
                (None, None) => vec![Finding::bad(name, what, "see the log of the sensor")],
            }
        }
    }
}

/// What the adapter and the kernel have dropped since the interface was made, before any ring of the sensor's.
fn drops(name: &str, ring: Option<RingSizes>, counter: impl Fn(&str) -> Option<u64>) -> Vec<Finding> {
    let Some(packets) = counter("rx_packets") else { return Vec::new() };
    let larger_ring = match ring {
        Some(RingSizes { now, most }) if now < most => format!("ethtool -G {name} rx {most}"),
        Some(_) => {
            format!("share the load among processors: ethtool -L {name} combined N, and `readers` = N")
        }
        None => format!("a larger receive ring, if the adapter has one: ethtool -g {name}"),
    };
    let causes = [
        ("rx_missed_errors", "the adapter's receive ring was full", larger_ring.clone()),
        (
            "rx_fifo_errors",
            "the adapter's buffer was full: the host did not fetch in time",
            larger_ring.clone(),
        ),
        ("rx_over_errors", "the adapter's receive ring was full", larger_ring),
        (
            "rx_dropped",
            "the kernel had no room, or nobody wanted them",
            "sysctl -w net.core.netdev_max_backlog=10000, if /proc/net/softnet_stat counts drops too"
                .to_owned(),
        ),
        (
            "rx_length_errors",
            "frames were longer than the interface takes",
            format!("ip link set dev {name} mtu 9000"),
        ),
        (
            "rx_crc_errors",
            "frames came in damaged",
            format!("change the cable or the optics: ethtool -m {name}"),
        ),
        ("rx_frame_errors", "frames came in damaged", format!("check speed and duplex: ethtool {name}")),
    ];
    let mut findings: Vec<_> = causes
        .into_iter()
        .filter_map(|(cause, why, cure)| {
            let count = counter(cause).filter(|count| *count > 0)?;
            let share = count as f64 * 100.0 / (packets as f64 + count as f64);
            Some(Finding::warn(name, format!("{cause} {count} ({share:.2} % of what came): {why}"), cure))
        })
        .collect();
    if findings.is_empty() {
        findings
            .push(Finding::ok(name, format!("none of {packets} packets was dropped by adapter or kernel")));
    }
    findings
}

/// linux/if.h
const IFF_UP: u32 = 1;
const IFF_PROMISC: u32 = 0x100;

#[cfg(test)]
mod tests {
    use super::super::{State, fake};
    use super::*;

    fn plan(check: Option<Result<Vec<String>, String>>) -> InterfacePlan {
        InterfacePlan { name: "eth0".to_owned(), readers: 1, promiscuous: true, check }
    }

    fn lines(files: &[(&str, &str)], plan: &InterfacePlan, ring: Option<RingSizes>) -> Vec<String> {
        let files: Vec<_> =
            files.iter().map(|(name, text)| (format!("sys/class/net/eth0/{name}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        let (trees, _folder) = fake::trees(&files);
        findings(&trees, plan, ring).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_interface_has_no_cures() {
        let files = [
            ("flags", "0x1103"),
            ("carrier", "1"),
            ("speed", "10000"),
            ("statistics/rx_packets", "17"),
            ("statistics/rx_dropped", "0"),
        ];
        let ring = Some(RingSizes { now: 4096, most: 4096 });
        assert_eq!(
            lines(&files, &plan(Some(Ok(Vec::new()))), ring),
            [
                "ok    eth0: it is up, with 10000 Mbit/s",
                "ok    eth0: it takes frames for all hosts",
                "ok    eth0: it hands over packets as they are on the wire",
                "ok    eth0: the adapter's receive ring has 4096 places of at most 4096",
                "ok    eth0: none of 17 packets was dropped by adapter or kernel",
            ]
        );
    }

    #[test]
    fn drops_are_told_by_cause_each_with_its_cure() {
        let files = [
            ("flags", "0x1003"),
            ("carrier", "0"),
            ("speed", "-1"),
            ("statistics/rx_packets", "900"),
            ("statistics/rx_missed_errors", "100"),
            ("statistics/rx_dropped", "3"),
            ("statistics/rx_crc_errors", "1"),
        ];
        let notice =
            "eth0 hands over several packets as one; turn it off: ethtool -K eth0 gro off".to_owned();
        let found = lines(&files, &plan(Some(Ok(vec![notice]))), Some(RingSizes { now: 512, most: 4096 }));
        for (line, part) in found.iter().zip([
            "no carrier: nothing comes in -> check the cable and the mirror port: ethtool eth0",
            "for this host only, until the sensor asks",
            "warn  eth0: eth0 hands over several packets as one -> turn it off: ethtool -K eth0 gro off",
            "ok    eth0: the adapter's receive ring has 512",
            "rx_missed_errors 100 (10.00 % of what came): the adapter's receive ring was full -> ethtool -G eth0 rx 4096",
            "rx_dropped 3 (0.33 % of what came)",
            "rx_crc_errors 1",
        ]) {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert_eq!(found.len(), 7, "{found:#?}");
        let largest = lines(&files, &plan(None), Some(RingSizes { now: 4096, most: 4096 }));
        assert!(
            largest.iter().any(|line| line.contains("-> share the load among processors")),
            "{largest:#?}"
        );
    }

    #[test]
    fn what_cannot_be_captured_is_bad() {
        assert_eq!(
            lines(&[("flags", "0x1002")], &plan(None), None),
            ["bad   eth0: it is down -> ip link set dev eth0 up"]
        );
        let absent = InterfacePlan { name: "../eth0".to_owned(), ..plan(None) };
        assert_eq!(
            lines(&[("flags", "0x1003")], &absent, None),
            ["bad   ../eth0: there is no such interface -> list those there are: ip -brief link"]
        );
        let (up, refused) =
            ([("flags", "0x1003")], "no right to capture on eth0\n  started by hand:  sudo setcap x");
        let found = lines(&up, &plan(Some(Err(refused.to_owned()))), None);
        assert!(
            found[2].ends_with("no right to capture on eth0 -> started by hand:  sudo setcap x"),
            "{found:#?}"
        );
    }

    #[test]
    fn a_wireless_one_does_not_hear_others() {
        let found =
            lines(&[("flags", "0x1003"), ("uevent", "DEVTYPE=wlan\nINTERFACE=eth0")], &plan(None), None);
        assert!(found[1].starts_with("warn  eth0: it is wireless"), "{found:#?}");
        let (trees, _folder) = fake::trees(&[("sys/class/net/eth0/flags", "0x1003")]);
        let unasked = InterfacePlan { promiscuous: false, ..plan(None) };
        assert!(findings(&trees, &unasked, None).iter().all(|finding| finding.state == State::Ok));
    }
}
