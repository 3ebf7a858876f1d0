//! What a flow's hosts did lately: the context without which a lone probe and a refused connection are the same flow.
//!
//! In: ended flows, in the order in which their ends were certain. Out: a [`Context`] per flow, as of its end, the flow
//! itself included. Six tables, each bounded; every entry has constant size, every flow costs six lookups. Counts fade
//! exponentially ([`Fading`]), distinct things are counted in sliding windows ([`Distinct`]). The clock is the time at which
//! a flow's end was certain: a scan whose probes all time out keeps its rate, two minutes late.

use tapline_record::{FlowHead, FlowRecord, tcp_flag};

use crate::bounded_table::{BoundedTable, Words};
use crate::fading::{Distinct, Fading, scatter};
use crate::tapline_state::TaplineState;

/// Time constants of a link: source, destination, port.
const LINK_S: [f32; 3] = [60.0, 600.0, 3600.0];
/// Time constants of hosts.
const HOST_S: [f32; 3] = [10.0, 60.0, 600.0];
/// The same for distinct counts.
const HOST_WINDOWS_S: [u32; 3] = [10, 60, 600];
/// Time constants of pairs, sweeps and services.
const PAIR_S: [f32; 2] = [60.0, 600.0];
const PAIR_WINDOWS_S: [u32; 2] = [60, 600];
/// Time constant of habits.
const HABIT_S: [f32; 1] = [3600.0];

/// Entries per table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextLimits {
    /// Source, destination and port: 128 bytes each.
    pub links: usize,
    /// Sources and destinations, each: 900 and 700 bytes.
    pub hosts: usize,
    /// Source and destination; source and port; destination and port: 300 to 600 bytes each.
    pub pairs: usize,
}

impl Default for ContextLimits {
    fn default() -> Self {
        Self { links: 131_072, hosts: 16_384, pairs: 32_768 }
    }
}

/// The tables.
#[derive(Debug)]
pub struct ContextTable {
    links: BoundedTable<LinkKey, Link>,
    sources: BoundedTable<HostKey, Source>,
    destinations: BoundedTable<HostKey, Destination>,
    pairs: BoundedTable<PairKey, Pair>,
    sweeps: BoundedTable<PortKey, Sweep>,
    services: BoundedTable<PortKey, Service>,
    now_us: i64,
}

/// What is known around a flow when it ends. Arrays go with the windows: 60, 600, 3600 s for links, 10, 60, 600 s for
/// hosts, 60, 600 s for the rest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context {
    /// Same source, destination, port and protocol.
    pub link: LinkView,
    /// Same source.
    pub source: SourceView,
    /// Same destination.
    pub destination: DestinationView,
    /// Same source and destination.
    pub pair: PairView,
    /// Same source and destination port.
    pub sweep: SweepView,
    /// Same destination and port.
    pub service: ServiceView,
}

/// Regularity of one source, destination and port.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkView {
    /// Flows.
    pub flows: [f32; 3],
    /// Mean gap between starts, seconds; 0 without one.
    pub gap_mean_s: [f32; 3],
    /// Spread of gaps between starts over their mean; 0 without two.
    pub gap_spread: [f32; 3],
    /// Standard deviation of ln(1 + bytes).
    pub bytes_spread: [f32; 3],
    /// Share of flows without success: no reply, or refused.
    pub failed_share: [f32; 3],
    /// Share of flows of at most four packets.
    pub short_share: [f32; 3],
    /// The gap to the start before, seconds; 0 for the first.
    pub gap_s: f32,
}

/// What a source does.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceView {
    /// Flows.
    pub flows: [f32; 3],
    /// Distinct destinations.
    pub destinations: [f32; 3],
    /// Distinct destination ports.
    pub ports: [f32; 3],
    /// Share of distinct destinations that did not answer or refused.
    pub failed_destinations_share: [f32; 3],
    /// Share of flows without success.
    pub failed_share: [f32; 3],
    /// SYNs sent again.
    pub syn_retries: [f32; 3],
    /// Flows open at once, on average (durations over the window).
    pub open_flows: [f32; 3],
    /// Share of flows of at most four packets.
    pub short_share: [f32; 3],
    /// Bytes of both directions.
    pub bytes: [f32; 3],
    /// Flows of the last minute over those of a usual minute of the last hour, ln.
    pub flows_vs_habit: f32,
    /// Distance of this flow's ln bytes from the source's usual, in its usual spread.
    pub bytes_vs_habit: f32,
    /// The same of the duration.
    pub duration_vs_habit: f32,
}

