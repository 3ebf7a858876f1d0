//! Shards: the fixed division of all flows, whatever the number of workers.

use tapline_record::FlowKey;

/// How many shards there are. Each has a table of its own, and a worker owns several: what a shard sees, holds and
/// evicts does not depend on how many workers share the load, and so neither do the rows.
pub const SHARDS: usize = 64;

/// The shard of a key: both directions of a flow share it.
///
/// A folded multiply per word, a few nanoseconds. With a known seed an attacker can steer all flows into one shard; the
/// shard's own table hashes with a random key, so this costs balance and not complexity. Live capture seeds it at
/// random, replay with a constant, so that the same capture gives the same bytes.
#[must_use]
#[inline]
pub fn shard_of(key: &FlowKey, seed: u64) -> usize {
    let mut mixed = seed ^ 0x243f_6a88_85a3_08d3;
    for word in key.words() {
        let product = u128::from(mixed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        mixed = (product as u64) ^ ((product >> 64) as u64);
    }
    mixed as usize % SHARDS
}
