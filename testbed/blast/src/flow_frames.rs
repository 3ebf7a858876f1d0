//! Frames of as many flows as wanted, made where they are sent from.
//!
//! UDP over IPv4 over Ethernet. Flow n has an address pair and ports of its own, by its number alone, so that a receiver
//! counts exactly as many flows as numbers were drawn.

use std::io::IoSlice;

/// Which flow a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuples {
    /// Each flow in turn, then again from the first.
    Distinct,
    /// Few flows have most frames: the k-th is drawn with a probability of ln(1 + 1/k) / ln(1 + flows), that is about 1/k.
    Zipf,
}

/// A source of frames that never ends.
#[derive(Debug)]
pub struct FlowFrames {
    flows: u32,
    tuples: Tuples,
    /// The same frame, over and over; only addresses, ports and the header's checksum differ.
    batch: Vec<Vec<u8>>,
    next: u32,
    dice: u64,
}

impl FlowFrames {
    /// Frames of `bytes` each, of `flows` flows.
    ///
    /// # Errors
    ///
    /// If the numbers are out of bounds.
    pub fn new(flows: u32, tuples: Tuples, bytes: u16, seed: u64) -> Result<Self, FlowFramesError> {
        if !(1..=MOST_FLOWS).contains(&flows) {
            return Err(FlowFramesError::Flows { flows });
        }
        if !(LEAST_BYTES..=MOST_BYTES).contains(&bytes) {
            return Err(FlowFramesError::Bytes { bytes });
        }
        Ok(Self {
            flows,
            tuples,
            batch: vec![template(bytes); crate::packet_socket::BATCH],
            next: 0,
            dice: seed,
        })
    }

    /// The next frames, at most as many as one call sends.
    pub(crate) fn next_batch(&mut self, most: usize) -> Vec<IoSlice<'_>> {
        let count = most.min(self.batch.len());
        for at in 0..count {
            let flow = self.draw();
            address(&mut self.batch[at], flow);
        }
        self.batch[..count].iter().map(|frame| IoSlice::new(frame)).collect()
    }

    fn draw(&mut self) -> u32 {
        match self.tuples {
            Tuples::Distinct => {
                let flow = self.next;
                self.next = if flow + 1 == self.flows { 0 } else { flow + 1 };
                flow
            }
            Tuples::Zipf => {
                let uniform = (self.roll() >> 11) as f64 / (1u64 << 53) as f64;
                let rank = (f64::from(self.flows) + 1.0).powf(uniform) as u32;
                rank.clamp(1, self.flows) - 1
            }
        }
    }

    /// SplitMix64.
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Why there can be no such frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowFramesError {
    /// None, or more than there are tuples.
    #[error("{flows} flows: between 1 and {MOST_FLOWS} are possible")]
    Flows {
        /// As asked for.
        flows: u32,
    },
    /// Too short for its headers, or too long for a wire.
    #[error("frames of {bytes} bytes: between {LEAST_BYTES} and {MOST_BYTES} are possible")]
    Bytes {
        /// As asked for.
        bytes: u16,
    },
}

fn template(bytes: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    let ip_bytes = bytes - IP as u16;
    frame.extend([0x45, 0]);
    frame.extend(ip_bytes.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend([10, 0, 0, 0, 198, 18, 0, 0]);
    frame.extend([0; 4]);
    frame.extend((ip_bytes - 20).to_be_bytes());
    // No checksum of the datagram, as RFC 768 allows.
    frame.extend([0, 0]);
    frame.resize(usize::from(bytes), 0x2e);
    frame
}

/// Gives a frame the tuple of a flow: 16 bits of source address, 16 of source port; what is above in the destination.
fn address(frame: &mut [u8], flow: u32) {
    let [top, high, low, last] = flow.to_be_bytes();
    frame[SOURCE + 2..SOURCE + 4].copy_from_slice(&[low, last]);
    frame[DESTINATION + 2..DESTINATION + 4].copy_from_slice(&[0, top]);
    // Neither port is 0, and the source's comes from above the known services.
    frame[PORTS..PORTS + 4].copy_from_slice(&[0xc0, high, 0x27, 0x0f]);
    frame[CHECKSUM..CHECKSUM + 2].copy_from_slice(&[0, 0]);
    let sum: u32 =
        frame[IP..PORTS].chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    frame[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// Where things are in a frame.
const IP: usize = 14;
const CHECKSUM: usize = IP + 10;
const SOURCE: usize = IP + 12;
const DESTINATION: usize = IP + 16;
const PORTS: usize = IP + 20;

/// As many as tuples can be told apart.
pub const MOST_FLOWS: u32 = 1 << 31;
/// Ethernet's least, without the checksum.
pub const LEAST_BYTES: u16 = 60;
/// Ethernet's most, without the checksum, at an MTU of 9,000.
pub const MOST_BYTES: u16 = 9_014;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn tuple(frame: &[u8]) -> Vec<u8> {
        frame[SOURCE..PORTS + 4].to_vec()
    }

    #[test]
    fn distinct_flows_have_distinct_tuples_in_turn() {
        let mut frames = FlowFrames::new(100_000, Tuples::Distinct, 60, 1).unwrap();
        let mut all: Vec<Vec<u8>> = Vec::new();
        while all.len() < 200_000 {
            all.extend(frames.next_batch(200).iter().map(|frame| tuple(frame)));
        }
        let different: HashSet<_> = all[..100_000].iter().collect();
        assert_eq!(different.len(), 100_000);
        assert_eq!(all[..100_000], all[100_000..]);
    }

    #[test]
    fn few_of_zipfs_flows_have_most_frames() {
        let mut frames = FlowFrames::new(10_000, Tuples::Zipf, 60, 1).unwrap();
        let mut first = 0;
        let mut different = HashSet::new();
        for _ in 0..400 {
            for frame in frames.next_batch(250) {
                first += usize::from(frame[SOURCE + 2..SOURCE + 4] == [0, 0]);
                different.insert(tuple(&frame));
            }
        }
        // ln 2 / ln 10,001 of 100,000 are 7,526.
        assert!((7_000..8_000).contains(&first), "{first}");
        assert!((3_000..10_000).contains(&different.len()), "{}", different.len());
    }

    #[test]
    fn headers_add_up() {
        let mut frames = FlowFrames::new(70_000, Tuples::Zipf, 1514, 7).unwrap();
        for frame in frames.next_batch(256) {
            assert_eq!(frame.len(), 1514);
            let sum: u32 = frame[IP..PORTS]
                .chunks_exact(2)
                .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
                .sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        }
    }
}
