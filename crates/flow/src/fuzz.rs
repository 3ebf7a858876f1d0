//! The body of the fuzz target `flow_table`: bytes become rules, packets, ticks and drains, and the books must balance.
//!
//! The pool of addresses, ports and protocols is small, so that packets meet; instants are anywhere, the ends of `i64`
//! included. Ticks go both ways: a capture's clock may have been wrong.

use tapline_record::{
    Activity, CicVersion, Direction, FlowHead, FlowKey, Opening, PacketRecord, Timestamp, Tracker, TunnelKind,
};

use crate::{FlowTable, HashSeed, Rules, Timeouts, shard_of};

const SHARDS: usize = 2;

/// Plays `data` to a table. Never panics, unless a packet is lost, a flow is handed out twice, the table holds more
/// than it may, or a flow under Tapline's rules runs backwards.
pub fn fuzz_flow_table(data: &[u8]) {
    let mut input = Input(data);
    let rules = rules(&mut input);
    let flows_max = 1 + usize::from(input.byte() % 16);
    let mut play = Play {
        table: FlowTable::new(rules, Counting, SHARDS, flows_max, HashSeed(1, 2), |_, _| {}),
        rules,
        flows_max,
        now_us: INSTANTS_US[usize::from(input.byte()) % INSTANTS_US.len()],
        pushed: 0,
        taken: 0,
        flows_taken: 0,
    };
    while let Some(operation) = input.next() {
        match operation % 8 {
            0..=4 => play.push(&mut input),
            5 => play.tick(),
            6 => play.drain(operation & 8 != 0),
            _ => play.jump(&mut input),
        }
        play.check_bounds();
    }
    play.table.finish();
    assert_eq!(play.table.live_flows(), 0, "a flow outlived the input");
    play.drain(true);
    assert_eq!(play.pushed, play.taken + play.non_flow(), "a packet is in no flow and has no reason");
    let opened = play.table.counters().flows_opened;
    assert!(play.flows_taken <= opened && play.flows_taken + play.non_flow() >= opened, "flows were lost");
}

/// Bytes to be read one after another; zeros behind the end, but no operation.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    fn one_of(&mut self, choices: &[i64]) -> i64 {
        choices[usize::from(self.byte()) % choices.len()]
    }
}

/// The state of a flow: how many packets its tracker was shown.
struct Counting;

impl Tracker for Counting {
    type State = u64;

    fn open(&self, opening: Opening<'_, u64>) -> u64 {
        assert_eq!(opening.head.packets, 1, "a flow opens with one packet");
        if let Some((before, state)) = opening.continues {
            assert_eq!(*state, u64::from(before.packets), "the state that is gone on from is another flow's");
        }
        1
    }

    fn add(&self, head: &FlowHead, state: &mut u64, _: &PacketRecord, _: Direction, _: Activity) {
        assert_eq!(*state, u64::from(head.packets), "the head of one flow with the state of another");
        *state += 1;
    }
}

/// A table at play, and what went in and came out.
struct Play {
    table: FlowTable<Counting>,
    rules: Rules,
    flows_max: usize,
    now_us: i64,
    /// Packets.
    pushed: u64,
    taken: u64,
    flows_taken: u64,
}

impl Play {
    fn push(&mut self, input: &mut Input<'_>) {
        let step_us = input.one_of(&STEPS_US);
        self.now_us = self.now_us.saturating_add(step_us);
        let packet = packet(input, self.now_us, self.pushed);
        let (key, _) = FlowKey::of(&packet, self.rules.key_rules());
        self.table.push(shard_of(&key, 0) % SHARDS, &packet);
        self.pushed += 1;
    }

    fn tick(&mut self) {
        self.table.tick(Timestamp::from_micros(self.now_us));
    }

    /// To an instant far away.
    fn jump(&mut self, input: &mut Input<'_>) {
        self.now_us = input.one_of(&INSTANTS_US).saturating_add(input.one_of(&STEPS_US));
    }

    /// Takes every flow that ended, or drops it where it lies; the books must balance then.
    fn drain(&mut self, take: bool) {
        let mut previous = None;
        let Self { table, rules, taken, flows_taken, .. } = self;
        let drained = table.drain(|flow| {
            assert!(previous < Some(flow.order()), "rows out of order, or a row twice");
            previous = Some(flow.order());
            let head = flow.record().head;
            assert!(head.packets >= rules.packets_min(), "a flow too small to be handed out");
            let forwards = matches!(rules, Rules::Cic { .. }) || head.last >= head.start;
            assert!(forwards, "a flow ends before it starts");
            let counted = if take { flow.take().state } else { flow.record().state };
            assert_eq!(u64::from(head.packets), counted, "a flow says one number and its tracker another");
            *taken += counted;
            *flows_taken += 1;
            Ok::<(), ()>(())
        });
        assert_eq!(drained, Ok(()));
        let accounted = self.taken + self.table.live_packets() + self.non_flow();
        assert_eq!(accounted, self.pushed, "a packet was lost, or counted twice");
    }

