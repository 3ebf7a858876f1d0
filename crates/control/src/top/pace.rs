//! [`Pace`]: how fast counters grow between two snapshots of one sensor.

use crate::snapshot::Snapshot;

/// Two snapshots and what lies between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace<'a> {
    older: &'a Snapshot,
    newer: &'a Snapshot,
    seconds: f64,
}

impl<'a> Pace<'a> {
    /// `None` if they are of two lives of the sensor, or not in this order.
    pub(crate) fn between(older: &'a Snapshot, newer: &'a Snapshot) -> Option<Self> {
        let same = older.sensor.pid == newer.sensor.pid && older.sensor.started_us == newer.sensor.started_us;
        let us = newer.sensor.now_us.saturating_sub(older.sensor.now_us);
        (same && us > 0).then(|| Self { older, newer, seconds: us as f64 / 1e6 })
    }

    /// How much of it came in a second.
    pub(crate) fn per_s(&self, read: impl Fn(&Snapshot) -> u64) -> f64 {
        read(self.newer).saturating_sub(read(self.older)) as f64 / self.seconds
    }

    /// The same of what is a number with digits behind the point.
    pub(crate) fn real_per_s(&self, read: impl Fn(&Snapshot) -> f64) -> f64 {
        (read(self.newer) - read(self.older)).max(0.0) / self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::SensorView;

    fn at(now_us: i64, seen: u64) -> Snapshot {
        let mut snapshot =
            Snapshot { sensor: SensorView { now_us, ..SensorView::default() }, ..Snapshot::default() };
        snapshot.packets.seen = seen;
        snapshot
    }

    #[test]
    fn rates_are_of_one_life_and_forward_in_time() {
        let (older, mut newer) = (at(1_000_000, 50), at(3_000_000, 90));
        let rate = |older: &Snapshot, newer: &Snapshot| {
            Pace::between(older, newer).map(|pace| pace.per_s(|s| s.packets.seen))
        };
        assert_eq!(rate(&older, &newer), Some(20.0));
        assert_eq!(rate(&newer, &older), None);
        assert_eq!(rate(&newer, &newer), None);
        newer.sensor.started_us = 2;
        assert_eq!(rate(&older, &newer), None);
    }
}
