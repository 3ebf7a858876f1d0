//! [`Health`]: whether the sensor does its work.
//!
//! In: each new snapshot, and the clock when somebody asks. Out: the reasons against it. A packet that the accounts do not
//! explain is a fault only once it stays: the terms are counted in several threads.

use serde::{Deserialize, Serialize};

use crate::snapshot::{Snapshot, State};

/// A worker that has not moved for so long stands still; systemd's watchdog bites after ten seconds.
pub const STALLED_AFTER_US: u64 = 5_000_000;
/// A snapshot that is older says that the daemon's main thread stands still.
pub const STALE_AFTER_US: i64 = 5_000_000;
/// So many snapshots in a row must miss packets before that counts.
pub const MISSING_IN_A_ROW: u32 = 5;

/// Whether the sensor does its work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether there are no faults.
    pub healthy: bool,
    /// What keeps it from its work.
    pub faults: Vec<String>,
    /// What somebody should look at.
    pub warnings: Vec<String>,
}

/// Sees snapshots come, and remembers what must stay before it counts.
#[derive(Debug, Default)]
pub(crate) struct HealthWatch {
    seen_us: i64,
    missing_in_a_row: u32,
}

impl HealthWatch {
    /// To be called about once a second; one that was seen before is nothing new.
    pub(crate) fn observe(&mut self, snapshot: &Snapshot) {
        if snapshot.sensor.now_us == self.seen_us {
            return;
        }
        self.seen_us = snapshot.sensor.now_us;
        let missing = snapshot.packets.missing().total() > 0;
        self.missing_in_a_row = if missing { self.missing_in_a_row.saturating_add(1) } else { 0 };
    }

    /// What the snapshot says at `now_us`, microseconds since 1970.
    pub(crate) fn health(&self, snapshot: &Snapshot, now_us: i64) -> Health {
        let mut faults = Vec::new();
        let age_us = now_us.saturating_sub(snapshot.sensor.now_us);
        if age_us > STALE_AFTER_US {
            faults.push(format!(
                "the sensor's own figures are {} s old: its main thread stands still",
                age_us / 1_000_000
            ));
        }
        for worker in snapshot.workers.iter().filter(|worker| worker.since_moved_us > STALLED_AFTER_US) {
            faults.push(format!(
                "worker {} has not moved for {} s",
                worker.index,
                worker.since_moved_us / 1_000_000
            ));
        }
        if self.missing_in_a_row >= MISSING_IN_A_ROW {
            let missing = snapshot.packets.missing();
            faults.push(format!(
                "packets are unaccounted for: {} of those seen, {} of those processed",
                missing.from_seen, missing.from_processed
            ));
        }
        Health { healthy: faults.is_empty(), faults, warnings: warnings(snapshot) }
    }
}

fn warnings(snapshot: &Snapshot) -> Vec<String> {
    let mut warnings = Vec::new();
    for interface in &snapshot.interfaces {
        match &interface.trouble {
            Some(trouble) => warnings.push(format!("interface {}: {trouble}", interface.name)),
            None if !interface.up => warnings.push(format!("interface {} is down", interface.name)),
            None => {}
        }
    }
    match snapshot.sensor.state {
        State::Starting => warnings.push("the sensor is starting".into()),
        State::Emergency => warnings.push("the flow table is nearly full: timeouts are short".into()),
        State::Stopping => warnings.push("the sensor is stopping".into()),
        State::Running | State::Shedding => {}
    }
    if snapshot.scoring.as_ref().is_some_and(|scoring| scoring.shedding) {
        warnings.push("flows go on without a verdict: the scorer cannot follow".into());
    }
    for sink in &snapshot.sinks {
        if let Some(error) = &sink.last_error {
            warnings.push(format!("sink {}: {error}", sink.name));
        }
    }
    if let Some(error) = &snapshot.config.last_error {
        warnings.push(format!("the latest reload was refused: {error}"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{InterfaceView, SensorView, WorkerView};

    fn at(now_us: i64) -> Snapshot {
        let sensor = SensorView { now_us, state: State::Running, ..SensorView::default() };
        Snapshot { sensor, ..Snapshot::default() }
    }

    #[test]
    fn a_stalled_worker_and_an_old_snapshot_are_faults() {
        let watch = HealthWatch::default();
        let mut snapshot = at(1_000_000);
        assert_eq!(watch.health(&snapshot, 2_000_000), Health { healthy: true, ..Health::default() });
        snapshot.workers = vec![
            WorkerView { index: 0, since_moved_us: STALLED_AFTER_US, ..WorkerView::default() },
            WorkerView { index: 1, since_moved_us: STALLED_AFTER_US + 1, ..WorkerView::default() },
        ];
        assert_eq!(
            watch.health(&snapshot, 8_000_000).faults,
            [
                "the sensor's own figures are 7 s old: its main thread stands still",
                "worker 1 has not moved for 5 s"
            ]
        );
    }

    #[test]
    fn missing_packets_count_once_they_stay() {
        let mut watch = HealthWatch::default();
        let mut snapshot = at(0);
        snapshot.packets.seen = 3;
        for second in 1..=i64::from(MISSING_IN_A_ROW) {
            assert!(watch.health(&snapshot, second).healthy);
            snapshot.sensor.now_us = second;
            watch.observe(&snapshot);
            watch.observe(&snapshot);
        }
        assert_eq!(
            watch.health(&snapshot, 9).faults,
            ["packets are unaccounted for: 3 of those seen, 0 of those processed"]
        );
        snapshot.sensor.now_us += 1;
        snapshot.packets.in_flight = 3;
        watch.observe(&snapshot);
        assert!(watch.health(&snapshot, 9).healthy);
    }

    #[test]
    fn an_interface_that_is_down_is_a_warning() {
        let mut snapshot = at(0);
        let eth0 = InterfaceView { name: "eth0".into(), ..InterfaceView::default() };
        let eth1 = InterfaceView { trouble: Some("it is gone".into()), name: "eth1".into(), ..eth0.clone() };
        snapshot.interfaces = vec![eth0, eth1];
        let health = HealthWatch::default().health(&snapshot, 0);
        assert!(health.healthy);
        assert_eq!(health.warnings, ["interface eth0 is down", "interface eth1: it is gone"]);
    }
}
