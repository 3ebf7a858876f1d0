//! The network of the sensor against the one in candle.

use candle_core::{DType, Device};
use candle_nn::{VarBuilder, VarMap};
use proptest::prelude::*;

use super::*;
use crate::manifest::NetworkSpec;
use crate::network::initialise;

const CLASSES: usize = 4;

fn networks(hidden: &[usize], width: usize, norm: &str) -> (BilstmAttn, CpuNetwork) {
    let spec =
        NetworkSpec { hidden: hidden.to_vec(), heads: 2, attention: 12, norm: norm.to_owned(), dropout: 0.1 };
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let network = BilstmAttn::new(&spec, width, CLASSES, builder).unwrap();
    initialise(&variables, 5).unwrap();
    // Biases, scales and moments that are neither 0 nor 1.
    for (name, variable) in variables.data().lock().unwrap().iter() {
        if variable.dims().len() == 1 {
            let values =
                (0..variable.elem_count()).map(|i| 0.7 + 0.3 * ((i + name.len()) as f32).sin()).collect();
            variable.set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap()).unwrap();
        }
    }
    let packed = CpuNetwork::new(&network).unwrap();
    (network, packed)
}

fn batch(lengths: &[usize], width: usize) -> WindowBatch {
    let steps: usize = lengths.iter().sum();
    let inputs = (0..steps * width).map(|i| (i as f32 * 0.53).sin() * 2.0).collect();
    WindowBatch { width, lengths: lengths.to_vec(), inputs, fresh: Vec::new() }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn compare(candle: &mut BilstmAttn, ours: &mut CpuNetwork, batch: &WindowBatch) {
    // Results are appended to what is there.
    let (mut expected, mut logits, mut errors) = (vec![9.0], vec![9.0], vec![9.0]);
    candle.logits(batch, &mut expected).unwrap();
    ours.logits_and_errors(batch, &mut logits, &mut errors).unwrap();
    assert!(largest_difference(&expected, &logits) < 1e-4, "{:?}", batch.lengths);
    let (mut expected, mut attention) = (vec![9.0], vec![9.0]);
    candle.attention(batch, &mut expected).unwrap();
    ours.attention(batch, &mut attention).unwrap();
    assert!(largest_difference(&expected, &attention) < 1e-5, "{:?}", batch.lengths);
    let steps = batch.longest();
    if steps == 0 {
        return;
    }
    // Reconstructions, by way of the padded form.
    let device = Device::Cpu;
    let (mut inputs, mut mask) = (Vec::new(), Vec::new());
    let mut rest = &batch.inputs[..];
    for &length in &batch.lengths {
        let (window, tail) = rest.split_at(length * batch.width);
        inputs.extend(std::iter::repeat_n(0.0, (steps - length) * batch.width));
        inputs.extend_from_slice(window);
        mask.extend((0..steps).map(|step| if step + length < steps { 0.0 } else { 1.0 }));
        rest = tail;
    }
    let inputs = Tensor::from_vec(inputs, (batch.windows(), steps, batch.width), &device).unwrap();
    let mask: Tensor = Tensor::from_vec::<_, f32>(mask, (batch.windows(), steps), &device).unwrap();
    let (_, rebuilt) = candle.forward_train(&inputs, &mask, false).unwrap();
    let rebuilt = (rebuilt - &inputs).unwrap().sqr().unwrap().mean(2).unwrap().to_vec2::<f32>().unwrap();
    let expected: Vec<f32> = rebuilt
        .iter()
        .zip(&batch.lengths)
        .flat_map(|(row, &length)| row[steps - length..].to_vec())
        .collect();
    assert!(largest_difference(&expected, &errors[1..]) < 1e-4, "{:?}", batch.lengths);
}

#[test]
fn results_are_those_of_the_network_in_candle() {
    for (hidden, width, norm) in [(&[5, 8][..], 7, "layer"), (&[16], 32, "batch"), (&[33, 16, 8], 9, "layer")]
    {
        let (mut candle, mut ours) = networks(hidden, width, norm);
        // The same memory serves all of them.
        for lengths in [
            &[1][..],
            &[7],
            &[1, 1, 1],
            &[],
            &[2, 1],
            &[3, 1, 4, 1, 5, 9, 2, 6],
            &[1; WINDOWS_AT_ONCE + 1],
            &[16; 20],
        ] {
            compare(&mut candle, &mut ours, &batch(lengths, width));
        }
    }
}

#[test]
fn what_is_asked_about_is_as_if_all_were() {
    let (_, mut ours) = networks(&[5, 8], 7, "layer");
    for (lengths, fresh) in [
        (&[3, 1, 4, 1, 5, 9, 2, 6][..], &[1, 1, 4, 1, 2, 8, 1, 3][..]),
        (&[1, 1], &[1, 1]),
        (&[16; 20], &[8; 20]),
    ] {
        let mut batch = batch(lengths, 7);
        let (mut all, mut some) = (Vec::new(), Vec::new());
        ours.logits(&batch, &mut all).unwrap();
        batch.fresh = fresh.to_vec();
        ours.logits(&batch, &mut some).unwrap();
        assert_eq!(some.len(), all.len());
        for step in batch.asked().flatten() {
            let row = step * CLASSES..(step + 1) * CLASSES;
            assert!(largest_difference(&some[row.clone()], &all[row]) < 1e-6, "{lengths:?} {step}");
        }
    }
}

#[test]
fn windows_are_taken_in_bounded_groups() {
    let groups = |lengths: &[usize]| {
        let order = Packing::new(lengths);
        let mut ends = Vec::new();
        while let Some(end) = end_of_group(&order, ends.last().copied().unwrap_or(0)) {
            ends.push(end);
        }
        ends
    };
    assert!(groups(&[]).is_empty());
    assert_eq!(groups(&[0, 0, 3]), [1]);
    assert_eq!(groups(&[1; 600]), [256, 512, 600]);
    assert_eq!(groups(&[STEPS_AT_ONCE + 1, 1, 1]), [1, 3]);
    assert_eq!(groups(&[STEPS_AT_ONCE / 4; 9]), [4, 8, 9]);
}

#[test]
fn steps_of_another_width_are_refused_and_change_nothing() {
    let (_, mut ours) = networks(&[4], 6, "layer");
    let mut logits = Vec::new();
    assert!(ours.logits(&batch(&[2], 5), &mut logits).is_err());
    let mut short = batch(&[2], 6);
    short.inputs.pop();
    assert!(ours.logits(&short, &mut logits).is_err());
    assert!(logits.is_empty());
}

#[test]
fn inputs_that_are_no_numbers_stay_in_their_window() {
    let (_, mut ours) = networks(&[4, 4], 6, "layer");
    let (clean, mut spoilt) = (batch(&[2, 1, 3], 6), batch(&[2, 1, 3], 6));
    spoilt.inputs[12] = f32::NAN;
    let (mut expected, mut logits) = (Vec::new(), Vec::new());
    ours.logits(&clean, &mut expected).unwrap();
    ours.logits(&spoilt, &mut logits).unwrap();
    assert!(logits[2 * CLASSES..3 * CLASSES].iter().all(|x| x.is_nan()));
    for steps in [0..2, 3..6] {
        let part = steps.start * CLASSES..steps.end * CLASSES;
        assert_eq!(logits[part.clone()], expected[part]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_window_does_not_depend_on_its_company(lengths in prop::collection::vec(1_usize..7, 1..30)) {
        let width = 10;
        let (_, mut ours) = networks(&[8, 6], width, "layer");
        let all = batch(&lengths, width);
        let mut together = Vec::new();
        ours.logits(&all, &mut together).unwrap();
        let mut step = 0;
        for &length in &lengths {
            let inputs = all.inputs[step * width..(step + length) * width].to_vec();
            let mut alone = Vec::new();
            ours.logits(&WindowBatch { width, lengths: vec![length], inputs, fresh: Vec::new() }, &mut alone).unwrap();
            let part = &together[step * CLASSES..(step + length) * CLASSES];
            prop_assert!(largest_difference(part, &alone) <= 2e-6);
            step += length;
        }
    }
}
