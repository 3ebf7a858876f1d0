//! [`fetch`]: the status of a sensor through its socket: one request of HTTP/1.1 by hand.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use crate::snapshot::Snapshot;

/// How long to wait for the next bytes.
const WITHIN: Duration = Duration::from_secs(2);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
const REQUEST: &[u8] = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Why there is no status.
#[derive(Debug, Error)]
pub enum FetchError {
    /// There is no such file.
    #[error("there is no socket: the sensor does not run, or control.socket is another path")]
    NoSocket,
    /// The file is there and nobody behind it.
    #[error("nobody answers: the sensor is gone")]
    Refused,
    /// It may not be used.
    #[error("permission denied: only the sensor's user and group may ask; try sudo")]
    Denied,
    /// Nothing came for a while.
    #[error("no answer within some seconds")]
    Silent,
    /// What the system said.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// An answer that is no status.
    #[error("{0}: is this the socket of a sensor?")]
    Answer(String),
}

/// Asks the sensor for its status.
///
/// # Errors
///
/// [`FetchError`] says what to do.
pub fn fetch(socket: &Path) -> Result<Snapshot, FetchError> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let head_end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let head_end = head_end.ok_or_else(|| FetchError::Answer("the answer is not HTTP".into()))?;
    let (head, body) = answer.split_at(head_end);
    let first_line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    if !first_line.starts_with(b"HTTP/1.1 200 ") {
        let first_line: String = String::from_utf8_lossy(first_line).chars().take(60).collect();
        return Err(FetchError::Answer(format!("the answer is {first_line:?}")));
    }
    serde_json::from_slice(body.trim_ascii())
        .map_err(|error| FetchError::Answer(format!("the answer is no status ({error})")))
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::NoSocket,
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::PermissionDenied => Self::Denied,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silent,
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn fetch_from(answer: &'static [u8]) -> Result<Snapshot, FetchError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; REQUEST.len()]).unwrap();
            stream.write_all(answer).unwrap();
        });
        let fetched = fetch(&path);
        server.join().unwrap();
        fetched
    }

    #[test]
    fn answers_are_read_or_say_what_they_are() {
        let fetched = fetch_from(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{\"sensor\":{\"pid\":7}}\n").unwrap();
        assert_eq!(fetched.sensor.pid, 7);
        let refused = [
            (&b"hello"[..], "the answer is not HTTP: is this the socket of a sensor?"),
            (
                b"HTTP/1.1 503 No\r\n\r\n",
                "the answer is \"HTTP/1.1 503 No\": is this the socket of a sensor?",
            ),
            (
                b"HTTP/1.1 200 OK\r\n\r\n[",
                "the answer is no status (EOF while parsing a list at line 1 column 1): is this the socket of a sensor?",
            ),
        ];
        for (answer, text) in refused {
            assert_eq!(fetch_from(answer).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn a_sensor_that_is_not_there_is_told_from_one_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        assert!(matches!(fetch(&path), Err(FetchError::NoSocket)));
        drop(UnixListener::bind(&path).unwrap());
        assert!(matches!(fetch(&path), Err(FetchError::Refused)));
    }
}
