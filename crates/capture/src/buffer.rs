//! The window onto a stream in which records are parsed where they lie.
//!
//! In: a [`Decoder`]. Out: runs of bytes, and their offset in the decompressed stream. The window grows when a record
//! is larger, but only as its bytes arrive: a damaged length makes no large allocation.

use std::io::Read;

use crate::compression::{Decoder, StreamError};
use crate::error::Malformation;

/// A sliding window onto the decompressed bytes of a stream.
#[derive(Debug)]
pub(crate) struct Buffer<R: Read> {
    source: Decoder<R>,
    /// `start <= end <= bytes.len()`; what lies between is read and not yet consumed.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset in the stream of `bytes[0]`.
    base: u64,
    ended: bool,
}

/// Why parsing stops before the stream has come to a clean end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The stream ends inside a record.
    Truncated {
        /// At least so many bytes are missing.
        missing_bytes: u64,
    },
    /// The stream cannot be read.
    Stream(StreamError),
    /// The record at the current offset makes no sense.
    Malformed(Malformation),
}

impl<R: Read> Buffer<R> {
    pub(crate) fn new(source: Decoder<R>, capacity: usize) -> Self {
        Self { source, bytes: vec![0; capacity.max(LEAST_CAPACITY)], start: 0, end: 0, base: 0, ended: false }
    }

    /// Makes at least `count` bytes available.
    #[inline]
    pub(crate) fn need(&mut self, count: usize) -> Result<(), Stop> {
        if self.end - self.start >= count { Ok(()) } else { self.fill_or_stop(count) }
    }

    /// Makes at least `count` bytes available, or returns false if the stream has ended cleanly right here.
    #[inline]
    pub(crate) fn need_or_end(&mut self, count: usize) -> Result<bool, Stop> {
        if self.end - self.start >= count {
            return Ok(true);
        }
        self.fill(count)?;
        if self.start == self.end {
            return Ok(false);
        }
        self.need(count).map(|()| true)
    }

    /// What can be read without reading on.
    #[inline]
    pub(crate) fn available(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Index of the first available byte, good for [`slice`](Self::slice) until the next byte is asked for.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.start
    }

    /// Bytes by index, consumed or not.
    #[inline]
    pub(crate) fn slice(&self, start: usize, end: usize) -> &[u8] {
        &self.bytes[start..end]
    }

    /// Gives up the first `count` available bytes.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        debug_assert!(self.start + count <= self.end, "consumed more than was needed");
        self.start += count;
    }

    /// Gives up `count` bytes that need not be in memory.
    pub(crate) fn skip(&mut self, mut count: u64) -> Result<(), Stop> {
        loop {
            let step = count.min((self.end - self.start) as u64);
            self.start += step as usize;
            count -= step;
            if count == 0 {
                return Ok(());
            }
            self.fill(1)?;
            if self.start == self.end {
                return Err(Stop::Truncated { missing_bytes: count });
            }
        }
    }

    /// Offset of the first available byte in the decompressed stream.
    #[inline]
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Offset of the last byte read from the decompressed stream.
    pub(crate) fn end_offset(&self) -> u64 {
        self.base + self.end as u64
    }

    pub(crate) fn source(&self) -> &Decoder<R> {
        &self.source
    }

    #[cold]
    fn fill_or_stop(&mut self, count: usize) -> Result<(), Stop> {
        self.fill(count)?;
        match count.saturating_sub(self.end - self.start) {
            0 => Ok(()),
            missing => Err(Stop::Truncated { missing_bytes: missing as u64 }),
        }
    }

    /// Reads until `count` bytes are available or the stream ends.
    #[cold]
    fn fill(&mut self, count: usize) -> Result<(), Stop> {
        if self.ended || self.end - self.start >= count {
            return Ok(());
        }
        self.bytes.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        while self.end < count {
            if self.end == self.bytes.len() {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
            match self.source.read(&mut self.bytes[self.end..]).map_err(Stop::Stream)? {
                0 => {
                    self.ended = true;
                    return Ok(());
                }
                read => self.end += read,
            }
        }
        Ok(())
    }
}

impl From<Malformation> for Stop {
    fn from(problem: Malformation) -> Self {
        Self::Malformed(problem)
    }
}

/// Room for any header, so that doubling starts from something.
const LEAST_CAPACITY: usize = 4096;
