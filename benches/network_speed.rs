//! How many windows the network scores, and learns from, per CPU second of one thread.
//!
//! The shapes, weights and inputs of `network_reference.py`; `network_speed.sh` runs both in turns. Prints lines of
//! implementation, hidden units, steps per window (`mixed`: mostly short ones) and windows per CPU second.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program: its report is its output"
)]

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use candle_core::{DType, Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use tapline_score::manifest::NetworkSpec;
use tapline_score::{BilstmAttn, CpuNetwork, Detector, WindowBatch};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "Usage: network_speed speed|training [SECONDS [WINDOWS [SHAPE]]]";
const WIDTH: usize = 50;
const CLASSES: usize = 8;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: f64| arguments.get(i).map_or(Ok(default), |text| text.parse());
    let (seconds, windows) = match (number(1, 1.0), number(2, 512.0)) {
        (Ok(seconds), Ok(windows)) => (seconds, windows as usize),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    let only = arguments.get(3).map(String::as_str);
    let result = match arguments.first().map(String::as_str) {
        Some("speed") => speed(seconds, windows, only),
        Some("training") => training(seconds, only),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    if let Err(error) = result {
        eprintln!("network_speed: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

const SHAPES: [(&str, &[usize]); 3] =
    [("256-128-64", &[256, 128, 64]), ("128-64", &[128, 64]), ("64-32", &[64, 32])];

fn speed(seconds: f64, windows: usize, only: Option<&str>) -> Result<()> {
    for (name, hidden) in SHAPES.into_iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        let (mut network, _) = network(hidden)?;
        let mut packed = CpuNetwork::new(&network)?;
        for steps in [1, 16, 0] {
            let lengths = lengths_of(windows, steps);
            let inputs = inputs_of(lengths.iter().sum());
            let batch = WindowBatch { width: WIDTH, lengths, inputs, fresh: Vec::new() };
            let mut logits = Vec::new();
            let mut run = |detector: &mut dyn Detector| {
                logits.clear();
                detector.logits(&batch, &mut logits)
            };
            report("tapline", name, steps, rate(windows, seconds, || Ok(run(&mut packed)?))?);
            report("tapline-candle", name, steps, rate(windows, seconds, || Ok(run(&mut network)?))?);
        }
    }
    Ok(())
}

fn training(seconds: f64, only: Option<&str>) -> Result<()> {
    for ((name, hidden), steps, windows) in [(SHAPES[0], 16, 64), (SHAPES[2], 8, 128), (SHAPES[2], 0, 128)] {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let (network, variables) = network(hidden)?;
        let lengths = lengths_of(windows, steps);
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let device = Device::Cpu;
        let x = Tensor::from_vec(inputs_of(windows * longest), (windows, longest, WIDTH), &device)?;
        let mask: Vec<f32> = lengths
            .iter()
            .flat_map(|length| (0..longest).map(move |t| if t + length < longest { 0.0 } else { 1.0 }))
            .collect();
        let real: Vec<u32> = (0..).zip(&mask).filter(|(_, real)| **real > 0.5).map(|(i, _)| i).collect();
        let target: Vec<u32> = real.iter().map(|i| i % CLASSES as u32).collect();
        let mask = Tensor::from_vec(mask, (windows, longest), &device)?;
        let real = Tensor::new(real, &device)?;
        let target = Tensor::new(target, &device)?;
        let rows = |x: &Tensor| x.flatten(0, 1)?.index_select(&real, 0);
        let rate_of_learning = ParamsAdamW { lr: 1e-3, ..ParamsAdamW::default() };
        let mut optimiser = AdamW::new(variables.all_vars(), rate_of_learning)?;
        let step = || {
            let (logits, rebuilt) = network.forward_train(&x, &mask, true)?;
            let loss = candle_nn::loss::cross_entropy(&rows(&logits)?, &target)?;
            let loss = (loss + candle_nn::loss::mse(&rows(&rebuilt)?, &rows(&x)?)?)?;
            Ok(optimiser.backward_step(&loss)?)
        };
        report("tapline", name, steps, rate(windows, seconds, step)?);
    }
    Ok(())
}

fn report(implementation: &str, name: &str, steps: usize, rate: f64) {
    let steps = if steps == 0 { "mixed".to_owned() } else { steps.to_string() };
    println!("{implementation} {name} {steps} {rate}");
}

fn network(hidden: &[usize]) -> Result<(BilstmAttn, VarMap)> {
    let spec = NetworkSpec {
        hidden: hidden.to_vec(),
        heads: 8,
        attention: 128,
        norm: "layer".to_owned(),
        dropout: 0.0,
    };
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let network = BilstmAttn::new(&spec, WIDTH, CLASSES, builder)?;
    let map = variables.data().lock().map_err(|_| "a lock of one thread")?;
    let mut names: Vec<&String> = map.keys().collect();
    names.sort();
    for (k, name) in names.into_iter().enumerate() {
        let variable = &map[name];
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
        variable.set(&Tensor::from_vec(values, dims, &Device::Cpu)?)?;
    }
    drop(map);
    Ok((network, variables))
}

fn inputs_of(steps: usize) -> Vec<f32> {
    (0..steps * WIDTH).map(|i| (2.0 * (0.61 * i as f64).sin()) as f32).collect()
}

/// Lengths of windows; `steps` 0: what a network of hosts gives, mostly short windows, 16 at most.
fn lengths_of(windows: usize, steps: usize) -> Vec<usize> {
    const MIX: [usize; 16] = [1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 6, 8, 12, 16];
    (0..windows).map(|i| if steps == 0 { MIX[i % MIX.len()] } else { steps }).collect()
}

/// Windows per CPU second, after one pass that does not count.
fn rate(windows: usize, seconds: f64, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    work()?;
    let start = cpu_seconds()?;
    let mut passes = 0;
    loop {
        work()?;
        passes += 1;
        let spent = cpu_seconds()? - start;
        if spent >= seconds {
            return Ok((windows * passes) as f64 / spent);
        }
    }
}

/// CPU time of all threads of this process; Linux counts it in hundredths of a second, by thread in nanoseconds.
fn cpu_seconds() -> Result<f64> {
    let mut nanoseconds = 0_u64;
    for task in fs::read_dir("/proc/self/task")? {
        let line = fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += line.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(nanoseconds as f64 * 1e-9)
}
