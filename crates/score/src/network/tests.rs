//! Tests of the network in candle.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};

use super::*;

const WIDTH: usize = 6;
const CLASSES: usize = 3;

fn spec(norm: &str) -> NetworkSpec {
    NetworkSpec { hidden: vec![5, 4], heads: 2, attention: 6, norm: norm.to_owned(), dropout: 0.0 }
}

/// A network with seeded weights, and its variables.
fn network(spec: &NetworkSpec) -> (BilstmAttn, VarMap) {
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let network = BilstmAttn::new(spec, WIDTH, CLASSES, builder).unwrap();
    initialise(&variables, 7).unwrap();
    (network, variables)
}

/// Inputs of `lengths.len()` windows in a rectangle of `steps`, padded with `padding`, and their mask.
fn rectangle(lengths: &[usize], steps: usize, padding: f32) -> (Tensor, Tensor) {
    let (mut inputs, mut mask) = (Vec::new(), Vec::new());
    for (window, &length) in lengths.iter().enumerate() {
        for step in 0..steps {
            let real = step + length >= steps;
            mask.push(f32::from(u8::from(real)));
            let t = (step + length).wrapping_sub(steps);
            inputs.extend((0..WIDTH).map(|j| if real { value(window, t, j) } else { padding }));
        }
    }
    let device = Device::Cpu;
    (
        Tensor::from_vec(inputs, (lengths.len(), steps, WIDTH), &device).unwrap(),
        Tensor::from_vec(mask, (lengths.len(), steps), &device).unwrap(),
    )
}

fn value(window: usize, t: usize, input: usize) -> f32 {
    ((window * 131 + t * 17 + input) as f32 * 0.61).sin() * 2.0
}

/// The same windows, ragged.
fn batch(windows: &[(usize, usize)]) -> WindowBatch {
    let mut batch = WindowBatch::new(WIDTH);
    for &(window, length) in windows {
        batch.lengths.push(length);
        for t in 0..length {
            batch.inputs.extend((0..WIDTH).map(|j| value(window, t, j)));
        }
    }
    batch
}

