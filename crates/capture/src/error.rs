//! What can go wrong between a path and a frame, as data with a sentence on top.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use tapline_record::LinkType;

use crate::Compression;

/// Why an input could not be read (on).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The list of inputs is empty.
    #[error("no input: name capture files, directories, or - for standard input")]
    NoInputs,
    /// `-` stands more than once among the inputs.
    #[error("standard input (-) is named more than once; it can be read only once")]
    StdinTwice,
    /// The directories hold no capture file.
    #[error("no capture file in {}; {ACCEPTED}", path.display())]
    NoCaptures {
        /// The first directory named.
        path: PathBuf,
    },
    /// A path cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Reading failed half-way.
    #[error("cannot read {} past byte {offset}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Decompressed bytes read so far.
        offset: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file begins like no format that is read.
    #[error("{} is not a capture file: it begins with {first}; {ACCEPTED}", path.display())]
    NotACapture {
        /// The file.
        path: PathBuf,
        /// How it begins, after decompression.
        first: FirstBytes,
    },
    /// The bytes at `offset` cannot be what the format wants there.
    #[error("{} is damaged at byte {offset}: {problem}; all packets before it were read", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where the record or block starts, in decompressed bytes.
        offset: u64,
        /// What is wrong with it.
        problem: Malformation,
    },
    /// The compressed stream is damaged.
    #[error(
        "cannot unpack {} ({compression}) past byte {compressed_offset} ({offset} bytes unpacked); \
         check the file with the tool that packed it",
        path.display()
    )]
    Decompress {
        /// The file.
        path: PathBuf,
        /// Its compression.
        compression: Compression,
        /// Where in the file, in compressed bytes.
        compressed_offset: u64,
        /// Where in the capture, in decompressed bytes.
        offset: u64,
        /// What the decoder said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Too many files overlap in time. The set ends here, for the order of the rest cannot be kept.
    #[error(
        "more than {limit} files overlap in time at {}; merge some of them first (mergecap) or give fewer at once",
        path.display()
    )]
    TooManyOpen {
        /// The file that was one too many.
        path: PathBuf,
        /// [`ReadOptions::max_open_files`](crate::ReadOptions::max_open_files).
        limit: usize,
    },
    /// The filter expression is not valid.
    #[error("cannot compile the filter `{expression}` for link type {} ({}): {reason}", link.0, link.name())]
    Filter {
        /// The expression.
        expression: String,
        /// The link type it was compiled for.
        link: LinkType,
        /// What libpcap said.
        reason: String,
    },
    /// The program was built without libpcap.
    #[error("cannot compile the filter `{expression}`: this build lacks libpcap (cargo feature `libpcap`)")]
    FilterUnavailable {
        /// The expression.
        expression: String,
    },
}

/// Whose fault an error is: what sysexits' codes distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A path that does not exist or may not be read, a directory without captures (`EX_NOINPUT`, 66).
    NoInput,
    /// The program lacks a right (`EX_NOPERM`, 77).
    NoPermission,
    /// The input is not what it should be (`EX_DATAERR`, 65).
    BadData,
    /// The system failed to read (`EX_IOERR`, 74).
    Io,
    /// The command asks for something that makes no sense (`EX_USAGE`, 64).
    Usage,
    /// The build cannot do it (`EX_UNAVAILABLE`, 69).
    Unavailable,
}

impl CaptureError {
    /// Whose fault it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoInputs | Self::StdinTwice | Self::TooManyOpen { .. } | Self::Filter { .. } => {
                ErrorKind::Usage
            }
            Self::NoCaptures { .. } => ErrorKind::NoInput,
            Self::Open { source, .. } => match source.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidFilename => ErrorKind::NoInput,
                _ => ErrorKind::Io,
            },
            Self::Read { .. } => ErrorKind::Io,
            Self::Empty { .. }
            | Self::NotACapture { .. }
            | Self::Malformed { .. }
            | Self::Decompress { .. } => ErrorKind::BadData,
            Self::FilterUnavailable { .. } => ErrorKind::Unavailable,
        }
    }
}

/// The first bytes of a file, at most four, printed in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstBytes {
    bytes: [u8; 4],
    len: u8,
}

impl FirstBytes {
    /// The first four of `bytes`, or all there are.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut first = Self { bytes: [0; 4], len: 0 };
        for (slot, byte) in first.bytes.iter_mut().zip(bytes) {
            *slot = *byte;
            first.len += 1;
        }
        first
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Display for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.as_slice().iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// What is wrong with a record or block. Lengths are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformation {
    /// The pcap file header names a version that never was.
    #[error("pcap version {major}.{minor}, expected 2.4")]
    PcapVersion {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// A pcap record is longer than any packet.
    #[error("record of {captured_bytes} captured bytes, expected at most {limit_bytes}")]
    RecordTooLong {
        /// Its captured length.
        captured_bytes: u32,
        /// The most that is believed, from the snap length of the file.
        limit_bytes: u32,
    },
    /// The byte-order magic of a section header is neither way round.
    #[error("section header with byte-order magic {got:#010x}, expected 0x1a2b3c4d in either byte order")]
    ByteOrder {
        /// The magic, read big-endian.
        got: u32,
    },
    /// A section of an unknown major version.
    #[error("pcapng version {major}.{minor}, expected 1.0")]
    PcapngVersion {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// A block length that is too small for its block, or not a multiple of four.
    #[error(
        "block of type {block_type:#x} is {length} bytes long, expected a multiple of 4, at least {least}"
    )]
    BlockLength {
        /// Block type.
        block_type: u32,
        /// Block total length.
        length: u32,
        /// The shortest block of that type.
        least: u32,
    },
    /// A block that must be held in memory is too large to be true.
    #[error("block of type {block_type:#x} is {length} bytes long, expected at most {limit}")]
    BlockTooLong {
        /// Block type.
        block_type: u32,
        /// Block total length.
        length: u32,
        /// The most that is believed.
        limit: u32,
    },
    /// The two lengths that enclose a block differ.
    #[error("block begins with length {leading} but ends with length {trailing}")]
    BlockTrailer {
        /// The length before the body.
        leading: u32,
        /// The length after it.
        trailing: u32,
    },
    /// A packet that does not fit into its block.
    #[error("packet of {captured_bytes} captured bytes in a block with room for {room_bytes}")]
    CapturedTooLong {
        /// Its captured length.
        captured_bytes: u32,
        /// What the block can hold.
        room_bytes: u32,
    },
    /// A packet of an interface that the section does not describe.
    #[error("packet of interface {id}, but the section has described {known} interfaces")]
    UnknownInterface {
        /// Interface identifier.
        id: u32,
        /// Interfaces described so far.
        known: usize,
    },
    /// More interfaces in one section than are kept.
    #[error("more than {limit} interfaces in one section")]
    TooManyInterfaces {
        /// The most that are kept.
        limit: usize,
    },
    /// An option that runs past its block, or has a length that its meaning forbids.
    #[error(
        "option {code} of {length} bytes, expected at most the {room} left in the block, or the length of its type"
    )]
    OptionLength {
        /// Option code.
        code: u16,
        /// Option length.
        length: u16,
        /// Bytes left in the block.
        room: usize,
    },
}

const ACCEPTED: &str = "accepted are pcap and pcapng, plain or packed with gzip, zstd or lz4";
