//! The state of a flow under schema `tapline-1`: constant size, integers only.

use tapline_record::{Activity, Direction, FlowHead, Opening, PacketRecord, Tracker, protocol, tcp_flag};

use crate::active_idle::ActiveIdle;
use crate::bulk::Bulk;
use crate::early::Early;
use crate::moments::{Extremes, Moments};
use crate::tcp_stream::{Handshake, TcpStream};

/// Gap that begins a new subflow; CICFlowMeter's.
const SUBFLOW_GAP_US: u32 = 1_000_000;

/// Makes and updates [`TaplineState`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaplineTracker;

/// Everything that the columns of `tapline-1` are computed from. Times are offsets from the first packet in
/// microseconds; the active timeout keeps them within 32 bits.
#[derive(Clone, Copy, Debug)]
pub struct TaplineState {
    /// Forward, backward.
    pub(crate) sides: [Side; 2],
    pub(crate) gap_square_sum: u64,
    pub(crate) gaps: Extremes,
    pub(crate) active_idle: ActiveIdle,
    pub(crate) handshake: Handshake,
    pub(crate) early: Early,
    /// Gaps of more than a second.
    pub(crate) subflow_gaps: u32,
    pub(crate) icmp_type: u8,
    pub(crate) icmp_code: u8,
}

const _: () =
    assert!(size_of::<TaplineState>() <= 496, "640 bytes a live flow, the entry and its index slot included");

/// One direction of a flow. Packed to multiples of four bytes: eight would cost each flow eight bytes of padding.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
pub(crate) struct Side {
    pub(crate) payload_bytes: u64,
    pub(crate) payload_square_sum: u64,
    pub(crate) ip_bytes: u64,
    pub(crate) gap_square_sum: u64,
    pub(crate) header_bytes: u64,
    pub(crate) bulk_bytes: u64,
    pub(crate) bulk: Bulk,
    pub(crate) packets: u32,
    pub(crate) payload: Extremes,
    pub(crate) gaps: Extremes,
    pub(crate) first_us: u32,
    pub(crate) last_us: u32,
    /// Packets with each TCP flag, FIN (bit 0) first.
    pub(crate) flags: [u32; 8],
    pub(crate) data_packets: u32,
    pub(crate) stream: TcpStream,
    /// TCP window of the first packet of this direction.
    pub(crate) window: u16,
    pub(crate) header_min_bytes: u8,
    tcp: TcpSeen,
}

/// What has been seen of TCP in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TcpSeen {
    /// No TCP packet first.
    No,
    /// A TCP packet, but no byte of sequence space.
    Packet,
    /// Sequence numbers: [`TcpStream`] is valid.
    Sequence,
}

impl Tracker for TaplineTracker {
    type State = TaplineState;

    #[inline]
    fn open(&self, opening: Opening<'_, TaplineState>) -> TaplineState {
        let packet = opening.packet;
        let mut state = TaplineState {
            sides: [Side::new(); 2],
            gap_square_sum: 0,
            gaps: Extremes::none(),
            active_idle: ActiveIdle::new(),
            handshake: Handshake::new(),
            early: Early::new(),
            subflow_gaps: 0,
            icmp_type: packet.icmp_type,
            icmp_code: packet.icmp_code,
        };
        // Retransmissions are told from the sequence numbers of the flow that this one goes on from.
        if let Some((_, before)) = opening.continues {
            for (side, old) in state.sides.iter_mut().zip(&before.sides) {
                side.stream = old.stream.continued();
                side.tcp = old.tcp;
            }
        }
        state.early.add(0, 0, packet, opening.direction);
        state.book(0, packet, opening.direction);
        state
    }

    #[inline]
    fn add(
        &self,
        head: &FlowHead,
        state: &mut TaplineState,
        packet: &PacketRecord,
        direction: Direction,
        _: Activity,
    ) {
        let previous_us = offset_us(head.last.micros_since(head.start));
        // A packet that comes late stands where the latest one stood: no gap, no negative duration.
        let at_us = offset_us(packet.ts.micros_since(head.start)).max(previous_us);
        let gap_us = at_us - previous_us;
        state.gap_square_sum += square(gap_us);
        state.gaps.add(gap_us);
        state.subflow_gaps += u32::from(gap_us > SUBFLOW_GAP_US);
        state.active_idle.add(previous_us, gap_us);
        state.early.add(head.packets, gap_us, packet, direction);
        state.book(at_us, packet, direction);
    }
}

impl TaplineState {
    #[inline]
    fn book(&mut self, at_us: u32, packet: &PacketRecord, direction: Direction) {
        if packet.payload_bytes > 0 {
            self.sides[direction.reversed().index()].bulk.interrupt();
        }
        if packet.protocol == protocol::TCP && !packet.later_fragment {
            self.handshake.add(at_us, packet.tcp_flags, direction);
        }
        self.sides[direction.index()].add(at_us, packet);
    }