fn logits(network: &mut BilstmAttn, batch: &WindowBatch) -> Vec<f32> {
    let mut logits = Vec::new();
    network.logits(batch, &mut logits).unwrap();
    logits
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Real rows of a padded result, window after window.
fn real(padded: &Tensor, lengths: &[usize]) -> Vec<f32> {
    let rows = padded.to_vec3::<f32>().unwrap();
    let of_window = |(rows, &length): (&Vec<Vec<f32>>, &usize)| rows[rows.len() - length..].concat();
    rows.iter().zip(lengths).flat_map(of_window).collect()
}

const LENGTHS: [usize; 6] = [3, 1, 5, 1, 2, 5];

#[test]
fn padding_changes_nothing_whatever_it_holds() {
    for norm in ["layer", "batch"] {
        let (mut network, _) = network(&spec(norm));
        let windows: Vec<_> = LENGTHS.iter().copied().enumerate().collect();
        let ragged = logits(&mut network, &batch(&windows));
        for (steps, padding) in [(5, 0.0), (8, 0.0), (8, 1e9), (8, f32::NAN)] {
            let (inputs, mask) = rectangle(&LENGTHS, steps, padding);
            let (padded, rebuilt) = network.forward_train(&inputs, &mask, false).unwrap();
            assert_eq!(padded.dims(), [6, steps, CLASSES]);
            assert_eq!(rebuilt.dims(), [6, steps, WIDTH]);
            let difference = largest_difference(&real(&padded, &LENGTHS), &ragged);
            assert!(difference <= 1e-5, "{norm} {steps} {padding}: {difference}");
            let sum = padded.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            let of_real: f32 = ragged.iter().map(|x| x.abs()).sum();
            assert!((sum - of_real).abs() < 1e-3, "padded steps have logits");
        }
    }
}

#[test]
fn a_window_does_not_depend_on_its_company() {
    let (mut network, _) = network(&spec("layer"));
    let windows: Vec<_> = LENGTHS.iter().copied().enumerate().collect();
    let alone: Vec<Vec<f32>> = windows.iter().map(|&w| logits(&mut network, &batch(&[w]))).collect();
    let mut orders = vec![windows.clone(), windows.iter().rev().copied().collect()];
    orders.push([&windows[3..], &windows[..2]].concat());
    for order in orders {
        let together = logits(&mut network, &batch(&order));
        let expected: Vec<f32> = order.iter().flat_map(|&(window, _)| alone[window].clone()).collect();
        assert!(largest_difference(&together, &expected) <= 1e-6);
    }
}

#[test]
fn steps_of_a_window_see_each_other_and_no_other_window() {
    let (mut network, _) = network(&spec("layer"));
    let base = batch(&[(0, 3), (1, 3)]);
    let expected = logits(&mut network, &base);
    let mut changed = base.clone();
    changed.inputs[0] += 1.0;
    let got = logits(&mut network, &changed);
    let row = |t: usize| t * CLASSES..(t + 1) * CLASSES;
    for t in 0..6 {
        let difference = largest_difference(&got[row(t)], &expected[row(t)]);
        assert!(if t < 3 { difference > 1e-4 } else { difference == 0.0 }, "step {t}: {difference}");
    }
}

#[test]
fn attention_is_a_share_of_each_step_of_the_window() {
    let (mut network, _) = network(&spec("layer"));
    for lengths in [&LENGTHS[..], &[1, 1]] {
        let windows: Vec<_> = lengths.iter().copied().enumerate().collect();
        let mut attention = Vec::new();
        network.attention(&batch(&windows), &mut attention).unwrap();
        let mut rest = &attention[..];
        for &length in lengths {
            for _ in 0..length {
                let (row, tail) = rest.split_at(length);
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5 && row.iter().all(|&share| share > 0.0));
                rest = tail;
            }
        }
        assert!(rest.is_empty());
    }
}

#[test]
fn gradients_of_all_variables_are_finite_differences() {
    for norm in ["layer", "batch"] {
        let (network, variables) = network(&spec(norm));
        let (inputs, mask) = rectangle(&[3, 1, 2, 4], 4, 0.0);
        let train = norm == "batch";
        let loss = || {
            let (logits, rebuilt) = network.forward_train(&inputs, &mask, train).unwrap();
            let wave = |shape: &Tensor| {
                let values = (0..shape.elem_count()).map(|i| (i as f32 * 0.37).cos()).collect();
                Tensor::from_vec(values, shape.shape(), &Device::Cpu).unwrap()
            };
            let sum = |x: &Tensor| (x * wave(x)).unwrap().sum_all().unwrap();
            (sum(&logits) + sum(&rebuilt)).unwrap()
        };
        let gradients = loss().backward().unwrap();
        let variables = variables.data().lock().unwrap();
        assert!(variables.len() > 30);
        for (name, variable) in variables.iter().filter(|(name, _)| !name.contains("running")) {
            let gradient = gradients.get(variable).unwrap_or_else(|| panic!("{name} has no gradient"));
            let gradient = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let origin = variable.as_detached_tensor().copy().unwrap();
            let flat = origin.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for at in (0..flat.len()).step_by(flat.len() / 3 + 1) {
                let step = 4e-3;
                let moved = |by: f32| {
                    let mut flat = flat.clone();
                    flat[at] += by;
                    variable.set(&Tensor::from_vec(flat, origin.shape(), &Device::Cpu).unwrap()).unwrap();
                    loss().to_scalar::<f32>().unwrap()
                };
                let (below, here, above) = (moved(-step), moved(0.0), moved(step));
                // Where a rectifier bends between, one side still has the slope.
                let slopes = [(above - below) / (2.0 * step), (above - here) / step, (here - below) / step];
                assert!(
                    slopes.iter().any(|slope| (slope - gradient[at]).abs() < 5e-3 + 0.02 * slope.abs()),
                    "{norm} {name}[{at}]: {slopes:?} against {}",
                    gradient[at]
                );
            }
            variable.set(&origin).unwrap();
        }
    }
}

