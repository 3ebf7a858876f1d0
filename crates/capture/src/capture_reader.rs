//! One capture stream to frames: pcap or pcapng by its first bytes, unpacked if need be.

use std::io::{self, Read};
use std::path::PathBuf;

use tapline_record::{Frame, LinkType, Timestamp};

use crate::buffer::{Buffer, Stop};
use crate::compression::{Decoder, StreamError};
use crate::error::{CaptureError, FirstBytes};
use crate::notice::Notice;
use crate::pcap::Pcap;
use crate::pcapng::Pcapng;

/// Reads the frames of one capture from any reader, in the order of the file.
#[derive(Debug)]
pub struct CaptureReader<R: Read> {
    name: PathBuf,
    buffer: Buffer<R>,
    format: Format,
    head: Record,
    notice: Option<Notice>,
}

/// A frame as indices into the buffer, so that it can be found again after the buffer was borrowed for writing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) ts: Timestamp,
    pub(crate) link: LinkType,
    pub(crate) wire_bytes: u32,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
    /// At its end, or refused.
    Ended,
}

impl<R: Read> CaptureReader<R> {
    /// Reads the file header. `name` stands for the source in errors and notices.
    ///
    /// # Errors
    ///
    /// If the source cannot be read, is empty, or is not a capture. A source that ends inside its header is a capture
    /// of no packets, with a [`Notice`].
    pub fn new(source: R, name: impl Into<PathBuf>) -> Result<Self, CaptureError> {
        Self::with_capacity(source, name.into(), DEFAULT_CAPACITY)
    }

    pub(crate) fn with_capacity(source: R, name: PathBuf, capacity: usize) -> Result<Self, CaptureError> {
        let decoder = match Decoder::open(source) {
            Ok(decoder) => decoder,
            Err(error) => return Err(stream_error(name, 0, 0, error)),
        };
        let head = Record { ts: Timestamp::default(), link: LinkType::NULL, wire_bytes: 0, start: 0, end: 0 };
        let mut reader =
            Self { name, buffer: Buffer::new(decoder, capacity), format: Format::Ended, head, notice: None };
        reader.open()?;
        Ok(reader)
    }

    /// The next frame, borrowed until the next call; `None` at the end, and after an error.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend from itself")]
    pub fn next(&mut self) -> Option<Result<Frame<'_>, CaptureError>> {
        match self.advance() {
            Ok(true) => Some(Ok(self.frame())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// What was cut short, known once [`next`](Self::next) has returned `None`.
    #[must_use]
    pub fn notice(&self) -> Option<&Notice> {
        self.notice.as_ref()
    }

    /// Bytes taken from the source so far, before decompression.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.buffer.source().compressed_bytes()
    }

    /// Moves on to the next frame, if there is one.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<bool, CaptureError> {
        let next = match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.buffer),
            Format::Pcapng(pcapng) => pcapng.next(&mut self.buffer),
            Format::Ended => return Ok(false),
        };
        match next {
            Ok(Some(record)) => {
                self.head = record;
                Ok(true)
            }
            Ok(None) => {
                self.end(None);
                Ok(false)
            }
            Err(stop) => self.stop(stop).map(|()| false),
        }
    }

    /// The frame that [`advance`](Self::advance) moved to.
    #[inline]
    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame {
            ts: self.head.ts,
            link: self.head.link,
            wire_bytes: self.head.wire_bytes,
            bytes: self.buffer.slice(self.head.start, self.head.end),
        }
    }

    /// The time of that frame.
    #[inline]
    pub(crate) fn head_time(&self) -> Timestamp {
        self.head.ts
    }

    pub(crate) fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }

    fn open(&mut self) -> Result<(), CaptureError> {
        match self.read_header() {
            Ok(format) => {
                self.format = format;
                Ok(())
            }
            Err(Stop::Truncated { .. })
                if self.buffer.end_offset() == 0 && !self.buffer.source().is_cut() =>
            {
                Err(CaptureError::Empty { path: self.name.clone() })
            }
            Err(Stop::Truncated { .. }) if self.buffer.end_offset() < 4 && !self.buffer.source().is_cut() => {
                Err(self.not_a_capture())
            }
            Err(stop) => self.stop(stop),
        }?;
        match self.format {
            Format::Ended if self.notice.is_none() => Err(self.not_a_capture()),
            _ => Ok(()),
        }
    }

    /// [`Format::Ended`] if the first bytes are those of no capture.
    fn read_header(&mut self) -> Result<Format, Stop> {
        self.buffer.need(4)?;
        let Some(&first) = self.buffer.available().first_chunk::<4>() else { return Ok(Format::Ended) };
        if Pcapng::claims(first) {
            Ok(Format::Pcapng(Pcapng::new()))
        } else if Pcap::claims(first) {
            Ok(Pcap::open(&mut self.buffer)?.map_or(Format::Ended, Format::Pcap))
        } else {
            Ok(Format::Ended)
        }
    }

    fn not_a_capture(&self) -> CaptureError {
        CaptureError::NotACapture { path: self.name.clone(), first: FirstBytes::of(self.buffer.available()) }
    }

    /// Ends the stream, with a notice if it was cut short.
    #[cold]
    fn end(&mut self, cut: Option<Notice>) {
        self.format = Format::Ended;
        self.notice = match self.buffer.source().compression() {
            // A cut in the packed stream explains any cut in the capture.
            Some(compression) if self.buffer.source().is_cut() => Some(Notice::TruncatedStream {
                path: self.name.clone(),
                compression,
                offset: self.buffer.end_offset(),
                compressed_offset: self.buffer.source().compressed_bytes(),
            }),
            _ => cut,
        };
    }

    /// Ends the stream: a record cut by the end is a notice, the rest an error.
    #[cold]
    fn stop(&mut self, stop: Stop) -> Result<(), CaptureError> {
        let path = self.name.clone();
        // Blocks that are stepped over leave the buffer before they are known to be whole; records do not.
        let offset = match &self.format {
            Format::Pcapng(pcapng) => pcapng.block_offset(),
            Format::Pcap(_) | Format::Ended => self.buffer.offset(),
        };
        let result = match stop {
            Stop::Truncated { missing_bytes } => {
                self.end(Some(Notice::TruncatedRecord { path, offset, missing_bytes }));
                return Ok(());
            }
            Stop::Malformed(problem) => Err(CaptureError::Malformed { path, offset, problem }),
            Stop::Stream(error) => {
                let compressed = self.buffer.source().compressed_bytes();
                Err(stream_error(path, self.buffer.end_offset(), compressed, error))
            }
        };
        self.format = Format::Ended;
        result
    }
}

