//! Windows without padding: the rows that a recurrence works on.

use candle_core::{Device, Error, Result, Tensor};

/// An arrangement of the real steps of many windows in which every step of a recurrence is one block of rows.
///
/// Windows are ordered by length, longest first (equal ones keep their order). Row block `t` holds step `t` of all
/// windows that have one: these are the first `active(t)` of that order, so the row before any row is found at the same
/// place of the block before, and nothing is computed for padding. The same arrangement serves both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packing {
    /// Windows by rank: longest first.
    order: Vec<usize>,
    /// Steps of each window, by rank.
    lengths: Vec<usize>,
    /// First row of each block, and the number of rows at the end.
    starts: Vec<usize>,
}

impl Packing {
    /// Arranges windows of these lengths.
    pub(crate) fn new(lengths: &[usize]) -> Self {
        let mut packing = Self::default();
        packing.arrange(lengths.iter().copied().enumerate());
        packing
    }

    /// Arranges anew, in the memory at hand, windows given as number and length.
    pub(crate) fn arrange(&mut self, windows: impl Iterator<Item = (usize, usize)> + Clone) {
        let Self { order, lengths, starts } = self;
        order.clear();
        lengths.clear();
        starts.clear();
        let longest = windows.clone().map(|(_, length)| length).max().unwrap_or(0);
        // Counting sort: first the windows of each length, then the rank of the next one of that length.
        starts.resize(longest + 1, 0);
        let mut count = 0;
        for (_, length) in windows.clone() {
            starts[length] += 1;
            count += 1;
        }
        let mut longer = 0;
        for entry in starts.iter_mut().rev() {
            let equal = std::mem::replace(entry, longer);
            longer += equal;
        }
        order.resize(count, 0);
        lengths.resize(count, 0);
        for (window, length) in windows {
            let rank = starts[length];
            starts[length] += 1;
            order[rank] = window;
            lengths[rank] = length;
        }
        // Entry l has become the number of windows of at least l steps: the rows of block l - 1.
        starts[0] = 0;
        for t in 1..=longest {
            starts[t] += starts[t - 1];
        }
    }

    /// Rows in all.
    pub(crate) fn rows(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Windows.
    pub(crate) fn windows(&self) -> usize {
        self.order.len()
    }

    /// Blocks: steps of the longest window.
    pub(crate) fn blocks(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// First row of block `t`.
    pub(crate) fn start(&self, t: usize) -> usize {
        self.starts[t]
    }

    /// Rows of block `t`; 0 behind the last.
    pub(crate) fn active(&self, t: usize) -> usize {
        if t < self.blocks() { self.starts[t + 1] - self.starts[t] } else { 0 }
    }

    /// The row of step `t` of the window of this rank.
    pub(crate) fn row(&self, rank: usize, t: usize) -> usize {
        self.starts[t] + rank
    }

    /// Rank, window and length of the windows of two steps or more.
    pub(crate) fn together(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        self.ranks()
            .enumerate()
            .map(|(rank, (window, length))| (rank, window, length))
            .take_while(|(_, _, length)| *length > 1)
    }

    /// For every row, in order, what `place` says about rank, window, length and step; as an index of tensors.
    pub(crate) fn places(
        &self,
        device: &Device,
        place: impl Fn(usize, usize, usize, usize) -> usize,
    ) -> Result<Tensor> {
        let mut places = vec![0_u32; self.rows()];
        for (rank, (window, length)) in self.ranks().enumerate() {
            for t in 0..length {
                places[self.row(rank, t)] = u32::try_from(place(rank, window, length, t))
                    .map_err(|_| Error::Msg("a batch of 2^32 steps".to_owned()))?;
            }
        }
        Tensor::from_vec(places, self.rows(), device)
    }

    /// Window and length, by rank.
    pub(crate) fn ranks(&self) -> impl Iterator<Item = (usize, usize)> + Clone + '_ {
        self.order.iter().copied().zip(self.lengths.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows_stand_longest_first_and_equal_ones_in_their_order() {
        let packing = Packing::new(&[1, 3, 0, 3, 2]);
        assert_eq!(packing.ranks().collect::<Vec<_>>(), [(1, 3), (3, 3), (4, 2), (0, 1), (2, 0)]);
        assert_eq!((packing.rows(), packing.windows(), packing.blocks()), (9, 5, 3));
        assert_eq!([0, 1, 2, 3].map(|t| packing.active(t)), [4, 3, 2, 0]);
        assert_eq!([0, 1, 2].map(|t| packing.start(t)), [0, 4, 7]);
        assert_eq!(packing.row(1, 2), 8);
    }

    #[test]
    fn nothing_has_no_rows() {
        for lengths in [&[][..], &[0, 0]] {
            let packing = Packing::new(lengths);
            assert_eq!((packing.rows(), packing.blocks(), packing.windows()), (0, 0, lengths.len()));
        }
    }

    proptest! {
        #[test]
        fn every_step_has_a_row_of_its_own(lengths in prop::collection::vec(0_usize..9, 0..40)) {
            let packing = Packing::new(&lengths);
            let mut rows: Vec<usize> = Vec::new();
            for (rank, (window, length)) in packing.ranks().enumerate() {
                prop_assert_eq!(lengths[window], length);
                for t in 0..length {
                    prop_assert!(rank < packing.active(t));
                    rows.push(packing.row(rank, t));
                }
            }
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lengths.iter().sum()).collect::<Vec<_>>());
            prop_assert_eq!(packing.rows(), lengths.iter().sum::<usize>());
        }
    }
}
