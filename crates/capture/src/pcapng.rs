//! pcapng: sections of blocks (draft-ietf-opsawg-pcapng).
//!
//! Read are section headers, interface descriptions, and the three kinds of packet block: enhanced, simple, and the
//! obsolete one. All other blocks are stepped over, however long, without holding them in memory. Frame check sequences
//! (`if_fcslen`) stay where they are: the drafts disagree on the unit, and decoders go by the IP length.

use std::io::Read;

use tapline_record::{LinkType, Timestamp};

use crate::buffer::{Buffer, Stop};
use crate::capture_reader::Record;
use crate::error::Malformation;
use crate::pcap::{read_u16, read_u32};

/// The current section.
#[derive(Debug)]
pub(crate) struct Pcapng {
    big_endian: bool,
    interfaces: Vec<Interface>,
    /// Time of the latest packet of the section that has one: simple packets have none of their own.
    latest: Timestamp,
    block_offset: u64,
}

#[derive(Debug)]
struct Interface {
    link: LinkType,
    /// 0 means no limit.
    snap_bytes: u32,
    clock: Clock,
    /// `if_tsoffset`, microseconds.
    offset_micros: i64,
}

/// `if_tsresol`: what one tick of an interface is.
#[derive(Clone, Copy, Debug)]
enum Clock {
    /// 10^-6 s.
    Micros,
    /// A tick is so many microseconds.
    Coarse(u64),
    /// So many ticks are a microsecond.
    Fine(u64),
    /// 2^-n s.
    Binary(u32),
}

impl Pcapng {
    /// Whether a file that begins with these bytes is a pcapng.
    pub(crate) fn claims(first: [u8; 4]) -> bool {
        first == SECTION.to_be_bytes()
    }

    /// Before the first section header.
    pub(crate) fn new() -> Self {
        Self { big_endian: false, interfaces: Vec::new(), latest: Timestamp::default(), block_offset: 0 }
    }

    /// Where the latest block starts.
    pub(crate) fn block_offset(&self) -> u64 {
        self.block_offset
    }

    /// The next packet; `None` at the end.
    #[inline]
    pub(crate) fn next<R: Read>(&mut self, buffer: &mut Buffer<R>) -> Result<Option<Record>, Stop> {
        loop {
            self.block_offset = buffer.offset();
            if !buffer.need_or_end(LEAST_BLOCK_BYTES as usize)? {
                return Ok(None);
            }
            let Some(head) = buffer.available().first_chunk::<8>() else { return Ok(None) };
            let block_type = read_u32(head, 0, self.big_endian);
            let length = read_u32(head, 4, self.big_endian);
            match block_type {
                ENHANCED_PACKET => {
                    hold(buffer, block_type, length, 32)?;
                    return self.enhanced(buffer, length).map(Some);
                }
                SECTION => self.section(buffer)?,
                INTERFACE => {
                    hold(buffer, block_type, length, 20)?;
                    self.interface(buffer, length)?;
                }
                SIMPLE_PACKET => {
                    hold(buffer, block_type, length, 16)?;
                    return self.simple(buffer, length).map(Some);
                }
                OBSOLETE_PACKET => {
                    hold(buffer, block_type, length, 32)?;
                    return self.obsolete(buffer, length).map(Some);
                }
                _ => {
                    check_length(block_type, length, LEAST_BLOCK_BYTES)?;
                    self.step_over(buffer, length)?;
                }
            }
        }
    }

    /// Section Header Block: sets the byte order, forgets the interfaces. Its length field can be read only once its
    /// byte-order magic has been.
    fn section<R: Read>(&mut self, buffer: &mut Buffer<R>) -> Result<(), Stop> {
        buffer.need(16)?;
        let head = buffer.available();
        self.big_endian = match read_u32(head, 8, true) {
            BYTE_ORDER_MAGIC => true,
            got if got.swap_bytes() == BYTE_ORDER_MAGIC => false,
            got => return Err(Malformation::ByteOrder { got }.into()),
        };
        let length = read_u32(head, 4, self.big_endian);
        let major = read_u16(head, 12, self.big_endian);
        let minor = read_u16(head, 14, self.big_endian);
        check_length(SECTION, length, 28)?;
        if major != 1 {
            return Err(Malformation::PcapngVersion { major, minor }.into());
        }
        self.interfaces.clear();
        self.latest = Timestamp::default();
        self.step_over(buffer, length)
    }

