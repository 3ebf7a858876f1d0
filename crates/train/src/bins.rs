//! Columns cut into bins: what trees are grown from.
//!
//! In: rows. Out: per column at most 64 bins of about as many rows each, and the bin of every row in a byte. A value that
//! is frequent has a bin of its own; a column of few values is cut between any two. Cuts lie midway between neighbours.

use crate::rows::Rows;

/// Bins of a column at most; as many cells a histogram has per column.
pub(crate) const MOST_BINS: usize = 64;

/// Rows by bins.
#[derive(Debug, Default)]
pub(crate) struct Binned {
    pub(crate) columns: Vec<BinnedColumn>,
}

#[derive(Debug)]
pub(crate) struct BinnedColumn {
    /// A value is in bin `k` if `k` of these are below it; ascending.
    pub(crate) cuts: Vec<f32>,
    /// Bin of each row.
    pub(crate) bins: Vec<u8>,
}

impl Binned {
    /// Cuts by `rows`; the rows of `more` (of the same width) follow them, in the same bins.
    pub(crate) fn new(rows: &Rows<'_>, more: Option<&Rows<'_>>, bins: usize, threads: usize) -> Self {
        let width = rows.width();
        let mut columns: Vec<Option<BinnedColumn>> = (0..width).map(|_| None).collect();
        let share = width.div_ceil(threads.max(1));
        std::thread::scope(|scope| {
            for (part, columns) in columns.chunks_mut(share).enumerate() {
                scope.spawn(move || {
                    for (at, column) in columns.iter_mut().enumerate() {
                        *column = Some(BinnedColumn::new(rows, more, part * share + at, bins));
                    }
                });
            }
        });
        Self { columns: columns.into_iter().flatten().collect() }
    }
}

impl BinnedColumn {
    fn new(rows: &Rows<'_>, more: Option<&Rows<'_>>, input: usize, bins: usize) -> Self {
        let mut sorted: Vec<f32> = rows.column(input).collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let cuts = cuts(&sorted, bins);
        let bin = |value: f32| cuts.partition_point(|cut| *cut < value) as u8;
        let mut bins = Vec::with_capacity(rows.count() + more.map_or(0, Rows::count));
        bins.extend(rows.column(input).map(bin));
        bins.extend(more.into_iter().flat_map(|more| more.column(input)).map(bin));
        Self { cuts, bins }
    }
}

/// Borders of at most `bins` bins with about as many of the sorted values each.
fn cuts(sorted: &[f32], bins: usize) -> Vec<f32> {
    let mut distinct: Vec<(f32, usize)> = Vec::new();
    for value in sorted {
        match distinct.last_mut() {
            Some((last, count)) if *last >= *value => *count += 1,
            _ => distinct.push((*value, 1)),
        }
    }
    let mut cuts = Vec::with_capacity(bins - 1);
    let (mut in_bin, mut left) = (0, sorted.len());
    for pair in distinct.windows(2) {
        let [(value, count), (next, next_count)] = [pair[0], pair[1]];
        in_bin += count;
        let bins_left = bins - cuts.len();
        if bins_left == 1 {
            break;
        }
        let target = left / bins_left;
        if distinct.len() <= bins || in_bin >= target || next_count >= target {
            cuts.push(midway(value, next));
            left -= in_bin;
            in_bin = 0;
        }
    }
    cuts
}

/// A number between the two: at least the lower, below the upper.
fn midway(lower: f32, upper: f32) -> f32 {
    let middle = ((f64::from(lower) + f64::from(upper)) / 2.0) as f32;
    if middle < upper { middle } else { lower }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_cut_between_any_two() {
        assert_eq!(cuts(&[1.0, 1.0, 2.0, 4.0], 64), [1.5, 3.0]);
        assert_eq!(cuts(&[-0.0, 0.0, 0.0], 64), [0.0f32; 0]);
        assert_eq!(cuts(&[], 64), [0.0f32; 0]);
        let next = f32::from_bits(1.0f32.to_bits() + 1);
        assert_eq!(cuts(&[1.0, next], 64), [1.0]);
    }

    #[test]
    fn bins_hold_about_as_many_and_the_frequent_stands_alone() {
        let mut values: Vec<f32> = (0..6_400).map(|at| at as f32).collect();
        values.extend([3_200.25; 10_000]);
        values.sort_unstable_by(f32::total_cmp);
        let cuts = cuts(&values, 64);
        assert_eq!(cuts.len(), 63);
        assert!(cuts.is_sorted_by(|a, b| a < b));
        let mut counts = [0; 64];
        for value in &values {
            counts[cuts.partition_point(|cut| cut < value)] += 1;
        }
        assert_eq!(counts.iter().filter(|count| **count == 10_000).count(), 1);
        assert!(counts.iter().all(|count| (1..=300).contains(count) || *count == 10_000), "{counts:?}");
    }

    #[test]
    fn rows_of_both_parts_fall_into_the_same_bins() {
        let inputs: Vec<f32> = (0..100).flat_map(|at| [at as f32, -(at as f32)]).collect();
        let rows = Rows::new(2, 2, &inputs, &[0; 100], &[1.0; 100]).unwrap();
        let more = Rows::new(2, 2, &[-5.0, 5.0, 500.0, -500.0], &[0; 2], &[1.0; 2]).unwrap();
        let binned = Binned::new(&rows, Some(&more), 16, 2);
        assert_eq!(binned.columns.len(), 2);
        for (input, column) in binned.columns.iter().enumerate() {
            assert_eq!(column.bins.len(), 102);
            for (row, bin) in column.bins.iter().enumerate().take(100) {
                let value = inputs[2 * row + input];
                assert_eq!(column.cuts.iter().filter(|cut| **cut < value).count(), usize::from(*bin));
            }
        }
        assert_eq!(binned.columns[0].bins[100..], [0, 15]);
        assert_eq!(binned.columns[1].bins[100..], [15, 0]);
    }
}
