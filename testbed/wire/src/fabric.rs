//! The whole wire without its devices: pipes, switch, and the frames between them.
//!
//! Owns every frame in flight. In go frames from hosts and the time; out go frames to hosts and to the span, through an
//! [`Outlet`]. It reads no clock and does no I/O, so that minutes of traffic can be played in a test.
//!
//! ```text
//!   host ─► up pipe ─► heap by (due time, sequence) ─► switch ─► down pipe ─► the same heap ─► host
//!                                                        └─► span
//! ```
//!
//! At most [`MAX_IN_FLIGHT`] frames are in flight; more are dropped and counted. Their buffers are kept for the frames
//! to come, so that nothing is allocated once the traffic has been at its highest.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem;

use crate::config::Config;
use crate::counters::PortCounters;
use crate::pipe::{Passage, Pipe};
use crate::switch::{Reason, Switch, Verdict};

/// A wire without devices.
#[derive(Debug)]
pub struct Fabric {
    switch: Switch,
    ports: Vec<PortPipes>,
    heap: BinaryHeap<Reverse<Turn>>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    sequence: u64,
    flood_copies: u64,
    /// Kept for its memory.
    targets: Vec<usize>,
}

impl Fabric {
    /// A fabric with nothing in flight.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut seeds = fastrand::Rng::with_seed(config.seed);
        let ports = config.ports.iter().map(|port| PortPipes {
            up: Pipe::new(&port.up, seeds.u64(..)),
            down: Pipe::new(&port.down, seeds.u64(..)),
            counters: PortCounters::default(),
        });
        Self {
            ports: ports.collect(),
            switch: Switch::new(config),
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            flood_copies: 0,
            targets: Vec::with_capacity(config.ports.len()),
        }
    }

    /// Takes a frame that the host of port `from` sent at `now_ns`.
    pub fn accept(&mut self, from: usize, now_ns: u64, frame: &[u8]) {
        let port = &mut self.ports[from];
        port.counters.frames_in += 1;
        port.counters.bytes_in += frame.len() as u64;
        match port.up.put(now_ns, frame.len()) {
            Passage::Lost => port.counters.dropped_loss_up += 1,
            Passage::QueueFull => port.counters.dropped_queue_up += 1,
            Passage::Due(due_ns) => match self.take_slot() {
                Some(slot) => {
                    self.fill(slot, frame);
                    self.launch(slot, from, Leg::Up, due_ns);
                }
                None => self.ports[from].counters.dropped_flight += 1,
            },
        }
    }

    /// Moves on every frame that is due at `now_ns`.
    ///
    /// # Errors
    ///
    /// What the span of `outlet` returns.
    pub fn advance<O: Outlet>(&mut self, now_ns: u64, outlet: &mut O) -> Result<(), O::Error> {
        while let Some(Reverse(turn)) = self.heap.peek()
            && turn.due_ns <= now_ns
            && let Some(Reverse(turn)) = self.heap.pop()
        {
            let slot = &self.slots[turn.slot as usize];
            let port = slot.port;
            match slot.leg {
                Leg::Down => {
                    let counters = &mut self.ports[port].counters;
                    if outlet.deliver(port, &slot.frame) {
                        counters.frames_out += 1;
                        counters.bytes_out += slot.frame.len() as u64;
                    } else {
                        counters.dropped_down += 1;
                    }
                    self.free.push(turn.slot);
                }
                Leg::Up => {
                    let frame = &mut self.slots[turn.slot as usize].frame;
                    let verdict =
                        self.switch.forward(port, frame, |frame, vlan| outlet.record(frame, vlan))?;
                    match verdict {
                        // The down pipe starts when the frame was due, not when this process woke up.
                        Verdict::Port(to) => self.send_down(turn.slot, to, turn.due_ns),
                        Verdict::Flood => self.flood(turn.slot, port, turn.due_ns),
                        Verdict::Drop(reason) => self.drop_at_switch(turn.slot, port, reason),
                    }
                }
            }
        }
        Ok(())
    }

    fn flood(&mut self, slot: u32, from: usize, at_ns: u64) {
        let mut targets = mem::take(&mut self.targets);
        targets.clear();
        targets.extend(self.switch.flood_targets(from));
        let Some((&last, others)) = targets.split_last() else {
            self.targets = targets;
            return self.drop_at_switch(slot, from, Reason::NotSwitched);
        };
        let frame = mem::take(&mut self.slots[slot as usize].frame);
        for &to in others {
            self.flood_copies += 1;
            match self.take_slot() {
                Some(copy) => {
                    self.fill(copy, &frame);
                    self.send_down(copy, to, at_ns);
                }
                None => self.ports[to].counters.dropped_flight += 1,
            }
        }
        self.slots[slot as usize].frame = frame;
        self.send_down(slot, last, at_ns);
        self.targets = targets;
    }

    fn send_down(&mut self, slot: u32, to: usize, at_ns: u64) {
        let port = &mut self.ports[to];
        match port.down.put(at_ns, self.slots[slot as usize].frame.len()) {
            Passage::Due(due_ns) => return self.launch(slot, to, Leg::Down, due_ns),
            Passage::Lost => port.counters.dropped_loss_down += 1,
            Passage::QueueFull => port.counters.dropped_queue_down += 1,
        }
        self.free.push(slot);
    }

    fn drop_at_switch(&mut self, slot: u32, from: usize, reason: Reason) {
        let counters = &mut self.ports[from].counters;
        *match reason {
            Reason::Unroutable => &mut counters.dropped_unroutable,
            Reason::Ttl => &mut counters.dropped_ttl,
            Reason::NotSwitched => &mut counters.dropped_not_switched,
        } += 1;
        self.free.push(slot);
    }

    fn take_slot(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        if self.slots.len() == MAX_IN_FLIGHT {
            return None;
        }
        self.slots.push(Slot { frame: Vec::with_capacity(USUAL_FRAME_BYTES), port: 0, leg: Leg::Up });
        Some(self.slots.len() as u32 - 1)
    }

    fn fill(&mut self, slot: u32, frame: &[u8]) {
        let buffer = &mut self.slots[slot as usize].frame;
        buffer.clear();
        buffer.extend_from_slice(frame);
    }

    fn launch(&mut self, slot: u32, port: usize, leg: Leg, due_ns: u64) {
        self.sequence += 1;
        let entry = &mut self.slots[slot as usize];
        entry.port = port;
        entry.leg = leg;
        self.heap.push(Reverse(Turn { due_ns, sequence: self.sequence, slot }));
    }

    /// When [`Self::advance`] is wanted next.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(turn)| turn.due_ns)
    }

    /// Frames in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.heap.len()
    }

    /// Frames that a flood made beyond the one that came in.
    #[must_use]
    pub const fn flood_copies(&self) -> u64 {
        self.flood_copies
    }

    /// What passed a port so far.
    #[must_use]
    pub fn counters(&self, port: usize) -> PortCounters {
        self.ports[port].counters
    }

    /// The tables of the switch.
    #[must_use]
    pub const fn switch(&self) -> &Switch {
        &self.switch
    }
}

