//! Rows of the table become windows, by the same [`Windower`] that serves live scoring.
//!
//! In: rows in the order in which flows ended, the rule of the windows. Out: [`Windows`], as row numbers: nothing is
//! copied, the inputs are gathered when a batch is made. Runs are kept apart.

use std::collections::BTreeMap;

use tapline_score::manifest;
use tapline_score::window::{ClosedWindows, WindowLimits, Windower};

use crate::Table;

/// Windows over rows of a table.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    /// Rows of the steps of all windows, window after window.
    steps: Vec<u32>,
    /// Where the steps of each window end.
    ends: Vec<usize>,
    /// How many steps of each window, the last ones, waited: only they are judged with it.
    fresh: Vec<u32>,
}

impl Windows {
    /// The windows of `rows`, which ascend, as the live path would form them.
    #[must_use]
    pub fn of(table: &Table, rows: &[u32], rule: &manifest::Window) -> Self {
        let mut runs: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for row in rows {
            runs.entry(table.run.id(*row as usize)).or_default().push(*row);
        }
        let mut windower = Windower::new(rule, 0, WindowLimits::default());
        let mut closed = ClosedWindows::new(0);
        let mut windows = Self::default();
        for rows in runs.values() {
            for row in rows {
                let at = *row as usize;
                let host = u128::from(table.host.id(at));
                windower.push(host, table.decided_us[at], &[], u64::from(*row), &mut closed);
                windows.take(&mut closed);
            }
            windower.finish(&mut closed);
            windows.take(&mut closed);
        }
        windows
    }

    fn take(&mut self, closed: &mut ClosedWindows) {
        for (length, fresh) in closed.batch.lengths.iter().zip(&closed.batch.fresh) {
            self.ends.push(self.ends.last().copied().unwrap_or(0) + length);
            self.fresh.push(*fresh as u32);
        }
        // Tickets are row numbers, which are u32.
        self.steps.extend(closed.tickets.iter().map(|ticket| *ticket as u32));
        closed.clear();
    }

    /// Number of windows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Rows of a window's steps, oldest first.
    #[must_use]
    pub fn steps(&self, window: usize) -> &[u32] {
        let start = if window == 0 { 0 } else { self.ends[window - 1] };
        &self.steps[start..self.ends[window]]
    }

    /// How many of a window's last steps waited.
    #[must_use]
    pub fn fresh(&self, window: usize) -> usize {
        self.fresh[window] as usize
    }

    /// Rows of the steps that waited: each row of the table is in one window so.
    #[must_use]
    pub fn judged(&self, window: usize) -> &[u32] {
        let steps = self.steps(window);
        &steps[steps.len() - self.fresh(window)..]
    }

    /// Steps of all windows.
    #[must_use]
    pub fn all_steps(&self) -> usize {
        self.steps.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_table::{Change, TestRow, write};

    fn rule() -> manifest::Window {
        manifest::Window {
            steps: 4,
            stride: 2,
            deadline_us: 1_000,
            computed_at_most: 2,
            padding: "left".to_owned(),
        }
    }

    fn windows(rows: &[(&'static str, &'static str, i64)]) -> Vec<(Vec<u32>, usize)> {
        let rows: Vec<TestRow> = rows
            .iter()
            .map(|(run, host, decided_us)| TestRow {
                x: vec![0.0],
                run,
                host,
                decided_us: *decided_us,
                ..TestRow::default()
            })
            .collect();
        let table = Table::read(write(&["x"], &rows, Change::None).path()).unwrap();
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        let windows = Windows::of(&table, &all, &rule());
        assert_eq!((0..windows.len()).map(|window| windows.judged(window).len()).sum::<usize>(), rows.len());
        (0..windows.len()).map(|window| (windows.steps(window).to_vec(), windows.fresh(window))).collect()
    }

    #[test]
    fn hosts_are_apart_and_history_comes_first() {
        let a = ("r", "10.0.0.1", 0);
        let b = ("r", "10.0.0.2", 0);
        assert_eq!(
            windows(&[a, b, a, b, a, a, a, a]),
            [(vec![0, 2], 2), (vec![1, 3], 2), (vec![0, 2, 4, 5], 2), (vec![4, 5, 6, 7], 2)]
        );
    }

    #[test]
    fn runs_are_apart_even_if_their_rows_are_mixed() {
        assert_eq!(
            windows(&[("r", "h", 0), ("s", "h", 0), ("r", "h", 10), ("s", "h", 5_000)]),
            [(vec![0, 2], 2), (vec![1], 1), (vec![1, 3], 1)]
        );
    }
}
