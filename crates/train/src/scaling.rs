//! Scaling of the selected inputs, and their histograms over benign training rows.
//!
//! In: training rows of the table, and nothing else. Out: [`InputColumn`]s for the manifest, and rows as the network
//! sees them, by the [`Scaler`] that serves live scoring. Median and interquartile range do not mind the
//! few extreme values that every network has.

use tapline_score::Scaler;
use tapline_score::manifest::{InputColumn, Inputs};
use tapline_score::scaler::UnknownInput;

use crate::Table;

/// Learns the scaling of the inputs at `places` from `rows`.
///
/// Edges of the histograms are the deciles of the scaled values of benign rows, fewer where values repeat.
#[must_use]
pub fn fit(table: &Table, rows: &[u32], places: &[usize], clip: f32) -> Vec<InputColumn> {
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
                edges: Vec::new(),
                shares: Vec::new(),
            };
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

fn scaled(column: &InputColumn, value: f32) -> f32 {
    ((value - column.center) / column.scale).clamp(-column.clip, column.clip)
}

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
        let columns = fit(&table, &rows, &[1, 0], 4.0);
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
    fn other_rows_are_not_looked_at() {
        let table = table(&[(1.0, false), (2.0, false), (900.0, false), (3.0, true)]);
        assert_eq!(fit(&table, &[0, 1, 3], &[1], 5.0)[0].center, 2.0);
        let hostile = fit(&table, &[3], &[1], 5.0);
        assert_eq!((hostile[0].edges.len(), hostile[0].shares.as_slice()), (0, &[1.0][..]));
    }

    proptest! {
        #[test]
        fn histograms_are_whole(values in prop::collection::vec((-5i8..5, any::<bool>()), 1..60)) {
            let values: Vec<(f32, bool)> =
                values.into_iter().map(|(x, hostile)| (f32::from(x), hostile)).collect();
            let table = table(&values);
            let rows: Vec<u32> = (0..values.len() as u32).collect();
            let column = &fit(&table, &rows, &[1], 3.0)[0];
            prop_assert_eq!(column.shares.len(), column.edges.len() + 1);
            prop_assert!((column.shares.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            prop_assert!(column.edges.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(column.scale > 0.0);
        }
    }
}
