//! The way from the last stage to the thread of the sinks: a ring that never makes flows wait.
//!
//! In: rows, a flow and what is known of it. Out: batches of them. When the ring is full, whole batches are dropped and counted
//! by the sinks' meter: a slow disk costs rows, never packets. While the sensor stops there is nothing to keep up with, and the
//! ring is waited for instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tapline_export::{DropCause, SinkMeter};
use tapline_record::FlowRecord;

use crate::ring::{self, Receiver, Sender};
use crate::row_tail::RowTail;

/// Rows per batch.
const ROWS_PER_BATCH: usize = 64;

/// Batches under way, about 14 MB of rows.
const CAPACITY: usize = 256;

/// How long a full ring is waited for: flows must not wait for a disk.
const GRACE: Duration = Duration::from_millis(20);

/// Rows on their way to the sinks.
pub(crate) type RowBatch<S> = Vec<(FlowRecord<S>, RowTail)>;

pub(crate) struct Outbox<S> {
    sender: Sender<RowBatch<S>>,
    batch: RowBatch<S>,
    meter: SinkMeter,
    stopping: Arc<AtomicBool>,
}

/// An outbox, and the end of it that the sinks read. Rows that find no room are counted by `meter`; once `stopping` is set they
/// are waited with.
pub(crate) fn outbox<S>(meter: SinkMeter, stopping: Arc<AtomicBool>) -> (Outbox<S>, Receiver<RowBatch<S>>) {
    let (sender, receiver) = ring::ring(CAPACITY);
    (Outbox { sender, batch: Vec::with_capacity(ROWS_PER_BATCH), meter, stopping }, receiver)
}

impl<S: Clone> Outbox<S> {
    /// Takes a row.
    #[inline]
    pub(crate) fn push(&mut self, flow: &FlowRecord<S>, tail: &RowTail) {
        self.batch.push((flow.clone(), *tail));
        if self.batch.len() >= ROWS_PER_BATCH {
            self.flush();
        }
    }
}

impl<S> Outbox<S> {
    /// Sends what is at hand.
    pub(crate) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let sent = if self.stopping.load(Ordering::Relaxed) {
            self.sender.send(&mut self.batch).map(|()| true)
        } else {
            self.sender.offer(&mut self.batch, GRACE)
        };
        // Sinks that have gone are as good as full ones: their thread has said why.
        if sent != Ok(true) {
            self.meter.add_dropped(DropCause::QueueFull, self.batch.len() as u64);
            self.batch.clear();
        }
    }

    /// Sends the last rows.
    pub(crate) fn close(mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.flush();
    }
}
