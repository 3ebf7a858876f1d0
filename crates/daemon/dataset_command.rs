//! `tapline dataset`: labelled captures become one training table and its data card.
//!
//! In: runs of the testbed, the public corpus. Out: `flows.parquet`, `card.md`, `card.json`. The order of rows is that of
//! sources, captures, and within a capture that in which flows ended, as scoring sees them. Which
//! flows go in is decided here, capture by capture; the rules stand in `tapline-dataset`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow};
use tapline_dataset::caps::{fair_shares, hostile_at_most, stretches};
use tapline_dataset::{Card, Dropped, Made, Split, honesty};
use tapline_features::{SchemaId, inputs};
use tapline_label::Class;

use crate::dataset_cli::{BuildArgs, DatasetCommand, Views};
use crate::dataset_flows::Stretch;
use crate::dataset_sources::{Batch, Corpus, View, read_run, split_of_run};
use crate::dataset_table::{Marks, Names, Table, bytes_of};
use crate::exit::{Code, Failure};
use crate::observed_flows::Observed;
use crate::{print, version};

/// The same table gives the same card.
const SEED: u64 = 20_261_123;

/// The file names within the output directory.
const TABLE: &str = "flows.parquet";
const CARD_TEXT: &str = "card.md";
const CARD_JSON: &str = "card.json";

pub(crate) fn run(command: &DatasetCommand) -> Result<(), Failure> {
    match command {
        DatasetCommand::Build(args) => build(args),
        DatasetCommand::Card { dir } => card(dir),
    }
}

fn card(dir: &Path) -> Result<(), Failure> {
    let path = dir.join(CARD_TEXT);
    let text = fs::read(&path)
        .with_context(|| {
            format!("reading {}; `tapline dataset build --out {}` makes it", path.display(), dir.display())
        })
        .map_err(|error| Failure::new(Code::NoInput, error))?;
    print(&text)
}

fn build(args: &BuildArgs) -> Result<(), Failure> {
    fs::create_dir_all(&args.out)
        .with_context(|| format!("creating {}", args.out.display()))
        .map_err(|error| Failure::new(Code::CantCreate, error))?;
    let mut table = Table::create(&args.out.join(TABLE), !args.no_checks, SEED)?;
    let mut made = made(args);
    let outcome = fill(&mut table, &mut made, args);
    if let Err(failure) = outcome {
        table.discard();
        return Err(failure);
    }
    table.annotate("tapline.inputs", format!("{} {}", inputs::SCHEMA, inputs::schema_hash()));
    table.annotate("tapline.dataset.command", made.command.clone());
    table.annotate("tapline.dataset.caps", made.caps.clone());
    table.annotate("tapline.dataset.rows", table.card.rows().to_string());
    let unremembered = table.copies.unremembered();
    if unremembered > 0 {
        table.card.warn(format!(
            "{unremembered} rows were not looked for among later captures: too many to remember"
        ));
    }
    if table.card.rows() == 0 {
        let card = std::mem::take(&mut table.card).finish(made, None);
        table.discard();
        tell_warnings(&card);
        let message =
            format!("none of {} flows has a label that can be trusted; no table was made", card.flows_seen);
        return Err(Failure::new(Code::Data, anyhow!(message)));
    }
    let (counts, sample) = table.finish()?;
    let honesty = sample.map(|sample| {
        tell(args, "honesty checks");
        honesty::check(&sample, SEED)
    });
    let card = counts.finish(made, honesty);
    write_file(&args.out.join(CARD_TEXT), card.text().as_bytes())?;
    let mut json = serde_json::to_vec_pretty(&card)
        .context("rendering the card")
        .map_err(|error| Failure::new(Code::Software, error))?;
    json.push(b'\n');
    write_file(&args.out.join(CARD_JSON), &json)?;
    tell_warnings(&card);
    tell(
        args,
        &format!("{} rows of {} flows in {}", card.rows, card.flows_seen, args.out.join(TABLE).display()),
    );
    Ok(())
}

