//! `tapline learn`: a model gets used to a network.
//!
//! In: a model, captures of the network's ordinary traffic (or a table of flows), perhaps truth about some of it. Out: another
//! model directory. Captures become a table first, as `tapline dataset build` makes it, in a file beside the output that is
//! removed in the end; what is learnt stands in `tapline-train`.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, anyhow};
use tapline_dataset::Split;
use tapline_features::inputs;
use tapline_label::{Class, Endpoints};
use tapline_train::learning::{self, Learnt, Order, RATES, UNLABELLED};
use tapline_train::{Table, TrainError};

use crate::cli::TruthArgs;
use crate::dataset_flows::{Part, flows_of};
use crate::dataset_sources::View;
use crate::dataset_table::{Marks, Names, Origin, Table as Rows};
use crate::exit::{Code, Failure};
use crate::labels::Labeller;
use crate::learn_cli::LearnArgs;
use crate::model;

pub(crate) fn run(args: &LearnArgs) -> Result<(), Failure> {
    // What is refused is refused before days of traffic are read.
    let model = model::open(&args.model)?;
    if fs::symlink_metadata(&args.out).is_ok() {
        let message = format!("{} is there already; models are never overwritten", args.out.display());
        return Err(Failure::new(Code::CantCreate, anyhow!(message)));
    }
    let table = match &args.data {
        Some(path) => Table::read(path).map_err(failure)?,
        None => table_of_captures(args)?,
    };
    let wanted =
        |row: usize| args.source.is_empty() || args.source.iter().any(|name| name == table.source.name(row));
    let rows = table.rows_where(wanted);
    tell(args, &format!("learning from {} flows", rows.len()));
    let order = Order {
        model: &model,
        table: &table,
        rows: &rows,
        shift: args.shift,
        rates: RATES,
        alerts_per_day: args.alerts_per_day,
        threads: thread::available_parallelism().map_or(1, usize::from),
        command: &command(),
    };
    let learnt = learning::learn(&order, &args.out).map_err(failure)?;
    if !args.quiet {
        summarise(args, &learnt);
    }
    Ok(())
}

/// Captures as a table with the inputs of models.
fn table_of_captures(args: &LearnArgs) -> Result<Table, Failure> {
    let path = beside(&args.out);
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent)
            .with_context(|| format!("creating {}", parent.display()))
            .map_err(|error| Failure::new(Code::CantCreate, error))?;
    }
    let table = write_table(args, &path).and_then(|()| Table::read(&path).map_err(failure));
    // It served; if it was never written there is nothing to remove.
    let _ = fs::remove_file(&path);
    table
}

fn write_table(args: &LearnArgs, path: &Path) -> Result<(), Failure> {
    let mut names = Names::default();
    let truth =
        TruthArgs { truth: args.labels.clone(), rules: Vec::new(), pad_before: None, pad_after: None };
    let mut labeller = Labeller::open(&truth)?;
    let origin = Origin {
        site: names.get("own")?,
        run: names.get("own")?,
        source: names.get("own")?,
        split: Split::None,
        capture: names.get(&args.captures[0].display().to_string())?,
        number: 0,
        view: View::Whole.name(),
    };
    let unlabelled =
        Marks { class: Class::Benign, behaviour: UNLABELLED, tool: "", technique: "", conflict: false };
    let mut table = Rows::create(path, false, 0)?;
    let mut flows = 0_u64;
    let read = flows_of(&args.captures, Part::default(), |observed| {
        let label = labeller.as_mut().and_then(|labeller| {
            let packets = u64::from(observed.flow.head.packets);
            labeller.label(&Endpoints::from(&observed.flow.head), packets)
        });
        let marks = match label {
            Some(label) => Marks {
                class: label.class,
                behaviour: names.get(label.behaviour)?,
                tool: names.get(label.tool)?,
                technique: names.get(label.technique)?,
                conflict: label.conflict,
            },
            None => unlabelled,
        };
        flows += 1;
        table.write(&observed, marks, origin)
    });
    let read = match read {
        Ok(read) => read,
        Err(failure) => {
            table.discard();
            return Err(failure);
        }
    };
    for error in &read.errors {
        tell(args, &format!("warning: {error}"));
    }
    if flows == 0 {
        table.discard();
        return Err(Failure::new(Code::Data, anyhow!("the captures hold no flow to learn from")));
    }
    table.annotate("tapline.inputs", format!("{} {}", inputs::SCHEMA, inputs::schema_hash()));
    table.finish().map(|_| ())
}

/// The file that flows pass through: beside the output, where there is room for a model at least.
fn beside(out: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(out.file_name().unwrap_or_default());
    name.push(format!(".{}.flows.parquet", std::process::id()));
    out.with_file_name(name)
}

fn command() -> String {
    let mut command = "tapline learn".to_owned();
    for argument in std::env::args_os().skip(2) {
        command.push(' ');
        command.push_str(&argument.to_string_lossy());
    }
    command
}

fn summarise(args: &LearnArgs, learnt: &Learnt) {
    let [ordinary, hostile] = learnt.flows;
    tell(
        args,
        &format!(
            "{ordinary} ordinary flows over {:.1} h, {hostile} with hostile labels",
            learnt.span_s / 3600.0
        ),
    );
    let [old, new] = learnt.points;
    for (at, name) in ["investigate", "detect", "block"].into_iter().enumerate() {
        let remark =
            if learnt.extrapolated.contains(&name) { "; too few flows to tell: extrapolated" } else { "" };
        tell(
            args,
            &format!(
                "{name:>12}: score {:.2}, which {:.3} % of them reached, is now {:.2}{remark}",
                old[at],
                learnt.before[at] * 100.0,
                new[at]
            ),
        );
    }
    let [before, now] = learnt.alert_evidence;
    tell(args, &format!("an alert needs evidence of {now:.1}, it was {before:.1}"));
    tell(args, &format!("{} in {}", learnt.id, args.out.display()));
}

fn failure(error: TrainError) -> Failure {
    let code = match error {
        TrainError::Read { .. } => Code::NoInput,
        TrainError::Write { .. } => Code::CantCreate,
        _ => Code::Data,
    };
    Failure::new(code, anyhow!("{error}"))
}

#[expect(clippy::print_stderr, reason = "progress goes to standard error")]
fn tell(args: &LearnArgs, what: &str) {
    if !args.quiet {
        eprintln!("tapline: {what}");
    }
}
