//! The CICFlowMeter versions whose behaviour is reproduced.

/// A version of CICFlowMeter: flow rules and feature state of the cic schemas follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CicVersion {
    /// Commit eaa853d of February 2018: the published CIC-IDS2017 and CSE-CIC-IDS2018 tables.
    V2018,
    /// Commit 98a5eba of 2021, "4.0": what people build today.
    Head,
    /// The corrected fork of Gints Engelen, commit 4dd5319.
    Gints,
}