/// Reads source after source into the table.
fn fill(table: &mut Table, made: &mut Made, args: &BuildArgs) -> Result<(), Failure> {
    let mut names = Names::default();
    let mut number = 0;
    let behaviour_caps =
        Caps { per_file: 0, per_behaviour: args.cap_per_behaviour, benign_share: args.benign_share };
    for run in &args.runs {
        tell(args, &run.display().to_string());
        made.runs += 1;
        for kind in wanted(args, split_of_run(run)?) {
            for view in views_of_a_run(kind) {
                let batch = read_run(run, number, view, &mut names)?;
                let goes_on = batch.goes_on;
                add(table, made, batch, behaviour_caps)?;
                if matches!(view, View::Short(_)) && !goes_on {
                    break;
                }
            }
        }
        number += 1;
    }
    let (Some(folder), Some(labels)) = (&args.corpus, &args.labels) else { return Ok(()) };
    let corpus = Corpus::open(folder, labels, args.modbus.as_deref())?;
    let file_caps = Caps { per_file: args.cap_per_file, per_behaviour: 0, benign_share: None };
    for (at, file) in corpus.files.iter().enumerate() {
        if at.is_multiple_of(500) {
            tell(args, &format!("{}: file {at} of {}", folder.display(), corpus.files.len()));
        }
        for kind in wanted(args, file.split) {
            let view = match kind {
                Views::Whole => View::Whole,
                Views::OneWay => View::OneWay,
                // It consists of short captures of few hosts.
                Views::Segment | Views::Short => continue,
            };
            let batch = corpus.read(file, number, view, &mut names)?;
            add(table, made, batch, file_caps)?;
        }
        number += 1;
    }
    Ok(())
}

/// How captures of a split are read, each way once.
fn wanted(args: &BuildArgs, split: Split) -> BTreeSet<Views> {
    let kinds: BTreeSet<Views> = args.views.iter().copied().collect();
    let as_it_is_alone = kinds.contains(&Views::Whole) && split != Split::Train;
    kinds.into_iter().filter(|kind| *kind == Views::Whole || !as_it_is_alone).collect()
}

/// Of short captures, as many as any run may have.
fn views_of_a_run(kind: Views) -> Box<dyn Iterator<Item = View>> {
    match kind {
        Views::Whole => Box::new([View::Whole].into_iter()),
        Views::OneWay => Box::new([View::OneWay].into_iter()),
        Views::Segment => Box::new((1..=SEGMENTS).map(View::Segment)),
        Views::Short => Box::new(stretches_of_a_run().take(SHORT_MAX).map(View::Short)),
    }
}

/// Taps on segments that see a run.
const SEGMENTS: u32 = 2;

/// One short capture behind the other: how much is known of what was before makes a difference, so they are not equally long.
fn stretches_of_a_run() -> impl Iterator<Item = Stretch> {
    let mut from_us = 0;
    SHORT_US.into_iter().cycle().map(move |length_us| {
        let stretch = Stretch { from_us, until_us: from_us + length_us };
        from_us = stretch.until_us;
        stretch
    })
}

/// Two days of short captures; what comes after them, or after a clock that was years off, has no such view.
const SHORT_MAX: usize = 1_000;

/// How long short captures are.
const SHORT_US: [i64; 3] = [180_000_000, 90_000_000, 360_000_000];

/// What a capture may bring at most; 0 and `None` for anything.
#[derive(Clone, Copy)]
struct Caps {
    per_file: usize,
    per_behaviour: usize,
    benign_share: Option<f64>,
}

/// Adds the flows of one capture, in the order in which they ended, but for copies and what is beyond the caps.
fn add(table: &mut Table, made: &mut Made, mut batch: Batch, caps: Caps) -> Result<(), Failure> {
    let origin = batch.origin;
    made.captures += batch.captures;
    for warning in batch.warnings.drain(..) {
        table.card.warn(warning);
    }
    for (reason, class, flows) in batch.dropped.drain(..) {
        table.card.add_dropped(reason, origin.site, class, flows);
    }
    let flows = batch.flows;
    // What the caps leave out is remembered too: the rest of a scan must not come back from another collection.
    let copies = &mut table.copies;
    let mut fates: Vec<Option<Dropped>> = flows
        .iter()
        .map(|(Observed { flow, .. }, _)| {
            copies.is_copy(origin.number, &flow.head, bytes_of(flow)).then_some(Dropped::Copy)
        })
        .collect();

    cap(&flows, &mut fates, Dropped::FileCap, caps.per_file, |marks| (marks.class, ""));
    cap(&flows, &mut fates, Dropped::BehaviourCap, caps.per_behaviour, |marks| {
        (marks.class, marks.behaviour)
    });
    if let Some(share) = caps.benign_share {
        share_out(&flows, &mut fates, share);
    }
    for ((observed, marks), fate) in flows.iter().zip(fates) {
        match fate {
            Some(reason) => table.card.add_dropped(reason, origin.site, Some(marks.class), 1),
            None => table.write(observed, *marks, origin)?,
        }
    }
    Ok(())
}