/// What happens to a destination.
#[derive(Clone, Copy, Debug, Default)]
pub struct DestinationView {
    /// Flows.
    pub flows: [f32; 3],
    /// Distinct sources.
    pub sources: [f32; 3],
    /// Distinct ports asked for.
    pub ports: [f32; 3],
    /// Share of flows without success.
    pub failed_share: [f32; 3],
    /// Share of flows of at most four packets.
    pub short_share: [f32; 3],
    /// Bytes of both directions.
    pub bytes: [f32; 3],
    /// Flows open at once, on average.
    pub open_flows: [f32; 3],
}

/// What one source does to one destination.
#[derive(Clone, Copy, Debug, Default)]
pub struct PairView {
    /// Flows.
    pub flows: [f32; 2],
    /// Distinct ports.
    pub ports: [f32; 2],
    /// Share of flows without success.
    pub failed_share: [f32; 2],
    /// Bytes from the source, and to it.
    pub bytes: [[f32; 2]; 2],
}

/// What one source does to one port everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct SweepView {
    /// Flows.
    pub flows: [f32; 2],
    /// Distinct destinations.
    pub destinations: [f32; 2],
    /// Share of flows without success.
    pub failed_share: [f32; 2],
}

/// What happens at one port of one destination.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceView {
    /// Flows.
    pub flows: [f32; 2],
    /// Distinct sources.
    pub sources: [f32; 2],
    /// Share of flows without success.
    pub failed_share: [f32; 2],
    /// Share of flows of at most four packets.
    pub short_share: [f32; 2],
    /// Flows open at once, on average.
    pub open_flows: [f32; 2],
    /// This source's share of the flows.
    pub source_share: [f32; 2],
    /// Distance of this flow's ln duration from the service's usual, in its usual spread.
    pub duration_vs_habit: f32,
    /// The same of the bytes that the service sent.
    pub reply_bytes_vs_habit: f32,
    /// The same of the bytes that it was sent.
    pub request_bytes_vs_habit: f32,
}

impl ContextTable {
    /// Empty tables; `seed` keeps outsiders from choosing keys that collide and shows in no result.
    #[must_use]
    pub fn new(limits: ContextLimits, seed: [u64; 2]) -> Self {
        Self {
            links: BoundedTable::new(limits.links, seed),
            sources: BoundedTable::new(limits.hosts, seed),
            destinations: BoundedTable::new(limits.hosts, seed),
            pairs: BoundedTable::new(limits.pairs, seed),
            sweeps: BoundedTable::new(limits.pairs, seed),
            services: BoundedTable::new(limits.pairs, seed),
            now_us: 0,
        }
    }

    /// Books a flow whose end was certain at `now_us` (microseconds since the epoch), and says what is known around it.
    pub fn observe(&mut self, flow: &FlowRecord<TaplineState>, now_us: i64) -> Context {
        self.now_us = self.now_us.max(now_us);
        let seen = Seen::of(flow, self.now_us);
        let head = &flow.head;
        let (source, destination) = (head.initiator(), head.responder());
        let (src, dst) = (HostKey::of(source.addr), HostKey::of(destination.addr));
        let port = u64::from(destination.port) << 8 | u64::from(head.key.protocol);
        let link = self.links.entry(LinkKey { src, dst, port }).book(&seen, head);
        let pair = self.pairs.entry(PairKey { src, dst }).book(&seen, port);
        let sweep = self.sweeps.entry(PortKey { host: src, port }).book(&seen, dst);
        let service = self.services.entry(PortKey { host: dst, port }).book(&seen, src, link.flows);
        Context {
            link,
            source: self.sources.entry(src).book(&seen, dst, port),
            destination: self.destinations.entry(dst).book(&seen, src, port),
            pair,
            sweep,
            service,
        }
    }

