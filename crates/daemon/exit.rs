//! Exit codes, after sysexits.h, and the one place where a failure is told.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// How the command ended, if not well.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    error: anyhow::Error,
}

/// The exit codes that Tapline uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// EX_USAGE by sysexits is 64; clap and most tools say 2.
    Usage = 2,
    /// There was an alert, and `--fail-on-alert` asked to be told so. No sysexits code: nothing went wrong.
    Alert = 3,
    /// EX_DATAERR: the input is not what it should be.
    Data = 65,
    /// EX_NOINPUT: the input is not there or not readable.
    NoInput = 66,
    /// EX_UNAVAILABLE: this build cannot do it.
    Unavailable = 69,
    /// EX_SOFTWARE: a promise of Tapline's own was broken.
    Software = 70,
    /// EX_CANTCREAT: the output cannot be made.
    CantCreate = 73,
    /// EX_IOERR: reading or writing failed half-way.
    Io = 74,
    /// EX_NOPERM: a right is missing.
    NoPermission = 77,
    /// EX_CONFIG: the configuration is wrong.
    Config = 78,
}

impl Failure {
    pub(crate) fn new(code: Code, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Code::Usage, anyhow::anyhow!("{message}"))
    }

    pub(crate) fn io(error: anyhow::Error) -> Self {
        Self::new(Code::Io, error)
    }

    /// Says that there were `count` failures, of which this is the first.
    pub(crate) fn among(self, count: usize) -> Self {
        Self { error: self.error.context(format!("{count} files failed, the first")), ..self }
    }

    /// The exit code that it stands for.
    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// Prints the error with its causes and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        // Who closed standard error, or filled its disk, still gets the exit code.
        let _ = writeln!(io::stderr(), "tapline: {self}");
        ExitCode::from(self.code as u8)
    }
}

/// The error and its causes; a cause that the text before it has told already is not told twice.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for cause in self.error.chain() {
            let cause = cause.to_string();
            if text.is_empty() {
                text = cause;
            } else if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        f.write_str(&text)
    }
}

/// It passes through the stages as what ended them.
impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn causes_are_told_once() {
        let cause = anyhow!("no such file");
        let told = Failure::io(cause.context("reading x").context("opening y: reading x"));
        assert_eq!(told.to_string(), "opening y: reading x: no such file");
    }
}
