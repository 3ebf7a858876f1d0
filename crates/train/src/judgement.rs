//! What a detector says about rows of the table, through windows as in live scoring.
//!
//! In: scaled inputs, windows, a detector. Out: [`Judgement`]: the logits of every row that was judged, rows ascending.

use tapline_score::calibration::log_odds;
use tapline_score::{Detector, ScoreError, WindowBatch};

use crate::validation::Judged;
use crate::{Table, Windows};

/// Windows with their inputs.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    /// Scaled inputs of every row of the table: `[rows, width]`, row-major.
    pub cells: &'a [f32],
    /// Inputs of a row.
    pub width: usize,
    /// The windows.
    pub windows: &'a Windows,
}

/// Logits of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// The rows, ascending.
    pub rows: Vec<u32>,
    /// Their logits: `[rows, classes]`, row-major.
    pub logits: Vec<f32>,
}

impl Steps<'_> {
    /// Judges windows of these numbers; `told` gets how many batches are done, and of how many.
    ///
    /// # Errors
    ///
    /// Those of the detector.
    pub fn judge(
        &self,
        detector: &mut dyn Detector,
        windows: &[u32],
        mut told: impl FnMut(usize, usize),
    ) -> Result<Judgement, ScoreError> {
        let classes = detector.classes();
        let mut batch = WindowBatch::new(self.width);
        let mut logits = Vec::new();
        let mut judged: Vec<(u32, u32)> = Vec::new();
        let mut found: Vec<f32> = Vec::new();
        let batches = windows.len().div_ceil(BATCH_WINDOWS);
        for (number, windows) in windows.chunks(BATCH_WINDOWS).enumerate() {
            batch.clear();
            for window in windows {
                let steps = self.windows.steps(*window as usize);
                batch.lengths.push(steps.len());
                for row in steps {
                    let row = *row as usize;
                    batch.inputs.extend_from_slice(&self.cells[row * self.width..(row + 1) * self.width]);
                }
            }
            logits.clear();
            detector.logits(&batch, &mut logits)?;
            let mut end = 0;
            for window in windows {
                end += self.windows.steps(*window as usize).len();
                let rows = self.windows.judged(*window as usize);
                for row in rows {
                    judged.push((*row, judged.len() as u32));
                }
                found.extend_from_slice(&logits[(end - rows.len()) * classes..end * classes]);
            }
            told(number + 1, batches);
        }
        judged.sort_unstable();
        let mut judgement = Judgement { rows: Vec::new(), logits: Vec::with_capacity(found.len()) };
        for (row, at) in judged {
            let at = at as usize;
            judgement.rows.push(row);
            judgement.logits.extend_from_slice(&found[at * classes..(at + 1) * classes]);
        }
        Ok(judgement)
    }
}

impl Judgement {
    /// Scores and labels of the rows.
    #[must_use]
    pub fn judged(&self, table: &Table, temperature: f32) -> Vec<Judged> {
        let classes = self.logits.len() / self.rows.len().max(1);
        let each = self.rows.iter().zip(self.logits.chunks_exact(classes.max(1)));
        each.map(|(row, logits)| Judged {
            score: log_odds(logits, temperature),
            class: table.class[*row as usize],
            behaviour: table.behaviour.id(*row as usize),
        })
        .collect()
    }

    /// The benign rows alone.
    #[must_use]
    pub fn benign(&self, table: &Table) -> Self {
        let classes = self.logits.len() / self.rows.len().max(1);
        let mut benign = Self::default();
        for (row, logits) in self.rows.iter().zip(self.logits.chunks_exact(classes.max(1))) {
            if !table.hostile[*row as usize] {
                benign.rows.push(*row);
                benign.logits.extend_from_slice(logits);
            }
        }
        benign
    }
}

/// Windows judged at a time.
const BATCH_WINDOWS: usize = 512;
