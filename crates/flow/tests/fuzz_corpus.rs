//! The corpus of the fuzz target `flow_table`, replayed.

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use tapline_flow::{FlowTable, HashSeed, Rules, Timeouts};
    use tapline_record::{
        Activity, Direction, EndReason, FlowHead, Opening, PacketRecord, Timestamp, Tracker, TunnelKind,
        protocol,
    };

    use crate::replay::{self, Random};

    #[test]
    fn flow_table() {
        replay::replay("flow_table", 3_000, tapline_flow::fuzz_flow_table);
    }

    /// A flow of today, and one 400 s before the end of time, as a damaged capture has it. Going round the wheel once for
    /// every 512 s between them would take minutes.
    #[test]
    fn a_leap_of_ages_is_one_tick() {
        let rules = Rules::Tapline { timeouts: Timeouts::default(), vlan_in_key: false };
        let mut table = FlowTable::new(rules, Nothing, 1, 16, HashSeed(1, 2), |_, _| {});
        for (ordinal, micros) in [(0, 1_700_000_000_000_000), (1, i64::MAX - 400_000_000)] {
            let ts = Timestamp::from_micros(micros);
            table.push(0, &udp(ts, ordinal));
            table.tick(ts);
        }
        assert_eq!(table.live_flows(), 1);
    }

    fn ended(table: &mut FlowTable<Nothing>) -> Vec<(EndReason, u32, i64)> {
        let mut ended = Vec::new();
        let drained = table.drain(|flow| {
            let head = &flow.record().head;
            ended.push((head.end_reason, head.packets, head.last.micros));
            Ok::<(), ()>(())
        });
        drained.unwrap();
        ended
    }

    /// An early record holds what came before its age; ages that pass in silence make one, and the last record has all.
    #[test]
    fn a_flow_that_goes_on_is_recorded_at_its_ages() {
        let mut timeouts = Timeouts { active_us: 100_000_000, ..Timeouts::default() };
        timeouts.partial_us[..3].copy_from_slice(&[1_000_000, 10_000_000, 60_000_000]);
        let rules = Rules::Tapline { timeouts, vlan_in_key: false };
        let mut table = FlowTable::new(rules, Nothing, 1, 16, HashSeed(1, 2), |_, _| {});
        let mut push = |at_us: i64| table.push(0, &udp(Timestamp::from_micros(at_us), at_us as u64));
        for at_us in [0, 999_999, 1_000_000, 1_500_000, 61_000_000, 62_000_000, 101_000_000, 102_500_000] {
            push(at_us);
        }
        table.finish();
        let partial = EndReason::Partial;
        assert_eq!(
            ended(&mut table),
            [
                (partial, 2, 999_999),
                (partial, 4, 1_500_000),
                (EndReason::Active, 6, 62_000_000),
                // The flow that goes on after the cut has ages of its own.
                (partial, 1, 101_000_000),
                (EndReason::EndOfInput, 2, 102_500_000),
            ]
        );
        let counters = table.counters();
        assert_eq!((counters.packets, counters.flows_opened, counters.flows_partial), (8, 2, 3));
    }

    /// In a hurry flows end as if their timeout were shorter; afterwards they live as long as ever.
    #[test]
    fn flows_end_earlier_in_a_hurry() {
        let second = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let rules = Rules::Tapline { timeouts: Timeouts::default(), vlan_in_key: false };
        let mut table = FlowTable::new(rules, Nothing, 1, 1_000, HashSeed(1, 2), |_, _| {});
        for port in 0..100_u16 {
            table.push(0, &PacketRecord { src_port: 1_000 + port, ..udp(second(i64::from(port)), 0) });
        }
        // The first twenty are refreshed: their places in the wheel are those of their first packets.
        for port in 0..20_u16 {
            table.push(0, &PacketRecord { src_port: 1_000 + port, ..udp(second(95), 0) });
        }
        table.tick(second(100));
        assert_eq!(ended(&mut table).len(), 0);
        // 110 s less than 120 s: what has been quiet for 10 s ends.
        table.tick_hurried(second(100), 110_000_000);
        let flows = ended(&mut table);
        assert_eq!(flows.len(), 70, "those of seconds 20 to 89");
        assert!(
            flows.iter().all(|flow| flow.0 == EndReason::Idle && (20..=89).contains(&(flow.2 / 1_000_000)))
        );
        table.tick(second(210));
        assert_eq!(ended(&mut table).len(), 1, "that of second 90");
        table.tick(second(212));
        assert_eq!(ended(&mut table).len(), 2, "those of seconds 91 and 92");
        table.tick(second(300));
        assert_eq!((ended(&mut table).len(), table.live_flows()), (27, 0));
    }

    #[derive(Debug)]
    struct Nothing;

    impl Tracker for Nothing {
        type State = ();
        fn open(&self, _: Opening<'_, ()>) {}
        fn add(&self, _: &FlowHead, (): &mut (), _: &PacketRecord, _: Direction, _: Activity) {}
    }

    fn udp(ts: Timestamp, ordinal: u64) -> PacketRecord {
        PacketRecord {
            ts,
            ordinal,
            src: [1; 16],
            dst: [2; 16],
            seq: 0,
            ack: 0,
            payload_bytes: 0,
            ip_bytes: 28,
            wire_bytes: 60,
            tunnel_id: 0,
            src_port: 9,
            dst_port: 9,
            vlan: [0; 2],
            window: 0,
            l4_header_bytes: 8,
            protocol: protocol::UDP,
            tcp_flags: 0,
            icmp_type: 0,
            icmp_code: 0,
            ip_version: 6,
            ttl: 64,
            tunnel_kind: TunnelKind::None,
            later_fragment: false,
        }
    }

    #[test]
    #[ignore = "writes to fuzz/corpus: run it after a change to the seeds"]
    fn write_seeds() {
        let names = ["tapline", "tapline_vlan", "cic_2018", "cic_head", "cic_gints"];
        let seeds: Vec<(&str, Vec<u8>)> =
            names.iter().zip(0..).map(|(name, rules)| (*name, conversation(rules))).collect();
        replay::write_seeds("flow_table", &seeds);
        let one_flow_and_a_tick = [0, 0, 0, 4, 0, 2, 5, 15, 5, 0, 0, 0, 4, 0, 16, 5].repeat(4);
        replay::write_seeds(
            "flow_table",
            &[
                ("tick_backwards", TICK_BACKWARDS.to_vec()),
                ("leap", LEAP.to_vec()),
                ("end_of_time", [&[0, 0, 0, 0, 7, 6][..], &one_flow_and_a_tick].concat()),
                ("beginning_of_time", [&[1, 0, 0, 0, 7, 8][..], &one_flow_and_a_tick].concat()),
            ],
        );
    }

    /// Small steps, all flags, an occasional tick, drain and jump, as `fuzz_flow_table` reads them.
    fn conversation(rules: u8) -> Vec<u8> {
        let mut random = Random(u64::from(rules));
        let mut bytes = vec![rules, 0, 6, 1, 5, 0];
        for n in 0..120 {
            match n % 12 {
                7 | 10 => bytes.push(5),
                9 => bytes.push(6 | (n & 8)),
                11 if n % 36 == 35 => bytes.extend([7, 3, random.below(18) as u8]),
                _ => {
                    let step = random.below(20) as u8;
                    let [ends, kind, flags, ..] = random.next().to_le_bytes();
                    bytes.extend([0, step, ends & 0x5f, kind, flags]);
                }
            }
        }
        bytes
    }

    /// Found by fuzzing: two flows overdue in the slot that the wheel stands at, and a tick before that slot. They were
    /// armed anew there, each behind the other, for ever.
    const TICK_BACKWARDS: [u8; 31] = [
        0xff, 0xfc, 0x20, 0x9d, 0x9d, 0x9d, 0x9d, 0x9d, 0x9d, 0x9d, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22,
        0xe0, 0x9d, 0x00, 0x00, 0xee, 0xee, 0x26, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x9d,
    ];
    /// Found by fuzzing: a tick at the end of time after one of today.
    const LEAP: [u8; 20] = [
        0x00, 0xff, 0x00, 0xff, 0x00, 0x00, 0x7d, 0xff, 0xff, 0xff, 0xff, 0xff, 0xd4, 0xd4, 0xd4, 0x7d, 0x7a,
        0x00, 0x7d, 0x00,
    ];
}
