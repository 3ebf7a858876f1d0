//! The flows of each source host become windows.
//!
//! In: flows in the order in which they ended, as rows of scaled inputs, and packet time. Out: [`ClosedWindows`]. Every
//! flow waits in exactly one window, and is then history of at most `computed_at_most - 1` later ones of its host: so
//! the network sees behaviour, and computes each flow only so often.
//!
//! A window closes when `stride` flows of its host wait, or when the first of them has waited for the deadline. It is the
//! waiting flows, preceded by the latest earlier ones that have been computed fewer than `computed_at_most` times, and
//! has `steps` flows at most. Older ones could never come back into a window, so they are not kept.
//!
//! Hosts and rows have bounds. At either the host seen longest ago gives way: what waits there is closed early, and what
//! is remembered of it is forgotten. Everything that happens is a function of the sequence of calls.

use std::collections::HashMap;

use crate::batch::WindowBatch;
use crate::manifest;

/// The flows of each source host, until they have been computed often enough.
#[derive(Debug)]
pub struct Windower {
    rules: Rules,
    limits: WindowLimits,
    /// Where a host stands in `hosts`. Never iterated: its order is that of a random hash.
    index: HashMap<u128, u32>,
    hosts: Vec<Host>,
    /// Hosts by when they were seen last, longest ago first.
    seen: List,
    /// Hosts where flows wait, in the order of their deadlines: the deadline is the same for all, so it is that of
    /// their first waiting flow.
    waiting: List,
    /// Hosts that are not in use, linked by `seen`.
    vacant: u32,
    rows: Rows,
    now_us: i64,
    counters: WindowCounters,
}

/// How much a [`Windower`] holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    /// Hosts.
    pub hosts: usize,
    /// Flows, waiting or remembered.
    pub rows: usize,
}

/// What a [`Windower`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowCounters {
    /// Flows pushed.
    pub flows: u64,
    /// Windows closed: the sum of the four that follow.
    pub windows: u64,
    /// Windows closed because `stride` flows waited.
    pub by_stride: u64,
    /// Windows closed because the first flow had waited for the deadline.
    pub by_deadline: u64,
    /// Windows closed because the host or the whole table had to go.
    pub by_bound: u64,
    /// Windows closed because the input ended.
    pub by_finish: u64,
    /// Steps of all windows: how often flows are computed in all.
    pub steps: u64,
    /// Hosts forgotten at a bound.
    pub hosts_forgotten: u64,
}

/// Windows as they close, one behind the other.
///
/// The flows that waited are the last [`fresh`](WindowBatch::fresh) steps, at least one, of each window; the steps before them are history, and were judged
/// with an earlier window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClosedWindows {
    /// The windows.
    pub batch: WindowBatch,
    /// The ticket of every step of the batch.
    pub tickets: Vec<u64>,
}

/// A flow that waited and now stands in a closed window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// The ticket it was pushed with.
    pub ticket: u64,
    /// Its window.
    pub window: usize,
    /// Its step, counted over the whole batch.
    pub step: usize,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    steps: u32,
    stride: u32,
    deadline_us: i64,
    computed_at_most: u32,
}

/// A host and the flows that are kept of it: the last `waiting` of `kept` wait, the others are history.
#[derive(Clone, Copy, Debug)]
struct Host {
    key: u128,
    oldest: u32,
    newest: u32,
    kept: u32,
    waiting: u32,
    /// When its first waiting flow must be judged.
    deadline_us: i64,
    seen: Links,
    queue: Links,
}

#[derive(Clone, Copy)]
enum Why {
    Stride,
    Deadline,
    Bound,
    Finish,
}

/// Hosts that have room from the beginning; with more, their table may grow once more after it was full.
const RESERVED_MAX: usize = 65_536;

