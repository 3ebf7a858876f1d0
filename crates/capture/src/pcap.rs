//! pcap: one header, then records (draft-ietf-opsawg-pcap).
//!
//! Read are microsecond and nanosecond files of either byte order, and Alexey Kuznetzov's modified format, whose record
//! header has eight more bytes.

use std::io::Read;

use tapline_record::{LinkType, Timestamp};

use crate::buffer::{Buffer, Stop};
use crate::capture_reader::Record;
use crate::error::Malformation;

/// What the file header says of the records.
#[derive(Debug)]
pub(crate) struct Pcap {
    big_endian: bool,
    nanos: bool,
    /// 16, or 24 in the modified format.
    record_header_bytes: usize,
    link: LinkType,
    /// Frame check sequence behind each packet; 0 if the header does not say.
    fcs_bytes: u32,
    /// The most captured bytes that are believed.
    limit_bytes: u32,
    /// Versions before 2.3 wrote the two lengths in the other order, and 2.3 was undecided.
    old_lengths: bool,
}

impl Pcap {
    /// Whether a file that begins with these bytes is a pcap.
    pub(crate) fn claims(first: [u8; 4]) -> bool {
        variant(first).is_some()
    }

    /// Reads the file header.
    pub(crate) fn open<R: Read>(buffer: &mut Buffer<R>) -> Result<Option<Self>, Stop> {
        buffer.need(FILE_HEADER_BYTES)?;
        let header = buffer.available();
        let Some((big_endian, nanos, record_header_bytes)) =
            variant([header[0], header[1], header[2], header[3]])
        else {
            return Ok(None);
        };
        let major = read_u16(header, 4, big_endian);
        let minor = read_u16(header, 6, big_endian);
        let snap_bytes = read_u32(header, 16, big_endian);
        let network = read_u32(header, 20, big_endian);
        // 543.0 is what AIX wrote, with the old order of lengths.
        if major != 2 && major != 543 {
            return Err(Malformation::PcapVersion { major, minor }.into());
        }
        let fcs_bytes = if network & FCS_PRESENT == 0 { 0 } else { (network >> 28) * 2 };
        let limit_bytes = match snap_bytes {
            0..=MOST_SNAP_BYTES => snap_bytes.max(LEAST_LIMIT_BYTES) + SLACK_BYTES,
            // Not a length but a way to say "all".
            _ => MOST_SNAP_BYTES + SLACK_BYTES,
        };
        buffer.consume(FILE_HEADER_BYTES);
        Ok(Some(Self {
            big_endian,
            nanos,
            record_header_bytes,
            link: LinkType(network as u16),
            fcs_bytes,
            limit_bytes,
            old_lengths: major == 543 || minor <= 3,
        }))
    }

    /// The next record; `None` at the end.
    #[inline]
    pub(crate) fn next<R: Read>(&mut self, buffer: &mut Buffer<R>) -> Result<Option<Record>, Stop> {
        if !buffer.need_or_end(self.record_header_bytes)? {
            return Ok(None);
        }
        let Some(header) = buffer.available().first_chunk::<16>() else { return Ok(None) };
        let second = read_u32(header, 0, self.big_endian);
        let fraction = read_u32(header, 4, self.big_endian);
        let mut captured_bytes = read_u32(header, 8, self.big_endian);
        let mut wire_bytes = read_u32(header, 12, self.big_endian);
        if captured_bytes > wire_bytes {
            if self.old_lengths {
                std::mem::swap(&mut captured_bytes, &mut wire_bytes);
            } else {
                // Some writers leave the second length empty. What was captured has been on the wire.
                wire_bytes = captured_bytes;
            }
        }
        if captured_bytes > self.limit_bytes {
            return Err(Malformation::RecordTooLong { captured_bytes, limit_bytes: self.limit_bytes }.into());
        }
        let record_bytes = self.record_header_bytes + captured_bytes as usize;
        buffer.need(record_bytes)?;
        let start = buffer.position() + self.record_header_bytes;
        buffer.consume(record_bytes);
        if self.fcs_bytes > 0 {
            wire_bytes = wire_bytes.saturating_sub(self.fcs_bytes);
            captured_bytes = captured_bytes.min(wire_bytes);
        }
        let micros = if self.nanos { fraction / 1000 } else { fraction };
        Ok(Some(Record {
            ts: Timestamp::from_micros(i64::from(second) * 1_000_000 + i64::from(micros)),
            link: self.link,
            wire_bytes,
            start,
            end: start + captured_bytes as usize,
        }))
    }
}

/// Byte order (big-endian?), unit (nanoseconds?) and record header of the four kinds of pcap.
fn variant(first: [u8; 4]) -> Option<(bool, bool, usize)> {
    [false, true].into_iter().find_map(|big_endian| match read_u32(&first, 0, big_endian) {
        0xa1b2_c3d4 => Some((big_endian, false, 16)),
        0xa1b2_3c4d => Some((big_endian, true, 16)),
        0xa1b2_cd34 => Some((big_endian, false, 24)),
        _ => None,
    })
}

#[inline]
pub(crate) fn read_u32(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

#[inline]
pub(crate) fn read_u16(bytes: &[u8], at: usize, big_endian: bool) -> u16 {
    let bytes = [bytes[at], bytes[at + 1]];
    if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
}

const FILE_HEADER_BYTES: usize = 24;

/// The P bit of the LinkType field: its upper four bits count the FCS in 16-bit words.
const FCS_PRESENT: u32 = 0x0400_0000;

/// libpcap's `MAXIMUM_SNAPLEN`: many writers go up to it whatever snap length their header names.
const LEAST_LIMIT_BYTES: u32 = 262_144;

/// USB captures have packets of many megabytes; nothing has larger ones.
const MOST_SNAP_BYTES: u32 = 64 << 20;

/// For pseudo-headers that writers add on top of the snap length.
const SLACK_BYTES: u32 = 4096;
