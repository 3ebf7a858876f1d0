//! How many different things there were: a few by name, the others by estimate.
//!
//! Up to eight are kept and counted exactly. From then on a HyperLogLog sketch of 256 registers estimates, with a standard
//! error of 6.5 % (Flajolet, Fusy, Gandouet and Meunier, HyperLogLog, 2007). Size is constant.

/// Things that are kept.
pub const EXAMPLES: usize = 8;

const REGISTERS: usize = 256;

/// Distinct values of a small type.
#[derive(Clone, Debug)]
pub struct Distinct<T> {
    examples: [T; EXAMPLES],
    kept: u8,
    /// Whether there were more than are kept.
    more: bool,
    registers: [u8; REGISTERS],
}

impl<T: Copy + Default + PartialEq + Into<u128>> Distinct<T> {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { examples: [T::default(); EXAMPLES], kept: 0, more: false, registers: [0; REGISTERS] }
    }

    /// Notes one.
    pub fn add(&mut self, value: T) {
        let bits = scatter(value.into());
        let register = (bits >> 56) as usize;
        let zeros = (bits << 8 | 0xff).leading_zeros() as u8 + 1;
        self.registers[register] = self.registers[register].max(zeros);
        if self.examples().contains(&value) {
            return;
        }
        match self.examples.get_mut(usize::from(self.kept)) {
            Some(place) => {
                *place = value;
                self.kept += 1;
            }
            None => self.more = true,
        }
    }

    /// The first ones, in the order in which they came.
    #[must_use]
    pub fn examples(&self) -> &[T] {
        &self.examples[..usize::from(self.kept)]
    }

    /// How many there were; exact up to eight.
    #[must_use]
    pub fn count(&self) -> u64 {
        if !self.more {
            return u64::from(self.kept);
        }
        let registers = REGISTERS as f64;
        let sum: f64 = self.registers.iter().map(|zeros| f64::from(*zeros).exp2().recip()).sum();
        let estimate = 0.7183 * registers * registers / sum;
        let empty = self.registers.iter().filter(|zeros| **zeros == 0).count();
        let estimate = if estimate <= 2.5 * registers && empty > 0 {
            registers * (registers / empty as f64).ln()
        } else {
            estimate
        };
        (estimate.round() as u64).max(EXAMPLES as u64 + 1)
    }

    /// Whether [`count`](Self::count) is exact.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        !self.more
    }
}

impl<T: Copy + Default + PartialEq + Into<u128>> Default for Distinct<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Scatters the bits of a value, the same in every run.
fn scatter(value: u128) -> u64 {
    // Vigna's splitmix64, over both halves.
    let half = |seed: u64| {
        let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    };
    half(half(value as u64) ^ (value >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_exact() {
        let mut distinct = Distinct::<u16>::new();
        for port in [80, 443, 80, 22, 443] {
            distinct.add(port);
        }
        assert_eq!(distinct.examples(), [80, 443, 22]);
        assert_eq!(distinct.count(), 3);
        (0..8).for_each(|port| distinct.add(port));
        assert_eq!(distinct.examples(), [80, 443, 22, 0, 1, 2, 3, 4]);
        assert!(distinct.count() > 8 && !distinct.is_exact());
    }

    #[test]
    fn many_are_estimated() {
        for count in [12_u128, 50, 254, 1_000, 65_536, 1_000_000] {
            // Neighbouring addresses of one network, each twice.
            let mut distinct = Distinct::<u128>::new();
            for address in (0..count).chain(0..count) {
                distinct.add(0xffff_0a00_0000 + address);
            }
            let error = (distinct.count() as f64 / count as f64 - 1.0).abs();
            assert!(error < 0.15, "{count}: {}", distinct.count());
        }
    }
}
