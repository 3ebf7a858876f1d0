//! What a flow's hosts did lately: the context without which a lone probe and a refused connection are the same flow.
//!
//! In: ended flows, booked in the order in which their ends were certain. Out: a [`Context`] per flow, as of its end or
//! somewhat later, the flow itself included. Six tables, each bounded; every entry has constant size, every flow costs six lookups. Counts fade
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

/// What is known of a flow at the moment at which it is booked, before its own weight is in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Booked {
    link_gap_s: f32,
    source_bytes_vs_habit: f32,
    source_duration_vs_habit: f32,
    service_duration_vs_habit: f32,
    service_reply_bytes_vs_habit: f32,
    service_request_bytes_vs_habit: f32,
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

    /// Books a flow whose end was certain at `now_us` (microseconds since the epoch).
    pub fn book(&mut self, flow: &FlowRecord<TaplineState>, now_us: i64) -> Booked {
        self.now_us = self.now_us.max(now_us);
        let seen = Seen::of(flow, self.now_us);
        let keys = Keys::of(&flow.head);
        let mut booked = Booked::default();
        self.links.entry(keys.link()).book(&seen, &flow.head, &mut booked);
        self.sources.entry(keys.src).book(&seen, &keys, &mut booked);
        self.destinations.entry(keys.dst).book(&seen, &keys);
        self.pairs.entry(keys.pair()).book(&seen, &keys);
        self.sweeps.entry(keys.sweep()).book(&seen, &keys);
        self.services.entry(keys.service()).book(&seen, &keys, &mut booked);
        booked
    }

    /// What is known at `now_us`, at the earliest the time of the last booking, around a flow that was booked then or
    /// before. What the tables have forgotten counts as nothing.
    #[must_use]
    pub fn view(&self, head: &FlowHead, booked: &Booked, now_us: i64) -> Context {
        let at = At::of(self.now_us.max(now_us));
        let keys = Keys::of(head);
        let mut context = Context::default();
        if let Some(link) = self.links.get(&keys.link()) {
            context.link = link.view(&at);
        }
        if let Some(source) = self.sources.get(&keys.src) {
            context.source = source.view(&at);
        }
        if let Some(destination) = self.destinations.get(&keys.dst) {
            context.destination = destination.view(&at);
        }
        if let Some(pair) = self.pairs.get(&keys.pair()) {
            context.pair = pair.view(&at);
        }
        if let Some(sweep) = self.sweeps.get(&keys.sweep()) {
            context.sweep = sweep.view(&at);
        }
        if let Some(service) = self.services.get(&keys.service()) {
            context.service = service.view(&at, context.link.flows);
        }
        context.link.gap_s = booked.link_gap_s;
        context.source.bytes_vs_habit = booked.source_bytes_vs_habit;
        context.source.duration_vs_habit = booked.source_duration_vs_habit;
        context.service.duration_vs_habit = booked.service_duration_vs_habit;
        context.service.reply_bytes_vs_habit = booked.service_reply_bytes_vs_habit;
        context.service.request_bytes_vs_habit = booked.service_request_bytes_vs_habit;
        context
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

/// An instant, in both units that the tables use.
struct At {
    us: i64,
    s: u32,
}

impl At {
    fn of(us: i64) -> Self {
        Self { us, s: u32::try_from(us / 1_000_000).unwrap_or(u32::MAX).max(1) }
    }
}

/// Where a flow stands in the tables.
struct Keys {
    src: HostKey,
    dst: HostKey,
    port: u64,
}

impl Keys {
    fn of(head: &FlowHead) -> Self {
        let (source, destination) = (head.initiator(), head.responder());
        Self {
            src: HostKey::of(source.addr),
            dst: HostKey::of(destination.addr),
            port: u64::from(destination.port) << 8 | u64::from(head.key.protocol),
        }
    }

    const fn link(&self) -> LinkKey {
        LinkKey { src: self.src, dst: self.dst, port: self.port }
    }

    const fn pair(&self) -> PairKey {
        PairKey { src: self.src, dst: self.dst }
    }

    const fn sweep(&self) -> PortKey {
        PortKey { host: self.src, port: self.port }
    }

    const fn service(&self) -> PortKey {
        PortKey { host: self.dst, port: self.port }
    }
}

/// What of a flow the tables take in.
struct Seen {
    at: At,
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
            at: At::of(now_us),
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
    fn book(&mut self, seen: &Seen, head: &FlowHead, booked: &mut Booked) {
        let start_us = head.start.micros;
        let known = self.last_start_us != 0;
        // Flows end in another order than they begin: a gap has no sign.
        let gap_s = if known { (start_us - self.last_start_us).unsigned_abs() as f32 / 1e6 } else { 0.0 };
        self.last_start_us = start_us;
        booked.link_gap_s = gap_s;
        let bytes = seen.bytes().ln_1p();
        let values =
            [1.0, f32::from(known), gap_s, gap_s * gap_s, bytes, bytes * bytes, seen.failed, seen.short];
        self.fading.add(seen.at.us, &LINK_S, &values);
    }

    fn view(&self, at: &At) -> LinkView {
        let mut view = LinkView::default();
        for (window, sums) in self.fading.faded(at.us, &LINK_S).iter().enumerate() {
            let [flows, gaps, gap_sum, gap_square_sum, bytes_sum, bytes_square_sum, failed, short] = *sums;
            let (gap_mean_s, gap_std_s) = mean_and_std(gaps, gap_sum, gap_square_sum);
            view.flows[window] = flows;
            view.gap_mean_s[window] = gap_mean_s;
            view.gap_spread[window] = share(gap_std_s, gap_mean_s);
            view.bytes_spread[window] = mean_and_std(flows, bytes_sum, bytes_square_sum).1;
            view.failed_share[window] = share(failed, flows);
            view.short_share[window] = share(short, flows);
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
    fn book(&mut self, seen: &Seen, keys: &Keys, booked: &mut Booked) {
        booked.source_bytes_vs_habit = self.bytes.book(seen.at.us, seen.bytes());
        booked.source_duration_vs_habit = self.duration.book(seen.at.us, seen.duration_s * 1e3);
        let destination = scatter(&keys.dst.0);
        self.destinations.add(destination, seen.at.s);
        if seen.failed > 0.0 {
            self.failed_destinations.add(destination, seen.at.s);
        }
        self.ports.add(scatter(&[keys.port]), seen.at.s);
        let values = [1.0, seen.failed, seen.syn_retries, seen.duration_s, seen.short, seen.bytes()];
        self.fading.add(seen.at.us, &HOST_S, &values);
        self.habit.add(seen.at.us, &HABIT_S, &[1.0]);
    }

    fn view(&self, at: &At) -> SourceView {
        let destinations = self.destinations.counts(at.s, &HOST_WINDOWS_S);
        let failed_destinations = self.failed_destinations.counts(at.s, &HOST_WINDOWS_S);
        let mut view = SourceView {
            destinations,
            ports: self.ports.counts(at.s, &HOST_WINDOWS_S),
            ..SourceView::default()
        };
        for (window, sums) in self.fading.faded(at.us, &HOST_S).iter().enumerate() {
            let [flows, failed, syn_retries, open_s, short, bytes] = *sums;
            view.flows[window] = flows;
            view.failed_destinations_share[window] =
                failed_destinations[window] / destinations[window].max(1.0);
            view.failed_share[window] = share(failed, flows);
            view.syn_retries[window] = syn_retries;
            view.open_flows[window] = open_s / HOST_S[window];
            view.short_share[window] = share(short, flows);
            view.bytes[window] = bytes;
        }
        let usual = self.habit.faded(at.us, &HABIT_S)[0][0] / HABIT_S[0] * HOST_S[1];
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
    fn book(&mut self, seen: &Seen, keys: &Keys) {
        self.sources.add(scatter(&keys.src.0), seen.at.s);
        self.ports.add(scatter(&[keys.port]), seen.at.s);
        let values = [1.0, seen.failed, seen.duration_s, seen.short, seen.bytes()];
        self.fading.add(seen.at.us, &HOST_S, &values);
    }

    fn view(&self, at: &At) -> DestinationView {
        let mut view = DestinationView {
            sources: self.sources.counts(at.s, &HOST_WINDOWS_S),
            ports: self.ports.counts(at.s, &HOST_WINDOWS_S),
            ..DestinationView::default()
        };
        for (window, sums) in self.fading.faded(at.us, &HOST_S).iter().enumerate() {
            let [flows, failed, open_s, short, bytes] = *sums;
            view.flows[window] = flows;
            view.failed_share[window] = share(failed, flows);
            view.short_share[window] = share(short, flows);
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
    fn book(&mut self, seen: &Seen, keys: &Keys) {
        self.ports.add(scatter(&[keys.port]), seen.at.s);
        let values = [1.0, seen.failed, seen.forward_bytes, seen.backward_bytes];
        self.fading.add(seen.at.us, &PAIR_S, &values);
    }

    fn view(&self, at: &At) -> PairView {
        let mut view = PairView { ports: self.ports.counts(at.s, &PAIR_WINDOWS_S), ..PairView::default() };
        for (window, sums) in self.fading.faded(at.us, &PAIR_S).iter().enumerate() {
            let [flows, failed, forward, backward] = *sums;
            view.flows[window] = flows;
            view.failed_share[window] = share(failed, flows);
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
    fn book(&mut self, seen: &Seen, keys: &Keys) {
        self.destinations.add(scatter(&keys.dst.0), seen.at.s);
        self.fading.add(seen.at.us, &PAIR_S, &[1.0, seen.failed]);
    }

    fn view(&self, at: &At) -> SweepView {
        let destinations = self.destinations.counts(at.s, &PAIR_WINDOWS_S);
        let mut view = SweepView { destinations, ..SweepView::default() };
        for (window, sums) in self.fading.faded(at.us, &PAIR_S).iter().enumerate() {
            let [flows, failed] = *sums;
            view.flows[window] = flows;
            view.failed_share[window] = share(failed, flows);
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
    fn book(&mut self, seen: &Seen, keys: &Keys, booked: &mut Booked) {
        booked.service_duration_vs_habit = self.duration.book(seen.at.us, seen.duration_s * 1e3);
        booked.service_reply_bytes_vs_habit = self.reply.book(seen.at.us, seen.backward_bytes);
        booked.service_request_bytes_vs_habit = self.request.book(seen.at.us, seen.forward_bytes);
        self.sources.add(scatter(&keys.src.0), seen.at.s);
        self.fading.add(seen.at.us, &PAIR_S, &[1.0, seen.failed, seen.duration_s, seen.short]);
    }

    fn view(&self, at: &At, link_flows: [f32; 3]) -> ServiceView {
        let sources = self.sources.counts(at.s, &PAIR_WINDOWS_S);
        let mut view = ServiceView { sources, ..ServiceView::default() };
        for (window, sums) in self.fading.faded(at.us, &PAIR_S).iter().enumerate() {
            let [flows, failed, open_s, short] = *sums;
            view.flows[window] = flows;
            view.failed_share[window] = share(failed, flows);
            view.short_share[window] = share(short, flows);
            view.open_flows[window] = open_s / PAIR_S[window];
            view.source_share[window] = share(link_flows[window], flows).min(1.0);
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

fn share(part: f32, whole: f32) -> f32 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn mean_and_std(count: f32, sum: f32, square_sum: f32) -> (f32, f32) {
    if count <= 0.0 {
        return (0.0, 0.0);
    }
    let mean = sum / count;
    (mean, (square_sum / count - mean * mean).max(0.0).sqrt())
}
