//! Bulk transfers of one direction: four or more data packets in a row, gaps of at most a second, not interrupted by
//! data of the other side. After CICFlowMeter's `BasicFlow.updateFlowBulk`, its reference comparison corrected.

/// Gap that ends a bulk.
const GAP_MAX_US: u32 = 1_000_000;
/// Data packets that make a bulk.
const PACKETS_MIN: u32 = 4;

/// Finished bulks and the candidate that is growing, times as offsets from the start of the flow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bulk {
    /// Bulks.
    pub bulks: u32,
    /// Packets in bulks.
    pub packets: u32,
    /// Time spent in bulks; bulks of one direction do not overlap, so this stays below the flow's duration.
    pub duration_us: u32,
    start_us: u32,
    last_us: u32,
    /// Data packets of the candidate, counted to [`PACKETS_MIN`] only, and their bytes, of interest as long as there
    /// are fewer than [`PACKETS_MIN`]: three packets of at most 256 KiB. Together in one word, for the flow's size.
    candidate: Candidate,
}

#[derive(Clone, Copy, Debug, Default)]
struct Candidate(u32);

impl Candidate {
    const fn new(packets: u32, bytes: u32) -> Self {
        Self(bytes << 3 | packets)
    }

    const fn packets(self) -> u32 {
        self.0 & 0b111
    }

    const fn bytes(self) -> u32 {
        self.0 >> 3
    }
}

impl Bulk {
    /// No bulks yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bulks: 0,
            packets: 0,
            duration_us: 0,
            start_us: 0,
            last_us: 0,
            candidate: Candidate::new(0, 0),
        }
    }

    /// Takes in a data packet of this direction; returns the bytes that this adds to the bulks. (Their sum is kept by
    /// the caller: a 64-bit field would cost this struct, one per direction of each flow, another eight bytes.)
    #[inline]
    #[must_use]
    pub fn add(&mut self, at_us: u32, payload_bytes: u32) -> u32 {
        let packets = self.candidate.packets();
        if packets == 0 || at_us.saturating_sub(self.last_us) > GAP_MAX_US {
            self.start_us = at_us;
            self.last_us = at_us;
            self.candidate = Candidate::new(1, payload_bytes);
            return 0;
        }
        let bytes = self.candidate.bytes() + payload_bytes;
        let mut added = 0;
        if packets + 1 < PACKETS_MIN {
            self.candidate = Candidate::new(packets + 1, bytes);
        } else if packets + 1 == PACKETS_MIN {
            self.candidate = Candidate::new(PACKETS_MIN, 0);
            self.bulks += 1;
            self.packets += PACKETS_MIN;
            added = bytes;
            self.duration_us += at_us.saturating_sub(self.start_us);
        } else {
            self.packets += 1;
            added = payload_bytes;
            self.duration_us += at_us.saturating_sub(self.last_us);
        }
        self.last_us = self.last_us.max(at_us);
        added
    }

    /// A data packet of the other direction breaks the candidate.
    #[inline]
    pub fn interrupt(&mut self) {
        self.candidate = Candidate::new(0, 0);
    }

    /// Bytes per bulk; 0 without bulks.
    #[must_use]
    pub fn bytes_mean(&self, bytes: u64) -> f64 {
        if self.bulks == 0 { 0.0 } else { bytes as f64 / f64::from(self.bulks) }
    }

    /// Packets per bulk; 0 without bulks.
    #[must_use]
    pub fn packets_mean(&self) -> f64 {
        if self.bulks == 0 { 0.0 } else { f64::from(self.packets) / f64::from(self.bulks) }
    }

    /// Bytes per second while in bulk; 0 without bulks or where they took no time.
    #[must_use]
    pub fn bytes_per_s(&self, bytes: u64) -> f64 {
        if self.duration_us == 0 { 0.0 } else { bytes as f64 / (f64::from(self.duration_us) / 1e6) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_packets_make_a_bulk_and_later_ones_extend_it() {
        let mut bulk = Bulk::new();
        for i in 0..3 {
            assert_eq!(bulk.add(i * 10, 100), 0);
        }
        assert_eq!(bulk.bulks, 0);
        assert_eq!(bulk.add(30, 100), 400);
        assert_eq!((bulk.bulks, bulk.packets, bulk.duration_us), (1, 4, 30));
        assert_eq!(bulk.add(50, 7), 7);
        assert_eq!((bulk.bulks, bulk.packets, bulk.duration_us), (1, 5, 50));
        assert!((bulk.bytes_mean(407) - 407.0).abs() < f64::EPSILON);
    }

    #[test]
    fn gaps_and_answers_break_a_candidate() {
        let mut bulk = Bulk::new();
        for i in 0..6 {
            assert_eq!(bulk.add(i * 1_000_001, 1), 0);
        }
        for i in 0..6 {
            assert_eq!(bulk.add(10_000_000 + i, 1), 0);
            if i % 3 == 2 {
                bulk.interrupt();
            }
        }
        assert_eq!(bulk.bulks, 0);
    }
}
