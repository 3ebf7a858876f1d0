//! Packed streams to plain bytes: gzip, zstd and lz4, told apart by their magic.
//!
//! In: any reader. Out: decompressed bytes in the caller's buffer, and whether the packed stream was cut short. Members
//! and frames may follow each other, and skippable frames may stand between them. A packed capture inside a packed
//! capture is not unpacked twice.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use lz4_flex::frame::FrameDecoder as Lz4Decoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder as ZstdDecoder};

/// A way to pack a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878. Windows up to 128 MiB, no dictionaries; content checksums are not verified.
    Zstd,
    /// LZ4 frame format 1.6, no dictionaries; checksums are verified.
    Lz4,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
        })
    }
}

/// Reads a stream and undoes its compression, if any.
pub(crate) struct Decoder<R: Read> {
    state: State<R>,
    cut: bool,
}

enum State<R: Read> {
    Plain(Input<R>),
    /// `None` only while one member's decoder makes way for the next one's.
    Gzip(Option<GzDecoder<Input<R>>>),
    Zstd {
        decoder: Box<ZstdDecoder>,
        input: Input<R>,
        in_frame: bool,
    },
    Lz4(Box<Lz4Decoder<Input<R>>>),
    Ended(Option<Compression>, u64),
}

/// Why a stream cannot be read on.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// The system says so.
    Io(io::Error),
    /// The decoder says so.
    Corrupt(Compression, Box<dyn Error + Send + Sync>),
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes of a stream.
    pub(crate) fn open(source: R) -> Result<Self, StreamError> {
        let mut input = Input::new(source);
        let first =
            input.next_frame().map_err(|error| StreamError::Io(input.failure.take().unwrap_or(error)))?;
        let state = match first {
            Some([a, b, ..]) if [a, b] == GZIP_MAGIC => State::Gzip(Some(GzDecoder::new(input))),
            Some(ZSTD_MAGIC) => State::Zstd { decoder: Box::default(), input, in_frame: false },
            Some(LZ4_MAGIC) => State::Lz4(Box::new(Lz4Decoder::new(input))),
            _ => State::Plain(input),
        };
        Ok(Self { state, cut: false })
    }

    /// Reads some decompressed bytes; 0 at the end.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, StreamError> {
        let result = match &mut self.state {
            State::Plain(input) => {
                return input
                    .read(into)
                    .map_err(|error| StreamError::Io(input.failure.take().unwrap_or(error)));
            }
            State::Gzip(slot) => read_gzip(slot, into),
            State::Zstd { decoder, input, in_frame } => read_zstd(decoder, input, in_frame, into),
            State::Lz4(decoder) => read_lz4(decoder, into),
            State::Ended(..) => return Ok(0),
        };
        match result {
            Ok(Some(read)) => Ok(read),
            Ok(None) => {
                self.end();
                Ok(0)
            }
            Err(error) => self.fail(error),
        }
    }

    /// The compression of the stream.
    pub(crate) fn compression(&self) -> Option<Compression> {
        match &self.state {
            State::Plain(_) => None,
            State::Gzip(_) => Some(Compression::Gzip),
            State::Zstd { .. } => Some(Compression::Zstd),
            State::Lz4(_) => Some(Compression::Lz4),
            State::Ended(compression, _) => *compression,
        }
    }

    /// Whether the packed stream ended before its end mark.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Bytes taken from the source and used, before decompression.
    pub(crate) fn compressed_bytes(&self) -> u64 {
        match &self.state {
            State::Ended(_, bytes) => *bytes,
            _ => self.input().map_or(0, |input| input.consumed),
        }
    }

    fn input(&self) -> Option<&Input<R>> {
        match &self.state {
            State::Plain(input) | State::Zstd { input, .. } => Some(input),
            State::Gzip(decoder) => decoder.as_ref().map(GzDecoder::get_ref),
            State::Lz4(decoder) => Some(decoder.get_ref()),
            State::Ended(..) => None,
        }
    }

    fn end(&mut self) {
        self.state = State::Ended(self.compression(), self.compressed_bytes());
    }

    /// A decoder that fails after its input has run dry was short of bytes; any other failure is damage.
    fn fail(&mut self, error: Box<dyn Error + Send + Sync>) -> Result<usize, StreamError> {
        let (ended, failure) = match &mut self.state {
            State::Plain(input) | State::Zstd { input, .. } => (input.ended, input.failure.take()),
            State::Gzip(Some(decoder)) => (decoder.get_ref().ended, decoder.get_mut().failure.take()),
            State::Lz4(decoder) => (decoder.get_ref().ended, decoder.get_mut().failure.take()),
            State::Gzip(None) | State::Ended(..) => (false, None),
        };
        if let Some(failure) = failure {
            return Err(StreamError::Io(failure));
        }
        if ended {
            self.cut = true;
            self.end();
            return Ok(0);
        }
        Err(match self.compression() {
            Some(compression) => StreamError::Corrupt(compression, error),
            None => StreamError::Io(io::Error::other(error)),
        })
    }
}

