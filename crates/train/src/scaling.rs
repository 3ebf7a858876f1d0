//! Scaling of the selected inputs, and their histograms over benign training rows.
//!
//! In: training rows of the table, and nothing else. Out: [`InputColumn`]s for the manifest, and rows as the network
//! sees them, by the [`Scaler`] that serves live scoring. Median and interquartile range do not mind the
//! few extreme values that every network has.

use serde::{Deserialize, Serialize};
use tapline_score::Scaler;
use tapline_score::manifest::{InputColumn, Inputs};
use tapline_score::scaler::{UnknownInput, scaled};

use crate::Table;

/// How inputs are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scaling {
    /// By median and interquartile range.
    Linear,
    /// By rank among the training rows: whatever its distribution, an input comes out nearly normal.
    Ranks,
}

/// Learns the scaling of the inputs at `places` from `rows`.
///
/// Edges of the histograms are the deciles of the scaled values of benign rows, fewer where values repeat.
#[must_use]
pub fn fit(table: &Table, rows: &[u32], places: &[usize], kind: Scaling, clip: f32) -> Vec<InputColumn> {
    let mut values: Vec<f32> = Vec::with_capacity(rows.len());
    places
        .iter()
        .map(|place| {
            values.clear();
            values.extend(rows.iter().map(|row| table.row(*row as usize)[*place]));
            values.sort_unstable_by(f32::total_cmp);
            let center = quantile(&values, 0.5);
            let range = quantile(&values, 0.75) - quantile(&values, 0.25);
            let mut column = InputColumn {
                name: table.inputs[*place].clone(),
                center,
                scale: if range > 0.0 { range } else { 1.0 },
                clip,
                knots: Vec::new(),
                marks: Vec::new(),
                edges: Vec::new(),
                shares: Vec::new(),
            };
            if kind == Scaling::Ranks {
                set_knots(&mut column, &values);
            }
            values.clear();
            let benign = rows.iter().filter(|row| !table.hostile[**row as usize]);
            values.extend(benign.map(|row| scaled(&column, table.row(*row as usize)[*place])));
            values.sort_unstable_by(f32::total_cmp);
            histogram(&mut column, &values);
            column
        })
        .collect()
}

/// Every row of the table as the network sees it: `[rows, columns]`, row-major.
///
/// # Errors
///
/// The first column that is not in the table.
pub fn scale(table: &Table, inputs: &Inputs) -> Result<Vec<f32>, UnknownInput> {
    let names: Vec<&str> = table.inputs.iter().map(String::as_str).collect();
    let scaler = Scaler::new(inputs, &names)?;
    let mut cells = Vec::with_capacity(table.rows() * scaler.width());
    for row in 0..table.rows() {
        scaler.scale(table.row(row), &mut cells);
    }
    Ok(cells)
}

/// Moves the centres of `inputs` towards the medians of `rows`, a `share` of the way and one interquartile range at most, and
/// takes their histograms anew.
///
/// # Errors
///
/// The first column that is not in the table.
pub fn shift(inputs: &mut Inputs, table: &Table, rows: &[u32], share: f32) -> Result<(), UnknownInput> {
    let mut values: Vec<f32> = Vec::with_capacity(rows.len());
    for column in &mut inputs.columns {
        let place = table.inputs.iter().position(|name| *name == column.name);
        let place = place.ok_or_else(|| UnknownInput(column.name.clone()))?;
        values.clear();
        values.extend(rows.iter().map(|row| table.row(*row as usize)[place]));
        values.sort_unstable_by(f32::total_cmp);
        let way = (quantile(&values, 0.5) - column.center).clamp(-column.scale, column.scale);
        let way = share.clamp(0.0, 1.0) * way;
        column.center += way;
        move_knots(column, way);
        values.iter_mut().for_each(|value| *value = scaled(column, *value));
        histogram(column, &values);
    }
    Ok(())
}

/// Moves the knots. Where they were nearer to each other than numbers of their new size can be, the first of them stays.
fn move_knots(column: &mut InputColumn, way: f32) {
    let old = std::mem::take(&mut column.knots).into_iter().zip(std::mem::take(&mut column.marks));
    for (knot, mark) in old.map(|(knot, mark)| (knot + way, mark)) {
        if column.knots.last().is_none_or(|last| *last < knot) {
            column.knots.push(knot);
            column.marks.push(mark);
        }
    }
    forget_a_single_knot(column);
}

