//! What was captured and what was lost, in counters that only grow.
//!
//! The kernel counts in 32 bits, per socket, and forgets at each reading (`PACKET_STATISTICS`): the readings are added
//! up here, in 64 bits. They are taken at least once a second while a source is read from; the kernel's counter would
//! wrap after 2^32 packets without one, that is 4.8 minutes at the line rate of 10 Gbit/s. Its count of packets includes
//! those it dropped. (libpcap's own `pcap_stats` adds up the same readings in 32 bits, and reads sysfs each time.)
//!
//! The adapter's counters (sysfs) belong to the interface and have run since it was made; an interface that is made
//! anew, or a driver that is loaded anew, starts from 0.

use std::ops::AddAssign;

/// What a source counted since it was opened; of a supervisor, over all openings.
///
/// `seen = delivered + kernel_dropped + what waits in the ring`, exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureStatistics {
    /// Packets that passed the kernel's filter, dropped or not.
    pub seen: u64,
    /// Of these, packets for which the ring had no room.
    pub kernel_dropped: u64,
    /// How often the ring was full.
    pub ring_full: u64,
    /// Frames taken from the ring.
    pub delivered: u64,
    /// Of these, frames that did not pass the filter where the kernel cannot run it (see
    /// [`LiveSource::filters_in_kernel`](super::LiveSource::filters_in_kernel)).
    pub filtered: u64,
    /// How often the interface was opened again.
    pub reopened: u64,
    /// What the adapter counted meanwhile, whoever was listening.
    pub interface: InterfaceCounters,
}

impl CaptureStatistics {
    /// Packets that wait in the ring.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.seen.saturating_sub(self.kernel_dropped).saturating_sub(self.delivered)
    }
}

impl AddAssign for CaptureStatistics {
    fn add_assign(&mut self, other: Self) {
        self.seen += other.seen;
        self.kernel_dropped += other.kernel_dropped;
        self.ring_full += other.ring_full;
        self.delivered += other.delivered;
        self.filtered += other.filtered;
        self.reopened += other.reopened;
        self.interface += other.interface;
    }
}

/// The adapter's counters of received packets (`/sys/class/net/*/statistics`), and what they grew by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// `rx_packets`
    pub packets: u64,
    /// `rx_bytes`
    pub bytes: u64,
    /// `rx_errors`
    pub errors: u64,
    /// `rx_dropped`: no room, or nobody wanted them. Captured packets may be among them.
    pub dropped: u64,
    /// `rx_missed_errors`: lost by the adapter before anybody could capture them.
    pub missed: u64,
    /// `rx_fifo_errors`: the same, as other drivers count it.
    pub fifo_errors: u64,
}

impl InterfaceCounters {
    /// What grew since `earlier`. A counter that is smaller than it was has started from 0 in between.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let grown = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self {
            packets: grown(self.packets, earlier.packets),
            bytes: grown(self.bytes, earlier.bytes),
            errors: grown(self.errors, earlier.errors),
            dropped: grown(self.dropped, earlier.dropped),
            missed: grown(self.missed, earlier.missed),
            fifo_errors: grown(self.fifo_errors, earlier.fifo_errors),
        }
    }
}

impl AddAssign for InterfaceCounters {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.errors += other.errors;
        self.dropped += other.dropped;
        self.missed += other.missed;
        self.fifo_errors += other.fifo_errors;
    }
}

/// What the kernel counted since the last reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelReading {
    /// Packets, the dropped ones included.
    pub(crate) packets: u32,
    pub(crate) drops: u32,
    pub(crate) freezes: u32,
}

/// Adds up the kernel's readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelTotals {
    pub(crate) seen: u64,
    pub(crate) dropped: u64,
    pub(crate) freezes: u64,
}

impl KernelTotals {
    pub(crate) fn add(&mut self, reading: KernelReading) {
        self.seen += u64::from(reading.packets);
        self.dropped += u64::from(reading.drops);
        self.freezes += u64::from(reading.freezes);
    }

    /// Packets that went into the ring.
    pub(crate) fn stored(&self) -> u64 {
        self.seen.saturating_sub(self.dropped)
    }
}

/// Follows the adapter's counters across resets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InterfaceTotals {
    last: Option<InterfaceCounters>,
    total: InterfaceCounters,
}

impl InterfaceTotals {
    /// The first reading is where counting starts.
    pub(crate) fn add(&mut self, reading: InterfaceCounters) {
        if let Some(last) = &self.last {
            self.total += reading.since(last);
        }
        self.last = Some(reading);
    }

    pub(crate) fn total(&self) -> InterfaceCounters {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The kernel's side: counters of 32 bits that a reading sets to 0 (net/packet/af_packet.c, packet_getsockopt).
    #[derive(Default)]
    struct Kernel {
        stored: u32,
        drops: u32,
    }

    impl Kernel {
        fn read(&mut self) -> KernelReading {
            let reading = KernelReading {
                packets: self.stored.wrapping_add(self.drops),
                drops: self.drops,
                freezes: 0,
            };
            *self = Self::default();
            reading
        }
    }

    proptest! {
        #[test]
        fn readings_add_up_however_often_they_are_taken(
            steps in prop::collection::vec((0u32..1 << 31, 0u32..1 << 31, any::<bool>()), 0..200),
        ) {
            let (mut kernel, mut totals) = (Kernel::default(), KernelTotals::default());
            let (mut stored, mut dropped) = (0u64, 0u64);
            for (more_stored, more_dropped, read) in steps {
                // The promise: a reading at the latest when 2^32 packets have come.
                let held = u64::from(kernel.stored) + u64::from(kernel.drops);
                if held + u64::from(more_stored) + u64::from(more_dropped) > u64::from(u32::MAX) {
                    totals.add(kernel.read());
                }
                kernel.stored += more_stored;
                kernel.drops += more_dropped;
                stored += u64::from(more_stored);
                dropped += u64::from(more_dropped);
                if read {
                    totals.add(kernel.read());
                    prop_assert_eq!((totals.stored(), totals.dropped), (stored, dropped));
                }
            }
            totals.add(kernel.read());
            prop_assert_eq!((totals.stored(), totals.dropped, totals.seen), (stored, dropped, stored + dropped));
        }

        /// With a reading in each lifetime of the interface that does not end smaller than the one before, all is seen
        /// but what came between the last reading of a lifetime and its end.
        #[test]
        fn the_adapters_counters_survive_resets(
            first in 0u64..1000,
            steps in prop::collection::vec((0u64..1000, any::<bool>()), 0..200),
        ) {
            let mut totals = InterfaceTotals::default();
            let mut now = InterfaceCounters { packets: first, ..InterfaceCounters::default() };
            totals.add(now);
            let (mut truth, mut last) = (0, first);
            for (more, reset) in steps {
                if reset {
                    now.packets = 0;
                }
                now.packets += more;
                // A lifetime that has already outgrown the one before it looks like its continuation.
                truth += if reset && now.packets >= last { now.packets - last } else { more };
                last = now.packets;
                totals.add(now);
                prop_assert_eq!(totals.total().packets, truth);
            }
        }
    }

    #[test]
    fn what_waits_is_never_negative() {
        let statistics = CaptureStatistics { seen: 1, delivered: 3, ..CaptureStatistics::default() };
        assert_eq!(statistics.waiting(), 0);
    }
}
