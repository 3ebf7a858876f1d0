//! The last stage: ended flows become rows.
//!
//! In: flows in the order of rows, from one worker or merged from several, and the truth about them if there is any.
//! Out: the row writer's bytes, and the counts that the accounts are checked against: the exporter counts packets from
//! the flows themselves.

use tapline_export::{ExportError, RowWriter};
use tapline_label::Endpoints;
use tapline_record::{EndReason, FlowRecord};

use crate::labels::{LabelCells, LabelStats, Labeller};
use crate::talkers::Talkers;

/// A writer of flows; the labels are its tail, which has no columns where there is no truth.
pub(crate) type FlowRows<S> = RowWriter<FlowRecord<S>, Option<LabelCells>>;

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
}

impl<S> Exporter<S> {
    pub(crate) fn new(rows: Option<FlowRows<S>>, labeller: Option<Labeller>) -> Self {
        Self { rows, labeller, exported: Exported::default() }
    }

    #[inline]
    pub(crate) fn write(&mut self, flow: &FlowRecord<S>) -> Result<(), ExportError> {
        self.exported.flows += 1;
        self.exported.packets += u64::from(flow.head.packets);
        self.exported.by_reason[flow.head.end_reason as usize] += 1;
        self.exported.talkers.add(&flow.head);
        let label = self.labeller.as_mut().and_then(|labeller| {
            let label = labeller.label(&Endpoints::from(&flow.head), u64::from(flow.head.packets));
            label.map(LabelCells::from)
        });
        match &mut self.rows {
            Some(rows) => rows.write_with(flow, &label),
            None => Ok(()),
        }
    }

    /// Flushes; the output is whole afterwards.
    pub(crate) fn close(mut self) -> Result<Exported, ExportError> {
        if let Some(mut rows) = self.rows {
            rows.flush()?;
            self.exported.output_bytes = rows.bytes();
            rows.finish()?;
        }
        self.exported.labels = self.labeller.map(|labeller| labeller.stats());
        Ok(self.exported)
    }
}
