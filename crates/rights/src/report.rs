//! What came of dropping rights.

use std::fmt;

use crate::capabilities::CapabilitySet;

/// What is in force from now on, of each measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The capabilities that are left.
    pub kept: CapabilitySet,
    /// Dropping capabilities, and no new privileges.
    pub capabilities: Protection,
    /// Files and TCP ports.
    pub landlock: Protection,
    /// System calls.
    pub seccomp: Protection,
}

impl Report {
    /// Whether a measure that was wanted is missing or incomplete: worth a warning.
    #[must_use]
    pub fn falls_short(&self) -> bool {
        [&self.capabilities, &self.landlock, &self.seccomp].into_iter().any(|measure| match measure {
            Protection::InForce { lacking, .. } => !lacking.is_empty(),
            Protection::Unavailable { .. } => true,
            Protection::SwitchedOff => false,
        })
    }
}

/// One line for the log.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "capabilities: {}; landlock: {}; seccomp: {}",
            self.capabilities, self.landlock, self.seccomp
        )
    }
}

/// Whether one measure holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// It does, until the process ends.
    InForce {
        /// What holds, in a few words.
        what: String,
        /// What was wanted, but this kernel cannot restrict.
        lacking: Vec<String>,
    },
    /// It does not, because this system cannot do it.
    Unavailable {
        /// Why, and what would help.
        reason: String,
    },
    /// It does not, because the plan did not want it.
    SwitchedOff,
}

impl Protection {
    /// Whether it holds, complete or not.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        matches!(self, Self::InForce { .. })
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InForce { what, lacking } if lacking.is_empty() => f.write_str(what),
            Self::InForce { what, lacking } => write!(f, "{what}, but not {}", lacking.join(", ")),
            Self::Unavailable { reason } => write!(f, "not available ({reason})"),
            Self::SwitchedOff => f.write_str("switched off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line_that_hides_nothing() {
        let report = Report {
            kept: CapabilitySet::NET_RAW,
            capabilities: Protection::InForce { what: "CAP_NET_RAW alone".to_owned(), lacking: Vec::new() },
            landlock: Protection::InForce {
                what: "in force (ABI 3)".to_owned(),
                lacking: vec!["TCP".to_owned(), "device files".to_owned()],
            },
            seccomp: Protection::Unavailable { reason: "the kernel was built without it".to_owned() },
        };
        assert_eq!(
            report.to_string(),
            "capabilities: CAP_NET_RAW alone; landlock: in force (ABI 3), but not TCP, device files; seccomp: not \
             available (the kernel was built without it)"
        );
        assert!(report.falls_short() && report.landlock.is_in_force() && !report.seccomp.is_in_force());
        let off = Report { landlock: Protection::SwitchedOff, seccomp: Protection::SwitchedOff, ..report };
        assert!(!off.falls_short());
        assert!(off.to_string().ends_with("landlock: switched off; seccomp: switched off"));
    }
}