impl Windower {
    /// An empty one, for rows of `width` inputs.
    ///
    /// `steps` and `computed_at_most` are at least 1 and `stride` is at most `steps`; what is outside is brought inside,
    /// and so are limits that could not hold one window.
    #[must_use]
    pub fn new(window: &manifest::Window, width: usize, limits: WindowLimits) -> Self {
        let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).max(1);
        let steps = narrow(window.steps).min(1 << 16);
        let rules = Rules {
            steps,
            stride: narrow(window.stride).min(steps),
            deadline_us: i64::try_from(window.deadline_us).unwrap_or(i64::MAX),
            computed_at_most: narrow(window.computed_at_most),
        };
        let limits = WindowLimits {
            hosts: limits.hosts.clamp(1, NONE as usize - 1),
            rows: limits.rows.clamp(steps as usize, NONE as usize - 1),
        };
        Self {
            rules,
            limits,
            // Twice as many: a table that is half full at most clears away what was removed without growing.
            index: HashMap::with_capacity(2 * limits.hosts.min(RESERVED_MAX)),
            hosts: Vec::new(),
            seen: List::EMPTY,
            waiting: List::EMPTY,
            vacant: NONE,
            rows: Rows { width, values: Vec::new(), meta: Vec::new(), vacant: NONE, used: 0 },
            now_us: i64::MIN,
            counters: WindowCounters::default(),
        }
    }

    /// A flow of `host` that ended at `now_us`, with its scaled inputs; windows that this closes are appended to
    /// `closed`. Time does not go back: an earlier `now_us` counts as the latest so far.
    ///
    /// # Panics
    ///
    /// If `row` has not the width of the windower, or `closed` has another.
    pub fn push(&mut self, host: u128, now_us: i64, row: &[f32], ticket: u64, closed: &mut ClosedWindows) {
        assert_eq!(row.len(), self.rows.width, "inputs of a row");
        self.tick(now_us, closed);
        self.counters.flows += 1;
        let at = self.visit(host, closed);
        if self.hosts[at as usize].kept == self.rules.steps {
            // The window ends with the newest flow: the oldest will not be in one again. It is history, since fewer
            // than `stride` wait.
            self.drop_oldest(at);
        }
        while self.rows.used == self.limits.rows {
            self.forget_longest_unseen(closed);
        }
        let added = self.rows.add(row, ticket);
        let host = &mut self.hosts[at as usize];
        if host.kept == 0 {
            host.oldest = added;
        } else {
            self.rows.meta[host.newest as usize].next = added;
        }
        host.newest = added;
        host.kept += 1;
        host.waiting += 1;
        if host.waiting == 1 {
            host.deadline_us = self.now_us.saturating_add(self.rules.deadline_us);
            self.waiting.push_back(&mut self.hosts, at, |host| &mut host.queue);
        }
        if self.hosts[at as usize].waiting == self.rules.stride {
            self.close(at, Why::Stride, closed);
        }
    }

    /// Packet time has come to `now_us`: appends every window whose deadline has passed.
    pub fn tick(&mut self, now_us: i64, closed: &mut ClosedWindows) {
        self.advance(now_us);
        while self.close_due(closed) {}
    }

    /// Packet time has come to `now_us`. What is due stays until [`close_due`](Self::close_due) or the next call.
    pub fn advance(&mut self, now_us: i64) {
        self.now_us = self.now_us.max(now_us);
    }

    /// Appends one window whose deadline has passed; says whether there was one.
    pub fn close_due(&mut self, closed: &mut ClosedWindows) -> bool {
        let at = self.waiting.first;
        if at == NONE || self.hosts[at as usize].deadline_us > self.now_us {
            return false;
        }
        self.close(at, Why::Deadline, closed);
        true
    }

    /// Appends the window that has waited longest, due or not; says whether any flow waited.
    pub fn close_first(&mut self, closed: &mut ClosedWindows) -> bool {
        let at = self.waiting.first;
        if at == NONE {
            return false;
        }
        self.close(at, Why::Finish, closed);
        true
    }

    /// The input is over: appends every window that waits, then forgets all hosts and the time. What is pushed
    /// afterwards is another input.
    pub fn finish(&mut self, closed: &mut ClosedWindows) {
        while self.close_first(closed) {}
        self.forget();
    }

    /// Forgets all hosts and the time.
    ///
    /// # Panics
    ///
    /// If flows wait still: they would never be judged.
    pub fn forget(&mut self) {
        assert_eq!(self.waiting.first, NONE, "a flow that waits is not forgotten");
        while self.seen.first != NONE {
            self.vacate(self.seen.first);
        }
        self.now_us = i64::MIN;
    }

    /// Closes the window that has waited longest, before its time; says whether any flow waited. For callers that can
    /// hold no more flows.
    pub fn close_early(&mut self, closed: &mut ClosedWindows) -> bool {
        let at = self.waiting.first;
        if at == NONE {
            return false;
        }
        self.close(at, Why::Bound, closed);
        true
    }

    /// What has been done so far.
    #[must_use]
    pub const fn counters(&self) -> &WindowCounters {
        &self.counters
    }

    /// Hosts that are remembered.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.index.len()
    }

    /// Flows that wait or are remembered.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows.used
    }

    /// Where a host stands, which has now been seen; another gives way to it if need be.
    fn visit(&mut self, key: u128, closed: &mut ClosedWindows) -> u32 {
        if let Some(&at) = self.index.get(&key) {
            self.seen.remove(&mut self.hosts, at, |host| &mut host.seen);
            self.seen.push_back(&mut self.hosts, at, |host| &mut host.seen);
            return at;
        }
        while self.index.len() >= self.limits.hosts {
            self.forget_longest_unseen(closed);
        }
        let host = Host {
            key,
            oldest: NONE,
            newest: NONE,
            kept: 0,
            waiting: 0,
            deadline_us: i64::MAX,
            seen: Links::NONE,
            queue: Links::NONE,
        };
        let at = self.vacant;
        let at = if at == NONE {
            self.hosts.push(host);
            (self.hosts.len() - 1) as u32
        } else {
            self.vacant = self.hosts[at as usize].seen.next;
            self.hosts[at as usize] = host;
            at
        };
        self.index.insert(key, at);
        self.seen.push_back(&mut self.hosts, at, |host| &mut host.seen);
        at
    }

    /// Makes room. The host that is being pushed to was seen last, and holds fewer rows than there may be: it is never
    /// the one to go.
    fn forget_longest_unseen(&mut self, closed: &mut ClosedWindows) {
        let at = self.seen.first;
        self.counters.hosts_forgotten += 1;
        if self.hosts[at as usize].waiting > 0 {
            self.close(at, Why::Bound, closed);
        }
        // Closing vacates hosts of which nothing needs to be remembered.
        if self.seen.first == at {
            self.vacate(at);
        }
    }

    fn close(&mut self, at: u32, why: Why, closed: &mut ClosedWindows) {
        self.waiting.remove(&mut self.hosts, at, |host| &mut host.queue);
        let host = &mut self.hosts[at as usize];
        let fresh = std::mem::take(&mut host.waiting);
        let length = host.kept;

        closed.batch.lengths.push(length as usize);
        closed.batch.fresh.push(fresh as usize);
        let mut row = host.oldest;
        for _ in 0..length {
            closed.batch.inputs.extend_from_slice(self.rows.values(row));
            let meta = &mut self.rows.meta[row as usize];
            closed.tickets.push(meta.ticket);
            meta.computed += 1;
            row = meta.next;
        }

        // Counts fall from the oldest to the newest, so what may not be computed again comes first.
        while self.hosts[at as usize].kept > 0 {
            let host = &self.hosts[at as usize];
            let spent = self.rows.meta[host.oldest as usize].computed >= self.rules.computed_at_most;
            if !spent && host.kept < self.rules.steps {
                break;
            }
            self.drop_oldest(at);
        }
        if self.hosts[at as usize].kept == 0 {
            self.vacate(at);
        }

        self.counters.windows += 1;
        self.counters.steps += u64::from(length);
        match why {
            Why::Stride => self.counters.by_stride += 1,
            Why::Deadline => self.counters.by_deadline += 1,
            Why::Bound => self.counters.by_bound += 1,
            Why::Finish => self.counters.by_finish += 1,
        }
    }

    fn drop_oldest(&mut self, at: u32) {
        let host = &mut self.hosts[at as usize];
        host.oldest = self.rows.remove(host.oldest);
        host.kept -= 1;
    }

    /// Gives up a host where nothing waits.
    fn vacate(&mut self, at: u32) {
        while self.hosts[at as usize].kept > 0 {
            self.drop_oldest(at);
        }
        self.index.remove(&self.hosts[at as usize].key);
        self.seen.remove(&mut self.hosts, at, |host| &mut host.seen);
        self.hosts[at as usize].seen.next = self.vacant;
        self.vacant = at;
    }
}

