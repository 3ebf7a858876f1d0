//! The data card as Markdown.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use tapline_label::Class;

use crate::card::Card;
use crate::honesty::{Honesty, ModelReport};

/// An AUC across networks from which on a shortcut is said to carry over.
const CARRIES: f64 = 0.60;

/// An AUC within a network from which on a shortcut is said to give the answer away.
const GIVES_AWAY: f64 = 0.90;

impl Card {
    /// The card as Markdown.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let made = &self.made;
        writeln!(out, "# Data card\n")?;
        writeln!(
            out,
            "{} rows of {} flows met, from {} captures ({} testbed runs).\n",
            self.rows, self.flows_seen, made.captures, made.runs
        )?;
        writeln!(out, "* made by: {}", made.producer)?;
        writeln!(out, "* command: `{}`", made.command)?;
        writeln!(out, "* features: schema {}, hash {}", made.schema, made.schema_hash)?;
        writeln!(out, "* caps: {}", made.caps)?;
        let unlabelled = self.dropped_for(crate::Dropped::Unlabelled);
        let labelled = self.flows_seen - unlabelled;
        writeln!(
            out,
            "* labelled: {} of the flows met, no label: {}",
            percent(labelled, self.flows_seen),
            percent(unlabelled, self.flows_seen)
        )?;
        writeln!(
            out,
            "* rows about which truth contradicts itself: {} ({})\n",
            self.conflicts,
            percent(self.conflicts, self.rows)
        )?;
        if !self.warnings.is_empty() {
            writeln!(out, "## Warnings\n")?;
            list(out, &self.warnings)?;
        }

        writeln!(out, "## Rows by site and class\n")?;
        let classes: Vec<&str> = Class::ALL.iter().map(|class| class.name()).collect();
        crossed(out, "site", &classes, self.sites.iter().map(|(site, counts)| (site.as_str(), counts)))?;

        writeln!(out, "## Rows by behaviour\n")?;
        writeln!(out, "| class | behaviour | flows | packets | median duration | sites | splits |")?;
        writeln!(out, "|---|---|---:|---:|---:|---:|---|")?;
        for one in &self.behaviours {
            let splits: Vec<&str> = one.splits.iter().copied().collect();
            let seconds = one.median_duration_us as f64 / 1e6;
            writeln!(
                out,
                "| {} | {} | {} | {} | {seconds:.3} s | {} | {} |",
                one.class,
                one.behaviour,
                one.flows,
                one.packets,
                one.sites,
                splits.join(", ")
            )?;
        }
        writeln!(out)?;

        writeln!(out, "## Class by split\n")?;
        crossed(out, "class", &keys(&self.class_by_split), in_class_order(&self.class_by_split))?;
        writeln!(out, "## Class by protocol\n")?;
        crossed(out, "class", &keys(&self.class_by_protocol), in_class_order(&self.class_by_protocol))?;
        writeln!(out, "## Class by service port\n")?;
        crossed(out, "class", &keys(&self.class_by_service), in_class_order(&self.class_by_service))?;

        writeln!(out, "## Hosts by what they emit\n")?;
        writeln!(
            out,
            "A host with hostile flows only is told by its address; what matters are hosts with both.\n"
        )?;
        writeln!(out, "| site | benign only | hostile only | both |\n|---|---:|---:|---:|")?;
        for (site, hosts) in &self.hosts {
            writeln!(out, "| {site} | {} | {} | {} |", hosts.benign_only, hosts.hostile_only, hosts.both)?;
        }
        if self.hosts_not_counted > 0 {
            writeln!(out, "\n{} rows of further hosts are not counted here.", self.hosts_not_counted)?;
        }
        writeln!(out)?;

        writeln!(out, "## What was left out\n")?;
        if self.dropped.is_empty() {
            writeln!(out, "Nothing.\n")?;
        } else {
            writeln!(out, "| reason | site | class | flows |\n|---|---|---|---:|")?;
            for one in &self.dropped {
                writeln!(
                    out,
                    "| {} | {} | {} | {} |",
                    one.reason.text(),
                    one.site,
                    one.class.unwrap_or("-"),
                    one.flows
                )?;
            }
            writeln!(out)?;
        }

