//! The kinds of traffic that are told apart.

use std::fmt;
use std::str::FromStr;

/// What traffic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Wanted traffic.
    Benign,
    /// Looking for hosts, ports and services.
    Scan,
    /// Guessing credentials.
    BruteForce,
    /// Making a service unavailable.
    Dos,
    /// Attacks on web applications.
    WebAttack,
    /// Command and control.
    C2,
    /// Carrying data out.
    Exfiltration,
    /// Moving on to further hosts.
    Lateral,
}

impl Class {
    /// Every class, in the order of the counters.
    pub const ALL: [Self; 8] = [
        Self::Benign,
        Self::Scan,
        Self::BruteForce,
        Self::Dos,
        Self::WebAttack,
        Self::C2,
        Self::Exfiltration,
        Self::Lateral,
    ];

    /// The name in truth files and rows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Benign => "benign",
            Self::Scan => "scan",
            Self::BruteForce => "brute-force",
            Self::Dos => "dos",
            Self::WebAttack => "web-attack",
            Self::C2 => "c2",
            Self::Exfiltration => "exfiltration",
            Self::Lateral => "lateral",
        }
    }

    /// Whether it is an attack: every class but [`Class::Benign`].
    #[must_use]
    pub const fn is_hostile(self) -> bool {
        !matches!(self, Self::Benign)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(name: &str) -> Result<Self, UnknownClass> {
        Self::ALL.into_iter().find(|class| class.name() == name).ok_or_else(|| UnknownClass(name.to_owned()))
    }
}

/// A name that is no class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown class {0:?} (benign, scan, brute-force, dos, web-attack, c2, exfiltration or lateral)")]
pub struct UnknownClass(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_in_the_order_of_the_counters() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.name().parse(), Ok(class));
            assert_eq!(class as usize, index);
            assert_eq!(class.is_hostile(), index > 0);
        }
        assert!("Benign".parse::<Class>().is_err());
    }
}