fn stream_error(path: PathBuf, offset: u64, compressed_offset: u64, error: StreamError) -> CaptureError {
    match error {
        // A directory that is opened as a file says so only when read.
        StreamError::Io(source) if source.kind() == io::ErrorKind::IsADirectory => {
            CaptureError::Open { path, source }
        }
        StreamError::Io(source) => CaptureError::Read { path, offset, source },
        StreamError::Corrupt(compression, source) => {
            CaptureError::Decompress { path, compression, compressed_offset, offset, source }
        }
    }
}

/// Fuzz body: `data` as the records of a pcap of the kind that its first byte chooses.
pub fn fuzz_pcap(data: &[u8]) {
    let (kind, records) = data.split_first().map_or((0, data), |(first, rest)| (*first, rest));
    let magic: u32 = [0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34][usize::from(kind) % 3];
    let mut file = Vec::with_capacity(records.len() + 24);
    if kind & 0x80 == 0 {
        file.extend(magic.to_le_bytes());
        file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, kind & 0xf4]);
    } else {
        file.extend(magic.to_be_bytes());
        file.extend([0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, kind & 0xf4, 0, 0, 1]);
    }
    file.extend_from_slice(records);
    read_to_end(&file);
}

/// Fuzz body: `data` as a whole file, and as the blocks after a section header.
pub fn fuzz_pcapng(data: &[u8]) {
    read_to_end(data);
    let mut file = vec![0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0];
    file.extend([0xff; 8]);
    file.extend([28, 0, 0, 0]);
    file.extend_from_slice(data);
    read_to_end(&file);
}

fn read_to_end(file: &[u8]) {
    let Ok(mut reader) = CaptureReader::with_capacity(file, PathBuf::from("fuzz"), 0) else { return };
    let mut bytes = 0;
    while let Some(Ok(frame)) = reader.next() {
        assert!(frame.wire_bytes as usize >= frame.bytes.len(), "a frame is larger than it was on the wire");
        bytes += frame.bytes.len();
    }
    assert!(reader.next().is_none(), "a reader went on after its end");
    assert!(reader.bytes_read() < file.len() as u64 + 1, "more was read than there is");
    std::hint::black_box(bytes);
}

