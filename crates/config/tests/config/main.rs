//! The configuration as its callers see it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails should say so at once")]

mod errors;
mod layers;
mod properties;
mod schema;
mod some_config;