#[test]
fn training_learns_who_was_seen_before() {
    use candle_nn::{AdamW, Optimizer, ParamsAdamW};
    let spec = NetworkSpec { dropout: 0.1, ..spec("layer") };
    let (network, variables) = network(&spec);
    network.seed_dropout(3);
    let lengths = [4; 32];
    let (inputs, mask) = rectangle(&lengths, 4, 0.0);
    // Whether the step before had a positive first input: only the sequence tells.
    let rows = inputs.to_vec3::<f32>().unwrap();
    let target: Vec<u32> =
        rows.iter().flat_map(|w| (0..4).map(|t| u32::from(t > 0 && w[t - 1][0] > 0.0))).collect();
    let target = Tensor::from_vec(target, 128, &Device::Cpu).unwrap();
    let rate = ParamsAdamW { lr: 0.02, ..ParamsAdamW::default() };
    let mut optimiser = AdamW::new(variables.all_vars(), rate).unwrap();
    let loss = |train| {
        let (logits, _) = network.forward_train(&inputs, &mask, train).unwrap();
        candle_nn::loss::cross_entropy(&logits.reshape((128, CLASSES)).unwrap(), &target).unwrap()
    };
    let before = loss(false).to_scalar::<f32>().unwrap();
    for _ in 0..60 {
        optimiser.backward_step(&loss(true)).unwrap();
    }
    let after = loss(false).to_scalar::<f32>().unwrap();
    assert!(before > 0.7 && after < 0.2, "{before} to {after}");
}

#[test]
fn dropout_and_weights_follow_from_their_seeds() {
    let spec = NetworkSpec { dropout: 0.5, ..spec("layer") };
    let (inputs, mask) = rectangle(&LENGTHS, 5, 0.0);
    let run = |seed: u64| {
        let (network, _) = network(&spec);
        network.seed_dropout(seed);
        [(); 2].map(|()| {
            let (logits, _) = network.forward_train(&inputs, &mask, true).unwrap();
            logits.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        })
    };
    let [first, second] = run(1);
    assert_eq!([first.clone(), second.clone()], run(1));
    assert_ne!(first, second);
    assert_ne!(first, run(2)[0]);
}

#[test]
fn batch_norm_learns_the_moments_of_real_steps_alone() {
    let (network, variables) = network(&spec("batch"));
    let running = || {
        let variables = variables.data().lock().unwrap();
        variables["bilstm-attn.norm0.running_mean"].to_vec1::<f32>().unwrap()
    };
    let (inputs, mask) = rectangle(&LENGTHS, 9, f32::NAN);
    network.forward_train(&inputs, &mask, false).unwrap();
    assert!(running().iter().all(|&mean| mean == 0.0));
    network.forward_train(&inputs, &mask, true).unwrap();
    assert!(running().iter().all(|&mean| mean != 0.0 && mean.abs() < 0.1));
}

#[test]
fn what_does_not_fit_is_refused() {
    let (network, variables) = network(&spec("layer"));
    let (inputs, mask) = rectangle(&[2, 1], 3, 0.0);
    assert!(network.forward_train(&inputs, &mask.t().unwrap(), false).is_err());
    let on_the_right = Tensor::new(&[[1_f32, 1.0, 0.0], [0.0, 0.0, 1.0]], &Device::Cpu).unwrap();
    assert!(network.forward_train(&inputs, &on_the_right, false).is_err());
    let build = |spec: &NetworkSpec, tensors: HashMap<String, Tensor>| {
        BilstmAttn::new(spec, WIDTH, CLASSES, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))
    };
    let tensors: HashMap<String, Tensor> = variables
        .data()
        .lock()
        .unwrap()
        .iter()
        .map(|(name, variable)| (name.clone(), variable.as_detached_tensor()))
        .collect();
    assert!(build(&spec("layer"), tensors.clone()).is_ok());
    for wrong in [
        NetworkSpec { hidden: vec![], ..spec("layer") },
        NetworkSpec { hidden: vec![5, 0], ..spec("layer") },
        NetworkSpec { hidden: vec![5, 3], ..spec("layer") },
        NetworkSpec { heads: 4, ..spec("layer") },
        NetworkSpec { heads: 0, ..spec("layer") },
        NetworkSpec { dropout: 1.0, ..spec("layer") },
        NetworkSpec { dropout: f32::NAN, ..spec("layer") },
        spec("group"),
        spec("batch"),
    ] {
        assert!(build(&wrong, tensors.clone()).is_err(), "{wrong:?}");
    }
}

