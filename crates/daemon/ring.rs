//! The hand-off between two threads: an rtrb ring of batches, and a second one that brings empty batches back, so that
//! the steady state allocates nothing.
//!
//! A full ring makes the sender wait: for replay, loss is never the better choice. An abandoned ring is the signal to
//! stop, in both directions.

use std::thread;
use std::time::Duration;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// Batches under way in one ring.
const CAPACITY: usize = 32;

/// The other side has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abandoned;

pub(crate) struct Sender<B> {
    full: Producer<B>,
    empty: Consumer<B>,
}

pub(crate) struct Receiver<B> {
    full: Consumer<B>,
    empty: Producer<B>,
}

/// A ring of batches.
pub(crate) fn ring<B>() -> (Sender<B>, Receiver<B>) {
    let (full_in, full_out) = RingBuffer::new(CAPACITY);
    // One more than can be under way, so that returning a batch never fails.
    let (empty_in, empty_out) = RingBuffer::new(CAPACITY + 2);
    (Sender { full: full_in, empty: empty_out }, Receiver { full: full_out, empty: empty_in })
}

impl<B: Default> Sender<B> {
    /// Sends a batch, waiting while the ring is full, and leaves an empty one in its place.
    pub(crate) fn send(&mut self, batch: &mut B) -> Result<(), Abandoned> {
        let next = self.empty.pop().unwrap_or_default();
        let mut outgoing = std::mem::replace(batch, next);
        let mut patience = Patience::default();
        loop {
            if self.full.is_abandoned() {
                return Err(Abandoned);
            }
            match self.full.push(outgoing) {
                Ok(()) => return Ok(()),
                Err(PushError::Full(returned)) => outgoing = returned,
            }
            patience.wait();
        }
    }
}

impl<B> Receiver<B> {
    /// The next batch, waiting for it; `None` once the sender has gone and nothing is left.
    pub(crate) fn receive(&mut self) -> Option<B> {
        let mut patience = Patience::default();
        loop {
            if let Ok(batch) = self.full.pop() {
                return Some(batch);
            }
            if self.full.is_abandoned() {
                // The last push may have come between the two looks.
                return self.full.pop().ok();
            }
            patience.wait();
        }
    }

    /// Gives an emptied batch back for reuse.
    pub(crate) fn give_back(&mut self, batch: B) {
        // Full only if the sender makes batches of its own; then this one is simply freed.
        let _ = self.empty.push(batch);
    }
}

/// How to wait: first in the hope that it is short, then without burning the processor.
#[derive(Default)]
struct Patience {
    rounds: u32,
}

impl Patience {
    fn wait(&mut self) {
        self.rounds += 1;
        match self.rounds {
            0..=16 => std::hint::spin_loop(),
            17..=20 => thread::yield_now(),
            _ => thread::sleep(Duration::from_micros(50)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_arrive_in_order_and_come_back() {
        let (mut sender, mut receiver) = ring::<Vec<u32>>();
        let total = thread::scope(|scope| {
            scope.spawn(move || {
                let mut batch = Vec::new();
                for i in 0..1_000 {
                    batch.clear();
                    batch.push(i);
                    sender.send(&mut batch).unwrap();
                }
            });
            let mut expected = 0;
            while let Some(batch) = receiver.receive() {
                assert_eq!(batch, [expected]);
                expected += 1;
                receiver.give_back(batch);
            }
            expected
        });
        assert_eq!(total, 1_000);
    }

    #[test]
    fn a_receiver_that_left_stops_the_sender() {
        let (mut sender, receiver) = ring::<Vec<u32>>();
        drop(receiver);
        assert_eq!(sender.send(&mut vec![1]), Err(Abandoned));
    }
}
