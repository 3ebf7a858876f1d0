//! What the user should know of an input although it was read as far as it goes.

use std::fmt;
use std::path::PathBuf;

use crate::Compression;

/// Something worth a line on stderr; never an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The file ends inside a record, as when a capture was killed. All packets before it were returned.
    TruncatedRecord {
        /// The file.
        path: PathBuf,
        /// Where the cut record starts, in decompressed bytes.
        offset: u64,
        /// How many bytes at least are missing from it.
        missing_bytes: u64,
    },
    /// The compressed stream ends before its end mark. All packets that could be unpacked were returned.
    TruncatedStream {
        /// The file.
        path: PathBuf,
        /// Its compression.
        compression: Compression,
        /// Where the capture data ends, in decompressed bytes.
        offset: u64,
        /// Where the file ends, in compressed bytes.
        compressed_offset: u64,
    },
    /// A file in a directory that was left out.
    Skipped {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: SkipReason,
    },
}

/// Why a file in a directory is not among the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// It begins with none of the accepted formats.
    NotACapture,
    /// It has no bytes.
    Empty,
    /// It is neither a file nor a directory.
    NotAFile,
    /// It is a symbolic link to a directory; these are not followed, for they can form a circle.
    DirectoryLink,
    /// It is a symbolic link to nothing.
    DanglingLink,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TruncatedRecord { path, offset, missing_bytes } => write!(
                f,
                "{} ends inside the record at byte {offset}, {missing_bytes} bytes short; all packets before it were read",
                path.display(),
            ),
            Self::TruncatedStream { path, compression, offset, compressed_offset } => write!(
                f,
                "{} is a {compression} stream cut short at byte {compressed_offset} ({offset} bytes unpacked); all packets before the cut were read",
                path.display(),
            ),
            Self::Skipped { path, reason } => write!(f, "skipped {}: {reason}", path.display()),
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotACapture => "not a capture file",
            Self::Empty => "empty",
            Self::NotAFile => "not a regular file",
            Self::DirectoryLink => "a symbolic link to a directory",
            Self::DanglingLink => "a symbolic link to nothing",
        })
    }
}
