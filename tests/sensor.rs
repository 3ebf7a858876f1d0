//! Tests of `tapline run` on a wire: a veth pair in a network namespace that each test makes for itself, with a sender and
//! a recorder of the test's own. Where no namespace can be made, they say so and pass.
//!
//! `TAPLINE_TEST_FULL=1` runs the heavy ones at full size.

mod process;
mod wire;

mod bounds;
mod conservation;
mod ends;
mod files;
mod interface;
mod reload;
mod rights;
mod same_rows;
mod watchdog;

/// Whether the heavy tests run at full size.
fn full_size() -> bool {
    std::env::var_os("TAPLINE_TEST_FULL").is_some_and(|value| value == "1")
}
