//! Small disturbances of training windows: what a network must not lean on.
//!
//! In: one window's scaled inputs and its judged steps, a generator. Out: the window, changed in place. Scaled inputs have
//! their median at 0, so that "left out" is 0, a usual value, and not an odd one.

use serde::{Deserialize, Serialize};

use crate::Random;

/// What is done to training windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentationSpec {
    /// Probability that a part of the history is cut off, of random length.
    pub truncate: f64,
    /// Probability of each input to be left out of a whole window.
    pub drop_input: f64,
    /// Probability of each group of inputs to be left out of a whole window.
    pub drop_group: f64,
    /// Groups of inputs, by how their names begin.
    pub groups: Vec<String>,
    /// Standard deviation of the noise that is added to inputs, in interquartile ranges.
    pub jitter: f64,
}

/// The disturbances of inputs of certain names.
#[derive(Clone, Debug)]
pub struct Augmentation {
    spec: AugmentationSpec,
    /// Places of each group's inputs.
    groups: Vec<Vec<usize>>,
}

impl Augmentation {
    /// For inputs of these names, in order.
    #[must_use]
    pub fn new(spec: &AugmentationSpec, inputs: &[String]) -> Self {
        let places = |prefix: &String| {
            (0..inputs.len()).filter(|place| inputs[*place].starts_with(prefix.as_str())).collect()
        };
        Self { groups: spec.groups.iter().map(places).collect(), spec: spec.clone() }
    }

    /// How many of the first steps of a window to leave away; `history` steps of it are not judged.
    pub fn cut(&self, history: usize, random: &mut Random) -> usize {
        if history > 0 && self.spec.truncate > 0.0 && random.chance(self.spec.truncate) {
            1 + random.below(history)
        } else {
            0
        }
    }

    /// Disturbs the inputs of a window: `[steps, width]`, row-major.
    pub fn disturb(&self, inputs: &mut [f32], width: usize, random: &mut Random) {
        let mut drop = |place: usize| {
            inputs.iter_mut().skip(place).step_by(width).for_each(|value| *value = 0.0);
        };
        if self.spec.drop_input > 0.0 {
            for place in 0..width {
                if random.chance(self.spec.drop_input) {
                    drop(place);
                }
            }
        }
        if self.spec.drop_group > 0.0 {
            for group in &self.groups {
                if random.chance(self.spec.drop_group) {
                    group.iter().for_each(|place| drop(*place));
                }
            }
        }
        if self.spec.jitter > 0.0 {
            for value in inputs {
                *value += (self.spec.jitter * random.normal()) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["src_flows", "packets", "src_ports"].map(str::to_owned).into()
    }

    #[test]
    fn nothing_is_done_without_being_asked() {
        let none = Augmentation::new(&AugmentationSpec::default(), &names());
        let mut random = Random::new(1);
        let mut inputs = vec![1.0; 12];
        none.disturb(&mut inputs, 3, &mut random);
        assert_eq!(inputs, [1.0; 12]);
        assert_eq!(none.cut(5, &mut random), 0);
    }

    #[test]
    fn an_input_is_dropped_in_the_whole_window() {
        let spec = AugmentationSpec { drop_input: 0.5, ..AugmentationSpec::default() };
        let augmentation = Augmentation::new(&spec, &names());
        let mut random = Random::new(1);
        let mut dropped = 0;
        for _ in 0..200 {
            let mut inputs = vec![1.0; 12];
            augmentation.disturb(&mut inputs, 3, &mut random);
            for place in 0..3 {
                let column: Vec<f32> = inputs.iter().skip(place).step_by(3).copied().collect();
                assert!(column == [0.0; 4] || column == [1.0; 4]);
                dropped += usize::from(column == [0.0; 4]);
            }
        }
        assert!((240..360).contains(&dropped), "{dropped} of 600");
    }

    #[test]
    fn a_group_goes_together() {
        let spec = AugmentationSpec {
            drop_group: 1.0,
            groups: vec!["src_".to_owned()],
            ..AugmentationSpec::default()
        };
        let mut inputs = vec![1.0; 6];
        Augmentation::new(&spec, &names()).disturb(&mut inputs, 3, &mut Random::new(1));
        assert_eq!(inputs, [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn history_is_cut_and_judged_steps_never_are() {
        let spec = AugmentationSpec { truncate: 1.0, ..AugmentationSpec::default() };
        let augmentation = Augmentation::new(&spec, &names());
        let mut random = Random::new(2);
        let mut seen = [false; 4];
        for _ in 0..100 {
            seen[augmentation.cut(3, &mut random)] = true;
        }
        assert_eq!(seen, [false, true, true, true]);
        assert_eq!(augmentation.cut(0, &mut random), 0);
    }

    #[test]
    fn jitter_has_the_size_asked_for() {
        let spec = AugmentationSpec { jitter: 0.1, ..AugmentationSpec::default() };
        let mut inputs = vec![0.0; 30_000];
        Augmentation::new(&spec, &names()).disturb(&mut inputs, 3, &mut Random::new(4));
        let mean_square = inputs.iter().map(|x| f64::from(x * x)).sum::<f64>() / inputs.len() as f64;
        assert!((mean_square.sqrt() - 0.1).abs() < 0.003);
    }
}
