//! `tapline train`: a training table becomes a model directory.
//!
//! In: a configuration. Out: what `tapline-train` makes of it; here are only the command line, the progress bar and the
//! clock.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tapline_train::making::{Made, Order, device, make};
use tapline_train::training::{BatchReport, EpochReport, Progress};
use tapline_train::{Config, TrainError};

use crate::exit::{Code, Failure};
use crate::train_cli::TrainArgs;
use crate::version;

pub(crate) fn run(args: &TrainArgs) -> Result<(), Failure> {
    let config = Config::read(&args.config, &args.set).map_err(failure)?;
    let out = args.out.as_ref().unwrap_or(&config.model.out);
    let device = device().map_err(failure)?;
    let mut command = "tapline train".to_owned();
    for argument in std::env::args_os().skip(2) {
        command.push(' ');
        command.push_str(&argument.to_string_lossy());
    }
    let order = Order {
        config: &config,
        out,
        resume: args.resume,
        producer: version::PRODUCER,
        command: &command,
        device: &device,
    };
    let mut watch = Watch::new(args.quiet, config.schedule.epochs);
    let made = make(&order, &mut watch);
    watch.bar.finish_and_clear();
    let made = made.map_err(failure)?;
    if !args.quiet {
        summarise(&made);
        tell(&format!("{} in {}", made.id, out.display()));
    }
    Ok(())
}

/// Shows what is going on: a bar on a terminal, and a line per stage and epoch.
struct Watch {
    quiet: bool,
    epochs: u32,
    bar: ProgressBar,
    /// When the first epoch of this process began, and how many have ended since.
    since: Option<Instant>,
    done: u32,
}

impl Watch {
    fn new(quiet: bool, epochs: u32) -> Self {
        let bar = ProgressBar::hidden();
        if !quiet && std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} eta {eta}") {
                bar.set_style(style);
            }
        }
        Self { quiet, epochs, bar, since: None, done: 0 }
    }

    fn tell(&self, what: &str) {
        if !self.quiet {
            self.bar.suspend(|| tell(what));
        }
    }
}

impl Progress for Watch {
    fn stage(&mut self, what: &str) {
        self.tell(what);
    }

    fn round(&mut self, what: &str, done: usize, of: usize) {
        if self.bar.is_hidden() {
            return;
        }
        if self.bar.length() != Some(of as u64) {
            self.bar.reset();
            self.bar.set_length(of as u64);
        }
        self.bar.set_message(what.to_owned());
        self.bar.set_position(done as u64);
    }

    fn resumed(&mut self, epochs: &[EpochReport]) {
        self.tell(&format!("going on behind {} epochs", epochs.len()));
    }

    fn batch(&mut self, report: &BatchReport) {
        self.since.get_or_insert_with(Instant::now);
        if self.bar.is_hidden() {
            return;
        }
        if report.done <= 1 {
            self.bar.reset();
            self.bar.set_length(report.batches as u64);
        }
        let what = if report.validating {
            format!("epoch {} validating", report.epoch)
        } else {
            format!("epoch {} loss {:.4}", report.epoch, report.loss)
        };
        self.bar.set_message(what);
        self.bar.set_position(report.done as u64);
    }

    fn epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        self.done += 1;
        let spent = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        let left = spent / self.done * (self.epochs.saturating_sub(report.epoch + 1));
        let validation = &report.validation;
        self.tell(&format!(
            "epoch {:3}: loss {:.4}, reconstruction {:.3}, gradient {:.2}, rate {:.1e}; AUC {:.4}, recall at 1e-2 {:.3}{}; \
             {} so far, at most {} to go",
            report.epoch,
            report.class_loss,
            report.reconstruction_loss,
            report.gradient_norm,
            report.rate,
            validation.auc,
            validation.macro_recall,
            if report.best { ", best" } else { "" },
            HumanDuration(spent),
            HumanDuration(left),
        ));
        ControlFlow::Continue(())
    }
}

fn summarise(made: &Made) {
    tell(&format!(
        "{} epochs, weights of epoch {}; on the validation networks:",
        made.epochs, made.best_epoch
    ));
    for figures in &made.figures {
        let [hundredth, thousandth, _] = figures.recall;
        tell(&format!(
            "{:>12}: AUC {:.4}, recall {hundredth:.3} at 1e-2, {thousandth:.3} at 1e-3; mean over classes {:.3} at 1e-2",
            figures.detector, figures.validation.auc, figures.validation.macro_recall
        ));
    }
}

fn failure(error: TrainError) -> Failure {
    let code = match error {
        TrainError::Read { .. } => Code::NoInput,
        TrainError::Write { .. } => Code::CantCreate,
        TrainError::Config { .. } => Code::Usage,
        TrainError::Device(_) | TrainError::Score(_) => Code::Software,
        _ => Code::Data,
    };
    Failure::new(code, error)
}

#[expect(clippy::print_stderr, reason = "progress goes to standard error")]
fn tell(what: &str) {
    eprintln!("tapline: {what}");
}