    pub(crate) fn side(&self, direction: Direction) -> &Side {
        &self.sides[direction.index()]
    }

    /// Payload sizes of both directions.
    pub(crate) fn payloads(&self) -> Moments {
        self.sides[0].payloads().with(self.sides[1].payloads())
    }

    /// Gaps between consecutive packets of either direction; they add up to the duration.
    pub(crate) fn gaps(&self, head: &FlowHead) -> Moments {
        Moments {
            n: u64::from(head.packets) - 1,
            sum: u64::from(offset_us(head.duration_us())),
            square_sum: u128::from(self.gap_square_sum),
        }
    }

    /// Packets of both directions with the flag of bit `bit`.
    pub(crate) fn flag_packets(&self, bit: usize) -> u64 {
        u64::from(self.sides[0].flags[bit]) + u64::from(self.sides[1].flags[bit])
    }

    /// Subflows: pieces between gaps of more than a second.
    pub(crate) fn subflows(&self) -> f64 {
        f64::from(self.subflow_gaps) + 1.0
    }
}

impl Side {
    const fn new() -> Self {
        Self {
            payload_bytes: 0,
            payload_square_sum: 0,
            ip_bytes: 0,
            gap_square_sum: 0,
            header_bytes: 0,
            bulk_bytes: 0,
            bulk: Bulk::new(),
            packets: 0,
            payload: Extremes::none(),
            gaps: Extremes::none(),
            first_us: 0,
            last_us: 0,
            flags: [0; 8],
            data_packets: 0,
            stream: TcpStream::new(),
            window: 0,
            header_min_bytes: u8::MAX,
            tcp: TcpSeen::No,
        }
    }

    #[inline]
    fn add(&mut self, at_us: u32, packet: &PacketRecord) {
        if self.packets == 0 {
            self.first_us = at_us;
            self.window = packet.window;
            if packet.protocol == protocol::TCP {
                self.tcp = self.tcp.max(TcpSeen::Packet);
            }
        } else {
            let gap_us = at_us - self.last_us;
            self.gap_square_sum += square(gap_us);
            self.gaps.add(gap_us);
        }
        self.packets += 1;
        self.last_us = at_us;
        self.payload_bytes += u64::from(packet.payload_bytes);
        self.payload_square_sum += square(packet.payload_bytes);
        self.payload.add(packet.payload_bytes);
        self.ip_bytes += u64::from(packet.ip_bytes);
        self.header_bytes += u64::from(packet.l4_header_bytes);
        self.header_min_bytes =
            self.header_min_bytes.min(u8::try_from(packet.l4_header_bytes).unwrap_or(u8::MAX));
        if packet.payload_bytes > 0 {
            self.data_packets += 1;
            self.bulk_bytes += u64::from(self.bulk.add(at_us, packet.payload_bytes));
        }
        if packet.tcp_flags != 0 {
            for (bit, count) in self.flags.iter_mut().enumerate() {
                *count += u32::from(packet.tcp_flags >> bit & 1);
            }
            if self.stream.add(packet, self.tcp < TcpSeen::Sequence) {
                self.tcp = TcpSeen::Sequence;
            }
        }
    }

    pub(crate) fn payloads(&self) -> Moments {
        Moments {
            n: u64::from(self.packets),
            sum: self.payload_bytes,
            square_sum: u128::from(self.payload_square_sum),
        }
    }

    /// Gaps between consecutive packets of this direction; they add up to the time from its first to its last.
    pub(crate) fn gaps(&self) -> Moments {
        Moments {
            n: u64::from(self.packets.saturating_sub(1)),
            sum: u64::from(self.last_us - self.first_us),
            square_sum: u128::from(self.gap_square_sum),
        }
    }

    /// Packets with a flag of [`tcp_flag`].
    pub(crate) fn flag(&self, flag: u8) -> u64 {
        u64::from(self.flags[flag.trailing_zeros() as usize])
    }

    pub(crate) fn header_min_bytes(&self) -> u8 {
        if self.packets == 0 { 0 } else { self.header_min_bytes }
    }

    /// The first window, where there was a TCP packet to carry one.
    pub(crate) fn window(&self) -> Option<u16> {
        (self.packets > 0 && self.tcp > TcpSeen::No).then_some(self.window)
    }
}

const _: () = assert!(tcp_flag::FIN.trailing_zeros() == 0 && tcp_flag::CWR.trailing_zeros() == 7);

#[inline]
fn offset_us(micros: i64) -> u32 {
    u32::try_from(micros.max(0)).unwrap_or(u32::MAX)
}

#[inline]
fn square(value: u32) -> u64 {
    u64::from(value) * u64::from(value)
}
