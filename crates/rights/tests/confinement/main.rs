//! What still works, and what does not, after rights were dropped.
//!
//! Rights are dropped by the main thread while there is no other, and for good. So the tests have a harness of their own:
//! each starts this program again, and it is the main thread of that child which drops its rights and then tries.

#![cfg_attr(
    target_os = "linux",
    expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "all of it is test code")
)]

#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod interfaces;
#[cfg(target_os = "linux")]
mod raw_call;
#[cfg(target_os = "linux")]
mod refusals;
#[cfg(target_os = "linux")]
mod reports;
#[cfg(target_os = "linux")]
mod work;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    child::run_if_asked(&[refusals::CASES, reports::CASES, work::CASES, interfaces::CASES]);
    let tests = [refusals::tests(), reports::tests(), work::tests(), interfaces::tests()];
    let tests = tests.into_iter().flatten().collect();
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), tests).exit_code()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