impl ClosedWindows {
    /// None yet, of steps of `width` inputs.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self { batch: WindowBatch::new(width), ..Self::default() }
    }

    /// The flows that waited, window by window in their order.
    pub fn fresh(&self) -> impl Iterator<Item = Fresh> {
        self.batch.asked().enumerate().flat_map(move |(window, steps)| {
            steps.map(move |step| Fresh { ticket: self.tickets[step], window, step })
        })
    }

    /// Empties it; memory stays.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.tickets.clear();
    }
}

impl Default for WindowLimits {
    /// 16,384 hosts and 131,072 flows: 26 MB at 50 inputs.
    fn default() -> Self {
        Self { hosts: 16_384, rows: 131_072 }
    }
}

/// No host, no row.
const NONE: u32 = u32::MAX;

/// Rows of all hosts in one slab; those of a host are linked from the oldest to the newest.
#[derive(Debug)]
struct Rows {
    width: usize,
    values: Vec<f32>,
    meta: Vec<Row>,
    /// Rows not in use, linked.
    vacant: u32,
    used: usize,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    ticket: u64,
    next: u32,
    /// Windows that it has been in.
    computed: u32,
}

impl Rows {
    fn add(&mut self, values: &[f32], ticket: u64) -> u32 {
        self.used += 1;
        let at = self.vacant;
        if at == NONE {
            self.values.extend_from_slice(values);
            self.meta.push(Row { ticket, next: NONE, computed: 0 });
            return (self.meta.len() - 1) as u32;
        }
        self.vacant = self.meta[at as usize].next;
        self.meta[at as usize] = Row { ticket, next: NONE, computed: 0 };
        let start = at as usize * self.width;
        self.values[start..start + self.width].copy_from_slice(values);
        at
    }

