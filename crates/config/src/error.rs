//! What is wrong with a configuration, where, and what to do.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use crate::PROBLEMS_MAX;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, or the system refuses it.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// The file is no configuration.
    #[error("{} is longer than {most_bytes} bytes: that is no configuration", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The longest that is read, [`FILE_MAX_BYTES`](crate::FILE_MAX_BYTES).
        most_bytes: u64,
    },
    /// Something in it is wrong.
    #[error("{}", Listing { problems, more: *more })]
    Invalid {
        /// What, file first, in the order of the file; at most [`PROBLEMS_MAX`].
        problems: Vec<Problem>,
        /// How many more there are.
        more: usize,
    },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// The key, with dots: `interface.0.name`. Empty for errors of syntax.
    pub key: String,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file.
    File {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// How many characters, on this line.
        width: usize,
        /// The line.
        text: String,
    },
    /// In an environment variable.
    Environment {
        /// Its name.
        name: String,
    },
    /// In a setting (`--set`).
    Setting {
        /// As given.
        text: String,
    },
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is no TOML, no UTF-8, or no setting.
    #[error("{message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// Nobody knows the key.
    #[error("unknown key{}", nearest.as_ref().map_or_else(String::new, |near| format!("; did you mean {near}?")))]
    Unknown {
        /// A key that looks like it.
        nearest: Option<String>,
    },
    /// The value has another type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// The value's text is not what it should be.
    #[error("{value:?} is not {expected}")]
    Value {
        /// The value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The value is none of a few words.
    #[error("{value:?} is not one of {}{}", quoted(choices), nearest.as_ref().map_or_else(String::new, |near| format!("; did you mean {near:?}?")))]
    Choice {
        /// The value.
        value: String,
        /// The words.
        choices: Vec<&'static str>,
        /// The word that looks like it.
        nearest: Option<String>,
    },
    /// The value is too small or too great.
    #[error("{value} is out of range; it can be {least} to {most}")]
    Range {
        /// The value.
        value: String,
        /// The least that it can be.
        least: String,
        /// The most that it can be.
        most: String,
    },
    /// The value does not fit others, or breaks another rule.
    #[error("{text}")]
    Rule {
        /// The rule, and how it is broken.
        text: String,
    },
}

impl Place {
    /// The place of `span` (bytes) in a file's text.
    pub(crate) fn in_file(path: PathBuf, text: &str, span: Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = text.floor_char_boundary(span.end).clamp(start, line_end);
        Self::File {
            path,
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end].trim_end().chars().count().max(1),
            text: text[line_start..line_end].trim_end().to_owned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column, .. } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment { name } => write!(f, "environment {}", printable(name)),
            Self::Setting { text } => write!(f, "--set {}", printable(text)),
        }
    }
}

/// One line that says what is wrong; for a place in a file three more that show it.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, key, flaw } = self;
        write!(f, "{place}: ")?;
        if !key.is_empty() {
            write!(f, "{}: ", printable(key))?;
        }
        write!(f, "{flaw}")?;
        let Place::File { line, column, width, text, .. } = place else { return Ok(()) };
        let (shown, before) = window(text, column - 1);
        let room = shown.chars().count().saturating_sub(before);
        let marks = "^".repeat((*width).min(room).max(1));
        let (margin, before) = (" ".repeat(line.to_string().len()), " ".repeat(before));
        write!(f, "\n {margin} |\n {line} | {shown}\n {margin} | {before}{marks}")
    }
}

/// All problems, with a line on top if there are several.
struct Listing<'a> {
    problems: &'a [Problem],
    more: usize,
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { problems, more } = *self;
        if let [only] = problems
            && more == 0
        {
            return write!(f, "{only}");
        }
        write!(f, "{} problems in the configuration", problems.len() + more)?;
        for problem in problems {
            write!(f, "\n{problem}")?;
        }
        if more > 0 {
            write!(f, "\nand {more} more")?;
        }
        Ok(())
    }
}

/// Problems as they are found, at most [`PROBLEMS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// Only what is kept is made.
    pub(crate) fn push(&mut self, problem: impl FnOnce() -> Problem) {
        if self.found.len() < PROBLEMS_MAX {
            self.found.push(problem());
        } else {
            self.more += 1;
        }
    }

    /// Whether something is known to be wrong with a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.found.iter().any(|problem| problem.key == key)
    }

    /// An error if there were any.
    pub(crate) fn into_result(self) -> Result<(), ConfigError> {
        let Self { found: mut problems, more } = self;
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by_key(|problem| match &problem.place {
            Place::File { line, column, .. } => (0, *line, *column),
            Place::Environment { .. } => (1, 0, 0),
            Place::Setting { .. } => (2, 0, 0),
        });
        Err(ConfigError::Invalid { problems, more })
    }
}

/// The one of `names` that `text` was probably meant to be: a third of the letters may differ, or one begins like the other.
pub(crate) fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    const BEGINNING: usize = 3;
    if text.len() > LONGEST {
        return None;
    }
    let text = text.to_lowercase().replace('-', "_");
    let rank = |name: &str| {
        let name = name.replace('-', "_");
        let distance = strsim::osa_distance(&text, &name);
        let letters = name.chars().count().max(text.chars().count());
        let begins_alike = name.starts_with(&text) && text.len() > BEGINNING
            || text.starts_with(&name) && name.len() > BEGINNING && text.len() <= name.len() + BEGINNING;
        (distance * 3 <= letters || begins_alike).then_some(distance)
    };
    let ranked = names.filter_map(|name| Some((rank(name)?, name)));
    ranked.min_by_key(|&(distance, _)| distance).map(|(_, name)| name)
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

/// The part of a line that is shown, and how many characters of it are before `column` (from 0).
fn window(line: &str, column: usize) -> (String, usize) {
    const BEFORE: usize = 60;
    const SHOWN: usize = 120;
    let start = if column > SHOWN - BEFORE { column - BEFORE } else { 0 };
    let shown: String = line.chars().skip(start).take(SHOWN).collect();
    (printable(&shown), column - start)
}

/// One character for each that a terminal might take for an order.
fn printable(text: &str) -> String {
    let shown = |letter: char| match letter {
        '\t' => ' ',
        letter if letter.is_control() => '\u{fffd}',
        letter => letter,
    };
    text.chars().take(200).map(shown).collect()
}
