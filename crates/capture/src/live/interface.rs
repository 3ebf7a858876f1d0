//! The interface itself: whether it is there and up, what its adapter does to packets, and what it counts.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket, socket_with};

use crate::live::config::{LiveConfig, TimestampSource};
use crate::live::error::LiveError;
use crate::live::socket_option::{
    ETHTOOL_GFLAGS, ETHTOOL_GGRO, ETHTOOL_GGSO, ETHTOOL_GTSO, ethtool_value, interface_flags, timestamping,
};
use crate::live::statistics::InterfaceCounters;

/// What spoils the measurements of an interface, and what to do about it; never an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiveNotice {
    /// Packets are merged before they are captured, or captured before they are split.
    Offloads {
        /// The interface.
        interface: String,
        /// What is on.
        on: Vec<Offload>,
    },
}

impl fmt::Display for LiveNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Offloads { interface, on } = self;
        write!(
            f,
            "{interface} hands over several packets as one, so that counts and lengths are not those of the wire; turn \
             it off: ethtool -K {interface}"
        )?;
        on.iter().try_for_each(|offload| write!(f, " {} off", offload.name()))
    }
}

/// What makes one frame of several packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// Generic receive offload: the kernel merges what it receives.
    Gro,
    /// Large receive offload: the adapter does.
    Lro,
    /// TCP segmentation offload: the adapter splits what is sent.
    Tso,
    /// Generic segmentation offload: the kernel splits what is sent, last of all.
    Gso,
}

impl Offload {
    /// ethtool's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gro => "gro",
            Self::Lro => "lro",
            Self::Tso => "tso",
            Self::Gso => "gso",
        }
    }

    fn is_on(self, interface: &Interface) -> bool {
        let (command, bits) = match self {
            Self::Gro => (ETHTOOL_GGRO, u32::MAX),
            Self::Lro => (ETHTOOL_GFLAGS, ETH_FLAG_LRO),
            Self::Tso => (ETHTOOL_GTSO, u32::MAX),
            Self::Gso => (ETHTOOL_GGSO, u32::MAX),
        };
        // An interface that does not know the question does not do it.
        ethtool_value(interface.socket.as_fd(), &interface.name, command).is_ok_and(|value| value & bits != 0)
    }
}

/// Checks whether an interface can be captured as configured, without capturing.
///
/// # Errors
///
/// If it is not there, is down, may not be captured, or cannot stamp packets as wanted.
pub fn check_interface(config: &LiveConfig) -> Result<Vec<LiveNotice>, LiveError> {
    let interface = Interface::find(&config.interface)?;
    interface.check(config)?;
    Ok(interface.notices(config))
}

/// One interface, as it was when it was found: another one of its name is not it.
#[derive(Debug)]
pub(crate) struct Interface {
    name: String,
    index: u32,
    /// Any socket will do to ask about interfaces.
    socket: OwnedFd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    Down,
    /// There is none of that name, or it is another one.
    Gone,
}

impl Interface {
    pub(crate) fn find(name: &str) -> Result<Self, LiveError> {
        let absent = || LiveError::NoSuchInterface { interface: name.to_owned() };
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.bytes().any(|b| b == b'/' || b == 0) {
            return Err(absent());
        }
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .map_err(|error| LiveError::Option {
                interface: name.to_owned(),
                option: "a socket to ask about it",
                source: error.into(),
            })?;
        let index = name_to_index(&socket, name).map_err(|_| absent())?;
        Ok(Self { name: name.to_owned(), index, socket })
    }

    /// All that must hold before it is opened.
    pub(crate) fn check(&self, config: &LiveConfig) -> Result<(), LiveError> {
        let interface = || self.name.clone();
        if let Err(error) = socket(AddressFamily::PACKET, SocketType::RAW, None)
            && matches!(io::Error::from(error).kind(), io::ErrorKind::PermissionDenied)
        {
            return Err(LiveError::Rights { interface: interface() });
        }
        match self.state() {
            State::Up => {}
            State::Down => return Err(LiveError::Down { interface: interface() }),
            State::Gone => return Err(LiveError::NoSuchInterface { interface: interface() }),
        }
        // libpcap would quietly take the host's clock instead.
        if config.timestamp != TimestampSource::Host
            && !timestamping(self.socket.as_fd(), &self.name)
                .is_ok_and(|can| can & SOF_TIMESTAMPING_RX_HARDWARE != 0)
        {
            return Err(LiveError::NoAdapterTimestamps { interface: interface() });
        }
        Ok(())
    }

    pub(crate) fn notices(&self, config: &LiveConfig) -> Vec<LiveNotice> {
        // What this host sends is captured before it is split.
        let outgoing: &[_] = if config.outgoing { &[Offload::Tso, Offload::Gso] } else { &[] };
        let candidates = [&[Offload::Gro, Offload::Lro], outgoing].concat();
        let on: Vec<_> = candidates.into_iter().filter(|offload| offload.is_on(self)).collect();
        if on.is_empty() {
            return Vec::new();
        }
        vec![LiveNotice::Offloads { interface: self.name.clone(), on }]
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn state(&self) -> State {
        match name_to_index(&self.socket, &self.name) {
            Ok(index) if index == self.index => match interface_flags(self.socket.as_fd(), &self.name) {
                Ok(flags) if i32::from(flags) & libc::IFF_UP != 0 => State::Up,
                Ok(_) => State::Down,
                Err(_) => State::Gone,
            },
            _ => State::Gone,
        }
    }

    pub(crate) fn is_loopback(&self) -> bool {
        interface_flags(self.socket.as_fd(), &self.name)
            .is_ok_and(|flags| i32::from(flags) & libc::IFF_LOOPBACK != 0)
    }

    /// The adapter's counters; `None` where sysfs is not to be had, or the interface is not there any more.
    pub(crate) fn counters(&self) -> Option<InterfaceCounters> {
        let read = |counter: &str| -> Option<u64> {
            let path = format!("/sys/class/net/{}/statistics/{counter}", self.name);
            fs::read_to_string(path).ok()?.trim_end().parse().ok()
        };
        Some(InterfaceCounters {
            packets: read("rx_packets")?,
            bytes: read("rx_bytes")?,
            errors: read("rx_errors")?,
            dropped: read("rx_dropped")?,
            missed: read("rx_missed_errors")?,
            fifo_errors: read("rx_fifo_errors")?,
        })
    }
}

/// linux/ethtool.h
const ETH_FLAG_LRO: u32 = 1 << 15;
/// linux/net_tstamp.h
const SOF_TIMESTAMPING_RX_HARDWARE: u32 = 1 << 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_interface_can_have() {
        for name in ["", "no-such-interface", "a-name-much-too-long-for-an-interface", "../lo", "l\0o"] {
            let error = check_interface(&LiveConfig::new(name)).unwrap_err();
            assert!(matches!(error, LiveError::NoSuchInterface { .. }), "{name:?}: {error}");
            assert!(error.is_absence() && error.to_string().contains("ip -brief link"));
        }
    }

    #[test]
    fn a_notice_is_the_line_to_type() {
        let notice =
            LiveNotice::Offloads { interface: "eth0".to_owned(), on: vec![Offload::Gro, Offload::Lro] };
        assert!(notice.to_string().ends_with("turn it off: ethtool -K eth0 gro off lro off"));
    }
}
