//! Training tables: which flows go in, what they are called, and what the table is worth.
//!
//! ```text
//!  labels of a public corpus ──► corpus: class, behaviour, which flows to trust
//!  flows of a capture        ──► copies, caps: which of them become rows
//!  rows                      ──► card: counts, gaps      sample ──► honesty: what is learnt that is not the attack
//! ```
//!
//! This crate owns the rules: the mapping of the corpus's labels, caps that keep stretches of time whole, copies, the
//! counts and cross tables of the data card, and the honesty checks with the small trees that they need. It never opens
//! a file or reads a clock, makes no flow and writes no row: the daemon does (`dataset_command.rs`). Every table in it
//! is bounded. The same input gives the same output.

pub mod split;

pub mod addresses;
pub mod corpus;

pub mod caps;
pub mod copies;

pub mod card;
mod card_text;

pub mod auc;
pub mod honesty;
mod random;
pub mod sample;
pub mod trees;

pub use card::{Card, CardBuilder, Dropped, Made, Row};
pub use copies::Copies;
pub use corpus::{CorpusFile, Keep, Reading};
pub use honesty::Honesty;
pub use sample::{Feature, Role, Sample};
pub use split::Split;