/// Keeps at most `max` hostile flows of each group.
fn cap(
    flows: &[(Observed, Marks)],
    fates: &mut [Option<Dropped>],
    reason: Dropped,
    max: usize,
    group: impl Fn(&Marks) -> (Class, &'static str),
) {
    if max > 0 {
        for places in groups(flows, fates, group).values() {
            keep(flows, fates, places, reason, max);
        }
    }
}

/// Leaves out hostile flows until `benign_share` is reached: behaviours get the same part of what remains.
fn share_out(flows: &[(Observed, Marks)], fates: &mut [Option<Dropped>], benign_share: f64) {
    let benign = flows
        .iter()
        .zip(&*fates)
        .filter(|((_, marks), fate)| fate.is_none() && !marks.class.is_hostile())
        .count();
    let groups = groups(flows, fates, |marks| (marks.class, marks.behaviour));
    let wants: Vec<usize> = groups.values().map(Vec::len).collect();
    let shares = fair_shares(&wants, hostile_at_most(benign, benign_share));
    for (places, share) in groups.values().zip(shares) {
        keep(flows, fates, places, Dropped::BenignShare, share);
    }
}

/// Places of hostile flows that are still in, by group.
fn groups(
    flows: &[(Observed, Marks)],
    fates: &[Option<Dropped>],
    group: impl Fn(&Marks) -> (Class, &'static str),
) -> BTreeMap<(Class, &'static str), Vec<usize>> {
    let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, ((_, marks), fate)) in flows.iter().zip(fates).enumerate() {
        if fate.is_none() && marks.class.is_hostile() {
            groups.entry(group(marks)).or_default().push(place);
        }
    }
    groups
}

/// Keeps stretches of time of the flows at `places`, `max` flows in all.
fn keep(
    flows: &[(Observed, Marks)],
    fates: &mut [Option<Dropped>],
    places: &[usize],
    reason: Dropped,
    max: usize,
) {
    if places.len() <= max {
        return;
    }
    let starts_us: Vec<i64> = places.iter().map(|place| flows[*place].0.flow.head.start.micros).collect();
    for place in places {
        fates[*place] = Some(reason);
    }
    for kept in stretches(&starts_us, max).into_iter().flatten() {
        fates[places[kept]] = None;
    }
}

fn made(args: &BuildArgs) -> Made {
    let mut command = "tapline dataset build".to_owned();
    for argument in std::env::args_os().skip(3) {
        command.push(' ');
        command.push_str(&argument.to_string_lossy());
    }
    let cap = |max: usize| if max == 0 { "none".to_owned() } else { max.to_string() };
    let share = args.benign_share.map_or_else(|| "none".to_owned(), |share| share.to_string());
    let caps = format!(
        "{} flows per corpus file and hostile class, {} per run and hostile behaviour, benign share of a run {share}; \
         capped flows are stretches without a hole from the beginning of each episode",
        cap(args.cap_per_file),
        cap(args.cap_per_behaviour)
    );
    let schema = SchemaId::Tapline1;
    Made {
        producer: version::PRODUCER.to_owned(),
        command,
        schema: schema.name().to_owned(),
        schema_hash: schema.hash(),
        caps,
        captures: 0,
        runs: 0,
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::File::create(path)
        .with_context(|| format!("creating {}", path.display()))
        .map_err(|error| Failure::new(Code::CantCreate, error))?
        .write_all(bytes)
        .with_context(|| format!("writing {}", path.display()))
        .map_err(Failure::io)
}

#[expect(clippy::print_stderr, reason = "progress goes to standard error")]
fn tell(args: &BuildArgs, what: &str) {
    if !args.quiet {
        eprintln!("tapline: {what}");
    }
}

#[expect(clippy::print_stderr, reason = "warnings go to standard error")]
fn tell_warnings(card: &Card) {
    for warning in &card.warnings {
        eprintln!("tapline: warning: {warning}");
    }
}
