//! The last stage: ended flows become rows.
//!
//! In: flows in the order of rows, from one worker or merged from several, with their verdicts if a model judged them, and the
//! truth about them if there is any. Out: the row writer's bytes, and the counts that the accounts are checked against: the
//! exporter counts packets from the flows themselves.

use tapline_export::{ExportError, RowWriter};
use tapline_flow::SortKey;
use tapline_label::Endpoints;
use tapline_record::{EndReason, FlowRecord, Timestamp};

use crate::labels::{LabelCells, LabelStats, Labeller};
use crate::pipeline::Stage;
use crate::row_tail::{RowTail, VerdictCells};
use crate::scoring::ScoringReport;
use crate::talkers::Talkers;

/// A writer of flows and what is known of them.
pub(crate) type FlowRows<S> = RowWriter<FlowRecord<S>, RowTail>;

pub(crate) struct Exporter<S: 'static> {
    /// `None` with `--format none`.
    rows: Option<FlowRows<S>>,
    labeller: Option<Labeller>,
    exported: Exported,
}

/// What was emitted.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    pub(crate) flows: u64,
    pub(crate) packets: u64,
    pub(crate) by_reason: [u64; EndReason::ALL.len()],
    pub(crate) output_bytes: u64,
    pub(crate) talkers: Talkers,
    pub(crate) labels: Option<LabelStats>,
    pub(crate) scoring: Option<ScoringReport>,
}

impl<S> Exporter<S> {
    pub(crate) fn new(rows: Option<FlowRows<S>>, labeller: Option<Labeller>) -> Self {
        Self { rows, labeller, exported: Exported::default() }
    }

    /// Writes a flow; whether it is hostile by the truth, where that is known.
    #[inline]
    pub(crate) fn write(
        &mut self,
        flow: &FlowRecord<S>,
        verdict: Option<VerdictCells>,
    ) -> Result<Option<bool>, ExportError> {
        self.exported.flows += 1;
        self.exported.packets += u64::from(flow.head.packets);
        self.exported.by_reason[flow.head.end_reason as usize] += 1;
        self.exported.talkers.add(&flow.head);
        let label = self.labeller.as_mut().and_then(|labeller| {
            let label = labeller.label(&Endpoints::from(&flow.head), u64::from(flow.head.packets));
            label.map(LabelCells::from)
        });
        if let Some(rows) = &mut self.rows {
            rows.write_with(flow, &RowTail { verdict, label })?;
        }
        Ok(label.map(|label| label.is_hostile()))
    }

    /// Flushes; the output is whole afterwards.
    pub(crate) fn finish(mut self) -> Result<Exported, ExportError> {
        if let Some(mut rows) = self.rows {
            rows.flush()?;
            self.exported.output_bytes = rows.bytes();
            rows.finish()?;
        }
        self.exported.labels = self.labeller.map(|labeller| labeller.stats());
        Ok(self.exported)
    }
}

impl<S: Send> Stage<S> for Exporter<S> {
    const NEEDS_A_THREAD: bool = false;

    #[inline]
    fn flow(&mut self, _: SortKey, flow: &FlowRecord<S>) -> anyhow::Result<()> {
        self.write(flow, None)?;
        Ok(())
    }

    fn tick(&mut self, _: Timestamp) -> anyhow::Result<()> {
        Ok(())
    }

    fn close(self) -> anyhow::Result<Exported> {
        Ok(self.finish()?)
    }
}
