//! Frames of capture files and of interfaces: the only crate that opens a capture.
//!
//! ```text
//!  paths, directories, "-"
//!        │ CaptureSet: who is next in time
//!        ▼
//!   File, stdin ──► Decoder ──► Buffer ──► pcap │ pcapng ──► Frame<'_>  (borrowed from the buffer)
//!                  gzip zstd     one big               │
//!                  lz4 plain     block           FrameFilter (BPF)
//! ```
//!
//! [`CaptureSet`] opens what the user named, and returns the frames of all files in time order. With one input it is
//! a straight loop over one [`CaptureReader`]; with several it merges them, and a file whose first packet lies in the
//! future stays closed until its time comes. [`CaptureReader`] reads one stream: it undoes the compression, tells
//! pcap from pcapng by the first four bytes, and parses records where they lie. A frame is never copied and nothing
//! is allocated per packet.
//!
//! `live` takes frames from an interface instead, with an account of what the kernel lost; [`PacketSource`] makes both
//! look the same.
//!
//! Errors are data. A file that ends inside a record is the normal end of a capture that was cut short: its whole
//! packets count, the rest is a [`Notice`]. Bytes that cannot be a record are a [`CaptureError`] with the offset, and
//! they end that file alone. Byte offsets count decompressed bytes unless they say otherwise; times are microseconds
//! since the Unix epoch, finer clocks truncated.
//!
//! This crate never decodes a frame, never writes, and never guesses past a record that does not add up. Formats:
//! draft-ietf-opsawg-pcap (pcap), draft-ietf-opsawg-pcapng (pcapng), RFC 1952 (gzip), RFC 8878 (zstd) and the LZ4
//! frame format 1.6.
//!
//! ```
//! use std::path::PathBuf;
//!
//! use tapline_capture::{CaptureSet, ReadOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("one.pcap");
//! // A little-endian pcap header (Ethernet), and one record of 4 bytes at second 1.
//! let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
//! bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 60, 0, 0, 0, 0xca, 0xfe, 0xf0, 0x0d]);
//! std::fs::write(&path, bytes)?;
//!
//! let mut captures = CaptureSet::open(&[PathBuf::from(&path)], &ReadOptions::default())?;
//! while let Some(frame) = captures.next() {
//!     let frame = frame?;
//!     assert_eq!((frame.ts.micros, frame.wire_bytes, frame.bytes.len()), (1_000_000, 60, 4));
//! }
//! assert!(captures.notices().is_empty());
//! # Ok(())
//! # }
//! ```

pub mod capture_set;

pub mod capture_reader;
mod pcap;
mod pcapng;

mod buffer;
pub mod compression;

#[cfg(all(feature = "libpcap", target_os = "linux"))]
pub mod live;
pub mod packet_source;

#[cfg(feature = "libpcap")]
mod bpf;
pub mod filter;

pub mod error;
pub mod notice;

#[cfg(test)]
mod sample;

pub use capture_reader::{CaptureReader, fuzz_pcap, fuzz_pcapng};
pub use capture_set::{CaptureSet, ReadOptions};
pub use compression::Compression;
pub use error::{CaptureError, ErrorKind, Malformation};
pub use filter::FrameFilter;
pub use notice::Notice;
pub use packet_source::{PacketSource, Received};
