//! What the tests share: packets to frames to captures, and the program under test.

pub(crate) mod generator;
pub(crate) mod model;
pub(crate) mod packets;
pub(crate) mod program;
