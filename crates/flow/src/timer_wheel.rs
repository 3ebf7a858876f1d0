//! Deadlines, one second a slot.
//!
//! The wheel is lazy: a packet that moves a flow's deadline does not touch it. When a slot comes due, entries whose
//! deadline has moved are put further on. The links stand in the entries themselves ([`Links`]), so arming, moving and
//! removing cost no allocation.

use crate::slab::Slab;

/// Slots, and so the farthest second that can be armed directly; later deadlines wait in the farthest slot.
const SLOTS: usize = 512;
const NONE: u32 = u32::MAX;

/// An entry's place in the wheel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    previous: u32,
    next: u32,
    slot: u16,
}

impl Links {
    pub(crate) const fn unarmed() -> Self {
        Self { previous: NONE, next: NONE, slot: 0 }
    }

    /// The entry armed after this one, in the same slot.
    pub(crate) fn next(&self) -> Option<u32> {
        (self.next != NONE).then_some(self.next)
    }
}

/// What the wheel needs to know of an entry.
pub(crate) trait Armed {
    fn links(&mut self) -> &mut Links;
}

#[derive(Debug)]
pub(crate) struct TimerWheel {
    /// First and last entry of each slot: first in, first out.
    ends: Box<[(u32, u32); SLOTS]>,
    /// One bit per slot that holds anything.
    occupied: [u64; SLOTS / 64],
    /// The second whose slot is the earliest that may hold anything.
    second: i64,
}

impl TimerWheel {
    pub(crate) fn new() -> Self {
        Self { ends: Box::new([(NONE, NONE); SLOTS]), occupied: [0; SLOTS / 64], second: i64::MIN }
    }

    /// Arms `id` for the second of its deadline.
    #[inline]
    pub(crate) fn arm<T: Armed>(&mut self, slab: &mut Slab<T>, id: u32, deadline_second: i64) {
        if self.second == i64::MIN {
            self.second = deadline_second.saturating_sub(SLOTS as i64 / 2);
        }
        let ahead = deadline_second.saturating_sub(self.second).clamp(0, SLOTS as i64 - 1);
        let slot = self.slot_at(ahead as usize);
        let (first, last) = self.ends[slot];
        *slab.get_mut(id).links() = Links { previous: last, next: NONE, slot: slot as u16 };
        if last == NONE {
            self.ends[slot] = (id, id);
            self.occupied[slot / 64] |= 1 << (slot % 64);
        } else {
            slab.get_mut(last).links().next = id;
            self.ends[slot] = (first, id);
        }
    }

    #[inline]
    pub(crate) fn disarm<T: Armed>(&mut self, slab: &mut Slab<T>, id: u32) {
        let Links { previous, next, slot } = *slab.get_mut(id).links();
        let slot = usize::from(slot);
        if previous == NONE {
            self.ends[slot].0 = next;
        } else {
            slab.get_mut(previous).links().next = next;
        }
        if next == NONE {
            self.ends[slot].1 = previous;
        } else {
            slab.get_mut(next).links().previous = previous;
        }
        if self.ends[slot].0 == NONE {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
    }

    /// Moves an entry to the second of its new deadline.
    pub(crate) fn rearm<T: Armed>(&mut self, slab: &mut Slab<T>, id: u32, deadline_second: i64) {
        self.disarm(slab, id);
        self.arm(slab, id, deadline_second);
    }

    /// The first entry of the earliest slot, with that slot's second; `None` when nothing is armed.
    #[inline]
    pub(crate) fn earliest(&self) -> Option<(u32, i64)> {
        let start = self.slot_at(0);
        let ahead = self.first_occupied_from(start)?;
        let slot = self.slot_at(ahead);
        Some((self.ends[slot].0, self.second + ahead as i64))
    }

    /// Moves the wheel on to `second`. Call when nothing armed before it is left.
    pub(crate) fn advance(&mut self, second: i64) {
        self.second = self.second.max(second);
    }

    /// Whether the wheel stands more than `seconds` after `second`.
    pub(crate) const fn is_ahead(&self, second: i64, seconds: i64) -> bool {
        self.second.saturating_sub(second) > seconds
    }

    /// Sets an empty wheel to `second`, which may be before where it stands.
    pub(crate) fn rewind(&mut self, second: i64) {
        debug_assert_eq!(self.earliest(), None, "what is armed has its place by the old time");
        self.second = second;
    }

    /// The first entry of the slot that the wheel stands at.
    pub(crate) fn first_in_current_slot(&self) -> Option<u32> {
        let first = self.ends[self.slot_at(0)].0;
        (first != NONE).then_some(first)
    }

    /// Whether an entry due at `due` would be armed in a later slot than that of `second`.
    pub(crate) fn can_hold(&self, due: i64, second: i64) -> bool {
        due.min(self.second.saturating_add(SLOTS as i64 - 1)) > second
    }

    fn slot_at(&self, ahead: usize) -> usize {
        (self.second.rem_euclid(SLOTS as i64) as usize + ahead) % SLOTS
    }

    /// Distance from slot `start` to the first occupied one, going round.
    fn first_occupied_from(&self, start: usize) -> Option<usize> {
        let words = self.occupied.len();
        let (word, bit) = (start / 64, start % 64);
        for step in 0..=words {
            let at = (word + step) % words;
            let mut bits = self.occupied[at];
            if step == 0 {
                bits &= u64::MAX << bit;
            } else if step == words {
                bits &= !(u64::MAX << bit);
            }
            if bits != 0 {
                let slot = at * 64 + bits.trailing_zeros() as usize;
                return Some((slot + SLOTS - start) % SLOTS);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Entry(Links);

    impl Armed for Entry {
        fn links(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    #[test]
    fn comes_due_in_order_of_seconds_then_of_arming() {
        let mut slab = Slab::new(|_, _| {});
        let mut wheel = TimerWheel::new();
        let ids: Vec<u32> = (0..5).map(|_| slab.insert(Entry(Links::unarmed()))).collect();
        for (id, second) in ids.iter().zip([1_000, 1_010, 1_000, 1_200, 1_005]) {
            wheel.arm(&mut slab, *id, second);
        }
        let mut seen = Vec::new();
        while let Some((id, second)) = wheel.earliest() {
            wheel.advance(second);
            wheel.disarm(&mut slab, id);
            seen.push((id, second));
        }
        assert_eq!(
            seen,
            [(ids[0], 1_000), (ids[2], 1_000), (ids[4], 1_005), (ids[1], 1_010), (ids[3], 1_200)]
        );
    }

    #[test]
    fn far_deadlines_wait_in_the_farthest_slot() {
        let mut slab = Slab::new(|_, _| {});
        let mut wheel = TimerWheel::new();
        let near = slab.insert(Entry(Links::unarmed()));
        let far = slab.insert(Entry(Links::unarmed()));
        wheel.arm(&mut slab, near, 100);
        wheel.arm(&mut slab, far, 100_000);
        assert_eq!(wheel.earliest(), Some((near, 100)));
        wheel.disarm(&mut slab, near);
        let (id, second) = wheel.earliest().unwrap();
        assert_eq!(id, far);
        assert!(second < 100_000, "visited early, to be armed again");
    }
}