/// Large enough that the system call disappears, small enough for the cache.
pub(crate) const DEFAULT_CAPACITY: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Malformation;
    use crate::sample::{self, MICROS, MODIFIED, NANOS, Packet, Writer};

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Seen {
        micros: i64,
        link: u16,
        wire_bytes: u32,
        bytes: Vec<u8>,
    }

    fn seen(micros: i64, wire_bytes: u32, bytes: &[u8]) -> Seen {
        Seen { micros, link: 1, wire_bytes, bytes: bytes.to_vec() }
    }

    /// All frames, then how it ended.
    fn read(file: &[u8]) -> (Vec<Seen>, Result<Option<Notice>, CaptureError>) {
        let mut reader = match CaptureReader::with_capacity(file, PathBuf::from("x"), 0) {
            Ok(reader) => reader,
            Err(error) => return (Vec::new(), Err(error)),
        };
        let mut all = Vec::new();
        while let Some(frame) = reader.next() {
            match frame {
                Ok(frame) => all.push(Seen {
                    micros: frame.ts.micros,
                    link: frame.link.0,
                    wire_bytes: frame.wire_bytes,
                    bytes: frame.bytes.to_vec(),
                }),
                Err(error) => {
                    assert!(reader.next().is_none());
                    return (all, Err(error));
                }
            }
        }
        (all, Ok(reader.notice().cloned()))
    }

    #[track_caller]
    fn read_whole(file: &[u8]) -> Vec<Seen> {
        let (all, end) = read(file);
        assert_eq!(end.unwrap(), None);
        all
    }

    #[track_caller]
    fn malformed(file: &[u8]) -> (usize, u64, Malformation) {
        match read(file) {
            (all, Err(CaptureError::Malformed { offset, problem, .. })) => (all.len(), offset, problem),
            other => panic!("not refused: {other:?}"),
        }
    }

    fn some_packets() -> Vec<Packet> {
        vec![
            Packet { nanos: 1_700_000_000_123_456_789, wire_bytes: 60, bytes: (0..60).collect() },
            Packet { nanos: 1_700_000_000_000_000_999, wire_bytes: 1500, bytes: vec![2; 96] },
            Packet { nanos: 4_294_967_295_999_999_999, wire_bytes: 0, bytes: vec![] },
            Packet::new(5, 4, 9001),
        ]
    }

    fn expected(packets: &[Packet]) -> Vec<Seen> {
        packets.iter().map(|p| seen((p.nanos / 1000) as i64, p.wire_bytes, &p.bytes)).collect()
    }

    #[test]
    fn pcap_of_every_kind() {
        let packets = some_packets();
        for magic in [MICROS, NANOS, MODIFIED] {
            for big_endian in [false, true] {
                let file = sample::pcap(magic, big_endian, 1, &packets);
                assert_eq!(read_whole(&file), expected(&packets), "{magic:x} {big_endian}");
            }
        }
    }

    #[test]
    fn pcap_header_only() {
        assert_eq!(read_whole(&sample::plain_pcap(&[])), []);
    }

    #[test]
    fn pcap_link_type_is_the_low_half() {
        let file = sample::pcap(MICROS, false, 0x0000_0114, &[Packet::new(0, 1, 4)]);
        assert_eq!(read_whole(&file)[0].link, 276);
    }

    #[test]
    fn pcap_fcs_is_cut_off() {
        let packets = [
            Packet::new(0, 1, 64),
            // The snap length has cut the FCS and two bytes more, half of the FCS, all of the packet but two bytes.
            Packet { nanos: 0, wire_bytes: 70, bytes: vec![2; 64] },
            Packet { nanos: 0, wire_bytes: 66, bytes: vec![3; 64] },
            Packet::new(0, 4, 2),
        ];
        let file = sample::pcap(MICROS, true, 0x2400_0001, &packets);
        let lengths: Vec<_> = read_whole(&file).iter().map(|s| (s.wire_bytes, s.bytes.len())).collect();
        assert_eq!(lengths, [(60, 60), (66, 64), (62, 62), (0, 0)]);
        // Without the P bit the length means nothing.
        let file = sample::pcap(MICROS, false, 0x2000_0001, &packets);
        assert_eq!(read_whole(&file)[0].wire_bytes, 64);
    }

    #[test]
    fn pcap_lengths_of_old_versions_and_careless_writers() {
        let packet = Packet { nanos: 0, wire_bytes: 3, bytes: vec![1; 5] };
        let mut file = sample::plain_pcap(std::slice::from_ref(&packet));
        assert_eq!(read_whole(&file), [seen(0, 5, &[1; 5])]);
        file[6] = 2;
        file.truncate(24 + 16 + 3);
        assert_eq!(read_whole(&file), [seen(0, 5, &[1; 3])]);
    }

    #[test]
    fn pcap_refuses_garbage_with_its_offset() {
        let mut file = sample::plain_pcap(&[Packet::new(1, 1, 10), Packet::new(2, 2, 10)]);
        file[50 + 8..50 + 12].copy_from_slice(&300_000u32.to_le_bytes());
        file[50 + 12..50 + 16].copy_from_slice(&300_000u32.to_le_bytes());
        let problem = Malformation::RecordTooLong { captured_bytes: 300_000, limit_bytes: 262_144 + 4096 };
        assert_eq!(malformed(&file), (1, 50, problem));
        let mut file = sample::plain_pcap(&[]);
        file[4] = 3;
        assert_eq!(malformed(&file), (0, 0, Malformation::PcapVersion { major: 3, minor: 4 }));
    }

    #[test]
    fn pcap_with_a_wild_snap_length_is_still_bounded() {
        let mut file = sample::plain_pcap(&[Packet::new(1, 1, 10)]);
        file[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read_whole(&file).len(), 1);
        file.extend([0xff; 16]);
        assert_eq!(malformed(&file).1, 50);
    }

    #[test]
    fn large_packets_grow_the_buffer() {
        let packets = [Packet::new(1, 1, 200_000), Packet::new(2, 2, 1), Packet::new(3, 3, 262_144)];
        assert_eq!(read_whole(&sample::plain_pcap(&packets)), expected(&packets));
        assert_eq!(read_whole(&sample::pcapng(false, &packets)), expected(&packets));
    }

    #[test]
    fn pcapng_is_the_same_as_pcap() {
        let packets = some_packets();
        for big_endian in [false, true] {
            assert_eq!(read_whole(&sample::pcapng(big_endian, &packets)), expected(&packets));
        }
    }

    #[test]
    fn pcapng_sections_change_byte_order_and_forget_interfaces() {
        let mut file = Writer::new(false);
        file.section().interface(1, 0, &[]).interface(113, 0, &[]);
        file.enhanced(1, 1, 4, &[1; 4]);
        file.big_endian = true;
        file.section().interface(101, 0, &[]).enhanced(0, 2, 4, &[2; 4]);
        let bytes = file.bytes.clone();
        let all = read_whole(&bytes);
        assert_eq!(all.iter().map(|s| (s.link, s.micros)).collect::<Vec<_>>(), [(113, 1), (101, 2)]);
        file.enhanced(1, 3, 4, &[3; 4]);
        let problem = Malformation::UnknownInterface { id: 1, known: 1 };
        assert_eq!(malformed(&file.bytes), (2, bytes.len() as u64, problem));
    }

    #[test]
    fn pcapng_clocks() {
        #[track_caller]
        fn check(options: &[(u16, &[u8])], ticks: u64, micros: i64) {
            let mut file = Writer::new(false);
            file.section().interface(1, 0, options).enhanced(0, ticks, 0, &[]);
            assert_eq!(read_whole(&file.bytes)[0].micros, micros);
        }
        check(&[], 1_700_000_000_123_456, 1_700_000_000_123_456);
        check(&[(9, &[6])], 7, 7);
        check(&[(9, &[0])], 1_700_000_000, 1_700_000_000_000_000);
        check(&[(9, &[3])], 1_700_000_000_123, 1_700_000_000_123_000);
        check(&[(9, &[9])], 1_700_000_000_123_456_789, 1_700_000_000_123_456);
        check(&[(9, &[12])], 1_999_999, 1);
        check(&[(9, &[127])], u64::MAX, 0);
        check(&[(9, &[0x80])], 3, 3_000_000);
        check(&[(9, &[0x80 | 20])], (5 << 20) + (1 << 19), 5_500_000);
        check(&[(9, &[0xff])], u64::MAX, 0);
        check(&[(9, &[0])], u64::MAX, i64::MAX);
        check(&[], u64::MAX, i64::MAX);
        check(&[(14, &(-2i64).to_le_bytes())], 500, -1_999_500);
        check(&[(14, &i64::MIN.to_le_bytes())], 0, i64::MIN);
        check(&[(2, b"eth0"), (9, &[3]), (14, &100i64.to_le_bytes())], 1, 100_001_000);
        // Options after the end of options are none.
        check(&[(0, &[]), (9, &[0])], 1, 1);
    }

    #[test]
    fn pcapng_options_keep_to_their_block() {
        let refused = |body: &[u8]| {
            let mut file = Writer::new(false);
            let block = [&[1, 0, 0, 0, 0, 0, 0, 0], body].concat();
            file.section().block(1, &block);
            malformed(&file.bytes).2
        };
        assert_eq!(refused(&[9, 0, 200, 0]), Malformation::OptionLength { code: 9, length: 200, room: 0 });
        assert_eq!(
            refused(&[9, 0, 2, 0, 6, 6, 0, 0]),
            Malformation::OptionLength { code: 9, length: 2, room: 4 }
        );
        assert_eq!(
            refused(&[14, 0, 4, 0, 6, 6, 0, 0]),
            Malformation::OptionLength { code: 14, length: 4, room: 4 }
        );
    }

    #[test]
    fn pcapng_simple_and_obsolete_packets() {
        let mut file = Writer::new(true);
        file.section().interface(1, 6, &[]);
        let mut simple = file.body();
        simple.u32(4).raw(&[1; 4]);
        file.block(3, &simple.bytes);
        let mut obsolete = file.body();
        obsolete.u16(0).u16(99).u32(0).u32(77).u32(5).u32(9).raw(&[2; 5]);
        file.block(2, &obsolete.bytes);
        let mut cut = file.body();
        cut.u32(1500).raw(&[3; 6]);
        file.block(3, &cut.bytes);
        assert_eq!(
            read_whole(&file.bytes),
            [seen(0, 4, &[1; 4]), seen(77, 9, &[2; 5]), seen(77, 1500, &[3; 6])]
        );
        let mut short = file.body();
        short.u32(6).raw(&[3; 4]);
        file.block(3, &short.bytes);
        assert_eq!(
            malformed(&file.bytes).2,
            Malformation::CapturedTooLong { captured_bytes: 6, room_bytes: 4 }
        );
    }

    #[test]
    fn pcapng_steps_over_what_it_does_not_know() {
        let mut file = Writer::new(false);
        file.section().block(0x0bad, &[9; 40]).interface(1, 0, &[]).block(5, &[]);
        file.block(0x8000_0001, &vec![7; 3_000_000]).enhanced(0, 1, 4, &[1; 4]).block(4, &[0; 8]);
        let mut reader = CaptureReader::with_capacity(&file.bytes[..], PathBuf::from("x"), 0).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().bytes, [1; 4]);
        assert!(reader.next().is_none());
        assert_eq!(reader.bytes_read(), file.bytes.len() as u64);
        assert_eq!(reader.notice(), None);
    }

    #[test]
    fn pcapng_refuses_what_does_not_add_up() {
        let mut file = Writer::new(false);
        file.section().interface(1, 0, &[]).enhanced(0, 1, 4, &[1; 4]);
        let good = file.bytes.clone();
        let at = good.len() as u64;
        let with = |tail: &[u32]| {
            let mut file = Writer { big_endian: false, bytes: good.clone() };
            for word in tail {
                file.u32(*word);
            }
            malformed(&file.bytes)
        };
        let length = |block_type, length, least| Malformation::BlockLength { block_type, length, least };
        assert_eq!(with(&[6, 12, 12]), (1, at, length(6, 12, 32)));
        assert_eq!(with(&[9, 0, 0]), (1, at, length(9, 0, 12)));
        assert_eq!(with(&[9, 14, 0, 0]), (1, at, length(9, 14, 12)));
        assert_eq!(with(&[9, 16, 0, 12]), (1, at, Malformation::BlockTrailer { leading: 16, trailing: 12 }));
        assert_eq!(with(&[9, 16, 0, 16, 9, 0, 0]), (1, at + 16, length(9, 0, 12)));
        assert_eq!(
            with(&[6, 1 << 30, 0]),
            (1, at, Malformation::BlockTooLong { block_type: 6, length: 1 << 30, limit: 64 << 20 })
        );
        assert_eq!(
            with(&[6, 36, 0, 0, 0, 5, 5, 0, 36]),
            (1, at, Malformation::CapturedTooLong { captured_bytes: 5, room_bytes: 4 })
        );
        assert_eq!(
            with(&[6, 32, 0, 0, 0, 0, 0, 36]),
            (1, at, Malformation::BlockTrailer { leading: 32, trailing: 36 })
        );
        assert_eq!(with(&[0x0a0d_0d0a, 28, 1, 1]).2, Malformation::ByteOrder { got: 0x0100_0000 });
        assert_eq!(
            with(&[0x0a0d_0d0a, 28, 0x1a2b_3c4d, 9, 0, 0, 28]).2,
            Malformation::PcapngVersion { major: 9, minor: 0 }
        );
    }

    #[test]
    fn a_notice_names_the_cut_block() {
        let mut file = Writer::new(false);
        file.section().interface(1, 0, &[]).enhanced(0, 1, 4, &[1; 4]).block(9, &[0; 100]);
        let offset = file.bytes.len() as u64;
        file.block(9, &[0; 100]);
        let (all, end) = read(&file.bytes[..file.bytes.len() - 9]);
        assert_eq!(all.len(), 1);
        let path = PathBuf::from("x");
        assert_eq!(end.unwrap(), Some(Notice::TruncatedRecord { path, offset, missing_bytes: 9 }));
    }

    #[test]
    fn what_is_no_capture() {
        assert!(matches!(read(&[]).1, Err(CaptureError::Empty { .. })));
        let error = read(b"hello world").1.unwrap_err();
        let expect = "x is not a capture file: it begins with 68 65 6c 6c; accepted are pcap and pcapng, plain or packed \
                      with gzip, zstd or lz4";
        assert_eq!(error.to_string(), expect);
        assert!(read(b"hi").1.unwrap_err().to_string().contains("it begins with 68 69;"));
    }

    #[test]
    fn a_reader_that_fails() {
        struct Broken(usize, Vec<u8>);
        impl Read for Broken {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let from = &self.1[self.0..];
                // A byte at a time, a signal now and then, and finally a failure.
                match from.first() {
                    Some(_) if self.1.len() % 7 == self.0 => {
                        self.1.push(0);
                        Err(io::ErrorKind::Interrupted.into())
                    }
                    Some(byte) if self.0 < 60 => {
                        into[0] = *byte;
                        self.0 += 1;
                        Ok(1)
                    }
                    _ => Err(io::Error::other("the disk is on fire")),
                }
            }
        }
        let file = sample::plain_pcap(&[Packet::new(1, 1, 10), Packet::new(2, 2, 10)]);
        let mut reader = CaptureReader::new(Broken(0, file), "x").unwrap();
        assert_eq!(reader.next().unwrap().unwrap().bytes, [1; 10]);
        let error = reader.next().unwrap().unwrap_err();
        assert!(matches!(error, CaptureError::Read { offset: 60, .. }), "{error:?}");
        assert!(reader.next().is_none());
    }

    fn packets() -> impl Strategy<Value = Vec<Packet>> {
        let packet = (0u64..4_000_000_000_000_000_000, prop::collection::vec(any::<u8>(), 0..90), 0u32..200)
            .prop_map(|(nanos, bytes, more)| Packet { nanos, wire_bytes: bytes.len() as u32 + more, bytes });
        prop::collection::vec(packet, 0..12)
    }

    /// The law of prefixes: whole packets, and at most a notice.
    fn check_prefixes(file: &[u8], all: &[Seen]) {
        let mut known = 0;
        for cut in 4..=file.len() {
            let (part, end) = read(&file[..cut]);
            assert!(part.len() >= known && part[..] == all[..part.len()], "cut at {cut}");
            known = part.len();
            assert!(end.is_ok(), "cut at {cut}: {end:?}");
        }
        assert_eq!(known, all.len());
    }

    proptest! {
        #[test]
        fn every_prefix_gives_whole_packets(packets in packets(), big_endian: bool) {
            let all = expected(&packets);
            check_prefixes(&sample::pcap(NANOS, big_endian, 1, &packets), &all);
            check_prefixes(&sample::pcapng(big_endian, &packets), &all);
        }

        #[test]
        fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..400)) {
            fuzz_pcap(&data);
            fuzz_pcapng(&data);
        }

        #[test]
        fn damage_never_panics(
            packets in packets(),
            big_endian: bool,
            at: prop::sample::Index,
            with: u32,
        ) {
            for mut file in [sample::pcap(MICROS, big_endian, 1, &packets), sample::pcapng(big_endian, &packets)] {
                let at = at.index(file.len() - 4);
                file[at..at + 4].copy_from_slice(&with.to_le_bytes());
                read_to_end(&file);
                file[at] = 0;
                read_to_end(&file);
            }
        }
    }
}