    /// Entries that gave way because a table was full.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.links.evicted()
            + self.sources.evicted()
            + self.destinations.evicted()
            + self.pairs.evicted()
            + self.sweeps.evicted()
            + self.services.evicted()
    }
}

/// What of a flow the tables take in.
struct Seen {
    now_us: i64,
    now_s: u32,
    failed: f32,
    short: f32,
    syn_retries: f32,
    duration_s: f32,
    forward_bytes: f32,
    backward_bytes: f32,
}

impl Seen {
    fn of(flow: &FlowRecord<TaplineState>, now_us: i64) -> Self {
        let [forward, backward] = &flow.state.sides;
        let no_reply = backward.packets == 0;
        let refused = backward.flag(tcp_flag::RST) > 0 && backward.payload_bytes == 0;
        let syns = forward.flag(tcp_flag::SYN);
        Self {
            now_us,
            now_s: u32::try_from(now_us / 1_000_000).unwrap_or(u32::MAX).max(1),
            failed: f32::from(no_reply || refused),
            short: f32::from(flow.head.packets <= 4),
            syn_retries: syns.saturating_sub(1) as f32,
            duration_s: flow.head.duration_us() as f32 / 1e6,
            forward_bytes: forward.ip_bytes as f32,
            backward_bytes: backward.ip_bytes as f32,
        }
    }

