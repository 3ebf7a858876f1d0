//! The corpora of the fuzz targets `pcap_reader` and `pcapng_reader`, replayed.

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::replay;

    #[test]
    fn pcap_reader() {
        replay::replay("pcap_reader", 20_000, tapline_capture::fuzz_pcap);
    }

    #[test]
    fn pcapng_reader() {
        replay::replay("pcapng_reader", 20_000, tapline_capture::fuzz_pcapng);
    }

    #[test]
    #[ignore = "writes to fuzz/corpus: run it after a change to the seeds"]
    fn write_seeds() {
        // What follows the file header, and in front the kind of header that `fuzz_pcap` makes.
        let golden = |name: &str, kind: u8| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
            let mut seed = std::fs::read(path).unwrap().split_off(23);
            seed[0] = kind;
            seed
        };
        let word = |value: u32, big: bool| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let records = |kind: u8, extra: usize| {
            let big = kind & 0x80 != 0;
            let mut seed = vec![kind];
            for (second, fraction, captured, on_wire) in
                [(1, 0, 4, 60), (2, 999_999, 60, 60), (1, 5, 0, 0), (u32::MAX, 999_999_999, 1, 1)]
            {
                for value in [second, fraction, captured, on_wire] {
                    seed.extend(word(value, big));
                }
                seed.extend(vec![7; extra + captured as usize]);
            }
            seed
        };
        let mut cut = golden("fuzz20.pcap", 0);
        cut.truncate(cut.len() - 7);
        replay::write_seeds(
            "pcap_reader",
            &[
                ("micros", golden("fuzz02.pcap", 0)),
                ("padded", golden("fuzz17.pcap", 0)),
                ("one_packet", golden("fuzz20.pcap", 0)),
                ("cut", cut),
                ("no_packets", vec![0]),
                ("nanos", records(1, 0)),
                ("modified", records(2, 8)),
                ("micros_big_endian", records(0x81, 0)),
                ("nanos_big_endian", records(0x82, 0)),
                ("with_fcs", records(0x24, 0)),
            ],
        );
        replay::write_seeds(
            "pcapng_reader",
            &[
                ("whole", Blocks::new(false).section(u64::MAX).all().bytes),
                ("whole_big_endian", Blocks::new(true).section(u64::MAX).all().bytes),
                ("blocks", Blocks::new(false).all().bytes),
                ("two_sections", {
                    let mut first = Blocks::new(false).section(u64::MAX).all().bytes;
                    first.extend(Blocks::new(true).section(48).all().bytes);
                    first
                }),
                ("clocks", Blocks::new(false).clocks().bytes),
                ("cut", {
                    let mut bytes = Blocks::new(false).section(u64::MAX).all().bytes;
                    bytes.truncate(bytes.len() - 9);
                    bytes
                }),
            ],
        );
    }

    /// Blocks in one byte order.
    struct Blocks {
        big: bool,
        bytes: Vec<u8>,
    }

    impl Blocks {
        fn new(big: bool) -> Self {
            Self { big, bytes: Vec::new() }
        }

        fn words(&self, words: &[u32]) -> Vec<u8> {
            words
                .iter()
                .flat_map(|word| if self.big { word.to_be_bytes() } else { word.to_le_bytes() })
                .collect()
        }

        fn halves(&self, halves: &[u16]) -> Vec<u8> {
            halves
                .iter()
                .flat_map(|half| if self.big { half.to_be_bytes() } else { half.to_le_bytes() })
                .collect()
        }

        fn block(mut self, kind: u32, parts: &[&[u8]]) -> Self {
            let mut body = parts.concat();
            body.resize(body.len().next_multiple_of(4), 0);
            let length = 12 + body.len() as u32;
            let (head, tail) = (self.words(&[kind, length]), self.words(&[length]));
            self.bytes.extend([head, body, tail].concat());
            self
        }

        fn section(self, length: u64) -> Self {
            let (magic, version) = (self.words(&[0x1a2b_3c4d]), self.halves(&[1, 0]));
            let length = if self.big { length.to_be_bytes() } else { length.to_le_bytes() };
            self.block(0x0a0d_0d0a, &[&magic, &version, &length])
        }

        /// Ethernet, a snap length of 4096, one option of up to 8 bytes.
        fn interface(self, code: u16, value: &[u8]) -> Self {
            let (link, snap) = (self.halves(&[1, 0]), self.words(&[4_096]));
            let option = self.halves(&[code, value.len() as u16]);
            let mut padded = value.to_vec();
            padded.resize(value.len().next_multiple_of(4), 0);
            self.block(1, &[&link, &snap, &option, &padded, &[0; 4]])
        }

        fn enhanced(self, interface: u32, ticks: u64, on_wire: u32, bytes: &[u8]) -> Self {
            let head =
                self.words(&[interface, (ticks >> 32) as u32, ticks as u32, bytes.len() as u32, on_wire]);
            self.block(6, &[&head, bytes])
        }

        /// An interface and every kind of block: packets enhanced, simple and old, names, one that nobody knows.
        fn all(self) -> Self {
            let simple = self.words(&[5]);
            let old = [self.halves(&[0, 1]), self.words(&[0, 9, 3, 60])].concat();
            self.interface(9, &[9])
                .enhanced(0, 1_700_000_000_000_000_000, 60, &[1; 33])
                .block(3, &[&simple, &[2; 5]])
                .block(2, &[&old, &[3; 3]])
                .block(4, &[&[0; 4]])
                .block(0x8000_0042, &[&[9; 21]])
                .enhanced(0, 1_700_000_001_000_000_000, 4, &[4; 4])
        }

        /// Interfaces with clocks of every kind: 10^-3, 10^0, 10^-12, 2^-10, 2^-63 s, and one that starts in 1901.
        fn clocks(self) -> Self {
            let offset = (-2_147_483_648_i64).to_le_bytes();
            let mut blocks = self;
            for resolution in [3, 0, 12, 0x8a, 0xbf] {
                blocks = blocks.interface(9, &[resolution]);
            }
            blocks = blocks.interface(14, &offset);
            for interface in 0..7 {
                for ticks in [0, 1_700_000_000, u64::MAX] {
                    blocks = blocks.enhanced(interface, ticks, 60, &[interface as u8; 6]);
                }
            }
            blocks
        }
    }
}
