//! The rights of the process, and what the kernel offers.

use std::path::Path;

use super::{Finding, Trees};
use crate::capabilities::CapabilitySet;
use crate::rights::{Landlock, Rights, shell_word};

pub(super) fn findings(trees: &Trees, rights: &Rights, binary: &Path) -> Vec<Finding> {
    let mut findings = vec![capture(rights, binary)];
    findings.push(match rights.landlock {
        Landlock::Abi(abi @ ..6) => Finding::warn(
            "kernel",
            format!("Landlock is of version {abi}, and restricts not yet all that the sensor would give up"),
            "Linux 6.12 or later has version 6",
        ),
        Landlock::Abi(abi) => Finding::ok("kernel", format!("Landlock restricts files and ports (version {abi})")),
        Landlock::NotEnabled => Finding::warn(
            "kernel",
            "Landlock was left out when the kernel was started: any file stays open to the sensor that its user may open",
            "add landlock to lsm= on the kernel's command line",
        ),
        Landlock::NotBuilt => Finding::warn(
            "kernel",
            "there is no Landlock: any file stays open to the sensor that its user may open",
            "Linux 5.13 or later, built with CONFIG_SECURITY_LANDLOCK",
        ),
        Landlock::Forbidden => Finding::warn(
            "kernel",
            "Landlock must not be asked for: any file stays open to the sensor that its user may open",
            "allow landlock_create_ruleset, landlock_add_rule, landlock_restrict_self in the container's seccomp profile",
        ),
    });
    findings.push(if rights.seccomp_available {
        Finding::ok("kernel", "seccomp restricts system calls")
    } else {
        Finding::warn(
            "kernel",
            "there is no seccomp: every system call stays open to the sensor",
            "a kernel built with CONFIG_SECCOMP_FILTER",
        )
    });
    let release =
        trees.proc("sys/kernel/osrelease").map_or_else(String::new, |release| format!(" (Linux {release})"));
    findings.push(if trees.proc("net/packet").is_some() {
        Finding::ok("kernel", format!("packet sockets with TPACKET_V3 rings{release}"))
    } else {
        Finding::bad("kernel", format!("there are no packet sockets{release}"), "modprobe af_packet")
    });
    if trees.proc("sys/net/core/bpf_jit_enable").as_deref() == Some("0") {
        findings.push(Finding::warn(
            "kernel",
            "filters are interpreted, not compiled",
            "sysctl -w net.core.bpf_jit_enable=1",
        ));
    }
    findings
}

fn capture(rights: &Rights, binary: &Path) -> Finding {
    let has = rights.capabilities.contains(CapabilitySet::NET_RAW);
    let user = rights.user_id.map_or_else(String::new, |user_id| format!(" (user {user_id})"));
    match (rights.can_capture(), has) {
        (true, _) => Finding::ok("rights", format!("interfaces can be captured{user}")),
        (false, true) => Finding::bad(
            "rights",
            format!(
                "CAP_NET_RAW is there, but does not hold for this network{user}: a user namespace has it"
            ),
            "run it outside of the user namespace, or give that a network namespace of its own",
        ),
        (false, false) => Finding::bad(
            "rights",
            format!("CAP_NET_RAW is missing{user}"),
            format!("sudo setcap cap_net_raw=ep {}", shell_word(&binary.to_string_lossy())),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{State, fake};
    use super::*;

    fn rights(packet_socket: bool, bits: u64, landlock: Landlock) -> Rights {
        Rights {
            user_id: Some(1000),
            capabilities: CapabilitySet::from_bits(bits),
            packet_socket,
            no_new_privileges: false,
            landlock,
            seccomp_available: true,
            seccomp_in_force: false,
        }
    }

    #[test]
    fn a_kernel_with_all_of_it_has_no_cures() {
        let (trees, _folder) = fake::trees(&[
            ("proc/net/packet", "sk"),
            ("proc/sys/kernel/osrelease", "6.18.1"),
            ("proc/sys/net/core/bpf_jit_enable", "1"),
        ]);
        let findings =
            findings(&trees, &rights(true, 1 << 13, Landlock::Abi(7)), Path::new("/usr/bin/tapline"));
        assert_eq!(findings.len(), 4);
        assert!(findings.iter().all(|finding| finding.state == State::Ok && finding.cure.is_none()));
        assert!(findings[3].what.contains("Linux 6.18.1"));
    }

    #[test]
    fn what_is_missing_is_told_with_the_line_to_type() {
        let (trees, _folder) = fake::trees(&[("proc/sys/net/core/bpf_jit_enable", "0")]);
        let poor = Rights { seccomp_available: false, ..rights(false, 0, Landlock::NotEnabled) };
        let lines: Vec<_> =
            findings(&trees, &poor, Path::new("/opt/tapline")).iter().map(ToString::to_string).collect();
        for (line, part) in lines.iter().zip([
            "bad   rights: CAP_NET_RAW is missing (user 1000) -> sudo setcap cap_net_raw=ep /opt/tapline",
            "-> add landlock to lsm=",
            "CONFIG_SECCOMP_FILTER",
            "-> modprobe af_packet",
            "-> sysctl -w net.core.bpf_jit_enable=1",
        ]) {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        let foreign = capture(&rights(false, 1 << 13, Landlock::NotBuilt), Path::new("x"));
        assert!(foreign.what.contains("a user namespace has it"), "{foreign}");
        for landlock in [Landlock::Abi(3), Landlock::NotBuilt, Landlock::Forbidden] {
            let all = findings(&trees, &rights(true, 1 << 13, landlock), Path::new("x"));
            assert_eq!(all[1].state, State::Warn, "{}", all[1]);
        }
    }
}