/// Weights as `benches/network_reference.py` makes them: value i of the k-th tensor by name is a sine.
fn fill(variables: &VarMap) {
    let variables = variables.data().lock().unwrap();
    let mut names: Vec<&String> = variables.keys().collect();
    names.sort();
    for (k, name) in names.into_iter().enumerate() {
        let variable = &variables[name];
        let dims = variable.dims().to_vec();
        let value = |i: usize| {
            let wave = (0.37 * i as f64 + k as f64).sin();
            match dims[..] {
                [_, inputs] => wave / (inputs as f64).sqrt(),
                _ if name.contains("norm") && name.ends_with("weight") => 0.1 * wave + 1.0,
                _ => 0.1 * wave,
            }
        };
        let values: Vec<f32> = (0..variable.elem_count()).map(|i| value(i) as f32).collect();
        variable.set(&Tensor::from_vec(values, dims, &Device::Cpu).unwrap()).unwrap();
    }
}

#[test]
fn results_are_those_of_pytorch() {
    let spec =
        NetworkSpec { hidden: vec![8, 5, 5], heads: 2, attention: 6, norm: "layer".to_owned(), dropout: 0.3 };
    let (mut network, variables) = network(&spec);
    fill(&variables);
    let mut expected = include_str!("pytorch.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(' ').map(|value| value.parse::<f32>().unwrap()).collect::<Vec<_>>());
    let mut expect = |rows: usize| expected.by_ref().take(rows).flatten().collect::<Vec<_>>();
    let (expected_logits, expected_rebuilt) = (expect(6), expect(6));
    let lengths = vec![3, 1, 2];
    let inputs: Vec<f32> = (0..36).map(|i| (2.0 * (0.61 * f64::from(i)).sin()) as f32).collect();
    let batch =
        WindowBatch { width: WIDTH, lengths: lengths.clone(), inputs: inputs.clone(), fresh: Vec::new() };
    let candle = logits(&mut network, &batch);
    assert!(largest_difference(&candle, &expected_logits) < 1e-5);
    let mut ours = Vec::new();
    crate::CpuNetwork::new(&network).unwrap().logits(&batch, &mut ours).unwrap();
    assert!(largest_difference(&ours, &expected_logits) < 1e-5);
    // The same windows, padded on the left.
    let mut padded = vec![0.0; 3 * 3 * WIDTH];
    let mut mask = vec![0_f32; 9];
    let mut rest = &inputs[..];
    for (window, &length) in lengths.iter().enumerate() {
        let end = (window + 1) * 3;
        let (steps, tail) = rest.split_at(length * WIDTH);
        padded[(end - length) * WIDTH..end * WIDTH].copy_from_slice(steps);
        mask[end - length..end].fill(1.0);
        rest = tail;
    }
    let padded = Tensor::from_vec(padded, (3, 3, WIDTH), &Device::Cpu).unwrap();
    let mask = Tensor::from_vec(mask, (3, 3), &Device::Cpu).unwrap();
    let (_, rebuilt) = network.forward_train(&padded, &mask, false).unwrap();
    assert!(largest_difference(&real(&rebuilt, &lengths), &expected_rebuilt) < 1e-5);
}
