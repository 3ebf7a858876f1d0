//! What this binary is: `tapline --version`.

/// Version, commit, compiler, target and features.
pub(crate) const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:   ",
    env!("TAPLINE_COMMIT"),
    "\nrustc:    ",
    env!("TAPLINE_RUSTC"),
    "\ntarget:   ",
    env!("TAPLINE_TARGET"),
    "\nfeatures: ",
    env!("TAPLINE_FEATURES")
);

/// Name and version, for files that say who made them.
pub(crate) const PRODUCER: &str = concat!("tapline ", env!("CARGO_PKG_VERSION"));
