//! One direction of one cable: when does a frame come out, if it does?
//!
//! Owns the delay, the rate and the dice of the direction. In goes the time at which a frame starts and its length; out
//! comes the time at which it is due at the other end, or the reason why it never is. It holds no frame, reads no clock
//! and cannot grow: the queue is the time until the link is free.

use crate::config::Link;

/// One direction of one cable.
#[derive(Debug, Clone)]
pub struct Pipe {
    delay_ns: u64,
    jitter_ns: u64,
    loss: f64,
    reorder: f64,
    /// 0 is without limit.
    rate_kbps: u64,
    queue_ns: u64,
    /// When the last frame that was let in has left the sender.
    free_at_ns: u64,
    /// Due time of the last frame that keeps its place.
    last_due_ns: u64,
    dice: fastrand::Rng,
}

impl Pipe {
    /// A pipe at rest. The same seed and the same frames give the same answers.
    #[must_use]
    pub fn new(link: &Link, seed: u64) -> Self {
        Self {
            delay_ns: link.delay_us * 1000,
            jitter_ns: link.jitter_us * 1000,
            loss: link.loss,
            reorder: link.reorder,
            rate_kbps: link.rate_kbps,
            queue_ns: link.queue_ms * 1_000_000,
            free_at_ns: 0,
            last_due_ns: 0,
            dice: fastrand::Rng::with_seed(seed),
        }
    }

    /// Puts a frame of `len` octets in at `now_ns`, which never goes back.
    ///
    /// A frame that is lost takes no time of the link. A frame that is held back is late by one to two times the
    /// jitter, at least by one to two milliseconds, and those behind it do not wait for it.
    pub fn put(&mut self, now_ns: u64, len: usize) -> Passage {
        if self.loss > 0.0 && self.dice.f64() < self.loss {
            return Passage::Lost;
        }
        let mut sent_ns = now_ns;
        if let Some(on_link_ns) = (len as u64 * 8_000_000).checked_div(self.rate_kbps) {
            let start_ns = self.free_at_ns.max(now_ns);
            if start_ns - now_ns > self.queue_ns {
                return Passage::QueueFull;
            }
            sent_ns = start_ns + on_link_ns;
            self.free_at_ns = sent_ns;
        }
        let mut due_ns = sent_ns + self.delay_ns;
        if self.jitter_ns > 0 {
            // The product of two dice: most frames are near the base delay, few near the bound.
            due_ns += (self.jitter_ns as f64 * self.dice.f64() * self.dice.f64()) as u64;
        }
        if self.reorder > 0.0 && self.dice.f64() < self.reorder {
            let extra_ns = self.jitter_ns.max(MIN_HOLD_NS) as f64;
            return Passage::Due(due_ns + (extra_ns * (1.0 + self.dice.f64())) as u64);
        }
        self.last_due_ns = self.last_due_ns.max(due_ns);
        Passage::Due(self.last_due_ns)
    }
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It comes out at this time, in nanoseconds of the caller's clock.
    Due(u64),
    /// The dice took it.
    Lost,
    /// It would have waited too long for the link.
    QueueFull,
}

/// Enough for frames of the same burst to pass.
const MIN_HOLD_NS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn due(pipe: &mut Pipe, now_ns: u64, len: usize) -> u64 {
        match pipe.put(now_ns, len) {
            Passage::Due(due_ns) => due_ns,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_perfect_cable_takes_no_time() {
        let mut pipe = Pipe::new(&Link::default(), 1);
        assert_eq!(due(&mut pipe, 5, 1500), 5);
        assert_eq!(due(&mut pipe, 5, 1500), 5);
    }

    #[test]
    fn delay_is_exact() {
        let mut pipe = Pipe::new(&Link { delay_us: 200, ..Link::default() }, 1);
        assert_eq!(due(&mut pipe, 1_000, 60), 201_000);
        assert_eq!(due(&mut pipe, 2_000, 60), 202_000);
    }

    #[test]
    fn rate_spaces_frames_and_the_queue_ends() {
        // 1,250 octets at 10 Mbit/s take one millisecond; the queue holds three of them behind the one on the link.
        let link = Link { rate_kbps: 10_000, queue_ms: 3, ..Link::default() };
        let mut pipe = Pipe::new(&link, 1);
        for i in 1..=4 {
            assert_eq!(due(&mut pipe, 0, 1250), i * 1_000_000);
        }
        assert_eq!(pipe.put(0, 1250), Passage::QueueFull);
        assert_eq!(due(&mut pipe, 1_000_000, 1250), 5_000_000);
        // An idle link saves nothing up.
        assert_eq!(due(&mut pipe, 100_000_000, 1250), 101_000_000);
    }

    #[test]
    fn jitter_keeps_the_order_and_its_bound() {
        let mut pipe = Pipe::new(&Link { delay_us: 1_000, jitter_us: 500, ..Link::default() }, 3);
        let mut last = 0;
        let mut sum = 0;
        for i in 0..10_000 {
            // Wide gaps: nobody waits for the frame before.
            let now = i * 10_000_000;
            let due_ns = due(&mut pipe, now, 60);
            assert!((1_000_000..1_500_000).contains(&(due_ns - now)));
            assert!(due_ns >= last);
            last = due_ns;
            sum += due_ns - now - 1_000_000;
        }
        let mean_us = sum / 10_000 / 1000;
        assert!((115..135).contains(&mean_us), "{mean_us}");
        for i in 0..10_000 {
            // Narrow gaps: the order must hold.
            let due_ns = due(&mut pipe, 200_000_000_000 + i * 1_000, 60);
            assert!(due_ns >= last);
            last = due_ns;
        }
    }

    #[test]
    fn loss_is_as_often_as_asked() {
        let mut pipe = Pipe::new(&Link { loss: 0.1, ..Link::default() }, 9);
        let lost = (0..100_000).filter(|&i| pipe.put(i, 60) == Passage::Lost).count();
        assert!((9_500..10_500).contains(&lost), "{lost}");
        let mut all = Pipe::new(&Link { loss: 1.0, ..Link::default() }, 9);
        assert!((0..1_000).all(|i| all.put(i, 60) == Passage::Lost));
    }

    #[test]
    fn reordered_frames_are_passed_by_others() {
        let mut pipe = Pipe::new(&Link { delay_us: 1_000, reorder: 0.05, ..Link::default() }, 5);
        let dues: Vec<u64> = (0..100_000).map(|i| due(&mut pipe, i * 50_000, 60)).collect();
        let passed = dues.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!((4_300..5_200).contains(&passed), "{passed}");
        let held = dues.iter().zip(0..).filter(|&(&due, i)| due >= i * 50_000 + 2_000_000).count();
        assert!((4_600..5_400).contains(&held), "{held}");
    }

    #[test]
    fn the_same_seed_gives_the_same_fate() {
        let link = Link { jitter_us: 700, loss: 0.2, reorder: 0.1, ..Link::default() };
        let (mut a, mut b) = (Pipe::new(&link, 11), Pipe::new(&link, 11));
        assert!((0..1_000).all(|i| a.put(i * 1_000, 60) == b.put(i * 1_000, 60)));
    }
}
