//! The ordinary test run's share of fuzzing: every file of a corpus, and damaged copies of it, on the stable compiler.
//!
//! Included by `crates/*/tests/fuzz_corpus.rs`. The damage is the same on every run.

use std::fs;
use std::path::{Path, PathBuf};

/// Plays the corpus of `target` to `body`, and `mutations` damaged copies of each file.
pub(crate) fn replay(target: &str, mutations: u64, body: fn(&[u8])) {
    let folder = corpus(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{}: no files", folder.display());
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    for (path, seed) in paths.iter().zip(&seeds) {
        body(seed);
        let mut random = Random(seed.len() as u64);
        for n in 0..mutations {
            let damaged = damage(seed, &seeds, &mut random);
            let outcome = std::panic::catch_unwind(|| body(&damaged));
            assert!(outcome.is_ok(), "{}, mutation {n}: {damaged:?}", path.display());
        }
    }
}

/// Writes seeds to the corpus of `target`, each under its name.
pub(crate) fn write_seeds(target: &str, seeds: &[(&str, Vec<u8>)]) {
    let folder = corpus(target);
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in seeds {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// One to four changes: a bit, a byte at an edge, a number at an edge, a piece gone or doubled, the rest of another seed.
fn damage(seed: &[u8], others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const EDGES: [u8; 8] = [0, 1, 0x0f, 0x40, 0x7f, 0x80, 0xfe, 0xff];
    const NUMBERS: [u32; 6] = [0, 1, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            bytes.push(random.next() as u8);
        }
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = EDGES[random.below(EDGES.len())],
            2 => bytes[at] = random.next() as u8,
            3 => {
                for (byte, edge) in bytes[at..].iter_mut().zip(NUMBERS[random.below(6)].to_le_bytes()) {
                    *byte = edge;
                }
            }
            4 => bytes.truncate(at),
            5 => {
                let end = (at + random.below(32)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = &others[random.below(others.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at.min(other.len())..]);
            }
        }
    }
    bytes
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

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

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
