//! What is captured where, and how.

use std::time::Duration;

/// How one interface is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveConfig {
    /// The interface's name, such as `eth0`. (libpcap's `any` is not one: name them all, each has its own counters.)
    pub interface: String,
    /// The ring between kernel and program, of each handle; 64 MiB by default. libpcap rounds up to blocks of 256 KiB.
    pub buffer_bytes: u32,
    /// The most bytes of a frame that are kept; 262,144, libpcap's own limit, by default.
    pub snap_bytes: u32,
    /// Whether frames for other hosts are captured too; true by default.
    pub promiscuous: bool,
    /// Whether frames that this host sends through the interface are captured too; true by default.
    pub outgoing: bool,
    /// Who stamps the packets.
    pub timestamp: TimestampSource,
    /// How long a frame may wait in the ring for others to share a wake-up with; 50 ms by default, at least 1 ms. Up to
    /// twice that can pass between a lone frame and its delivery.
    pub block_timeout: Duration,
    /// A filter in tcpdump's language, run by the kernel. What does not pass is nowhere counted: the kernel does not
    /// count it either.
    pub filter: Option<String>,
    /// The group of handles that share the interface's packets.
    pub fanout: Option<FanoutConfig>,
}

impl LiveConfig {
    /// The defaults for an interface.
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            buffer_bytes: 64 << 20,
            snap_bytes: 262_144,
            promiscuous: true,
            outgoing: true,
            timestamp: TimestampSource::Host,
            block_timeout: Duration::from_millis(50),
            filter: None,
            fanout: None,
        }
    }
}

/// Who stamps the packets. Times are microseconds whatever the source, as [`Frame`](tapline_record::Frame) has them:
/// finer ones would be cut, therefore none are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampSource {
    /// The kernel, when the packet reaches it.
    #[default]
    Host,
    /// The network adapter, its clock kept with that of the host.
    Adapter,
    /// The network adapter, by a clock of its own.
    AdapterUnsynced,
}

/// Handles that share the packets of an interface (`PACKET_FANOUT`, packet(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FanoutConfig {
    /// The number of the group. Handles of other programs with the same number in the same network namespace join the
    /// same group: take one that is your own.
    pub group: u16,
    /// How many handles; at least 1.
    pub size: u16,
    /// Which handle gets a packet.
    pub mode: FanoutMode,
}

/// Which handle of a group gets a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FanoutMode {
    /// By the pair of IP addresses, whatever the direction: a program of ours that the kernel runs. All packets of two
    /// hosts come to the same handle in order, fragments among them, and frames stay as they were. It looks behind two
    /// VLAN tags and PPPoE; what is not IP (ARP, MPLS) comes to the first handle, and a tunnel counts as its ends.
    #[default]
    HostPair,
    /// By the kernel's own symmetric hash of addresses and ports. Fragments come to another handle than the rest of
    /// their flow.
    Hash,
    /// The same, but the kernel puts IPv4 fragments together first: the frames are then not those of the wire.
    HashDefragmented,
}