    /// Interface Description Block.
    fn interface<R: Read>(&mut self, buffer: &mut Buffer<R>, length: u32) -> Result<(), Stop> {
        self.check_trailer(buffer, length)?;
        if self.interfaces.len() >= MOST_INTERFACES {
            return Err(Malformation::TooManyInterfaces { limit: MOST_INTERFACES }.into());
        }
        let block = &buffer.available()[..length as usize];
        let mut interface = Interface {
            link: LinkType(read_u16(block, 8, self.big_endian)),
            snap_bytes: read_u32(block, 12, self.big_endian),
            clock: Clock::Micros,
            offset_micros: 0,
        };
        let mut options = &block[16..block.len() - 4];
        while options.len() >= 4 {
            let code = read_u16(options, 0, self.big_endian);
            let option_bytes = read_u16(options, 2, self.big_endian);
            let room = options.len() - 4;
            let bad_length = Malformation::OptionLength { code, length: option_bytes, room };
            let Some(value) = options[4..].get(..usize::from(option_bytes)) else {
                return Err(bad_length.into());
            };
            match code {
                OPTION_END => break,
                OPTION_TSRESOL => match value {
                    [resolution] => interface.clock = Clock::of(*resolution),
                    _ => return Err(bad_length.into()),
                },
                OPTION_TSOFFSET => {
                    let Ok(value) = <[u8; 8]>::try_from(value) else { return Err(bad_length.into()) };
                    let seconds =
                        if self.big_endian { i64::from_be_bytes(value) } else { i64::from_le_bytes(value) };
                    interface.offset_micros = seconds.saturating_mul(1_000_000);
                }
                _ => {}
            }
            options = &options[(4 + usize::from(option_bytes).next_multiple_of(4)).min(options.len())..];
        }
        self.interfaces.push(interface);
        buffer.consume(length as usize);
        Ok(())
    }

    /// Enhanced Packet Block.
    #[inline]
    fn enhanced<R: Read>(&mut self, buffer: &mut Buffer<R>, length: u32) -> Result<Record, Stop> {
        let block = buffer.available();
        let id = read_u32(block, 8, self.big_endian);
        let ticks = u64::from(read_u32(block, 12, self.big_endian)) << 32
            | u64::from(read_u32(block, 16, self.big_endian));
        let captured_bytes = read_u32(block, 20, self.big_endian);
        let wire_bytes = read_u32(block, 24, self.big_endian);
        self.packet(buffer, length, id, ticks, captured_bytes, wire_bytes)
    }

    /// Packet Block, which wrote a drop counter into half of the interface identifier.
    fn obsolete<R: Read>(&mut self, buffer: &mut Buffer<R>, length: u32) -> Result<Record, Stop> {
        let block = buffer.available();
        let id = u32::from(read_u16(block, 8, self.big_endian));
        let ticks = u64::from(read_u32(block, 12, self.big_endian)) << 32
            | u64::from(read_u32(block, 16, self.big_endian));
        let captured_bytes = read_u32(block, 20, self.big_endian);
        let wire_bytes = read_u32(block, 24, self.big_endian);
        self.packet(buffer, length, id, ticks, captured_bytes, wire_bytes)
    }

    #[inline]
    fn packet<R: Read>(
        &mut self,
        buffer: &mut Buffer<R>,
        length: u32,
        id: u32,
        ticks: u64,
        captured_bytes: u32,
        wire_bytes: u32,
    ) -> Result<Record, Stop> {
        self.check_trailer(buffer, length)?;
        let Some(interface) = self.interfaces.get(id as usize) else {
            return Err(Malformation::UnknownInterface { id, known: self.interfaces.len() }.into());
        };
        let room_bytes = length - 32;
        if captured_bytes > room_bytes {
            return Err(Malformation::CapturedTooLong { captured_bytes, room_bytes }.into());
        }
        let ts = interface.time(ticks);
        let start = buffer.position() + 28;
        let record = Record {
            ts,
            link: interface.link,
            // As in pcap: what was captured has been on the wire.
            wire_bytes: wire_bytes.max(captured_bytes),
            start,
            end: start + captured_bytes as usize,
        };
        self.latest = ts;
        buffer.consume(length as usize);
        Ok(record)
    }