impl<R: Read> fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("cut", &self.cut).finish_non_exhaustive()
    }
}

/// Some bytes, or `None` at the end of the stream.
type Step = Result<Option<usize>, Box<dyn Error + Send + Sync>>;

fn read_gzip<R: Read>(slot: &mut Option<GzDecoder<Input<R>>>, into: &mut [u8]) -> Step {
    while let Some(decoder) = slot {
        match decoder.read(into)? {
            0 => {}
            read => return Ok(Some(read)),
        }
        // The member is over. Zeros may pad the file to the block size of a tape, as gzip(1) has it.
        let input = decoder.get_mut();
        let next = loop {
            match input.fill_buf()?.first() {
                None => return Ok(None),
                Some(0) => input.consume(1),
                Some(_) => break input.peek()?,
            }
        };
        if !next.starts_with(&GZIP_MAGIC) {
            return Err("bytes that are not gzip follow the last gzip member".into());
        }
        *slot = slot.take().map(|decoder| GzDecoder::new(decoder.into_inner()));
    }
    Ok(None)
}

fn read_zstd<R: Read>(
    decoder: &mut ZstdDecoder,
    input: &mut Input<R>,
    in_frame: &mut bool,
    into: &mut [u8],
) -> Step {
    loop {
        if decoder.can_collect() > 0 {
            return Ok(Some(decoder.read(into)?));
        }
        if !*in_frame {
            match input.next_frame()? {
                None if input.cut => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                None => return Ok(None),
                Some(_) => decoder.reset(&mut *input)?,
            }
            *in_frame = true;
        }
        if decoder.is_finished() {
            *in_frame = false;
            continue;
        }
        if let Err(error) = decoder.decode_blocks(&mut *input, BlockDecodingStrategy::UptoBlocks(1)) {
            if !input.ended || input.failure.is_some() {
                return Err(error.into());
            }
            // Cut short. The decoder holds back one window of good bytes until the frame ends, so end it: an empty
            // last block (RFC 8878, 3.1.1.2), and room for a checksum that nobody compares.
            let end_of_frame: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];
            decoder.decode_blocks(&end_of_frame[..], BlockDecodingStrategy::UptoBlocks(1))?;
            input.cut = true;
        }
    }
}

