//! The words a wire understands on its standard input.
//!
//! Owns the shape of the commands and the unfinished line. In go octets as they come; out come [`Command`]s, line by
//! line. It never acts on them, and never holds more than [`MAX_LINE_BYTES`].

/// Cuts octets into lines.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    too_long: bool,
}

impl Lines {
    /// Takes octets, and gives each line that they finish to `act`, until `act` says no more is wanted.
    ///
    /// Returns false if it said so.
    pub fn push(&mut self, bytes: &[u8], mut act: impl FnMut(Result<Command, CommandError>) -> bool) -> bool {
        for &byte in bytes {
            if byte != b'\n' {
                if self.line.len() < MAX_LINE_BYTES {
                    self.line.push(byte);
                } else {
                    self.too_long = true;
                }
                continue;
            }
            let text = String::from_utf8_lossy(&self.line);
            let parsed = if self.too_long {
                Some(Err(CommandError::TooLong))
            } else if text.trim().is_empty() {
                None
            } else {
                Some(Command::parse(&text))
            };
            self.line.clear();
            self.too_long = false;
            if let Some(parsed) = parsed
                && !act(parsed)
            {
                return false;
            }
        }
        true
    }
}

/// One line of the standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `stop`: flush, report, leave.
    Stop,
    /// `advance N`: move the clock of the timestamps ahead by N microseconds.
    Advance {
        /// N.
        by_us: u64,
    },
    /// `idle`: say how long nothing was seen, and how much is on its way.
    Idle,
}

impl Command {
    fn parse(line: &str) -> Result<Self, CommandError> {
        let mut words = line.split_ascii_whitespace();
        let command = match (words.next(), words.next(), words.next()) {
            (Some("stop"), None, None) => Some(Self::Stop),
            (Some("idle"), None, None) => Some(Self::Idle),
            (Some("advance"), Some(by_us), None) => by_us.parse().ok().map(|by_us| Self::Advance { by_us }),
            _ => None,
        };
        command.ok_or_else(|| CommandError::Unknown { line: line.trim().to_owned() })
    }
}

/// A line that is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Not one of the words.
    #[error("unknown command `{line}`: give `stop`, `advance MICROSECONDS` or `idle`")]
    Unknown {
        /// The line.
        line: String,
    },
    /// No command is that long.
    #[error("a line of more than {MAX_LINE_BYTES} octets is no command")]
    TooLong,
}

/// What is kept of a line.
pub const MAX_LINE_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines, text: &str) -> Vec<Result<Command, CommandError>> {
        let mut out = Vec::new();
        assert!(lines.push(text.as_bytes(), |command| {
            out.push(command);
            true
        }));
        out
    }

    #[test]
    fn lines_come_in_pieces() {
        let mut lines = Lines::default();
        assert!(all(&mut lines, "adva").is_empty());
        assert_eq!(
            all(&mut lines, "nce 1500\r\n\nidle\nst"),
            [Ok(Command::Advance { by_us: 1500 }), Ok(Command::Idle)]
        );
        assert_eq!(all(&mut lines, "op\n"), [Ok(Command::Stop)]);
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let mut seen = 0;
        let more = Lines::default().push(b"stop\nidle\n", |_| {
            seen += 1;
            false
        });
        assert_eq!((more, seen), (false, 1));
    }

    #[test]
    fn what_is_no_command_is_said() {
        let mut lines = Lines::default();
        for line in ["halt", "advance", "advance -5", "advance 1 2", "stop now"] {
            let error = CommandError::Unknown { line: line.to_owned() };
            assert_eq!(all(&mut lines, &format!("{line}\n")), [Err(error)]);
        }
        let long = "x".repeat(10_000);
        assert_eq!(
            all(&mut lines, &format!("{long}\nstop\n")),
            [Err(CommandError::TooLong), Ok(Command::Stop)]
        );
    }
}