        writeln!(out, "## Known gaps\n")?;
        list(out, &self.gaps)?;
        writeln!(out, "## Honesty checks\n")?;
        match &self.honesty {
            None => writeln!(out, "Skipped (`--no-checks`)."),
            Some(honesty) => write_honesty(out, honesty),
        }
    }

    /// Flows dropped for a reason.
    #[must_use]
    pub fn dropped_for(&self, reason: crate::Dropped) -> u64 {
        self.dropped.iter().filter(|one| one.reason == reason).map(|one| one.flows).sum()
    }
}

fn write_honesty(out: &mut String, honesty: &Honesty) -> fmt::Result {
    writeln!(
        out,
        "Hostile against benign, on {} rows: of each site as many of both kinds as there are, 10,000 at most. AUC 0.5 is \
         a coin. *Within*: trained on half a site, tried on its other half. *Across*: trained on half a site, tried on \
         another. *Left out*: trained on all other sites. *Site folds*: sites dealt into four parts, trained on three, \
         tried on the fourth together. *Random split*: all sites thrown together, the figure that flatters.\n",
        honesty.rows
    )?;
    if honesty.sites.len() < 2 {
        writeln!(
            out,
            "There are fewer than two sites with enough flows of both kinds: **nothing is known about other networks.**\n"
        )?;
    }
    if !honesty.sites_of_one_kind.is_empty() {
        writeln!(
            out,
            "Sites with (almost) one kind only, which are trained on with others and not tried: {}.\n",
            honesty.sites_of_one_kind.join(", ")
        )?;
    }
    writeln!(
        out,
        "| model | within | across | left out | site folds | random split | balanced accuracy within | across |"
    )?;
    writeln!(out, "|---|---:|---:|---:|---:|---:|---:|---:|")?;
    for model in &honesty.models {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            model_name(model.name),
            figure(model.within_auc),
            figure(model.across_auc),
            figure(model.left_out_mean_auc),
            figure(model.site_folds_auc),
            figure(model.random_split_auc),
            figure(model.within_balanced_accuracy),
            figure(model.across_balanced_accuracy)
        )?;
    }
    writeln!(out)?;
    for model in &honesty.models {
        writeln!(out, "### {}\n", model_name(model.name))?;
        match model.name {
            "shortcut_forest" => {
                writeln!(
                    out,
                    "May look at {} alone. (Time to live and MSS are no columns of the schema.)\n",
                    model.columns.join(", ")
                )?;
                writeln!(out, "{}\n", shortcut_verdict(model))?;
            }
            "ordinary_forest" => {
                writeln!(
                    out,
                    "May look at {} flow features, without ports, windows, header lengths and addresses.\n",
                    model.columns.len()
                )?;
                if let (Some(random), Some(folds)) = (model.random_split_auc, model.site_folds_auc) {
                    let left_out = model.left_out_mean_auc.unwrap_or(folds);
                    writeln!(
                        out,
                        "A random split promises {random:.3}; networks never seen give {left_out:.3} (left out) and \
                         {folds:.3} (site folds).\n"
                    )?;
                }
            }
            _ => {}
        }
        matrix(out, honesty, model)?;
    }
    let conflicts = &honesty.conflicting_vectors;
    writeln!(out, "### Conflicting vectors\n")?;
    writeln!(
        out,
        "Rows whose ordinary features, rounded to eight significant bits, equal those of a row of another class: no model of lone flows can tell \
         them apart. Of the hostile rows {:.1} % equal a benign one, of the benign rows {:.1} % equal a hostile one.\n",
        100.0 * conflicts.hostile_equal_to_benign,
        100.0 * conflicts.benign_equal_to_hostile
    )?;
    writeln!(out, "| class | rows looked at | equal to another class |\n|---|---:|---:|")?;
    for one in &conflicts.classes {
        writeln!(out, "| {} | {} | {:.1} % |", one.class, one.rows, 100.0 * one.equal_to_another_class)?;
    }
    Ok(())
}