    fn check_bounds(&self) {
        assert_eq!(self.table.counters().packets, self.pushed);
        let flows_max = self.flows_max * SHARDS;
        assert!(self.table.live_flows() <= flows_max, "more flows than the table may hold");
        assert_eq!(self.table.counters().flows_live, self.table.live_flows() as u64);
        assert!(self.table.counters().flows_peak <= flows_max as u64);
    }

    fn non_flow(&self) -> u64 {
        self.table.counters().non_flow.iter().sum()
    }
}

fn rules(input: &mut Input<'_>) -> Rules {
    let choice = input.byte();
    let idle_us = input.one_of(&TIMEOUTS_US);
    let active_us = input.one_of(&TIMEOUTS_US).min(Timeouts::ACTIVE_MAX_US);
    let tcp_linger_us = input.one_of(&TIMEOUTS_US);
    let cic = |version| Rules::Cic { version, flow_timeout_us: idle_us };
    match choice % 5 {
        0 | 1 => Rules::Tapline {
            timeouts: Timeouts { idle_us, active_us, tcp_linger_us, ..Timeouts::default() },
            vlan_in_key: choice % 5 == 1,
        },
        2 => cic(CicVersion::V2018),
        3 => cic(CicVersion::Head),
        _ => cic(CicVersion::Gints),
    }
}

fn packet(input: &mut Input<'_>, ts_us: i64, ordinal: u64) -> PacketRecord {
    const PROTOCOLS: [u8; 8] = [6, 6, 6, 6, 17, 1, 58, 0];
    let (ends, kind, flags) = (input.byte(), input.byte(), input.byte());
    let addr = |host: u8| {
        let mut addr = [0; 16];
        addr[10..].copy_from_slice(&[0xff, 0xff, 192, 0, 2, host]);
        addr
    };
    let protocol = PROTOCOLS[usize::from(kind % 8)];
    let with_ports = matches!(protocol, 6 | 17);
    let is_tcp = protocol == 6;
    let is_icmp = matches!(protocol, 1 | 58);
    PacketRecord {
        ts: Timestamp::from_micros(ts_us),
        ordinal,
        src: addr(ends & 3),
        dst: addr(ends >> 2 & 3),
        seq: if is_tcp { u32::from(kind >> 4 & 3) } else { 0 },
        ack: if is_tcp { u32::from(kind >> 6) } else { 0 },
        payload_bytes: u32::from(flags),
        ip_bytes: 60 + u32::from(flags),
        wire_bytes: 74 + u32::from(flags),
        tunnel_id: 0,
        src_port: if with_ports { u16::from(ends >> 4 & 3) } else { 0 },
        dst_port: if with_ports { u16::from(ends >> 6) } else { 0 },
        vlan: [u16::from(kind >> 3 & 1), 0],
        window: 0,
        l4_header_bytes: if is_tcp { 20 } else { 8 },
        protocol,
        tcp_flags: if is_tcp { flags } else { 0 },
        icmp_type: if is_icmp { flags & 15 } else { 0 },
        icmp_code: if is_icmp { flags >> 6 } else { 0 },
        ip_version: 4,
        ttl: 64,
        tunnel_kind: TunnelKind::None,
        later_fragment: false,
    }
}

/// Steps between packets: at the edges of seconds, of timeouts and of the timer wheel, forwards and backwards.
const STEPS_US: [i64; 24] = [
    0,
    1,
    1_000,
    999_999,
    1_000_000,
    1_000_001,
    5_000_000,
    5_000_001,
    60_000_000,
    120_000_000,
    120_000_001,
    511_000_000,
    512_000_000,
    513_000_001,
    1_800_000_001,
    3_600_000_001,
    86_400_000_000,
    -1,
    -999_999,
    -1_000_001,
    -5_000_000,
    -120_000_001,
    -512_000_000,
    -86_400_000_000,
];

const TIMEOUTS_US: [i64; 8] =
    [120_000_000, 5_000_000, 1, 0, 1_000_000, 600_000_000, 3_600_000_000, 86_400_000_000];

const INSTANTS_US: [i64; 10] = [
    1_500_000_000_000_000,
    0,
    -1,
    1_500_000_511_999_999,
    u32::MAX as i64 * 1_000_000,
    i64::MAX,
    i64::MAX - 400_000_000,
    i64::MAX / 2,
    i64::MIN,
    i64::MIN + 1,
];
