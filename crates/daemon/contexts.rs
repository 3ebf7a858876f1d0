//! The stage before scoring: flows pause until their context is known, and become rows of inputs.
//!
//! In: ended flows in the order of rows, and ticks. Out: [`Batch`]es of flows with their inputs and of ticks, to what judges them: in
//! this thread, or [`Beside`] it over a ring. No model is needed for that: a replay reads packets and gathers contexts while its model
//! is being loaded.
//!
//! A sensor that cannot follow leaves verdicts undone here, and then context. Batches are a function of the sequence of flows and
//! ticks, so it does not matter in which thread they are judged.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tapline_features::TaplineState;
use tapline_features::inputs::{self, INPUTS};
use tapline_features::lookahead::{Lookahead, Ready};
use tapline_flow::{CLOCK_SET_BACK_US, HashSeed, SortKey};
use tapline_record::{EndReason, FlowRecord, Timestamp};

use crate::exporter::Exported;
use crate::pipeline::Stage;
use crate::ring::{Sender, ring};
use crate::scoring::{Scoring, ScoringDesk, ScoringLimits};

/// What judges flows whose context is known.
pub(crate) trait Judging: Send {
    /// Takes what the batch holds, and leaves it empty.
    fn take(&mut self, batch: &mut Batch) -> anyhow::Result<()>;

    /// The last batch has come.
    fn close(self) -> anyhow::Result<Exported>;
}

/// Flows and ticks in their order.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) arrivals: Vec<Arrival>,
    /// Inputs of the flows that are to be judged, row after row.
    pub(crate) rows: Vec<f32>,
}

/// What comes to be judged.
pub(crate) enum Arrival {
    /// A flow that nobody waits for: an early record, or one that was shed before it paused.
    PassesBy { flow: FlowRecord<TaplineState>, shed: bool },
    /// A flow whose pause is over. If it is to be judged, the next row is its; if not, it was shed, and keeps its place.
    Ready { flow: FlowRecord<TaplineState>, decided_us: i64, judged: bool },
    /// All flows that were decided until now have come.
    Tick(ScoringTick),
}

/// A tick, and how contexts stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScoringTick {
    /// The time that scoring goes by.
    pub(crate) now_us: i64,
    /// By how much that is ahead of packet time.
    pub(crate) ahead_us: i64,
    /// Flows in the pause.
    pub(crate) pausing: usize,
    pub(crate) shedding: bool,
}

/// Arrivals in a batch: some 45 kB.
const ARRIVALS_PER_BATCH: usize = 32;

/// Batches on their way in a replay: it goes on while its model is being loaded.
pub(crate) const REPLAY_BATCHES: usize = 32;

/// Batches on their way in a sensor, 3 MB.
pub(crate) const SENSOR_BATCHES: usize = 64;

/// How long flows that wait when a sensor stops may still get verdicts.
const LAST_VERDICTS: Duration = Duration::from_millis(1_500);

pub(crate) struct Contexts<J> {
    lookahead: Lookahead<()>,
    /// Flows in the pause.
    pub(crate) pausing: usize,
    /// In a sensor.
    desk: Option<Arc<ScoringDesk>>,
    pub(crate) shedding: Shedding,
    idle_us: i64,
    /// The time of the latest tick, and by how much the time that scoring goes by is ahead of it: that never falls back, whatever
    /// clocks do, for everything that waits waits by it.
    ticked_us: i64,
    ahead_us: i64,
    batch: Batch,
    pub(crate) judging: J,
}

/// What is left undone for want of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shedding {
    Nothing,
    /// Flows are not judged, but are context for those that will be.
    Verdicts,
    /// Flows pass by.
    Everything,
}

impl<J: Judging> Contexts<J> {
    pub(crate) fn new(limits: &ScoringLimits, idle_us: i64, seed: HashSeed, judging: J) -> Self {
        Self {
            lookahead: Lookahead::new(limits.contexts, [seed.0, seed.1], limits.pausing),
            pausing: 0,
            desk: None,
            shedding: Shedding::Nothing,
            idle_us,
            ticked_us: i64::MIN,
            ahead_us: 0,
            batch: Batch::default(),
            judging,
        }
    }

    /// Has this stage ask how much it may leave undone.
    pub(crate) fn at(mut self, desk: Arc<ScoringDesk>) -> Self {
        self.desk = Some(desk);
        self
    }

    /// The time that scoring goes by.
    fn time_us(&mut self, now: Timestamp) -> i64 {
        if self.ticked_us.saturating_sub(now.micros) > CLOCK_SET_BACK_US {
            self.ahead_us = self.ahead_us.saturating_add(self.ticked_us.saturating_sub(now.micros));
        }
        self.ticked_us = now.micros;
        now.micros.saturating_add(self.ahead_us)
    }

    /// Sends on the flows whose pause is over.
    fn send_ready(&mut self) -> anyhow::Result<()> {
        while let Some(ready) = self.lookahead.ready() {
            self.send_flow(ready)?;
        }
        Ok(())
    }

    fn send_flow(&mut self, ready: Ready<()>) -> anyhow::Result<()> {
        let Ready { flow, context, decided_us, .. } = ready;
        self.pausing -= 1;
        let judged = self.shedding == Shedding::Nothing;
        if judged {
            let rows = &mut self.batch.rows;
            let start = rows.len();
            rows.resize(start + INPUTS.len(), 0.0);
            inputs::fill(&flow, &context, &mut rows[start..]);
        }
        self.send(Arrival::Ready { flow, decided_us, judged })
    }

