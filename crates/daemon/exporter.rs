//! The last stage: ended flows become rows.
//!
//! In: flows in the order of rows, from one worker or merged from several, with their verdicts if a model judged them, and the
//! truth about them if there is any. Out: the row writer's bytes, or batches for the thread of the sinks, and the counts that the accounts are checked against: the
//! exporter counts packets from the flows themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tapline_export::{ExportError, RowWriter};
use tapline_flow::SortKey;
use tapline_label::Endpoints;
use tapline_record::{Cell, Column, EndReason, FlowRecord, Timestamp};

use crate::labels::{LabelCells, LabelStats, Labeller};
use crate::outbox::Outbox;
use crate::pipeline::Stage;
use crate::place::Place;
use crate::row_tail::{RowTail, VerdictCells};
use crate::scoring_report::ScoringReport;
use crate::talkers::{Talk, Talkers};

/// A writer of flows and what is known of them.
pub(crate) type FlowRows<S> = RowWriter<FlowRecord<S>, RowTail>;

/// How often a sensor lets what talkers did before weigh half.
const HALVE_EVERY: Duration = Duration::from_secs(3_600);

/// Where rows go.
pub(crate) enum Rows<S: 'static> {
    /// Nowhere: `--format none`.
    None,
    /// To a file or a pipe that is waited for.
    Writer(FlowRows<S>),
    /// To a thread that is not.
    Outbox(Outbox<S>),
}

/// Reads one column of a flow.
type ReadCell<S> = fn(&FlowRecord<S>) -> Cell;

pub(crate) struct Exporter<S: 'static> {
    rows: Rows<S>,
    labeller: Option<Labeller>,
    exported: Exported,
    /// In a sensor.
    watched: Option<Watched<S>>,
}

/// What only a sensor asks of its last stage.
struct Watched<S: 'static> {
    board: Arc<ExportBoard>,
    /// What tells the IP bytes of a flow, by direction.
    ip_bytes: Vec<ReadCell<S>>,
    /// When the talkers were halved.
    halved: Instant,
}

/// What a sensor's last stage has come to.
#[derive(Debug, Default)]
pub(crate) struct ExportBoard {
    /// Grows while the stage moves.
    pub(crate) moved: AtomicU64,
    now: Place<ExportedNow>,
}

/// What was emitted, at the last tick.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExportedNow {
    pub(crate) flows: u64,
    pub(crate) partial: u64,
    pub(crate) packets: u64,
    pub(crate) by_reason: [u64; EndReason::ALL.len()],
    pub(crate) talkers: Vec<Talk>,
    /// When the talkers were looked up.
    looked_up: Option<Instant>,
}

/// What was emitted.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    pub(crate) flows: u64,
    /// Early records of flows that went on; their packets are counted with the last record.
    pub(crate) partial: u64,
    pub(crate) packets: u64,
    pub(crate) by_reason: [u64; EndReason::ALL.len()],
    pub(crate) output_bytes: u64,
    pub(crate) talkers: Talkers,
    pub(crate) labels: Option<LabelStats>,
    pub(crate) scoring: Option<ScoringReport>,
}

impl<S: Clone> Exporter<S> {
    pub(crate) fn new(rows: Rows<S>, labeller: Option<Labeller>) -> Self {
        Self { rows, labeller, exported: Exported::default(), watched: None }
    }

    /// Lets others see what is emitted while it runs; the columns tell the bytes of talkers.
    pub(crate) fn at(mut self, board: Arc<ExportBoard>, columns: &'static [Column<FlowRecord<S>>]) -> Self {
        let ip_bytes =
            columns.iter().filter(|column| ["fwd_ip_bytes", "bwd_ip_bytes"].contains(&column.name));
        let ip_bytes = ip_bytes.map(|column| column.cell).collect();
        self.watched = Some(Watched { board, ip_bytes, halved: Instant::now() });
        self
    }

    /// Says that the stage moves.
    pub(crate) fn moved(&self) {
        if let Some(Watched { board, .. }) = &self.watched {
            board.moved.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes a flow; whether it is hostile by the truth, where that is known.
    #[inline]
    pub(crate) fn write(
        &mut self,
        flow: &FlowRecord<S>,
        verdict: Option<VerdictCells>,
    ) -> Result<Option<bool>, ExportError> {
        self.exported.by_reason[flow.head.end_reason as usize] += 1;
        if flow.head.end_reason == EndReason::Partial {
            self.exported.partial += 1;
        } else {
            self.exported.flows += 1;
            self.exported.packets += u64::from(flow.head.packets);
            let bytes = |cell: &ReadCell<S>| match cell(flow) {
                Cell::Int(bytes) => u64::try_from(bytes).unwrap_or_default(),
                _ => 0,
            };
            let ip_bytes =
                self.watched.as_ref().map_or(0, |watched| watched.ip_bytes.iter().map(bytes).sum());
            self.exported.talkers.add(&flow.head, ip_bytes);
        }
        let label = self.labeller.as_mut().and_then(|labeller| {
            let label = labeller.label(&Endpoints::from(&flow.head), u64::from(flow.head.packets));
            label.map(LabelCells::from)
        });
        match &mut self.rows {
            Rows::None => {}
            Rows::Writer(rows) => rows.write_with(flow, &RowTail { verdict, label })?,
            Rows::Outbox(outbox) => outbox.push(flow, &RowTail { verdict, label }),
        }
        Ok(label.map(|label| label.is_hostile()))
    }

    /// Sends on what waits for company.
    pub(crate) fn tick(&mut self) {
        if let Rows::Outbox(outbox) = &mut self.rows {
            outbox.flush();
        }
        if let Some(Watched { board, halved, .. }) = &mut self.watched {
            // Over months the talkers of the first day would never be overtaken.
            if halved.elapsed() >= HALVE_EVERY {
                *halved = Instant::now();
                self.exported.talkers.halve();
            }
            board.note(&self.exported);
        }
    }

    /// Flushes; the output is whole afterwards.
    pub(crate) fn finish(mut self) -> Result<Exported, ExportError> {
        match self.rows {
            Rows::None => {}
            Rows::Writer(mut rows) => {
                rows.flush()?;
                self.exported.output_bytes = rows.bytes();
                rows.finish()?;
            }
            Rows::Outbox(outbox) => outbox.close(),
        }
        self.exported.labels = self.labeller.map(|labeller| labeller.stats());
        Ok(self.exported)
    }
}

impl ExportBoard {
    /// What was emitted.
    pub(crate) fn now(&self) -> ExportedNow {
        self.now.lock().clone()
    }

    fn note(&self, exported: &Exported) {
        let mut now = self.now.lock();
        now.flows = exported.flows;
        now.partial = exported.partial;
        now.packets = exported.packets;
        now.by_reason = exported.by_reason;
        // They are sought among thousands.
        if now.looked_up.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
            now.looked_up = Some(Instant::now());
            now.talkers = exported.talkers.top(10);
        }
    }
}

impl<S: Clone + Send> Stage<S> for Exporter<S> {
    const NEEDS_A_THREAD: bool = false;

    fn pressed(&mut self, _: u8) {
        self.moved();
    }

    #[inline]
    fn flow(&mut self, _: SortKey, flow: &FlowRecord<S>) -> anyhow::Result<()> {
        self.write(flow, None)?;
        Ok(())
    }

    fn tick(&mut self, _: Timestamp) -> anyhow::Result<()> {
        Self::tick(self);
        Ok(())
    }

    fn close(self) -> anyhow::Result<Exported> {
        Ok(self.finish()?)
    }
}
