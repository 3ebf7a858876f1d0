//! The corpus of the fuzz target `flow_table`, replayed.

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use tapline_flow::{FlowTable, HashSeed, Rules, Timeouts};
    use tapline_record::{
        Activity, Direction, FlowHead, Opening, PacketRecord, Timestamp, Tracker, TunnelKind, protocol,
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
