//! What the process may do now, and what to say if that is not enough.

use std::fmt;
use std::path::Path;

use crate::capabilities::CapabilitySet;

/// The rights of the calling thread, and what the kernel offers to drop them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rights {
    /// The effective user, if the system has users.
    pub user_id: Option<u32>,
    /// The effective capabilities.
    pub capabilities: CapabilitySet,
    /// Whether a packet socket could be opened just now: CAP_NET_RAW in the user namespace that owns the network.
    pub packet_socket: bool,
    /// Whether the process has given up new privileges.
    pub no_new_privileges: bool,
    /// Whether files and ports can be restricted.
    pub landlock: Landlock,
    /// Whether system calls can be restricted.
    pub seccomp_available: bool,
    /// Whether they are restricted, by whomsoever.
    pub seccomp_in_force: bool,
}

/// Whether the kernel offers Landlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landlock {
    /// It does, in this version of its interface.
    Abi(u32),
    /// It was built without, or is older than 5.13, or is not Linux.
    NotBuilt,
    /// It was built with it, but started without.
    NotEnabled,
    /// It must not be asked: a seccomp filter, such as a container's, is in force.
    Forbidden,
}

impl Rights {
    /// Asks the kernel.
    #[must_use]
    pub fn now() -> Self {
        #[cfg(target_os = "linux")]
        return linux::now();
        #[cfg(not(target_os = "linux"))]
        return Self {
            user_id: None,
            capabilities: CapabilitySet::EMPTY,
            packet_socket: false,
            no_new_privileges: false,
            landlock: Landlock::NotBuilt,
            seccomp_available: false,
            seccomp_in_force: false,
        };
    }

    /// Whether interfaces can be captured.
    #[must_use]
    pub fn can_capture(&self) -> bool {
        self.packet_socket
    }
}

/// One line for the log.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user_id) = self.user_id {
            write!(f, "user {user_id}; ")?;
        }
        let can = if self.can_capture() { "can" } else { "cannot" };
        write!(f, "capabilities: {}; {can} capture; landlock: {}; ", self.capabilities, self.landlock)?;
        f.write_str(match (self.seccomp_available, self.seccomp_in_force) {
            (true, false) => "seccomp: available",
            (true, true) => "seccomp: available, a filter is in force",
            (false, _) => "seccomp: not available",
        })?;
        if self.no_new_privileges { f.write_str("; no new privileges") } else { Ok(()) }
    }
}

impl fmt::Display for Landlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abi(abi) => write!(f, "ABI {abi}"),
            Self::NotBuilt => {
                f.write_str("the kernel has none (Linux 5.13 or later, built with CONFIG_SECURITY_LANDLOCK)")
            }
            Self::NotEnabled => {
                f.write_str("the kernel was started without it (add landlock to lsm= on its command line)")
            }
            Self::Forbidden => f.write_str("a seccomp filter forbids it, such as a container's"),
        }
    }
}

/// What to do where `interface` must not be captured: the exact lines for each way that `binary` may have been started.
#[must_use]
pub fn capture_denied_help(binary: &Path, interface: &str) -> String {
    let binary = shell_word(&binary.to_string_lossy());
    format!(
        "no right to capture on {interface}: CAP_NET_RAW is missing. Grant it:\
         \n  started by hand:  sudo setcap cap_net_raw=ep {binary}\
         \n  systemd unit:     [Service]\
         \n                    AmbientCapabilities=CAP_NET_RAW\
         \n                    CapabilityBoundingSet=CAP_NET_RAW\
         \n  container:        docker run --cap-add=NET_RAW --network=host ..."
    )
}

/// Quoted, where a shell would not take it as one word.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;

    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    use rustix::thread::{SecureComputingMode, no_new_privs, secure_computing_mode};

    use super::{Landlock, Rights};
    use crate::capabilities;
    use crate::kernel_call;

    pub(super) fn now() -> Rights {
        let mode = secure_computing_mode();
        Rights {
            user_id: Some(rustix::process::geteuid().as_raw()),
            capabilities: capabilities::effective(),
            // Without a protocol it receives nothing.
            packet_socket: socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)
                .is_ok(),
            no_new_privileges: no_new_privs().unwrap_or(false),
            landlock: Landlock::of_kernel(),
            // The mode is known with CONFIG_SECCOMP, the actions with CONFIG_SECCOMP_FILTER; where /proc/sys is hidden,
            // the former is all that can be seen.
            seccomp_available: mode.is_ok()
                && fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail")
                    .map_or(true, |actions| actions.contains("errno")),
            seccomp_in_force: mode.is_ok_and(|mode| mode != SecureComputingMode::Disabled),
        }
    }

    impl Landlock {
        pub(crate) fn of_kernel() -> Self {
            match kernel_call::landlock_abi() {
                Ok(abi) => Self::Abi(abi),
                Err(Errno::OPNOTSUPP) => Self::NotEnabled,
                Err(Errno::NOSYS) => Self::NotBuilt,
                Err(_) => Self::Forbidden,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_has_every_remedy() {
        let help = capture_denied_help(Path::new("/opt/my bin/tapline"), "eth7");
        for part in [
            "capture on eth7: CAP_NET_RAW is missing",
            "sudo setcap cap_net_raw=ep '/opt/my bin/tapline'\n",
            "AmbientCapabilities=CAP_NET_RAW\n",
            "CapabilityBoundingSet=CAP_NET_RAW\n",
            "docker run --cap-add=NET_RAW --network=host",
        ] {
            assert!(help.contains(part), "{part} is not in {help}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_kernel_says_agrees_with_proc() {
        let rights = Rights::now();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let effective = u64::from_str_radix(field("CapEff:").unwrap(), 16).unwrap();
        assert_eq!(rights.capabilities, CapabilitySet::from_bits(effective));
        assert_eq!(rights.no_new_privileges, field("NoNewPrivs:") == Some("1"));
        assert_eq!(rights.seccomp_in_force, field("Seccomp:") != Some("0"));
        assert!(rights.capabilities.contains(CapabilitySet::NET_RAW) || !rights.can_capture());
        let line = rights.to_string();
        assert!(!line.contains('\n') && line.starts_with("user "), "{line}");
    }
}
