//! The span file: frames with timestamps, as classic pcap.
//!
//! Owns the file, its buffer and the clock of the timestamps. In go frames and the wall clock; out comes a
//! little-endian pcap file with microseconds and Ethernet frames, cut to the snap length. Timestamps never go back. It
//! never reads the clock itself, and never hides a failed write: the file would have a hole.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use crate::config::MAX_SNAPLEN;

/// A pcap file that is being written.
#[derive(Debug)]
pub struct Span<W: Write = File> {
    out: BufWriter<W>,
    snaplen: usize,
    offset_us: u64,
    last_us: u64,
    unflushed: bool,
    counters: SpanCounters,
}

impl Span {
    /// Creates or replaces the file and writes its header. `snaplen` 0 keeps whole frames.
    ///
    /// # Errors
    ///
    /// The file cannot be created or written.
    pub fn create(path: &Path, snaplen: u32) -> io::Result<Self> {
        Self::new(File::create(path)?, snaplen)
    }
}

impl<W: Write> Span<W> {
    /// Writes the header of a pcap file to `out`.
    ///
    /// # Errors
    ///
    /// What `out` returns.
    pub fn new(out: W, snaplen: u32) -> io::Result<Self> {
        let snaplen = if snaplen == 0 { MAX_SNAPLEN } else { snaplen };
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        let words = [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, snaplen, LINKTYPE_ETHERNET];
        for word in words {
            out.write_all(&word.to_le_bytes())?;
        }
        out.flush()?;
        Ok(Self {
            out,
            snaplen: snaplen as usize,
            offset_us: 0,
            last_us: 0,
            unflushed: false,
            counters: SpanCounters::default(),
        })
    }

    /// Writes one frame, with an 802.1Q tag if `vlan` is not 0. `wall_us` is microseconds since 1970.
    ///
    /// # Errors
    ///
    /// What the file returns; it has a torn end then.
    pub fn record(&mut self, wall_us: u64, frame: &[u8], vlan: u16) -> io::Result<()> {
        self.last_us = self.last_us.max(wall_us.saturating_add(self.offset_us));
        // Tags go between the addresses and the type; the switch lets no shorter frame through.
        let (addresses, rest) = frame.split_at(frame.len().min(12));
        let [id_high, id_low] = vlan.to_be_bytes();
        let tag: &[u8] = if vlan == 0 { &[] } else { &[0x81, 0x00, id_high, id_low] };
        let original = frame.len() + tag.len();
        let kept = original.min(self.snaplen);

        let mut header = [0; 16];
        header[..4].copy_from_slice(&((self.last_us / 1_000_000) as u32).to_le_bytes());
        header[4..8].copy_from_slice(&((self.last_us % 1_000_000) as u32).to_le_bytes());
        header[8..12].copy_from_slice(&(kept as u32).to_le_bytes());
        header[12..].copy_from_slice(&(original as u32).to_le_bytes());
        self.out.write_all(&header)?;
        let mut left = kept;
        for part in [addresses, tag, rest] {
            let part = &part[..part.len().min(left)];
            self.out.write_all(part)?;
            left -= part.len();
        }
        self.unflushed = true;
        self.counters.frames += 1;
        self.counters.bytes += original as u64;
        Ok(())
    }

    /// Moves the clock of the timestamps ahead; false, and no change, if it would leave what pcap can hold.
    #[must_use]
    pub fn advance(&mut self, wall_us: u64, by_us: u64) -> bool {
        let Some(offset_us) = self.offset_us.checked_add(by_us) else { return false };
        // A year of reserve: the wall clock goes on.
        if wall_us.checked_add(offset_us).is_none_or(|us| us / 1_000_000 > u64::from(u32::MAX) - 31_536_000) {
            return false;
        }
        self.offset_us = offset_us;
        true
    }

    /// Hands all frames to the system.
    ///
    /// # Errors
    ///
    /// What the file returns.
    pub fn flush(&mut self) -> io::Result<()> {
        self.unflushed = false;
        self.out.flush()
    }

    /// Whether a frame was recorded since the last flush.
    #[must_use]
    pub const fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// How far the clock was moved ahead in total.
    #[must_use]
    pub const fn offset_us(&self) -> u64 {
        self.offset_us
    }

    /// What was recorded so far.
    #[must_use]
    pub const fn counters(&self) -> SpanCounters {
        self.counters
    }
}

/// What a span file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SpanCounters {
    /// Recorded frames.
    pub frames: u64,
    /// Their octets before they were cut, tags included.
    pub bytes: u64,
}

const BUFFER_BYTES: usize = 1 << 20;

const LINKTYPE_ETHERNET: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn frames_are_cut_tagged_and_never_go_back_in_time() {
        let mut bytes = Vec::new();
        let frame: Vec<u8> = (0..100).collect();
        let mut span = Span::new(&mut bytes, 40).unwrap();
        span.record(1_700_000_000_000_005, &frame, 0).unwrap();
        assert!(span.advance(1_700_000_000_000_005, 2_500_000));
        span.record(1_700_000_000_000_005, &frame[..30], 0x123).unwrap();
        span.record(1_600_000_000_000_000, &frame[..14], 0).unwrap();
        assert!(span.is_unflushed());
        span.flush().unwrap();
        assert!(!span.is_unflushed());
        assert_eq!(span.counters(), SpanCounters { frames: 3, bytes: 148 });
        drop(span);

        assert_eq!(&bytes[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!((word(&bytes, 16), word(&bytes, 20)), (40, 1));
        let (first, rest) = bytes[24..].split_at(16 + 40);
        assert_eq!([0, 4, 8, 12].map(|at| word(first, at)), [1_700_000_000, 5, 40, 100]);
        assert_eq!(first[16..], frame[..40]);
        let (second, third) = rest.split_at(16 + 34);
        assert_eq!([0, 4, 8, 12].map(|at| word(second, at)), [1_700_000_002, 500_005, 34, 34]);
        assert_eq!(second[16..28], frame[..12]);
        assert_eq!(second[28..32], [0x81, 0, 0x01, 0x23]);
        assert_eq!(second[32..], frame[12..30]);
        assert_eq!([0, 4, 8, 12].map(|at| word(third, at)), [1_700_000_002, 500_005, 14, 14]);
    }

    #[test]
    fn whole_frames_are_kept_if_asked() {
        let mut bytes = Vec::new();
        Span::new(&mut bytes, 0).unwrap().record(0, &[7; 9_000], 0).unwrap();
        assert_eq!(bytes.len(), 24 + 16 + 9_000);
    }

    #[test]
    fn the_clock_stays_within_what_pcap_holds() {
        let mut span = Span::new(Vec::new(), 0).unwrap();
        assert!(!span.advance(1_700_000_000_000_000, u64::MAX));
        assert!(!span.advance(1_700_000_000_000_000, 4_000_000_000_000_000));
        assert!(span.advance(1_700_000_000_000_000, 1_000_000_000_000_000));
        assert!(!span.advance(1_700_000_000_000_000, 2_000_000_000_000_000));
        assert_eq!(span.offset_us(), 1_000_000_000_000_000);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        if !Path::new("/dev/full").exists() {
            return;
        }
        assert_eq!(Span::create(Path::new("/dev/full"), 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