/// Puts quantiles of sorted values into `column`, each marked with the log-odds of its rank, in units in which the middle
/// is nearly as steep as that of a normal distribution. An input of one value gets no knots.
fn set_knots(column: &mut InputColumn, values: &[f32]) {
    let mut knots: Vec<f32> = (0..=KNOTS).map(|at| quantile(values, at as f64 / KNOTS as f64)).collect();
    knots.push(column.center);
    knots.sort_unstable_by(f32::total_cmp);
    knots.dedup_by(|a, b| a.total_cmp(b).is_eq());
    let rank = |knot: f32| {
        let below = values.partition_point(|value| *value < knot) as f64;
        let within = values.partition_point(|value| *value <= knot) as f64;
        let share = ((below + within) / 2.0 / values.len() as f64).clamp(RANK_MIN, 1.0 - RANK_MIN);
        (share / (1.0 - share)).ln() / LOG_ODDS_PER_DEVIATION
    };
    let middle = rank(column.center);
    let mut last = f32::NEG_INFINITY;
    for knot in knots {
        let mark = (rank(knot) - middle) as f32;
        // Far out neighbours may share a mark; the first of them stands for all but the outermost, which bounds them.
        if mark > last {
            column.knots.push(knot);
            column.marks.push(mark);
            last = mark;
        }
    }
    forget_a_single_knot(column);
}

fn forget_a_single_knot(column: &mut InputColumn) {
    if column.knots.len() < 2 {
        column.knots.clear();
        column.marks.clear();
    }
}

/// Quantiles that become knots, but for repeated ones.
const KNOTS: usize = 64;

/// Ranks beyond are as good as it.
const RANK_MIN: f64 = 0.001;

/// The logistic distribution nearest to the standard normal one is so much steeper.
const LOG_ODDS_PER_DEVIATION: f64 = 1.702;

/// Puts edges and shares into `column`; `values` are sorted. Without values: no edge, one bin with everything.
fn histogram(column: &mut InputColumn, values: &[f32]) {
    if values.is_empty() {
        column.shares = vec![1.0];
        return;
    }
    let mut edges: Vec<f32> = (1..BINS).map(|at| quantile(values, at as f64 / BINS as f64)).collect();
    edges.dedup_by(|a, b| a.total_cmp(b).is_eq());
    // A value that lies on an edge belongs above it.
    let below: Vec<usize> = edges.iter().map(|edge| values.partition_point(|value| value < edge)).collect();
    let ends = below.iter().copied().chain([values.len()]);
    let mut start = 0;
    column.shares = ends
        .map(|end| {
            let share = (end - start) as f64 / values.len() as f64;
            start = end;
            share as f32
        })
        .collect();
    column.edges = edges;
}

/// The value at a share of sorted values: the one in place, not between two.
fn quantile(sorted: &[f32], share: f64) -> f32 {
    match sorted.len() {
        0 => 0.0,
        rows => sorted[((rows - 1) as f64 * share).round() as usize],
    }
}

