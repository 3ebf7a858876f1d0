//! Where bytes go, and whether the end of what was written can be taken back.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek, Write};

/// An open output. The daemon opens files, because it alone knows names, modes and rights.
///
/// Give it unbuffered: writers hand over large blocks that end with a row, and a buffer behind them would accept bytes
/// that a full disk then loses.
pub enum Output {
    /// A pipe, a socket, standard output: what was written stays written.
    Stream(Box<dyn Write + Send>),
    /// A file: after a failed write it is cut back to the end of its last whole row.
    File(File),
}

impl Output {
    /// An output that cannot take bytes back.
    pub fn stream(out: impl Write + Send + 'static) -> Self {
        Self::Stream(Box::new(out))
    }
}

impl From<File> for Output {
    fn from(file: File) -> Self {
        Self::File(file)
    }
}

impl From<Box<dyn Write + Send>> for Output {
    fn from(out: Box<dyn Write + Send>) -> Self {
        Self::Stream(out)
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(_) => f.write_str("Stream"),
            Self::File(file) => f.debug_tuple("File").field(file).finish(),
        }
    }
}

/// An output as the writers see it: it counts what it accepted, also in the middle of a failed `write_all`.
pub(crate) struct Sink {
    end: Box<dyn End>,
    accepted_bytes: u64,
}

impl Sink {
    pub(crate) fn new(output: Output) -> Self {
        match output {
            Output::Stream(out) => Self::over(Box::new(StreamEnd(out))),
            Output::File(file) => Self::over(Box::new(file)),
        }
    }

    pub(crate) fn over(end: Box<dyn End>) -> Self {
        Self { end, accepted_bytes: 0 }
    }

    pub(crate) const fn accepted_bytes(&self) -> u64 {
        self.accepted_bytes
    }

    /// Takes the last `bytes` accepted bytes back.
    pub(crate) fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.end.cut(bytes)?;
        self.accepted_bytes -= bytes;
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let accepted = self.end.write(bytes)?;
        self.accepted_bytes += accepted as u64;
        Ok(accepted)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end.flush()
    }
}

/// The far end of a [`Sink`]; a trait, so that tests can fill a disk.
pub(crate) trait End: Write + Send {
    /// Takes the last `bytes` written bytes back.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;
}

impl End for File {
    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        // The position is where the failed write stopped, in a file opened for appending too.
        let end = self.stream_position()?;
        let keep = end.checked_sub(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        self.set_len(keep)?;
        self.seek(io::SeekFrom::Start(keep))?;
        Ok(())
    }
}

struct StreamEnd(Box<dyn Write + Send>);

impl Write for StreamEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl End for StreamEnd {
    fn cut(&mut self, _bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_bytes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        for append in [false, true] {
            std::fs::write(&path, "old\n").unwrap();
            let file = if append {
                std::fs::OpenOptions::new().append(true).open(&path).unwrap()
            } else {
                File::create(&path).unwrap()
            };
            let mut sink = Sink::new(file.into());
            sink.write_all(b"row\ntorn").unwrap();
            sink.cut(4).unwrap();
            assert_eq!(sink.accepted_bytes(), 4);
            sink.write_all(b"next\n").unwrap();
            let expect = if append { "old\nrow\nnext\n" } else { "row\nnext\n" };
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expect);
        }
    }

    #[test]
    fn a_stream_does_not() {
        let mut sink = Sink::new(Output::stream(Vec::new()));
        sink.write_all(b"row").unwrap();
        assert!(sink.cut(3).is_err());
        assert_eq!(sink.accepted_bytes(), 3);
    }
}
