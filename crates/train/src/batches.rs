//! Windows become rectangles of tensors.
//!
//! In: window numbers, scaled inputs of every row. Out: [`Batch`], padded on the left. Inputs are gathered here, and
//! disturbed if asked for, so that a table is held once.

use candle_core::{Device, Result, Tensor};

use crate::augmentation::Augmentation;
use crate::{Random, Table, Windows};

/// Makes batches of one set of windows.
#[derive(Clone, Copy, Debug)]
pub struct Batcher<'a> {
    /// Labels.
    pub table: &'a Table,
    /// Scaled inputs of every row of the table: `[rows, width]`, row-major.
    pub cells: &'a [f32],
    /// Inputs of a row.
    pub width: usize,
    /// The windows.
    pub windows: &'a Windows,
    /// Where tensors go.
    pub device: &'a Device,
}

/// Windows as a rectangle: `[windows, steps]`, short windows padded on the left.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[windows, steps, width]`: what the network sees; 0 where padded.
    pub inputs: Tensor,
    /// The same without disturbance.
    pub clean: Tensor,
    /// `[windows, steps]`, on the CPU: 1 where a step is real.
    pub mask: Tensor,
    /// `[windows, steps]`: classes; 0 where padded.
    pub targets: Tensor,
    /// `[windows, steps]`: 1 where a step is judged, not history or padding.
    pub judged: Tensor,
    /// `[windows, steps]`: 1 where a step is judged and benign.
    pub benign: Tensor,
}