    /// Gives a row back; the one behind it.
    fn remove(&mut self, at: u32) -> u32 {
        self.used -= 1;
        let row = &mut self.meta[at as usize];
        let next = row.next;
        row.next = self.vacant;
        self.vacant = at;
        next
    }

    fn values(&self, at: u32) -> &[f32] {
        &self.values[at as usize * self.width..][..self.width]
    }
}

/// A list through hosts.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

/// A host's neighbours in a list.
#[derive(Clone, Copy, Debug)]
struct Links {
    previous: u32,
    next: u32,
}

impl Links {
    const NONE: Self = Self { previous: NONE, next: NONE };
}

impl List {
    const EMPTY: Self = Self { first: NONE, last: NONE };

    fn push_back(&mut self, hosts: &mut [Host], at: u32, links: impl Fn(&mut Host) -> &mut Links) {
        *links(&mut hosts[at as usize]) = Links { previous: self.last, next: NONE };
        match self.last {
            NONE => self.first = at,
            last => links(&mut hosts[last as usize]).next = at,
        }
        self.last = at;
    }

    fn remove(&mut self, hosts: &mut [Host], at: u32, links: impl Fn(&mut Host) -> &mut Links) {
        let Links { previous, next } = *links(&mut hosts[at as usize]);
        match previous {
            NONE => self.first = next,
            previous => links(&mut hosts[previous as usize]).next = next,
        }
        match next {
            NONE => self.last = previous,
            next => links(&mut hosts[next as usize]).previous = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    fn rules(steps: usize, stride: usize, deadline_us: u64, computed_at_most: usize) -> manifest::Window {
        manifest::Window { steps, stride, deadline_us, computed_at_most, padding: "left".to_owned() }
    }

    fn windower(window: &manifest::Window) -> Windower {
        Windower::new(window, 1, WindowLimits::default())
    }

    /// Tickets of each window, and how many of them waited.
    fn windows(closed: &ClosedWindows) -> Vec<(Vec<u64>, usize)> {
        let mut start = 0;
        let each = closed.batch.lengths.iter().zip(&closed.batch.fresh);
        each.map(|(length, fresh)| {
            start += length;
            (closed.tickets[start - length..start].to_vec(), *fresh)
        })
        .collect()
    }

    #[test]
    fn a_window_is_what_waits_and_what_came_before() {
        let mut windower = windower(&rules(4, 2, 1_000, 2));
        let mut closed = ClosedWindows::new(1);
        for ticket in 0..6 {
            windower.push(7, 0, &[ticket as f32], ticket, &mut closed);
        }
        assert_eq!(windows(&closed), [(vec![0, 1], 2), (vec![0, 1, 2, 3], 2), (vec![2, 3, 4, 5], 2)]);
        assert_eq!(closed.batch.inputs, [0.0, 1.0, 0.0, 1.0, 2.0, 3.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(windower.rows(), 2, "two flows have been computed once");
    }

    #[test]
    fn the_deadline_is_that_of_the_first_flow_that_waits() {
        let mut windower = windower(&rules(8, 4, 1_000, 2));
        let mut closed = ClosedWindows::new(1);
        windower.push(1, 5_000, &[0.0], 0, &mut closed);
        windower.push(2, 5_400, &[0.0], 1, &mut closed);
        windower.push(1, 5_900, &[0.0], 2, &mut closed);
        windower.tick(5_999, &mut closed);
        assert!(closed.batch.fresh.is_empty());
        windower.tick(6_000, &mut closed);
        assert_eq!(windows(&closed), [(vec![0, 2], 2)]);
        // A flow comes when the deadline of another host has passed: that one first.
        windower.push(3, 6_400, &[0.0], 3, &mut closed);
        assert_eq!(windows(&closed)[1..], [(vec![1], 1)]);
        // Time does not go back.
        windower.push(1, 0, &[0.0], 4, &mut closed);
        windower.tick(7_399, &mut closed);
        assert_eq!(windows(&closed).len(), 2);
        windower.tick(7_400, &mut closed);
        assert_eq!(windows(&closed)[2..], [(vec![3], 1), (vec![0, 2, 4], 1)]);
        assert_eq!(windower.counters().by_deadline, 4);
    }

    #[test]
    fn runs_are_apart() {
        let mut windower = windower(&rules(4, 4, 1_000, 4));
        let mut closed = ClosedWindows::new(1);
        for run in 0..2 {
            windower.push(1, 5_000 - run * 5_000, &[0.0], 0, &mut closed);
            windower.push(2, 5_000 - run * 5_000, &[0.0], 1, &mut closed);
            windower.finish(&mut closed);
            assert_eq!((windower.hosts(), windower.rows()), (0, 0));
        }
        assert_eq!(windows(&closed), [(vec![0], 1), (vec![1], 1), (vec![0], 1), (vec![1], 1)]);
    }

    #[test]
    fn the_host_seen_longest_ago_gives_way() {
        let limits = WindowLimits { hosts: 2, rows: 8 };
        let mut windower = Windower::new(&rules(4, 2, 1_000_000, 3), 1, limits);
        let mut closed = ClosedWindows::new(1);
        for (ticket, host) in [1, 2, 1, 3, 2].into_iter().enumerate() {
            windower.push(host, 0, &[0.0], ticket as u64, &mut closed);
        }
        // Host 2 goes for host 3 and is judged early; then host 1, where nothing waits, goes for host 2.
        assert_eq!(windows(&closed), [(vec![0, 2], 2), (vec![1], 1)]);
        assert_eq!(windower.counters().by_bound, 1);
        assert_eq!(windower.counters().hosts_forgotten, 2);
        assert_eq!(windower.hosts(), 2);
    }

    #[test]
    fn rows_have_a_bound_of_their_own() {
        let limits = WindowLimits { hosts: 100, rows: 4 };
        let mut windower = Windower::new(&rules(4, 4, 1_000_000, 3), 1, limits);
        let mut closed = ClosedWindows::new(1);
        for ticket in 0..40 {
            windower.push(u128::from(ticket % 3), 0, &[0.0], ticket, &mut closed);
            assert!(windower.rows() <= 4);
        }
        windower.finish(&mut closed);
        assert_eq!(closed.fresh().count(), 40);
    }

    #[test]
    fn nothing_grows_in_the_steady_state() {
        let mut windower = Windower::new(&rules(4, 2, 100, 2), 3, WindowLimits { hosts: 10, rows: 20 });
        let mut closed = ClosedWindows::new(3);
        let mut run = |windower: &mut Windower, tickets: std::ops::Range<u64>| {
            for ticket in tickets {
                windower.push(u128::from(ticket * 7 % 31), ticket as i64, &[0.0; 3], ticket, &mut closed);
                closed.clear();
            }
            (windower.hosts.capacity(), windower.rows.values.capacity(), windower.rows.meta.capacity())
        };
        let before = run(&mut windower, 0..1_000);
        assert_eq!(run(&mut windower, 1_000..20_000), before);
        assert!(windower.hosts.len() <= 10 && windower.rows.meta.len() <= 20);
    }

    #[derive(Clone, Debug)]
    enum Call {
        Push { host: u8, ahead_us: i64 },
        Tick { ahead_us: i64 },
        Finish,
    }

    fn calls() -> impl Strategy<Value = Vec<Call>> {
        let ahead = || prop_oneof![4 => 0_i64..40, 1 => -200_i64..400];
        let call = prop_oneof![
            20 => (0_u8..6, ahead()).prop_map(|(host, ahead_us)| Call::Push { host, ahead_us }),
            3 => ahead().prop_map(|ahead_us| Call::Tick { ahead_us }),
            1 => Just(Call::Finish),
        ];
        prop::collection::vec(call, 0..200)
    }

    fn settings() -> impl Strategy<Value = manifest::Window> {
        (1_usize..9, 1_usize..9, 0_u64..300, 1_usize..5).prop_map(|(steps, stride, deadline_us, often)| {
            rules(steps, stride.min(steps), deadline_us, often)
        })
    }

    /// Plays calls, with what is closed taken away every `batch` calls; all windows, and when each closed.
    fn play(windower: &mut Windower, calls: &[Call], batch: usize) -> Vec<(Vec<u64>, usize)> {
        let mut all = Vec::new();
        let mut closed = ClosedWindows::new(1);
        let mut now_us = 0;
        let mut ticket = 0;
        for (at, call) in calls.iter().enumerate() {
            match call {
                Call::Push { host, ahead_us } => {
                    now_us += ahead_us;
                    windower.push(u128::from(*host), now_us, &[ticket as f32], ticket, &mut closed);
                    ticket += 1;
                }
                Call::Tick { ahead_us } => {
                    now_us += ahead_us;
                    windower.tick(now_us, &mut closed);
                }
                Call::Finish => windower.finish(&mut closed),
            }
            if at % batch == 0 {
                all.extend(windows(&closed));
                closed.clear();
            }
        }
        windower.finish(&mut closed);
        all.extend(windows(&closed));
        all
    }

    /// The rules word by word, over lists that are never cut: of each host all flows with their counts.
    struct Model<'a> {
        window: &'a manifest::Window,
        /// Ticket, when it came, how often it has been computed.
        flows: BTreeMap<u8, Vec<(u64, i64, usize)>>,
        now_us: i64,
        closed: Vec<(Vec<u64>, usize)>,
    }

    impl Model<'_> {
        fn close(&mut self, host: u8) {
            let flows = self.flows.get_mut(&host).unwrap();
            let fresh = flows.iter().filter(|(_, _, computed)| *computed == 0).count();
            let mut start = flows.len() - fresh;
            while start > 0
                && flows.len() - start < self.window.steps
                && flows[start - 1].2 < self.window.computed_at_most
            {
                start -= 1;
            }
            flows[start..].iter_mut().for_each(|flow| flow.2 += 1);
            self.closed.push((flows[start..].iter().map(|flow| flow.0).collect(), fresh));
        }

        /// First waiting flow of each host by when it came, then by its ticket.
        fn first_waiting(&self) -> Option<(i64, u64, u8)> {
            let waiting = |flows: &Vec<(u64, i64, usize)>| {
                flows.iter().find(|(_, _, computed)| *computed == 0).copied()
            };
            self.flows
                .iter()
                .filter_map(|(host, flows)| waiting(flows).map(|flow| (flow.1, flow.0, *host)))
                .min()
        }

        fn advance(&mut self, now_us: i64) {
            self.now_us = self.now_us.max(now_us);
            while let Some((since_us, _, host)) = self.first_waiting() {
                if since_us + self.window.deadline_us as i64 > self.now_us {
                    break;
                }
                self.close(host);
            }
        }

        fn finish(&mut self) {
            while let Some((_, _, host)) = self.first_waiting() {
                self.close(host);
            }
            self.flows.clear();
            self.now_us = i64::MIN;
        }
    }

    fn expected(window: &manifest::Window, calls: &[Call]) -> Vec<(Vec<u64>, usize)> {
        let mut model = Model { window, flows: BTreeMap::new(), now_us: i64::MIN, closed: Vec::new() };
        let (mut now_us, mut ticket) = (0, 0);
        for call in calls {
            match call {
                Call::Push { host, ahead_us } => {
                    now_us += ahead_us;
                    model.advance(now_us);
                    let flows = model.flows.entry(*host).or_default();
                    flows.push((ticket, model.now_us, 0));
                    if flows.iter().filter(|(_, _, computed)| *computed == 0).count() == window.stride {
                        model.close(*host);
                    }
                    ticket += 1;
                }
                Call::Tick { ahead_us } => {
                    now_us += ahead_us;
                    model.advance(now_us);
                }
                Call::Finish => model.finish(),
            }
        }
        model.finish();
        model.closed
    }

    proptest! {
        #[test]
        fn windows_are_as_the_rules_say(window in settings(), calls in calls(), batch in 1_usize..50) {
            let mut windower = windower(&window);
            let all = play(&mut windower, &calls, batch);
            prop_assert_eq!(&all, &expected(&window, &calls));
            let counters = windower.counters();
            prop_assert_eq!(counters.windows, all.len() as u64);
            prop_assert_eq!(counters.windows, counters.by_stride + counters.by_deadline + counters.by_finish);
            prop_assert_eq!(counters.steps, all.iter().map(|(tickets, _)| tickets.len() as u64).sum::<u64>());
        }

        #[test]
        fn within_any_bounds_every_flow_is_judged_once(
            window in settings(),
            calls in calls(),
            hosts in 1_usize..5,
            rows in 1_usize..12,
        ) {
            let mut windower = Windower::new(&window, 1, WindowLimits { hosts, rows });
            let all = play(&mut windower, &calls, 1);
            let pushed = calls.iter().filter(|call| matches!(call, Call::Push { .. })).count();
            let mut judged = HashSet::new();
            let mut computed: BTreeMap<u64, usize> = BTreeMap::new();
            for (tickets, fresh) in &all {
                prop_assert!(tickets.len() <= window.steps && *fresh >= 1 && *fresh <= window.stride);
                prop_assert!(tickets.is_sorted(), "in the order of ending");
                for ticket in &tickets[tickets.len() - fresh..] {
                    prop_assert!(judged.insert(*ticket), "{} judged twice", ticket);
                }
                tickets.iter().for_each(|ticket| *computed.entry(*ticket).or_default() += 1);
            }
            prop_assert_eq!(judged.len(), pushed);
            prop_assert!(computed.values().all(|often| *often <= window.computed_at_most));
        }
    }
}