    /// Simple Packet Block: of the first interface, without a time; the captured length follows from the others.
    fn simple<R: Read>(&mut self, buffer: &mut Buffer<R>, length: u32) -> Result<Record, Stop> {
        self.check_trailer(buffer, length)?;
        let wire_bytes = read_u32(buffer.available(), 8, self.big_endian);
        let Some(interface) = self.interfaces.first() else {
            return Err(Malformation::UnknownInterface { id: 0, known: 0 }.into());
        };
        let snap_bytes = if interface.snap_bytes == 0 { u32::MAX } else { interface.snap_bytes };
        let captured_bytes = wire_bytes.min(snap_bytes);
        let room_bytes = length - 16;
        if captured_bytes > room_bytes {
            return Err(Malformation::CapturedTooLong { captured_bytes, room_bytes }.into());
        }
        let start = buffer.position() + 12;
        buffer.consume(length as usize);
        Ok(Record {
            ts: self.latest,
            link: interface.link,
            wire_bytes,
            start,
            end: start + captured_bytes as usize,
        })
    }

    /// Compares the length at the end of a block that is held in memory with the one at its start.
    #[inline]
    fn check_trailer<R: Read>(&self, buffer: &Buffer<R>, leading: u32) -> Result<(), Stop> {
        let trailing = read_u32(buffer.available(), leading as usize - 4, self.big_endian);
        if trailing == leading {
            Ok(())
        } else {
            Err(Malformation::BlockTrailer { leading, trailing }.into())
        }
    }

    fn step_over<R: Read>(&self, buffer: &mut Buffer<R>, leading: u32) -> Result<(), Stop> {
        buffer.skip(u64::from(leading) - 4).map_err(|stop| match stop {
            Stop::Truncated { missing_bytes } => Stop::Truncated { missing_bytes: missing_bytes + 4 },
            other => other,
        })?;
        buffer.need(4)?;
        let trailing = read_u32(buffer.available(), 0, self.big_endian);
        if trailing != leading {
            return Err(Malformation::BlockTrailer { leading, trailing }.into());
        }
        buffer.consume(4);
        Ok(())
    }
}

impl Interface {
    /// The instant of a tick count, truncated to microseconds and clamped to what a [`Timestamp`] can hold.
    #[inline]
    fn time(&self, ticks: u64) -> Timestamp {
        let micros = match self.clock {
            Clock::Micros => ticks,
            Clock::Coarse(factor) => ticks.saturating_mul(factor),
            Clock::Fine(divisor) => ticks / divisor,
            Clock::Binary(bits) => u64::try_from((u128::from(ticks) * 1_000_000) >> bits).unwrap_or(u64::MAX),
        };
        Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX)).plus_micros(self.offset_micros)
    }
}

impl Clock {
    /// `if_tsresol`: the top bit chooses the base, the others are the negative exponent.
    fn of(resolution: u8) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        match exponent {
            _ if resolution & 0x80 != 0 => Self::Binary(exponent),
            6 => Self::Micros,
            0..6 => Self::Coarse(10u64.pow(6 - exponent)),
            // Beyond 10^-25 s no 64-bit tick count reaches a microsecond, nor does any at 2^-127 s.
            _ => 10u64.checked_pow(exponent - 6).map_or(Self::Binary(127), Self::Fine),
        }
    }
}

/// Brings a whole block into memory.
#[inline]
fn hold<R: Read>(buffer: &mut Buffer<R>, block_type: u32, length: u32, least: u32) -> Result<(), Stop> {
    check_length(block_type, length, least)?;
    if length > MOST_HELD_BYTES {
        return Err(Malformation::BlockTooLong { block_type, length, limit: MOST_HELD_BYTES }.into());
    }
    buffer.need(length as usize)
}

#[inline]
fn check_length(block_type: u32, length: u32, least: u32) -> Result<(), Stop> {
    if length < least || !length.is_multiple_of(4) {
        return Err(Malformation::BlockLength { block_type, length, least }.into());
    }
    Ok(())
}

/// Reads the same in both byte orders.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

const OPTION_END: u16 = 0;
const OPTION_TSRESOL: u16 = 9;
const OPTION_TSOFFSET: u16 = 14;

/// Type and two lengths.
const LEAST_BLOCK_BYTES: u32 = 12;

/// As in pcap: nothing has larger packets.
const MOST_HELD_BYTES: u32 = 64 << 20;

/// No host has so many; a file that describes more is not one.
const MOST_INTERFACES: usize = 1 << 16;