fn read_lz4<R: Read>(decoder: &mut Lz4Decoder<Input<R>>, into: &mut [u8]) -> Step {
    loop {
        match decoder.read(into)? {
            0 => {}
            read => return Ok(Some(read)),
        }
        // Nothing more from this frame. The decoder says so too when the end mark is missing, but then it has run
        // into the end of its input.
        let input = decoder.get_mut();
        if input.ended {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match input.next_frame()? {
            None => return Ok(None),
            Some(LZ4_MAGIC) => {}
            Some(_) => return Err("bytes that are not lz4 follow the last lz4 frame".into()),
        }
    }
}

/// A buffered, counted reader that remembers how its source ended.
pub(crate) struct Input<R> {
    source: R,
    bytes: Box<[u8]>,
    /// `start <= end <= bytes.len()`.
    start: usize,
    end: usize,
    /// Bytes handed out.
    consumed: u64,
    /// The source has been asked beyond its last byte.
    ended: bool,
    /// The last frame had no end but the one we gave it.
    cut: bool,
    /// The source failed; kept here because decoders wrap or drop what they are told.
    failure: Option<io::Error>,
}

impl<R: Read> Input<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            bytes: vec![0; INPUT_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            consumed: 0,
            ended: false,
            cut: false,
            failure: None,
        }
    }

    /// The next four bytes, or what is left of them, without consuming any.
    fn peek(&mut self) -> io::Result<&[u8]> {
        if self.end - self.start < 4 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            while self.end < 4 && !self.ended {
                self.end += self.receive(self.end)?;
            }
        }
        Ok(&self.bytes[self.start..self.end.min(self.start + 4)])
    }

    /// Steps over skippable frames (RFC 8878, 3.1.2; LZ4 has the same) and returns the magic that follows, filled up
    /// with zeros if fewer bytes are left; `None` at the end.
    fn next_frame(&mut self) -> io::Result<Option<[u8; 4]>> {
        loop {
            let mut magic = [0; 4];
            let peeked = self.peek()?;
            if peeked.is_empty() {
                return Ok(None);
            }
            magic[..peeked.len()].copy_from_slice(peeked);
            if magic[1..] != SKIPPABLE_MAGIC[1..] || magic[0] & 0xf0 != SKIPPABLE_MAGIC[0] {
                return Ok(Some(magic));
            }
            self.consume(4);
            let mut length = [0; 4];
            let peeked = self.peek()?;
            let header_bytes = peeked.len();
            length[..header_bytes].copy_from_slice(peeked);
            self.consume(header_bytes);
            let mut left = u64::from(u32::from_le_bytes(length));
            while left > 0 {
                let step = (self.fill_buf()?.len() as u64).min(left);
                if step == 0 {
                    break;
                }
                self.consume(step as usize);
                left -= step;
            }
        }
    }

    /// Reads once from the source into `bytes[at..]`.
    fn receive(&mut self, at: usize) -> io::Result<usize> {
        let received = read_once(&mut self.source, &mut self.bytes[at..]);
        self.noted(received)
    }

    fn noted(&mut self, received: io::Result<usize>) -> io::Result<usize> {
        match received {
            Ok(0) => self.ended = true,
            Ok(_) => {}
            Err(error) => {
                let stand_in = io::Error::from(error.kind());
                self.failure = Some(error);
                return Err(stand_in);
            }
        }
        received
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end && into.len() >= self.bytes.len() && !self.ended {
            let received = read_once(&mut self.source, into);
            let read = self.noted(received)?;
            self.consumed += read as u64;
            return Ok(read);
        }
        let available = self.fill_buf()?;
        let read = available.len().min(into.len());
        into[..read].copy_from_slice(&available[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> BufRead for Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end && !self.ended {
            self.start = 0;
            self.end = 0;
            self.end = self.receive(0)?;
        }
        Ok(&self.bytes[self.start..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
        self.consumed += amount as u64;
    }
}

/// One read(2), again if a signal broke it off.
fn read_once(source: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A reader that claims more than there is room for must not make anyone index with it.
            other => return other.map(|read| read.min(into.len())),
        }
    }
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
const LZ4_MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
const SKIPPABLE_MAGIC: [u8; 4] = 0x184d_2a50_u32.to_le_bytes();

/// Packed bytes read at a time.
const INPUT_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// A pcap of three packets of 300 equal bytes, as `zstd -19 --check` packed it.
    const ZSTD_SAMPLE: [u8; 62] = [
        0x28, 0xb5, 0x2f, 0xfd, 0x64, 0xcc, 0x02, 0x85, 0x01, 0x00, 0xd2, 0x41, 0x06, 0x0d, 0xe0, 0xe9, 0x5e,
        0x40, 0x40, 0x00, 0x60, 0x06, 0xca, 0x6c, 0x29, 0x65, 0x0a, 0x2d, 0xb9, 0x5f, 0xfc, 0xe2, 0xfd, 0x1b,
        0x86, 0x29, 0x43, 0x15, 0x07, 0x00, 0x28, 0xae, 0x2a, 0x6e, 0x77, 0x28, 0x4e, 0x65, 0x3f, 0xb4, 0x13,
        0x28, 0x40, 0x1d, 0x80, 0xf9, 0x06, 0xb8, 0xc4, 0x19, 0xd4, 0xc2,
    ];

    /// The same, as `lz4 -BD` packed it: linked blocks and a content checksum.
    const LZ4_SAMPLE: [u8; 91] = [
        0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7, 0x48, 0x00, 0x00, 0x00, 0x86, 0xd4, 0xc3, 0xb2, 0xa1, 0x02,
        0x00, 0x04, 0x00, 0x01, 0x00, 0x51, 0x04, 0x00, 0x01, 0x00, 0x00, 0x04, 0x00, 0x00, 0x02, 0x00, 0x22,
        0x2c, 0x01, 0x04, 0x00, 0x1f, 0x01, 0x01, 0x00, 0xff, 0x19, 0x10, 0x02, 0x39, 0x01, 0x12, 0x00, 0x38,
        0x01, 0x00, 0x40, 0x01, 0x1f, 0x02, 0x01, 0x00, 0xff, 0x19, 0x11, 0x03, 0x3a, 0x01, 0x02, 0x38, 0x01,
        0x00, 0x3c, 0x01, 0x1f, 0x03, 0x01, 0x00, 0xff, 0x14, 0x50, 0x03, 0x03, 0x03, 0x03, 0x03, 0x00, 0x00,
        0x00, 0x00, 0x81, 0x6f, 0x6e, 0xc8,
    ];

    const SKIPPABLE: [u8; 11] = [0x57, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn lz4(plain: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    type Packer = fn(&[u8]) -> Vec<u8>;

    const PACKERS: [Packer; 3] = [gzip, zstd, lz4];

    #[derive(Debug, PartialEq, Eq)]
    enum End {
        Clean,
        Cut,
        Corrupt,
    }

    fn unpack(packed: &[u8]) -> (Vec<u8>, End) {
        let mut decoder = Decoder::open(packed).unwrap();
        let mut plain = Vec::new();
        let mut chunk = [0; 1000];
        loop {
            match decoder.read(&mut chunk) {
                Ok(0) if decoder.is_cut() => return (plain, End::Cut),
                Ok(0) => {
                    assert_eq!(decoder.compressed_bytes(), packed.len() as u64);
                    return (plain, End::Clean);
                }
                Ok(read) => plain.extend(&chunk[..read]),
                Err(StreamError::Corrupt(..)) => return (plain, End::Corrupt),
                Err(StreamError::Io(error)) => panic!("{error}"),
            }
        }
    }

    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|i| format!("{i} {}\n", i * i % 977).into_bytes()).collect()
    }

    #[test]
    fn samples_of_the_usual_tools() {
        let packets = [1, 2, 3].map(|n| crate::sample::Packet::new(u64::from(n) * 1_000_000, n, 300));
        let plain = crate::sample::plain_pcap(&packets);
        assert_eq!(unpack(&ZSTD_SAMPLE), (plain.clone(), End::Clean));
        assert_eq!(unpack(&LZ4_SAMPLE), (plain, End::Clean));
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        let plain = lines(30_000);
        let (head, tail) = plain.split_at(100_000);
        for pack in PACKERS {
            let packed = [pack(head), pack(&[]), pack(tail)].concat();
            assert_eq!(unpack(&packed), (plain.clone(), End::Clean));
        }
        for pack in [zstd, lz4] {
            let packed =
                [&SKIPPABLE[..], &pack(head), &SKIPPABLE, &SKIPPABLE, &pack(tail), &SKIPPABLE].concat();
            assert_eq!(unpack(&packed), (plain.clone(), End::Clean));
        }
    }

    #[test]
    fn what_follows_the_last_frame() {
        for pack in PACKERS {
            let packed = [&pack(b"abc")[..], b"garbage"].concat();
            assert_eq!(unpack(&packed), (b"abc".to_vec(), End::Corrupt));
        }
        let padded = [&gzip(b"abc")[..], &[0; 700]].concat();
        assert_eq!(unpack(&padded), (b"abc".to_vec(), End::Clean));
    }

    #[test]
    fn checksums_are_compared() {
        let mut packed = gzip(b"abc");
        let at = packed.len() - 6;
        packed[at] ^= 1;
        assert_eq!(unpack(&packed).1, End::Corrupt);
        let mut packed = LZ4_SAMPLE;
        packed[90] ^= 1;
        assert_eq!(unpack(&packed).1, End::Corrupt);
    }

    #[test]
    fn a_stored_zstd_frame() {
        // Magic; single segment, one byte of content size; one last raw block of five bytes.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 5 << 3 | 1, 0, 0, b'h', b'e', b'l', b'l', b'o'];
        assert_eq!(unpack(&frame), (b"hello".to_vec(), End::Clean));
    }

    #[test]
    fn a_cut_stream_gives_what_it_had() {
        let plain = lines(50_000);
        for pack in PACKERS {
            let packed = pack(&plain);
            let mut longest = 0;
            for cut in (4..packed.len()).step_by(packed.len() / 40).chain([packed.len() - 1]) {
                let (part, end) = unpack(&packed[..cut]);
                assert_eq!(end, End::Cut);
                assert!(plain.starts_with(&part));
                longest = longest.max(part.len());
            }
            // Only the last block may be lost to the missing bytes.
            assert!(longest + 4 * 1024 * 1024 > plain.len() && longest > plain.len() / 2, "{longest}");
        }
    }

    proptest! {
        #[test]
        fn packed_is_plain(plain in prop::collection::vec(0u8..4, 0..5000), big in 0usize..3000) {
            let plain = [plain, lines(big)].concat();
            for pack in PACKERS {
                prop_assert_eq!(unpack(&pack(&plain)), (plain.clone(), End::Clean));
            }
        }

        #[test]
        fn every_cut_is_seen(plain in prop::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index) {
            for pack in PACKERS {
                let packed = pack(&plain);
                let cut = 4 + at.index(packed.len() - 4);
                let (part, end) = unpack(&packed[..cut]);
                prop_assert!(plain.starts_with(&part));
                prop_assert_eq!(end, End::Cut);
            }
        }

        #[test]
        fn damage_never_panics(plain in prop::collection::vec(0u8..4, 0..2000), at: prop::sample::Index, with: u8) {
            for pack in PACKERS {
                let mut packed = pack(&plain);
                let at = at.index(packed.len());
                packed[at] = with;
                unpack_any(&packed);
            }
            for mut packed in [ZSTD_SAMPLE.to_vec(), LZ4_SAMPLE.to_vec()] {
                let at = at.index(packed.len());
                packed[at] = with;
                unpack_any(&packed);
            }
        }
    }

    /// Damage may lie in a header, and make the stream a plain one or a shorter one: only panics count.
    fn unpack_any(packed: &[u8]) {
        let mut decoder = Decoder::open(packed).unwrap();
        let mut chunk = [0; 1000];
        while let Ok(1..) = decoder.read(&mut chunk) {}
    }
}
