//! Random packet sequences that dwell where flow meters go wrong: few tuples, all mixes of TCP flags, reuse after FIN
//! and RST, gaps at the edges of 1 s, 5 s, 120 s and 1800 s, packets out of order, flows of an address with itself.

use std::net::Ipv4Addr;

use super::packets::Packet;

/// A small seeded generator (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What a sequence may contain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) packets: usize,
    /// Percent of packets that go back in time.
    pub(crate) out_of_order: u64,
    /// Whether an address may talk to itself.
    pub(crate) loopback: bool,
}

/// A sequence of packets.
pub(crate) fn sequence(seed: u64, shape: Shape) -> Vec<Packet> {
    let mut random = Random(seed);
    let hosts: Vec<Ipv4Addr> = (0..2 + random.below(4))
        .map(|i| Ipv4Addr::new(random.one_of(&[10, 188, 192, 127]), 0, 0, 1 + i as u8))
        .collect();
    let ports: Vec<u16> =
        (0..1 + random.below(4)).map(|_| random.one_of(&[22, 53, 80, 443, 1024, 50_000])).collect();
    let protocols: &[u8] = random.one_of(&[&[6][..], &[6, 17], &[6, 17, 1], &[6, 17, 1, 2, 47], &[1, 17]]);
    let mut now_us: i64 = 1_500_000_000_000_000 + random.below(1_000_000_000) as i64;
    let mut packets = Vec::with_capacity(shape.packets);
    for _ in 0..shape.packets {
        let gap = match random.below(20) {
            0 => 0,
            1 => random.one_of(&[999_999, 1_000_000, 1_000_001]),
            2 => random.one_of(&[4_999_999, 5_000_000, 5_000_001]),
            3 => random.one_of(&[119_999_999, 120_000_000, 120_000_001]),
            4 if random.chance(20) => random.one_of(&[1_799_999_999, 1_800_000_001]),
            5 | 6 => random.below(30_000_000) as i64,
            _ => random.below(300_000) as i64,
        };
        now_us += gap;
        let ts_us =
            if random.chance(shape.out_of_order) { now_us - random.below(3_000_000) as i64 } else { now_us };
        let src = random.one_of(&hosts);
        let mut dst = random.one_of(&hosts);
        while dst == src && !shape.loopback {
            dst = random.one_of(&hosts);
        }
        let protocol = random.one_of(protocols);
        let flags = match random.below(12) {
            0 => 0x02,
            1 => 0x12,
            2 => 0x11,
            3 => 0x01,
            4 => 0x04,
            5 => 0x14,
            6 => random.below(256) as u8,
            7 | 8 => 0x18,
            _ => 0x10,
        };
        let payload = match random.below(4) {
            0 | 1 => 0,
            2 => random.below(20) as u16,
            _ => random.below(1_400) as u16,
        };
        packets.push(Packet {
            ts_us,
            src,
            dst,
            protocol,
            sport: if protocol == 1 { random.one_of(&[0, 3, 8, 11]) } else { random.one_of(&ports) },
            dport: if protocol == 1 { random.below(3) as u16 } else { random.one_of(&ports) },
            flags: if protocol == 6 { flags } else { 0 },
            seq: random.below(4) as u32 * 1_000,
            ack: random.below(3) as u32,
            window: random.one_of(&[0, 512, 65_535]),
            payload,
            options: if protocol == 6 { random.one_of(&[0, 0, 12, 40]) } else { 0 },
        });
    }
    packets
}