/// Where frames leave a [`Fabric`].
pub trait Outlet {
    /// Why a frame could not be recorded.
    type Error;

    /// Records a frame that the span port sees; `vlan` is the id it carries there, 0 for none.
    ///
    /// # Errors
    ///
    /// The recording would have a hole.
    fn record(&mut self, frame: &[u8], vlan: u16) -> Result<(), Self::Error>;

    /// Gives a frame to the host of a port; false if it cannot take it.
    fn deliver(&mut self, port: usize, frame: &[u8]) -> bool;
}

#[derive(Debug)]
struct PortPipes {
    up: Pipe,
    down: Pipe,
    counters: PortCounters,
}

#[derive(Debug)]
struct Slot {
    frame: Vec<u8>,
    /// Where it came from on its way up, where it goes to on its way down.
    port: usize,
    leg: Leg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leg {
    Up,
    Down,
}

/// Ordered by due time; frames due at once go in the order in which they were launched.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    due_ns: u64,
    sequence: u64,
    slot: u32,
}

/// More frames than this are never in flight.
pub const MAX_IN_FLIGHT: usize = 65_536;

/// A full frame with a tag; larger ones let their buffer grow.
const USUAL_FRAME_BYTES: usize = 1518;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[derive(Default)]
    struct Sink {
        recorded: Vec<Vec<u8>>,
        delivered: Vec<(usize, Vec<u8>)>,
        deaf: Option<usize>,
    }

    impl Outlet for Sink {
        type Error = Infallible;

        fn record(&mut self, frame: &[u8], _vlan: u16) -> Result<(), Infallible> {
            self.recorded.push(frame.to_vec());
            Ok(())
        }

        fn deliver(&mut self, port: usize, frame: &[u8]) -> bool {
            if self.deaf == Some(port) {
                return false;
            }
            self.delivered.push((port, frame.to_vec()));
            true
        }
    }

    fn fabric(links: &str) -> Fabric {
        let port = |i: usize| {
            format!(
                r#"{{"tap":"p{i}","mac":"02:00:00:00:01:{i:02x}","zone":"lan","prefixes":["10.7.0.{i}/32"]{links}}}"#
            )
        };
        let text = format!(
            r#"{{"span":"x","gateway_mac":"02:00:00:00:00:01","lan":["10.7.0.0/16"],"ports":[{},{},{}]}}"#,
            port(0),
            port(1),
            port(2)
        );
        Fabric::new(&Config::parse(&text).unwrap())
    }

    fn frame(to: u8, from: u8, tail: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 1, to, 2, 0, 0, 0, 1, from, 0x88, 0xb5];
        frame.extend(tail);
        frame.resize(60, 0);
        frame
    }

    fn run(fabric: &mut Fabric, now_ns: u64, sink: &mut Sink) {
        let Ok(()) = fabric.advance(now_ns, sink);
    }

    fn books_balance(fabric: &Fabric) {
        let all: Vec<PortCounters> = (0..3).map(|port| fabric.counters(port)).collect();
        let taken: u64 = all.iter().map(|c| c.frames_in).sum::<u64>() + fabric.flood_copies();
        let given: u64 =
            all.iter().map(|c| c.frames_out + c.dropped()).sum::<u64>() + fabric.in_flight() as u64;
        assert_eq!(taken, given, "{all:?}");
    }

    #[test]
    fn a_frame_takes_the_delay_of_both_pipes_and_is_recorded_between_them() {
        let mut fabric = fabric(r#","up":{"delay_us":200},"down":{"delay_us":300}"#);
        let mut sink = Sink::default();
        fabric.accept(0, 1_000, &frame(1, 0, b"x"));
        assert_eq!(fabric.next_due_ns(), Some(201_000));
        run(&mut fabric, 200_999, &mut sink);
        assert!(sink.recorded.is_empty());
        // Late by 50 us: the second leg does not start late.
        run(&mut fabric, 251_000, &mut sink);
        assert_eq!((sink.recorded.len(), sink.delivered.len()), (1, 0));
        assert_eq!(fabric.next_due_ns(), Some(501_000));
        run(&mut fabric, 501_000, &mut sink);
        assert_eq!(sink.delivered, [(1, frame(1, 0, b"x"))]);
        assert_eq!(fabric.next_due_ns(), None);
        books_balance(&fabric);
    }

    #[test]
    fn frames_due_at_once_keep_their_order() {
        let mut fabric = fabric("");
        let mut sink = Sink::default();
        for i in 0..100 {
            fabric.accept(0, 7, &frame(1, 0, &[i]));
        }
        run(&mut fabric, 7, &mut sink);
        let order: Vec<u8> = sink.delivered.iter().map(|(_, frame)| frame[14]).collect();
        assert_eq!(order, (0..100).collect::<Vec<u8>>());
    }

    #[test]
    fn a_flood_reaches_all_others_and_is_recorded_once() {
        let mut fabric = fabric("");
        let mut sink = Sink { deaf: Some(2), ..Sink::default() };
        let mut broadcast = frame(1, 0, b"who has");
        broadcast[..6].fill(0xff);
        fabric.accept(0, 0, &broadcast);
        run(&mut fabric, 0, &mut sink);
        assert_eq!(sink.recorded.len(), 1);
        assert_eq!(sink.delivered, [(1, broadcast)]);
        assert_eq!((fabric.flood_copies(), fabric.counters(2).dropped_down), (1, 1));
        books_balance(&fabric);
    }

    #[test]
    fn what_is_in_flight_is_bounded_and_counted() {
        let mut fabric = fabric(r#","up":{"delay_us":1000000}"#);
        for _ in 0..MAX_IN_FLIGHT + 10 {
            fabric.accept(0, 0, &frame(1, 0, b""));
        }
        assert_eq!((fabric.in_flight(), fabric.counters(0).dropped_flight), (MAX_IN_FLIGHT, 10));
        books_balance(&fabric);
        let mut sink = Sink::default();
        run(&mut fabric, 1_000_000_000, &mut sink);
        assert_eq!((sink.delivered.len(), fabric.in_flight()), (MAX_IN_FLIGHT, 0));
        fabric.accept(0, 2_000_000_000, &frame(1, 0, b""));
        assert_eq!(fabric.in_flight(), 1);
    }

    #[test]
    fn the_books_balance_under_all_kinds_of_loss() {
        let link =
            r#"{"delay_us":900,"jitter_us":400,"loss":0.1,"reorder":0.05,"rate_kbps":8000,"queue_ms":2}"#;
        let mut fabric = fabric(&format!(r#","up":{link},"down":{link}"#));
        let mut sink = Sink { deaf: Some(2), ..Sink::default() };
        for i in 0..20_000_u64 {
            let mut sent = frame((i % 5) as u8, (i % 3) as u8, b"");
            if i % 11 == 0 {
                sent[..6].fill(0xff);
            }
            if i % 13 == 0 {
                sent[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
            }
            fabric.accept((i % 3) as usize, i * 15_000, &sent);
            run(&mut fabric, i * 15_000, &mut sink);
            books_balance(&fabric);
        }
        let sum = |of: fn(&PortCounters) -> u64| (0..3).map(|port| of(&fabric.counters(port))).sum::<u64>();
        assert!(sum(|c| c.dropped_loss_up) > 0 && sum(|c| c.dropped_loss_down) > 0);
        assert!(sum(|c| c.dropped_queue_up) > 0 && sum(|c| c.dropped_queue_down) > 0);
        assert!(sum(|c| c.dropped_unroutable) > 0 && sum(|c| c.dropped_not_switched) > 0);
        assert!(sum(|c| c.dropped_down) > 0 && sum(|c| c.frames_out) > 0);
    }
}
