//! Whole lines on their way to an output: nothing else ever leaves for it.

use std::io::Write;

use crate::error::{ExportError, Whole};
use crate::output::Sink;

/// Collects lines and hands them over in blocks that end with a line.
///
/// ```text
///  text:      header\n row 1\n row 2\n ro|w 3\n        | = where a full disk stopped
///  line_ends:               ^       ^        ^
///             whole: 2 rows ┘       └ a file is cut back to here
/// ```
pub(crate) struct LineBuffer {
    sink: Sink,
    /// Lines not yet handed over, and the line being built.
    text: Vec<u8>,
    /// Where each finished line of `text` ends; `line_ends.len() <= MAX_LINES`.
    line_ends: Vec<u32>,
    /// Rows and bytes that the output has accepted.
    sent_rows: u64,
    sent_bytes: u64,
}

impl LineBuffer {
    pub(crate) fn new(sink: Sink) -> Self {
        Self {
            sink,
            text: Vec::with_capacity(BLOCK_BYTES + LINE_BYTES),
            line_ends: Vec::with_capacity(MAX_LINES),
            sent_rows: 0,
            sent_bytes: 0,
        }
    }

    /// Where the next line is built.
    #[inline]
    pub(crate) fn line(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Ends the line of a row.
    #[inline]
    pub(crate) fn end_row(&mut self) -> Result<(), ExportError> {
        self.text.push(b'\n');
        self.line_ends.push(self.text.len() as u32);
        if self.text.len() >= BLOCK_BYTES || self.line_ends.len() == MAX_LINES {
            self.send()?;
        }
        Ok(())
    }

    /// Ends the line of a header and sends it at once, so that a capture without flows still gives a readable table and
    /// an output that takes nothing is known before the first packet.
    pub(crate) fn end_header(&mut self) -> Result<(), ExportError> {
        self.text.push(b'\n');
        self.send()
    }

    /// Hands every finished line over.
    pub(crate) fn send(&mut self) -> Result<(), ExportError> {
        let before = self.sink.accepted_bytes();
        let outcome = self.sink.write_all(&self.text);
        let accepted = self.sink.accepted_bytes() - before;
        let outcome = match outcome {
            Ok(()) => {
                self.sent_rows += self.line_ends.len() as u64;
                self.sent_bytes += accepted;
                Ok(())
            }
            Err(source) => {
                let whole_lines = self.line_ends.partition_point(|&end| u64::from(end) <= accepted);
                let whole_bytes = self.line_ends[..whole_lines].last().map_or(0, |&end| u64::from(end));
                self.sent_rows += whole_lines as u64;
                self.sent_bytes += whole_bytes;
                let torn_bytes = accepted - whole_bytes;
                let cut = torn_bytes == 0 || self.sink.cut(torn_bytes).is_ok();
                let whole = Whole { torn_bytes: if cut { 0 } else { torn_bytes }, ..self.whole() };
                Err(ExportError::of_io(source, whole))
            }
        };
        // Also after a failure: the rows that did not fit are counted by the caller and gone.
        self.text.clear();
        self.line_ends.clear();
        outcome
    }

    /// Hands every finished line over and flushes the output.
    pub(crate) fn flush(&mut self) -> Result<(), ExportError> {
        self.send()?;
        self.sink.flush().map_err(|source| ExportError::of_io(source, self.whole()))
    }

    /// Bytes handed over, and those waiting.
    pub(crate) const fn bytes(&self) -> u64 {
        self.sent_bytes + self.text.len() as u64
    }

    const fn whole(&self) -> Whole {
        Whole { rows: self.sent_rows, bytes: self.sent_bytes, torn_bytes: 0 }
    }
}

/// A block is handed over once it is this long.
const BLOCK_BYTES: usize = 256 << 10;

/// Room after a block for the row that fills it.
const LINE_BYTES: usize = 16 << 10;

/// A block is handed over once it has this many rows; rows are longer than 64 bytes, so this bounds memory only.
const MAX_LINES: usize = BLOCK_BYTES / 64;

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;
    use crate::output::End;

    /// A disk of a fixed size.
    struct SmallDisk {
        held: Arc<Mutex<Vec<u8>>>,
        capacity: usize,
        can_cut: bool,
    }

    impl Write for SmallDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut held = self.held.lock().unwrap();
            let room = self.capacity - held.len();
            if room == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(room);
            held.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl End for SmallDisk {
        fn cut(&mut self, bytes: u64) -> io::Result<()> {
            if !self.can_cut {
                return Err(io::ErrorKind::Unsupported.into());
            }
            let mut held = self.held.lock().unwrap();
            let keep = held.len() - bytes as usize;
            held.truncate(keep);
            Ok(())
        }
    }

    fn fill(capacity: usize, can_cut: bool) -> (Whole, Vec<u8>) {
        let held = Arc::new(Mutex::new(Vec::new()));
        let disk = SmallDisk { held: Arc::clone(&held), capacity, can_cut };
        let mut lines = LineBuffer::new(Sink::over(Box::new(disk)));
        let outcome = (|| {
            lines.line().extend_from_slice(b"header");
            lines.end_header()?;
            for row in 0..20 {
                let line = format!("\"row {row}\nwith a line end in it\"");
                lines.line().extend_from_slice(line.as_bytes());
                lines.end_row()?;
                if row % 7 == 6 {
                    lines.send()?;
                }
            }
            lines.flush()
        })();
        let whole = match outcome {
            Ok(()) => lines.whole(),
            Err(ExportError::Full { whole, .. }) => whole,
            Err(error) => panic!("{error}"),
        };
        let held = held.lock().unwrap().clone();
        (whole, held)
    }

    proptest! {
        #[test]
        fn no_torn_row(capacity in 0_usize..800) {
            let (_, all) = fill(10_000, true);
            let (whole, held) = fill(capacity, true);
            prop_assert!(held.is_empty() || held.ends_with(b"\n"));
            prop_assert!(all.starts_with(&held));
            prop_assert_eq!(whole.torn_bytes, 0);
            prop_assert_eq!(whole.bytes, held.len() as u64);
            prop_assert_eq!(whole.rows, held.windows(2).filter(|w| w == b"\"\n").count() as u64);

            // Where nothing can be cut off, the error says how much should have been.
            let (stream, held_by_stream) = fill(capacity, false);
            prop_assert_eq!((stream.rows, stream.bytes), (whole.rows, whole.bytes));
            prop_assert_eq!(stream.bytes + stream.torn_bytes, held_by_stream.len() as u64);
        }
    }

    #[test]
    fn buffers_do_not_grow() {
        let mut lines = LineBuffer::new(Sink::new(crate::Output::stream(io::sink())));
        let sizes = (lines.text.capacity(), lines.line_ends.capacity());
        for row in 0..100_000 {
            let length = if row < 50_000 { 3 } else { 1_500 };
            lines.line().extend(std::iter::repeat_n(b'x', length));
            lines.end_row().unwrap();
        }
        assert_eq!((lines.text.capacity(), lines.line_ends.capacity()), sizes);
        lines.flush().unwrap();
        assert_eq!(lines.whole(), Whole { rows: 100_000, bytes: 75_250_000, torn_bytes: 0 });
    }
}