    fn bytes(&self) -> f32 {
        self.forward_bytes + self.backward_bytes
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HostKey([u64; 2]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PairKey {
    src: HostKey,
    dst: HostKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PortKey {
    host: HostKey,
    port: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LinkKey {
    src: HostKey,
    dst: HostKey,
    port: u64,
}

impl HostKey {
    fn of(addr: [u8; 16]) -> Self {
        let words = u128::from_be_bytes(addr);
        Self([(words >> 64) as u64, words as u64])
    }
}

impl Words for HostKey {
    fn words(&self) -> [u64; 5] {
        [self.0[0], self.0[1], 0, 0, 0]
    }
}

impl Words for PairKey {
    fn words(&self) -> [u64; 5] {
        [self.src.0[0], self.src.0[1], self.dst.0[0], self.dst.0[1], 0]
    }
}

impl Words for PortKey {
    fn words(&self) -> [u64; 5] {
        [self.host.0[0], self.host.0[1], self.port, 0, 0]
    }
}

impl Words for LinkKey {
    fn words(&self) -> [u64; 5] {
        [self.src.0[0], self.src.0[1], self.dst.0[0], self.dst.0[1], self.port]
    }
}

#[derive(Debug, Default)]
struct Link {
    last_start_us: i64,
    /// Flows, gaps, sum and square sum of gaps, sum and square sum of ln bytes, failed, short.
    fading: Fading<8, 3>,
}

impl Link {
    fn book(&mut self, seen: &Seen, head: &FlowHead) -> LinkView {
        let start_us = head.start.micros;
        let known = self.last_start_us != 0;
        // Flows end in another order than they begin: a gap has no sign.
        let gap_s = if known { (start_us - self.last_start_us).unsigned_abs() as f32 / 1e6 } else { 0.0 };
        self.last_start_us = start_us;
        let bytes = seen.bytes().ln_1p();
        let values =
            [1.0, f32::from(known), gap_s, gap_s * gap_s, bytes, bytes * bytes, seen.failed, seen.short];
        self.fading.add(seen.now_us, &LINK_S, &values);
        let mut view = LinkView { gap_s, ..LinkView::default() };
        for window in 0..3 {
            let [flows, gaps, gap_sum, gap_square_sum, bytes_sum, bytes_square_sum, failed, short] =
                *self.fading.sums(window);
            let (gap_mean_s, gap_std_s) = mean_and_std(gaps, gap_sum, gap_square_sum);
            view.flows[window] = flows;
            view.gap_mean_s[window] = gap_mean_s;
            view.gap_spread[window] = if gap_mean_s > 0.0 { gap_std_s / gap_mean_s } else { 0.0 };
            view.bytes_spread[window] = mean_and_std(flows, bytes_sum, bytes_square_sum).1;
            view.failed_share[window] = failed / flows;
            view.short_share[window] = short / flows;
        }
        view
    }
}

#[derive(Debug, Default)]
struct Source {
    destinations: Distinct,
    failed_destinations: Distinct,
    ports: Distinct,
    /// Flows, failed, SYN retries, seconds open, short, bytes.
    fading: Fading<6, 3>,
    habit: Fading<1, 1>,
    bytes: Habit,
    duration: Habit,
}

impl Source {
    fn book(&mut self, seen: &Seen, dst: HostKey, port: u64) -> SourceView {
        let bytes_vs_habit = self.bytes.book(seen.now_us, seen.bytes());
        let duration_vs_habit = self.duration.book(seen.now_us, seen.duration_s * 1e3);
        let destination = scatter(&dst.0);
        self.destinations.add(destination, seen.now_s);
        if seen.failed > 0.0 {
            self.failed_destinations.add(destination, seen.now_s);
        }
        self.ports.add(scatter(&[port]), seen.now_s);
        let values = [1.0, seen.failed, seen.syn_retries, seen.duration_s, seen.short, seen.bytes()];
        self.fading.add(seen.now_us, &HOST_S, &values);
        self.habit.add(seen.now_us, &HABIT_S, &[1.0]);
        let destinations = self.destinations.counts(seen.now_s, &HOST_WINDOWS_S);
        let failed_destinations = self.failed_destinations.counts(seen.now_s, &HOST_WINDOWS_S);
        let mut view = SourceView {
            destinations,
            ports: self.ports.counts(seen.now_s, &HOST_WINDOWS_S),
            bytes_vs_habit,
            duration_vs_habit,
            ..SourceView::default()
        };
        for window in 0..3 {
            let [flows, failed, syn_retries, open_s, short, bytes] = *self.fading.sums(window);
            view.flows[window] = flows;
            view.failed_destinations_share[window] =
                failed_destinations[window] / destinations[window].max(1.0);
            view.failed_share[window] = failed / flows;
            view.syn_retries[window] = syn_retries;
            view.open_flows[window] = open_s / HOST_S[window];
            view.short_share[window] = short / flows;
            view.bytes[window] = bytes;
        }
        let usual = self.habit.sums(0)[0] / HABIT_S[0] * HOST_S[1];
        view.flows_vs_habit = ((view.flows[1] + 0.1) / (usual + 0.1)).ln();
        view
    }
}

#[derive(Debug, Default)]
struct Destination {
    sources: Distinct,
    ports: Distinct,
    /// Flows, failed, seconds open, short, bytes.
    fading: Fading<5, 3>,
}

impl Destination {
    fn book(&mut self, seen: &Seen, src: HostKey, port: u64) -> DestinationView {
        self.sources.add(scatter(&src.0), seen.now_s);
        self.ports.add(scatter(&[port]), seen.now_s);
        let values = [1.0, seen.failed, seen.duration_s, seen.short, seen.bytes()];
        self.fading.add(seen.now_us, &HOST_S, &values);
        let mut view = DestinationView {
            sources: self.sources.counts(seen.now_s, &HOST_WINDOWS_S),
            ports: self.ports.counts(seen.now_s, &HOST_WINDOWS_S),
            ..DestinationView::default()
        };
        for window in 0..3 {
            let [flows, failed, open_s, short, bytes] = *self.fading.sums(window);
            view.flows[window] = flows;
            view.failed_share[window] = failed / flows;
            view.short_share[window] = short / flows;
            view.bytes[window] = bytes;
            view.open_flows[window] = open_s / HOST_S[window];
        }
        view
    }
}

#[derive(Debug, Default)]
struct Pair {
    ports: Distinct,
    /// Flows, failed, bytes forward and backward.
    fading: Fading<4, 2>,
}

impl Pair {
    fn book(&mut self, seen: &Seen, port: u64) -> PairView {
        self.ports.add(scatter(&[port]), seen.now_s);
        let values = [1.0, seen.failed, seen.forward_bytes, seen.backward_bytes];
        self.fading.add(seen.now_us, &PAIR_S, &values);
        let mut view =
            PairView { ports: self.ports.counts(seen.now_s, &PAIR_WINDOWS_S), ..PairView::default() };
        for window in 0..2 {
            let [flows, failed, forward, backward] = *self.fading.sums(window);
            view.flows[window] = flows;
            view.failed_share[window] = failed / flows;
            view.bytes[window] = [forward, backward];
        }
        view
    }
}

#[derive(Debug, Default)]
struct Sweep {
    destinations: Distinct,
    /// Flows, failed.
    fading: Fading<2, 2>,
}

impl Sweep {
    fn book(&mut self, seen: &Seen, dst: HostKey) -> SweepView {
        self.destinations.add(scatter(&dst.0), seen.now_s);
        self.fading.add(seen.now_us, &PAIR_S, &[1.0, seen.failed]);
        let mut view = SweepView {
            destinations: self.destinations.counts(seen.now_s, &PAIR_WINDOWS_S),
            ..SweepView::default()
        };
        for window in 0..2 {
            let [flows, failed] = *self.fading.sums(window);
            view.flows[window] = flows;
            view.failed_share[window] = failed / flows;
        }
        view
    }
}

#[derive(Debug, Default)]
struct Service {
    sources: Distinct,
    /// Flows, failed, seconds open, short.
    fading: Fading<4, 2>,
    duration: Habit,
    reply: Habit,
    request: Habit,
}

impl Service {
    fn book(&mut self, seen: &Seen, src: HostKey, link_flows: [f32; 3]) -> ServiceView {
        let mut view = ServiceView {
            duration_vs_habit: self.duration.book(seen.now_us, seen.duration_s * 1e3),
            reply_bytes_vs_habit: self.reply.book(seen.now_us, seen.backward_bytes),
            request_bytes_vs_habit: self.request.book(seen.now_us, seen.forward_bytes),
            ..ServiceView::default()
        };
        self.sources.add(scatter(&src.0), seen.now_s);
        self.fading.add(seen.now_us, &PAIR_S, &[1.0, seen.failed, seen.duration_s, seen.short]);
        view.sources = self.sources.counts(seen.now_s, &PAIR_WINDOWS_S);
        for window in 0..2 {
            let [flows, failed, open_s, short] = *self.fading.sums(window);
            view.flows[window] = flows;
            view.failed_share[window] = failed / flows;
            view.short_share[window] = short / flows;
            view.open_flows[window] = open_s / PAIR_S[window];
            view.source_share[window] = (link_flows[window] / flows).min(1.0);
        }
        view
    }
}

/// What a value usually is, on a logarithmic scale, over about an hour.
#[derive(Debug, Default)]
struct Habit {
    /// Count, sum and square sum of ln(1 + value).
    fading: Fading<3, 1>,
}

impl Habit {
    /// How far `value` is from what was usual before it, in the usual spread (at least a tenth of a factor e), bounded
    /// by 10; 0 while fewer than three are known.
    fn book(&mut self, now_us: i64, value: f32) -> f32 {
        let value = value.max(0.0).ln_1p();
        let [count, sum, square_sum] = *self.fading.sums(0);
        let (mean, std) = mean_and_std(count, sum, square_sum);
        self.fading.add(now_us, &HABIT_S, &[1.0, value, value * value]);
        if count < 3.0 { 0.0 } else { ((value - mean) / (std + 0.1)).clamp(-10.0, 10.0) }
    }
}

fn mean_and_std(count: f32, sum: f32, square_sum: f32) -> (f32, f32) {
    if count <= 0.0 {
        return (0.0, 0.0);
    }
    let mean = sum / count;
    (mean, (square_sum / count - mean * mean).max(0.0).sqrt())
}