    fn send(&mut self, arrival: Arrival) -> anyhow::Result<()> {
        self.batch.arrivals.push(arrival);
        if self.batch.arrivals.len() < ARRIVALS_PER_BATCH {
            return Ok(());
        }
        self.flush()
    }

    /// Sends what is at hand.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        if self.batch.arrivals.is_empty() { Ok(()) } else { self.judging.take(&mut self.batch) }
    }
}

impl<J: Judging> Stage<TaplineState> for Contexts<J> {
    const NEEDS_A_THREAD: bool = true;

    fn pressed(&mut self, filled_percent: u8) {
        let Some(desk) = &self.desk else { return };
        let limit = desk.shed_percent.load(Ordering::Relaxed);
        // Back not at once, lest it go to and fro with every batch.
        self.shedding = match self.shedding {
            _ if filled_percent >= limit.saturating_add(100) / 2 => Shedding::Everything,
            _ if filled_percent <= limit / 4 => Shedding::Nothing,
            Shedding::Nothing if filled_percent >= limit => Shedding::Verdicts,
            Shedding::Everything if filled_percent < limit => Shedding::Verdicts,
            shedding => shedding,
        };
    }

    fn flow(&mut self, order: SortKey, flow: &FlowRecord<TaplineState>) -> anyhow::Result<()> {
        // Models know whole flows, and the context counts each once.
        let partial = flow.head.end_reason == EndReason::Partial;
        if partial || self.shedding == Shedding::Everything {
            return self.send(Arrival::PassesBy { flow: flow.clone(), shed: !partial });
        }
        self.lookahead.push(flow.clone(), order.decided_us(self.idle_us), ());
        self.pausing += 1;
        self.send_ready()
    }

    fn tick(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let now_us = self.time_us(now);
        self.lookahead.tick(now_us);
        self.send_ready()?;
        let Self { ahead_us, pausing, .. } = *self;
        let shedding = self.shedding > Shedding::Nothing;
        self.send(Arrival::Tick(ScoringTick { now_us, ahead_us, pausing, shedding }))?;
        // Captures wait until a batch is full, a wire does not.
        if self.desk.is_some() { self.flush() } else { Ok(()) }
    }

    fn close(mut self) -> anyhow::Result<Exported> {
        let began = Instant::now();
        while let Some(ready) = self.lookahead.pop() {
            // Who stops a sensor waits for it.
            if self.desk.is_some() && began.elapsed() >= LAST_VERDICTS {
                self.shedding = Shedding::Verdicts;
            }
            self.send_flow(ready)?;
        }
        self.flush()?;
        let mut exported = self.judging.close()?;
        if let Some(report) = &mut exported.scoring {
            report.hurried = self.lookahead.hurried();
            report.contexts_evicted = self.lookahead.contexts_evicted();
        }
        Ok(exported)
    }
}

/// Judging in a thread of its own.
pub(crate) struct Beside {
    sender: Sender<Batch>,
    /// Until it has ended.
    thread: Option<JoinHandle<anyhow::Result<Exported>>>,
}

impl Beside {
    /// Starts the thread, which first makes what judges there. At most `batches` are under way.
    ///
    /// # Errors
    ///
    /// If no thread can be started. That nothing can be made is told by the first batch that finds nobody.
    pub(crate) fn start(
        batches: usize,
        make: impl FnOnce() -> anyhow::Result<Scoring> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (sender, mut receiver) = ring::<Batch>(batches);
        let judge = move || {
            let mut scoring = make()?;
            while let Some(mut batch) = receiver.receive() {
                scoring.take(&mut batch)?;
                receiver.give_back(batch);
            }
            scoring.close()
        };
        let thread = thread::Builder::new().name("judge".to_owned()).spawn(judge);
        Ok(Self { sender, thread: Some(thread.context("starting the thread of verdicts")?) })
    }
}

impl Judging for Beside {
    fn take(&mut self, batch: &mut Batch) -> anyhow::Result<()> {
        if self.sender.send(batch).is_ok() {
            return Ok(());
        }
        // Why it stopped is what it ended with.
        self.end()?;
        Err(anyhow!("verdicts stopped before the flows did"))
    }

    fn close(mut self) -> anyhow::Result<Exported> {
        self.end()
    }
}

impl Beside {
    /// Lets the thread come to its end, and takes what it came to.
    fn end(&mut self) -> anyhow::Result<Exported> {
        // A sender that is gone is the end of the input.
        self.sender = ring(1).0;
        let thread = self.thread.take().context("verdicts have stopped")?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_verdicts_stopped_is_told() {
        let mut beside = Beside::start(2, || Err(anyhow!("no model"))).unwrap();
        let told = loop {
            if let Err(error) = beside.take(&mut Batch::default()) {
                break error;
            }
        };
        assert_eq!(told.to_string(), "no model");
        assert!(beside.close().is_err());
        let beside = Beside::start(2, || Err(anyhow!("no model"))).unwrap();
        assert_eq!(beside.close().unwrap_err().to_string(), "no model");
    }
}
