//! Packets to flows with their context, handed over one by one: for tables, for learning, and for who asks for verdicts.
//!
//! In: what a reader or an intake hands on. Out: each ended flow in the order of rows, its pause over and its context known. The rules
//! are those of `tapline replay` without options; it is one worker, in the caller's thread.

use tapline_features::context::{Context, ContextLimits};
use tapline_features::lookahead::{Lookahead, Ready};
use tapline_features::{TaplineState, TaplineTracker};
use tapline_flow::{HashSeed, Rules, Timeouts};
use tapline_record::FlowRecord;

use crate::flow_worker::{FlowWorker, Tables};
use crate::reader::Routed;
use crate::replay::random_seed;

/// A flow with the features of schema `tapline-1`.
pub(crate) type Flow = FlowRecord<TaplineState>;

/// A flow and its context.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) flow: Flow,
    pub(crate) context: Context,
    /// When the flow's end was certain; never goes back within a capture.
    pub(crate) decided_us: i64,
}

/// Makes [`Observed`] flows.
pub(crate) struct Observer {
    worker: FlowWorker<TaplineTracker>,
    lookahead: Lookahead<()>,
}

/// As `tapline replay` without options.
pub(crate) fn rules() -> Rules {
    Rules::Tapline { timeouts: Timeouts::default(), vlan_in_key: true }
}

impl Observer {
    /// With at most so many flows that live, and as many that pause.
    pub(crate) fn new(flows_max: usize) -> Self {
        let seed @ HashSeed(key_0, key_1) = random_seed();
        Self {
            worker: FlowWorker::new(0, 1, Tables { rules: rules(), flows_max, seed }, TaplineTracker),
            lookahead: Lookahead::new(ContextLimits::default(), [key_0, key_1], flows_max),
        }
    }

    /// Takes a packet or a tick, and hands on the flows whose pause is over by then.
    #[inline]
    pub(crate) fn take<E>(
        &mut self,
        routed: Routed,
        each: &mut impl FnMut(Observed) -> Result<(), E>,
    ) -> Result<(), E> {
        match routed {
            Routed::Packet(packet, shard) => self.worker.push(&packet, shard),
            Routed::Tick(now) => {
                self.worker.tick(now);
                self.pause(each)?;
                // As in scoring: a pause ends when its time is over, not when the next flow comes.
                self.lookahead.tick(now.micros);
                while let Some(ready) = self.lookahead.ready() {
                    each(Observed::from(ready))?;
                }
            }
        }
        Ok(())
    }

    /// Hands on all flows that are left: the input is over.
    pub(crate) fn finish<E>(mut self, each: &mut impl FnMut(Observed) -> Result<(), E>) -> Result<(), E> {
        self.worker.finish();
        self.pause(each)?;
        while let Some(ready) = self.lookahead.pop() {
            each(Observed::from(ready))?;
        }
        Ok(())
    }

    /// Lets ended flows pause.
    fn pause<E>(&mut self, each: &mut impl FnMut(Observed) -> Result<(), E>) -> Result<(), E> {
        let Self { worker, lookahead } = self;
        worker.drain(|flow| {
            let decided_us = flow.order().decided_us(Timeouts::default().idle_us);
            lookahead.push(flow.take(), decided_us, ());
            while let Some(ready) = lookahead.ready() {
                each(Observed::from(ready))?;
            }
            Ok(())
        })
    }
}

impl From<Ready<()>> for Observed {
    fn from(Ready { flow, context, decided_us, .. }: Ready<()>) -> Self {
        Self { flow, context, decided_us }
    }
}
