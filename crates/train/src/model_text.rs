//! `README.md` of a model directory: what the model is, what it was made of, what it is worth, what it cannot do.

use std::collections::BTreeMap;
use std::fmt::Write;

use tapline_score::Manifest;

use crate::making::{Figures, Prepared};
use crate::{CLASSES, Config, Table};

/// The text for people.
pub(crate) fn readme(
    manifest: &Manifest,
    config: &Config,
    table: &Table,
    prepared: &Prepared,
    figures: &[Figures],
) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write(&mut text, manifest, config, table, prepared, figures);
    text
}

fn write(
    text: &mut String,
    manifest: &Manifest,
    config: &Config,
    table: &Table,
    prepared: &Prepared,
    figures: &[Figures],
) -> std::fmt::Result {
    let card = |key: &str| manifest.card.get(key).map_or("", String::as_str);
    writeln!(text, "# {}\n", config.model.name)?;
    writeln!(
        text,
        "A model for Tapline: it reads windows of up to {} flows of one source host, {} inputs a flow, and says for each\n\
         flow which of {} classes it is. `model.toml` holds everything but the weights.\n",
        manifest.window.steps,
        manifest.inputs.columns.len(),
        manifest.classes.len()
    )?;
    writeln!(text, "Made by {} with\n\n```sh\n{}\n```\n", card("producer"), card("command"))?;

    writeln!(text, "## What it was made of\n")?;
    writeln!(text, "| | networks | rows | windows |\n|---|---|---:|---:|")?;
    let (train, validate) = (&prepared.train_rows, &prepared.validate_rows);
    writeln!(
        text,
        "| learnt from | {} | {} | {} |",
        card("train_networks"),
        train.len(),
        prepared.train.len()
    )?;
    writeln!(
        text,
        "| chosen by | {} | {} | {} |\n",
        card("validate_networks"),
        validate.len(),
        prepared.validate.len()
    )?;
    writeln!(text, "| class | ATT&CK | rows learnt from | rows chosen by |\n|---|---|---:|---:|")?;
    let counts = |rows: &[u32]| {
        let mut counts = [0_usize; CLASSES.len()];
        rows.iter().for_each(|row| counts[usize::from(table.class[*row as usize])] += 1);
        counts
    };
    let (learnt, chosen) = (counts(train), counts(validate));
    for (class, name) in CLASSES.iter().enumerate() {
        let id = manifest.attack_ids.get(*name).map_or("", String::as_str);
        writeln!(text, "| {name} | {id} | {} | {} |", learnt[class], chosen[class])?;
    }

    writeln!(text, "\n## What it is worth\n")?;
    writeln!(
        text,
        "On the networks that it was chosen by, so somewhat flattered: epochs, temperature and thresholds were picked on\n\
         them. `votes` is what judges; the others are for comparison. Recall is of single flows, where so many of the\n\
         benign flows are called hostile; the mean is over classes, and within a class over behaviours. See `tapline eval`\n\
         for networks that it has never met.\n"
    )?;
    writeln!(text, "| detector | vote | AUC | recall at 1e-2 | 1e-3 | 1e-4 | mean over classes at 1e-2 |")?;
    writeln!(text, "|---|---:|---:|---:|---:|---:|---:|")?;
    let votes: BTreeMap<&str, f32> =
        manifest.detectors.iter().map(|spec| (spec.kind.name(), spec.vote.share)).collect();
    for figures in figures {
        let vote = votes.get(figures.detector.as_str()).map_or_else(String::new, f32::to_string);
        let [hundredth, thousandth, ten_thousandth] = figures.recall;
        writeln!(
            text,
            "| {} | {vote} | {:.4} | {hundredth:.3} | {thousandth:.3} | {ten_thousandth:.3} | {:.3} |",
            figures.detector, figures.validation.auc, figures.validation.macro_recall
        )?;
    }
    if let Some(votes) = figures.last() {
        writeln!(text, "\n| class | recall at 1e-2 |\n|---|---:|")?;
        for (class, recall) in &votes.validation.recall {
            writeln!(text, "| {class} | {recall:.3} |")?;
        }
    }

    let thresholds = &manifest.thresholds;
    writeln!(text, "\n## When it speaks\n")?;
    writeln!(
        text,
        "Temperature {:.3}. Of {} benign validation flows ({:.1} hours of packet time) at most {} reach `investigate`\n\
         ({:.3}), {} `detect` ({:.3}), {} `block` ({:.3}). Flows from `investigate` on are evidence; an incident becomes\n\
         an alert at evidence {:.2}. These thresholds are of those networks: `tapline learn` sets them for yours.\n",
        manifest.calibration.temperature,
        manifest.calibration.benign_flows,
        manifest.calibration.benign_span_s / 3600.0,
        config.thresholds.investigate,
        thresholds.investigate,
        config.thresholds.detect,
        thresholds.detect,
        config.thresholds.block,
        thresholds.block,
        thresholds.alert_evidence
    )?;

    writeln!(text, "## What it cannot do\n")?;
    text.push_str(LIMITS);
    writeln!(text, "\n## Settings\n\n```toml\n{}```", config.text())
}

/// What headers alone do not show.
const LIMITS: &str = "\
It sees packet headers, no payload. Near hopeless from those alone: single exploits, a single SQL injection or script in
a request, lateral movement on Windows with valid credentials, one query of a tunnel. A lone probe and a refused
connection are the same flow: slow scans show after some twenty targets, slow guessing after some ten attempts. Benign
traffic of a kind that is not in its training sets off false alarms until it has learnt your network.
";