/// Plainly, whether shortcuts do better than chance.
fn shortcut_verdict(model: &ModelReport) -> String {
    let (Some(within), Some(across)) = (model.within_auc, model.across_auc) else {
        return "Not enough sites with both kinds to say whether shortcuts carry over.".to_owned();
    };
    let left_out = model.left_out_mean_auc.unwrap_or(across);
    let folds = model.site_folds_auc.unwrap_or(across);
    let figures = format!("across {across:.3}, left out {left_out:.3}, site folds {folds:.3}");
    let mut verdict = if across.max(left_out).max(folds) >= CARRIES {
        format!(
            "**Shortcuts do better than chance on other networks** ({figures}): a model can pass for good here by \
             knowing who speaks to which port with which system. Do not give it these columns."
        )
    } else {
        format!("Shortcuts do little better than chance on other networks ({figures}).")
    };
    if within >= GIVES_AWAY {
        let _ = write!(
            verdict,
            " Within a network they give the answer away ({within:.3}), so no figure within one counts."
        );
    }
    verdict
}

fn matrix(out: &mut String, honesty: &Honesty, model: &ModelReport) -> fmt::Result {
    if honesty.sites.is_empty() {
        return Ok(());
    }
    let with_words = model.learnt.iter().any(|words| !words.is_empty());
    write!(out, "| trained on \\ tried on |")?;
    for site in &honesty.sites {
        write!(out, " {site} |")?;
    }
    writeln!(out, "{}", if with_words { " learnt |" } else { "" })?;
    writeln!(out, "|---|{}{}", "---:|".repeat(honesty.sites.len()), if with_words { "---|" } else { "" })?;
    for (at, site) in honesty.sites.iter().enumerate() {
        write!(out, "| {site} |")?;
        for auc in &model.auc[at] {
            write!(out, " {auc:.3} |")?;
        }
        if with_words {
            write!(out, " {} |", model.learnt[at])?;
        }
        writeln!(out)?;
    }
    write!(out, "| all others |")?;
    for auc in &model.left_out_auc {
        write!(out, " {auc:.3} |")?;
    }
    writeln!(out, "{}\n", if with_words { " |" } else { "" })
}

fn model_name(name: &str) -> &str {
    match name {
        "one_threshold" => "One feature, one threshold",
        "depth_two_tree" => "Tree of depth two",
        "shortcut_forest" => "Forest on shortcuts alone",
        "ordinary_forest" => "Forest on flow features",
        other => other,
    }
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 })
}

fn list(out: &mut String, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        writeln!(out, "None.")?;
    }
    for line in lines {
        writeln!(out, "* {line}")?;
    }
    writeln!(out)
}

/// Every key of the inner tables, in order.
fn keys<K: AsRef<str> + Ord, L>(table: &BTreeMap<L, BTreeMap<K, u64>>) -> Vec<&str> {
    let mut keys: Vec<&str> = table.values().flat_map(BTreeMap::keys).map(AsRef::as_ref).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn in_class_order<'a, K: Ord>(
    table: &'a BTreeMap<&'static str, BTreeMap<K, u64>>,
) -> impl Iterator<Item = (&'a str, &'a BTreeMap<K, u64>)> {
    Class::ALL.into_iter().filter_map(|class| table.get(class.name()).map(|counts| (class.name(), counts)))
}

fn crossed<'a, K: AsRef<str> + Ord + 'a>(
    out: &mut String,
    corner: &str,
    columns: &[&str],
    lines: impl Iterator<Item = (&'a str, &'a BTreeMap<K, u64>)>,
) -> fmt::Result {
    writeln!(out, "| {corner} | {} | all |", columns.join(" | "))?;
    writeln!(out, "|---|{}", "---:|".repeat(columns.len() + 1))?;
    for (name, counts) in lines {
        write!(out, "| {name} |")?;
        for column in columns {
            let count: u64 =
                counts.iter().filter(|(key, _)| key.as_ref() == *column).map(|(_, count)| count).sum();
            if count == 0 {
                write!(out, " |")?;
            } else {
                write!(out, " {count} |")?;
            }
        }
        writeln!(out, " {} |", counts.values().sum::<u64>())?;
    }
    writeln!(out)
}
