//! Why an interface cannot be captured: what, where, and what to do about it.

use std::fmt;
use std::io;

use crate::error::{CaptureError, ErrorKind};

/// Why an interface cannot be captured (on).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// There is no interface of that name.
    #[error("no interface {interface:?}; list those there are: ip -brief link")]
    NoSuchInterface {
        /// The name asked for.
        interface: String,
    },
    /// The interface is down.
    #[error("interface {interface} is down; bring it up: ip link set dev {interface} up")]
    Down {
        /// The interface.
        interface: String,
    },
    /// The program may not capture.
    #[error("no right to capture on {interface}: CAP_NET_RAW is missing{}", RightsHint)]
    Rights {
        /// The interface.
        interface: String,
    },
    /// The adapter does not stamp packets.
    #[error(
        "interface {interface} does not stamp packets itself; take the host's clock, or see what the adapter can do: \
         ethtool -T {interface}"
    )]
    NoAdapterTimestamps {
        /// The interface.
        interface: String,
    },
    /// libpcap does not understand the filter, or it makes no sense for this interface.
    #[error(transparent)]
    Filter(Box<CaptureError>),
    /// libpcap cannot open the interface.
    #[error("cannot capture on {interface} with a ring of {buffer_bytes} bytes: {reason}")]
    Open {
        /// The interface.
        interface: String,
        /// The ring asked for.
        buffer_bytes: u32,
        /// What libpcap said.
        reason: String,
    },
    /// The kernel refuses the fanout group.
    #[error(
        "cannot join fanout group {group} on {interface}; if another program uses that number with other settings, \
         choose another one"
    )]
    Fanout {
        /// The interface.
        interface: String,
        /// The group.
        group: u16,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel refuses a setting that is needed.
    #[error("cannot set {option} on {interface}")]
    Option {
        /// The interface.
        interface: String,
        /// The setting's name.
        option: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Reading from the ring failed although the interface is there and up.
    #[error("cannot read on from {interface}: {reason}")]
    Read {
        /// The interface.
        interface: String,
        /// What libpcap or the kernel said.
        reason: String,
    },
}

impl LiveError {
    /// Whose fault it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchInterface { .. } => ErrorKind::NoInput,
            Self::Rights { .. } => ErrorKind::NoPermission,
            Self::Filter(_) | Self::NoAdapterTimestamps { .. } => ErrorKind::Usage,
            Self::Down { .. } | Self::Open { .. } | Self::Fanout { .. } | Self::Option { .. } => {
                ErrorKind::Unavailable
            }
            Self::Read { .. } => ErrorKind::Io,
        }
    }

    /// Whether it goes away by itself when the interface comes (back) up.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NoSuchInterface { .. } | Self::Down { .. })
    }
}

/// The lines that grant the right, for each way the program may have been started.
struct RightsHint;

impl fmt::Display for RightsHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = std::env::current_exe();
        let program =
            program.as_deref().map_or_else(|_| "/usr/bin/tapline".into(), |path| path.to_string_lossy());
        write!(
            f,
            "\n  started by hand:  sudo setcap cap_net_raw=ep {program}\
             \n  systemd unit:     AmbientCapabilities=CAP_NET_RAW\
             \n                    CapabilityBoundingSet=CAP_NET_RAW\
             \n  container:        --cap-add NET_RAW --network host"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_names_every_remedy() {
        let text = LiveError::Rights { interface: "eth0".to_owned() }.to_string();
        let program = std::env::current_exe().unwrap();
        for part in [
            "capture on eth0",
            &format!("setcap cap_net_raw=ep {}\n", program.display()),
            "AmbientCapabilities=CAP_NET_RAW\n",
            "CapabilityBoundingSet=CAP_NET_RAW\n",
            "--cap-add NET_RAW",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