/// Bins of a histogram, if values differ.
const BINS: usize = 10;

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_table::{Change, TestRow, write};

    fn table(values: &[(f32, bool)]) -> Table {
        let rows: Vec<TestRow> = values
            .iter()
            .map(|(x, hostile)| TestRow {
                x: vec![0.0, *x],
                class: if *hostile { "dos" } else { "benign" },
                ..TestRow::default()
            })
            .collect();
        Table::read(write(&["other", "x"], &rows, Change::None).path()).unwrap()
    }

    #[test]
    fn median_and_range_are_those_by_hand() {
        // Benign 0 to 99, hostile 1000: sorted, place 50 of 101 is 50, places 25 and 75 are 25 and 75.
        let mut values: Vec<(f32, bool)> = (0..100).map(|x| (x as f32, false)).collect();
        values.push((1000.0, true));
        let table = table(&values);
        let rows: Vec<u32> = (0..101).collect();
        let columns = fit(&table, &rows, &[1, 0], Scaling::Linear, 4.0);
        let column = &columns[0];
        assert_eq!((column.name.as_str(), column.center, column.scale), ("x", 50.0, 50.0));
        assert_eq!(scaled(column, 75.0), 0.5);
        assert_eq!(scaled(column, 1000.0), 4.0);
        assert_eq!(scaled(column, -1000.0), -4.0);
        assert_eq!(column.edges.len(), 9);
        assert_eq!(column.shares.len(), 10);
        assert!(column.shares.iter().all(|share| (share - 0.1).abs() < 0.011), "{:?}", column.shares);
        // A constant input: one edge at 0, everything on or above it.
        assert_eq!((columns[1].center, columns[1].scale), (0.0, 1.0));
        assert_eq!(
            (columns[1].edges.as_slice(), columns[1].shares.as_slice()),
            (&[0.0][..], &[0.0, 1.0][..])
        );
        let inputs = Inputs { schema: String::new(), schema_hash: String::new(), columns };
        let cells = scale(&table, &inputs).unwrap();
        assert_eq!(cells[2 * 100..], [4.0, 0.0]);
        assert_eq!(cells[2 * 75..2 * 76], [0.5, 0.0]);
    }

    #[test]
    fn ranks_come_out_nearly_normal_whatever_goes_in() {
        // The cubes of -500 to 500: as long a tail as any input has.
        let values: Vec<(f32, bool)> = (-500..=500).map(|x| ((x as f32).powi(3), false)).collect();
        let table = table(&values);
        let rows: Vec<u32> = (0..1001).collect();
        let columns = fit(&table, &rows, &[1, 0], Scaling::Ranks, 8.0);
        let column = &columns[0];
        assert_eq!(scaled(column, 0.0), 0.0);
        // The 16th and the 84th percentile of a normal distribution lie one deviation from its middle, the 2.3th two.
        for (x, wanted) in [(-341.0_f32, -1.0), (341.0, 1.0), (-477.0, -2.0)] {
            let found = f64::from(scaled(column, x.powi(3)));
            assert!((found - wanted).abs() < 0.25, "{x}: {found}");
        }
        let all: Vec<f32> = values.iter().map(|(x, _)| scaled(column, *x)).collect();
        assert!(all.is_sorted());
        assert_eq!(scaled(column, f32::MAX), all[1000]);
        // An input of one value has no knots, and comes out as 0.
        assert!(columns[1].knots.is_empty());
        assert_eq!(scaled(&columns[1], 0.0), 0.0);
    }

    #[test]
    fn knots_that_cannot_be_told_apart_where_they_move_to_are_one() {
        let mut column = InputColumn {
            name: "x".to_owned(),
            center: 0.5,
            scale: 1.0,
            clip: 8.0,
            knots: vec![0.0, 4e-30, 8e-13, 0.5, 2.0],
            marks: vec![-1.7, -1.2, -1.1, 0.0, 1.0],
            edges: Vec::new(),
            shares: vec![1.0],
        };
        move_knots(&mut column, 0.25);
        assert_eq!(column.knots, [0.25, 0.75, 2.25]);
        assert_eq!(column.marks, [-1.7, 0.0, 1.0]);
        column.knots = vec![1e-30, 2e-30];
        column.marks = vec![-1.0, 1.0];
        move_knots(&mut column, 1.0);
        assert!(column.knots.is_empty() && column.marks.is_empty());
    }

    #[test]
    fn centres_move_a_part_of_the_way_and_not_too_far() {
        let values: Vec<(f32, bool)> = (0..101).map(|x| (x as f32, false)).collect();
        let table = table(&values);
        let rows: Vec<u32> = (0..101).collect();
        for kind in [Scaling::Linear, Scaling::Ranks] {
            let columns = fit(&table, &rows, &[1], kind, 8.0);
            let mut inputs = Inputs { schema: String::new(), schema_hash: String::new(), columns };
            // The median of these is 90, the centre 50, the range 50.
            let high: Vec<u32> = (80..101).collect();
            shift(&mut inputs, &table, &high, 0.5).unwrap();
            let column = &inputs.columns[0];
            assert_eq!(column.center, 70.0);
            assert!(scaled(column, 70.0).abs() < 1e-6);
            let (first, last) = (column.edges[0], column.edges[column.edges.len() - 1]);
            assert!(first >= scaled(column, 80.0) && last <= scaled(column, 100.0), "of these rows");
            inputs.columns[0].scale = 5.0;
            shift(&mut inputs, &table, &high, 1.0).unwrap();
            assert_eq!(inputs.columns[0].center, 75.0, "one range at most");
        }
    }

    #[test]
    fn other_rows_are_not_looked_at() {
        let table = table(&[(1.0, false), (2.0, false), (900.0, false), (3.0, true)]);
        assert_eq!(fit(&table, &[0, 1, 3], &[1], Scaling::Linear, 5.0)[0].center, 2.0);
        let hostile = fit(&table, &[3], &[1], Scaling::Linear, 5.0);
        assert_eq!((hostile[0].edges.len(), hostile[0].shares.as_slice()), (0, &[1.0][..]));
    }

    proptest! {
        #[test]
        fn histograms_are_whole(values in prop::collection::vec((-5i8..5, any::<bool>()), 1..60)) {
            let values: Vec<(f32, bool)> =
                values.into_iter().map(|(x, hostile)| (f32::from(x), hostile)).collect();
            let table = table(&values);
            let rows: Vec<u32> = (0..values.len() as u32).collect();
            let column = &fit(&table, &rows, &[1], Scaling::Linear, 3.0)[0];
            prop_assert_eq!(column.shares.len(), column.edges.len() + 1);
            prop_assert!((column.shares.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            prop_assert!(column.edges.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(column.scale > 0.0);
        }
    }
}
