//! The hand-off between two threads: an rtrb ring of batches, and a second one that brings empty batches back, so that
//! the steady state allocates nothing.
//!
//! What a full ring means is the sender's decision: [`Sender::send`] waits, for replay, where loss is never the better choice;
//! [`Sender::offer`] waits for a moment and then says no, for a wire that does not wait. An abandoned ring is the signal to
//! stop, in both directions.

use std::thread;
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// Batches under way in one ring, where the sender waits.
pub(crate) const CAPACITY: usize = 32;

/// The other side has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abandoned;

pub(crate) struct Sender<B> {
    full: Producer<B>,
    empty: Consumer<B>,
    /// The last batch offered found no room: the other side is not waited for before it moves again.
    stuck: bool,
}

pub(crate) struct Receiver<B> {
    full: Consumer<B>,
    empty: Producer<B>,
    longest_nap: Duration,
}

/// A ring of at most `capacity` batches. One that holds more than [`CAPACITY`] need not be looked at as often.
pub(crate) fn ring<B>(capacity: usize) -> (Sender<B>, Receiver<B>) {
    let (full_in, full_out) = RingBuffer::new(capacity);
    // One more than can be under way, so that returning a batch never fails.
    let (empty_in, empty_out) = RingBuffer::new(capacity + 2);
    let longest_nap = if capacity > CAPACITY { LONGEST_NAP } else { SHORTEST_NAP };
    let receiver = Receiver { full: full_out, empty: empty_in, longest_nap };
    (Sender { full: full_in, empty: empty_out, stuck: false }, receiver)
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

    /// Sends a batch if there is room within `grace`, and says whether it did; if so, an empty one is in its place. A ring that
    /// was full for so long is not waited for again until it has room.
    pub(crate) fn offer(&mut self, batch: &mut B, grace: Duration) -> Result<bool, Abandoned> {
        let mut patience = Patience::default();
        let mut since = None;
        while self.full.is_full() {
            if self.full.is_abandoned() {
                return Err(Abandoned);
            }
            let began = *since.get_or_insert_with(Instant::now);
            if self.stuck || began.elapsed() >= grace {
                self.stuck = true;
                return Ok(false);
            }
            patience.wait();
        }
        self.stuck = false;
        self.send(batch).map(|()| true)
    }
}

impl<B> Receiver<B> {
    /// The next batch, if there is one.
    pub(crate) fn try_receive(&mut self) -> Option<B> {
        self.full.pop().ok()
    }

    /// Whether nothing will come any more.
    pub(crate) fn is_over(&self) -> bool {
        // In this order: the last push may come between the two looks.
        self.full.is_abandoned() && self.full.is_empty()
    }

    /// How full the ring is.
    pub(crate) fn filled_percent(&self) -> u8 {
        (self.full.slots() * 100 / self.full.buffer().capacity()) as u8
    }

    /// The next batch, waiting for it; `None` once the sender has gone and nothing is left.
    pub(crate) fn receive(&mut self) -> Option<B> {
        let mut patience = Patience::new(self.longest_nap);
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

/// How to wait: first in the hope that it is short, then in naps, each twice as long as the one before.
pub(crate) struct Patience {
    rounds: u32,
    longest_nap: Duration,
}

/// A nap, and the longest before a ring that holds what comes meanwhile.
const SHORTEST_NAP: Duration = Duration::from_micros(50);
pub(crate) const LONGEST_NAP: Duration = Duration::from_micros(3_200);

impl Patience {
    pub(crate) const fn new(longest_nap: Duration) -> Self {
        Self { rounds: 0, longest_nap }
    }

    pub(crate) fn wait(&mut self) {
        self.rounds = self.rounds.saturating_add(1);
        match self.rounds {
            0..=16 => std::hint::spin_loop(),
            17..=20 => thread::yield_now(),
            round => thread::sleep((SHORTEST_NAP * 2_u32.pow((round - 21).min(6))).min(self.longest_nap)),
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new(SHORTEST_NAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_arrive_in_order_and_come_back() {
        let (mut sender, mut receiver) = ring::<Vec<u32>>(CAPACITY);
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
    fn an_offer_is_refused_while_there_is_no_room() {
        let (mut sender, mut receiver) = ring::<Vec<u32>>(2);
        for n in 0..2 {
            assert_eq!(sender.offer(&mut vec![n], Duration::ZERO), Ok(true));
        }
        assert_eq!(receiver.filled_percent(), 100);
        let mut batch = vec![2];
        assert_eq!(sender.offer(&mut batch, Duration::from_millis(1)), Ok(false));
        assert_eq!(batch, [2], "what was refused is still the sender's");
        assert_eq!(receiver.try_receive(), Some(vec![0]));
        assert_eq!(sender.offer(&mut batch, Duration::from_millis(1)), Ok(true));
        drop(sender);
        assert!(!receiver.is_over());
        assert_eq!([receiver.try_receive(), receiver.try_receive()], [Some(vec![1]), Some(vec![2])]);
        assert!(receiver.is_over());
    }

    #[test]
    fn a_receiver_that_left_stops_the_sender() {
        let (mut sender, receiver) = ring::<Vec<u32>>(1);
        drop(receiver);
        assert_eq!(sender.send(&mut vec![1]), Err(Abandoned));
    }
}