impl Batcher<'_> {
    /// A rectangle of the windows of these numbers.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub fn batch(&self, windows: &[u32], disturb: Option<(&Augmentation, &mut Random)>) -> Result<Batch> {
        let width = self.width;
        let mut disturb = disturb;
        let kept: Vec<&[u32]> = windows
            .iter()
            .map(|window| {
                let window = *window as usize;
                let steps = self.windows.steps(window);
                let history = steps.len() - self.windows.fresh(window);
                let cut =
                    disturb.as_mut().map_or(0, |(augmentation, random)| augmentation.cut(history, random));
                &steps[cut..]
            })
            .collect();
        let longest = kept.iter().map(|steps| steps.len()).max().unwrap_or(0);
        let places = windows.len() * longest;
        let mut clean = vec![0.0_f32; places * width];
        let mut mask = vec![0.0_f32; places];
        let mut targets = vec![0_u32; places];
        let mut judged = vec![0.0_f32; places];
        let mut benign = vec![0.0_f32; places];
        for (at, (window, steps)) in windows.iter().zip(&kept).enumerate() {
            let end = (at + 1) * longest;
            let start = end - steps.len();
            let fresh = end - self.windows.fresh(*window as usize);
            for (place, row) in (start..end).zip(*steps) {
                let row = *row as usize;
                clean[place * width..(place + 1) * width]
                    .copy_from_slice(&self.cells[row * width..(row + 1) * width]);
                mask[place] = 1.0;
                targets[place] = u32::from(self.table.class[row]);
                if place >= fresh {
                    judged[place] = 1.0;
                    benign[place] = f32::from(u8::from(!self.table.hostile[row]));
                }
            }
        }
        let rectangle = |values: Vec<f32>| Tensor::from_vec(values, (windows.len(), longest), self.device);
        let solid = |values: Vec<f32>| Tensor::from_vec(values, (windows.len(), longest, width), self.device);
        let disturbed = match disturb {
            None => None,
            Some((augmentation, random)) => {
                let mut inputs = clean.clone();
                for (at, steps) in kept.iter().enumerate() {
                    let end = (at + 1) * longest;
                    let window = &mut inputs[(end - steps.len()) * width..end * width];
                    augmentation.disturb(window, width, random);
                }
                Some(solid(inputs)?)
            }
        };
        let clean = solid(clean)?;
        Ok(Batch {
            inputs: disturbed.unwrap_or_else(|| clean.clone()),
            clean,
            mask: Tensor::from_vec(mask, (windows.len(), longest), &Device::Cpu)?,
            targets: Tensor::from_vec(targets, (windows.len(), longest), self.device)?,
            judged: rectangle(judged)?,
            benign: rectangle(benign)?,
        })
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use tapline_score::manifest;

    use super::*;
    use crate::augmentation::AugmentationSpec;
    use crate::test_table::{Change, TestRow, write};

    /// Host 1: rows 0, 2, 3, a window of two and one of three; host 2: row 1.
    fn set() -> (Table, Windows) {
        let row = |host, class, x: f32| TestRow { x: vec![x, -x], host, class, ..TestRow::default() };
        let rows =
            [row("1", "benign", 1.0), row("2", "scan", 2.0), row("1", "c2", 3.0), row("1", "benign", 4.0)];
        let table = Table::read(write(&["x", "y"], &rows, Change::None).path()).unwrap();
        let rule = manifest::Window {
            steps: 3,
            stride: 2,
            deadline_us: 9,
            computed_at_most: 9,
            padding: "left".to_owned(),
        };
        let windows = Windows::of(&table, &[0, 1, 2, 3], &rule);
        assert_eq!(windows.steps(0), [0, 2]);
        assert_eq!(windows.steps(1), [1]);
        assert_eq!((windows.steps(2), windows.fresh(2)), (&[0, 2, 3][..], 1));
        (table, windows)
    }

    fn batcher<'a>(table: &'a Table, windows: &'a Windows) -> Batcher<'a> {
        Batcher { table, cells: table.cells(), width: 2, windows, device: &Device::Cpu }
    }

    #[test]
    fn short_windows_are_padded_on_the_left() {
        let (table, windows) = set();
        let batch = batcher(&table, &windows).batch(&[1, 2], None).unwrap();
        assert_eq!(
            batch.inputs.to_vec3::<f32>().unwrap(),
            [[[0.0, 0.0], [0.0, 0.0], [2.0, -2.0]], [[1.0, -1.0], [3.0, -3.0], [4.0, -4.0]]]
        );
        assert_eq!(batch.mask.to_vec2::<f32>().unwrap(), [[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]);
        assert_eq!(batch.targets.to_vec2::<u32>().unwrap(), [[0, 0, 1], [0, 5, 0]]);
        assert_eq!(batch.judged.to_vec2::<f32>().unwrap(), [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]);
        assert_eq!(batch.benign.to_vec2::<f32>().unwrap(), [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]);
    }

    #[test]
    fn disturbance_keeps_off_padding_and_labels() {
        let (table, windows) = set();
        let spec = AugmentationSpec { truncate: 1.0, jitter: 1.0, ..AugmentationSpec::default() };
        let augmentation = Augmentation::new(&spec, &table.inputs);
        for seed in 0..20 {
            let batch = batcher(&table, &windows)
                .batch(&[1, 2], Some((&augmentation, &mut Random::new(seed))))
                .unwrap();
            let steps = batch.mask.dims()[1];
            assert!(steps < 3, "history is cut");
            let mask = batch.mask.to_vec2::<f32>().unwrap();
            assert_eq!(mask[1][steps - 1], 1.0);
            let (inputs, clean) =
                (batch.inputs.to_vec3::<f32>().unwrap(), batch.clean.to_vec3::<f32>().unwrap());
            for window in 0..2 {
                for step in 0..steps {
                    let real = mask[window][step] > 0.0;
                    assert_eq!(inputs[window][step] != clean[window][step], real);
                    assert!(real || inputs[window][step] == [0.0, 0.0]);
                }
            }
            assert_eq!(clean[1][steps - 1], [4.0, -4.0]);
            assert_eq!(batch.judged.to_vec2::<f32>().unwrap()[1][steps - 1], 1.0);
        }
    }
}
