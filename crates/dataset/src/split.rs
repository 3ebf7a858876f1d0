//! What a row is for.

use std::fmt;
use std::str::FromStr;

/// Train, validate or test; a network belongs to one of them. Or none, for trial runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose by.
    Validate,
    /// To be looked at once.
    Test,
    /// None of them: a trial.
    None,
}

impl Split {
    /// Every split.
    pub const ALL: [Self; 4] = [Self::Train, Self::Validate, Self::Test, Self::None];

    /// The name in run files and rows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validate => "validate",
            Self::Test => "test",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Split {
    type Err = UnknownSplit;

    fn from_str(name: &str) -> Result<Self, UnknownSplit> {
        Self::ALL.into_iter().find(|split| split.name() == name).ok_or_else(|| UnknownSplit(name.to_owned()))
    }
}

/// A name that is no split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown split {0:?} (train, validate, test or none)")]
pub struct UnknownSplit(pub String);
