//! The frames of a classic pcap file, in memory.
//!
//! Only what a test needs: Ethernet, microseconds or nanoseconds, either byte order, no compression. Frames that were cut
//! when they were captured are filled with zeros up to their length on the wire, because there they have it.

use std::fs;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

/// Frames and when they came.
#[derive(Debug, Default)]
pub struct CaptureFrames {
    bytes: Vec<u8>,
    /// Where each frame ends in `bytes`.
    ends: Vec<usize>,
    /// Nanoseconds since the first frame; never falling.
    times_ns: Vec<u64>,
    /// Frames that no wire takes: cut to nothing, or longer than [`MOST_FRAME_BYTES`].
    left_out: u64,
}

impl CaptureFrames {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is larger than [`MOST_FILE_BYTES`], or is no classic pcap of Ethernet frames.
    pub fn read(path: &Path) -> Result<Self, CaptureError> {
        let in_file = |source| CaptureError::Read { path: path.to_owned(), source };
        let size = fs::metadata(path).map_err(in_file)?.len();
        if size > MOST_FILE_BYTES {
            return Err(CaptureError::TooLarge { path: path.to_owned(), size_bytes: size });
        }
        let file = fs::read(path).map_err(in_file)?;
        Self::parse(&file).map_err(|why| CaptureError::Format { path: path.to_owned(), why })
    }

    /// Takes the frames of a file's bytes. A record that is cut short ends them.
    ///
    /// # Errors
    ///
    /// What is wrong with its head.
    pub fn parse(file: &[u8]) -> Result<Self, &'static str> {
        let (head, mut rest) = file.split_first_chunk::<24>().ok_or("it is shorter than a file header")?;
        let word = |bytes: &[u8], big: bool| {
            let word: [u8; 4] = bytes.try_into().unwrap_or_default();
            if big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
        };
        let (big, ns_per_fraction) = match head[..4] {
            [0xd4, 0xc3, 0xb2, 0xa1] => (false, 1000),
            [0x4d, 0x3c, 0xb2, 0xa1] => (false, 1),
            [0xa1, 0xb2, 0xc3, 0xd4] => (true, 1000),
            [0xa1, 0xb2, 0x3c, 0x4d] => (true, 1),
            _ => return Err("it is not a classic pcap file (compressed? pcapng?)"),
        };
        // The upper bits tell the length of the frame check sequence.
        if word(&head[20..24], big) & 0xffff != ETHERNET {
            return Err("its frames are not Ethernet's");
        }
        let mut frames = Self::default();
        let mut first_ns = None;
        while let Some((record, after)) = rest.split_first_chunk::<16>() {
            let field = |at: usize| word(&record[at..at + 4], big);
            let (kept, on_wire) = (field(8) as usize, field(12) as usize);
            let Some((data, next)) = after.split_at_checked(kept) else { break };
            rest = next;
            let on_wire = on_wire.max(kept);
            if kept < ETHERNET_HEADER_BYTES || on_wire > MOST_FRAME_BYTES {
                frames.left_out += 1;
                continue;
            }
            let ns = u64::from(field(0)) * 1_000_000_000 + u64::from(field(4)) * ns_per_fraction;
            let passed = ns.saturating_sub(*first_ns.get_or_insert(ns));
            frames.bytes.extend_from_slice(data);
            frames.bytes.resize(frames.bytes.len() + on_wire - kept, 0);
            frames.ends.push(frames.bytes.len());
            frames.times_ns.push(passed.max(frames.times_ns.last().copied().unwrap_or(0)));
        }
        Ok(frames)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Records that were left out because no wire takes such frames.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Nanoseconds from the first frame to the n-th.
    #[must_use]
    pub fn time_ns(&self, n: usize) -> u64 {
        self.times_ns.get(n).copied().unwrap_or(0)
    }

    /// All of them, ready to be sent.
    pub(crate) fn slices(&self) -> Vec<IoSlice<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| IoSlice::new(&self.bytes[start..*end])).collect()
    }
}

/// Why a capture cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not fit into memory.
    #[error("{} has {size_bytes} bytes; at most {MOST_FILE_BYTES} are kept in memory", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size_bytes: u64,
    },
    /// It is something else.
    #[error("cannot send {}: {why}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The largest file that is read: 2 GiB.
pub const MOST_FILE_BYTES: u64 = 2 << 30;
/// The largest frame that a veth interface with the largest MTU takes.
pub const MOST_FRAME_BYTES: usize = 65_535 + ETHERNET_HEADER_BYTES + 4;
const ETHERNET_HEADER_BYTES: usize = 14;
const ETHERNET: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seconds: u32, micros: u32, on_wire: u32, data: &[u8]) -> Vec<u8> {
        let head = [seconds, micros, data.len() as u32, on_wire];
        head.iter().flat_map(|word| word.to_le_bytes()).chain(data.iter().copied()).collect()
    }

    fn head(link: u32) -> Vec<u8> {
        [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, link].iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn frames_have_their_length_on_the_wire_and_their_times() {
        let mut file = head(1);
        file.extend(record(10, 999_999, 20, &[7; 16]));
        file.extend(record(11, 1, 14, &[8; 14]));
        file.extend(record(11, 0, 60, &[9; 4]));
        file.extend(record(11, 0, 15, &[9; 15]));
        file.extend(&record(12, 0, 60, &[9; 60])[..30]);
        let frames = CaptureFrames::parse(&file).unwrap();
        assert_eq!((frames.len(), frames.left_out()), (3, 1));
        let slices = frames.slices();
        assert_eq!(slices[0][..], [[7; 16].as_slice(), &[0; 4]].concat());
        assert_eq!(slices[1][..], [8; 14]);
        assert_eq!([0, 1, 2].map(|n| frames.time_ns(n)), [0, 2000, 2000]);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(CaptureFrames::parse(&head(1)[..20]).is_err());
        assert!(CaptureFrames::parse(&head(113)).is_err());
        assert!(CaptureFrames::parse(&[0x28; 40]).is_err());
    }
}
