//! How `sensor.memory` is divided.
//!
//! In: the configuration. Out: the sizes of tables and queues. What the program itself takes and what is the same for every
//! sensor comes first, then the capture buffers; of the rest most goes to live flows, and with a model nearly half to scoring.

use tapline_config::Config;
use tapline_features::context::ContextLimits;
use tapline_score::Batching;

use crate::scoring::ScoringLimits;

const MIB: u64 = 1 << 20;

/// The program, its libraries and threads, buffers of sinks, the latest flows, rows under way.
const PROGRAM_BYTES: u64 = 72 * MIB;

/// Rings of one worker: packets from one reader, and ended flows.
const LANE_BYTES: u64 = 2 * MIB;
const ENDED_BYTES: u64 = 10 * MIB;

/// A live flow: its entry, its share of the index while that grows, and its place among the free ones.
const FLOW_BYTES: u64 = 720;

/// A model: weights, what it computes with, and flows on their way to it.
const MODEL_BYTES: u64 = 27 * MIB;

/// What a replay's [`ScoringLimits`] take.
const SCORING_BYTES: u64 = 470 * MIB;

/// Batches of packets under way from a reader to a worker: 64 of 256 packets.
pub(crate) const PACKET_BATCHES: usize = 64;

/// Batches of ended flows under way from a worker.
pub(crate) const FLOW_BATCHES: usize = 256;

/// Sizes of tables and queues.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Live flows, of all workers.
    pub(crate) flows_max: u64,
    pub(crate) scoring: ScoringLimits,
}

impl Budget {
    /// Divides what the configuration allows; `scored`: there is a model. Too little memory makes small tables, not none.
    pub(crate) fn of(config: &Config, scored: bool) -> Self {
        let workers = u64::from(config.sensor.workers);
        let readers: u64 = config.interfaces.iter().map(|interface| u64::from(interface.readers)).sum();
        let fixed = PROGRAM_BYTES
            + config.capture_buffers_bytes()
            + workers * (readers * LANE_BYTES + ENDED_BYTES)
            + if scored { MODEL_BYTES } else { 0 };
        let rest = config.sensor.memory_bytes.saturating_sub(fixed).max(8 * MIB);
        let (flows, scoring) = if scored { (rest * 50 / 100, rest * 40 / 100) } else { (rest * 90 / 100, 0) };
        Self { flows_max: flows / FLOW_BYTES, scoring: scoring_limits(scoring) }
    }
}

/// The limits of a replay, scaled to what there is.
fn scoring_limits(bytes: u64) -> ScoringLimits {
    let whole = ScoringLimits::default();
    let part = |full: usize, least: usize| {
        let share = full as u64 * bytes / SCORING_BYTES;
        usize::try_from(share).unwrap_or(usize::MAX).clamp(least, full)
    };
    ScoringLimits {
        held: part(whole.held, 4_096),
        pausing: part(whole.pausing, 16_384),
        incidents: part(whole.incidents, 1_024),
        targets: part(whole.targets, 1_024),
        contexts: ContextLimits {
            links: part(whole.contexts.links, 16_384),
            hosts: part(whole.contexts.hosts, 2_048),
            pairs: part(whole.contexts.pairs, 4_096),
        },
        // Verdicts are waited for.
        batching: Batching { steps: 512, wait_us: 500_000 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_memory_holds_more_flows_and_a_model_takes_its_share() {
        let of = |mib: u64, scored: bool| {
            let mut config = Config::default();
            config.sensor.memory_bytes = mib * MIB;
            Budget::of(&config, scored)
        };
        let plain = of(512, false);
        assert!((450_000..500_000).contains(&plain.flows_max), "{plain:?}");
        let scored = of(512, true);
        assert!((230_000..260_000).contains(&scored.flows_max), "{scored:?}");
        assert!((16_000..24_000).contains(&scored.scoring.held), "{scored:?}");
        assert!(of(1_024, true).flows_max > 2 * scored.flows_max);
        assert_eq!(of(8_192, true).scoring.held, ScoringLimits::default().held);
        assert!(of(128, true).flows_max >= 5_000);
    }
}
