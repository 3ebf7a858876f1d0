//! `tapline eval --retrain`: a whole model for each network that is left out, judged on that network.
//!
//! In: a configuration, a table. Out: model directories, kept, and a line for each of their detectors. What is left out is
//! neither learnt from nor chosen by. Networks of the test split are learnt from where another is left out; epochs and points
//! are chosen on those of the validation split, or, where one of these is left out, on those of the test split.

use std::ops::ControlFlow;
use std::path::Path;

use tapline_train::evaluation::Trial;
use tapline_train::making::{Order, device, make};
use tapline_train::training::{EpochReport, Progress};
use tapline_train::trials::{is_of_network, networks, trial};
use tapline_train::{Config, Split, Table};

use crate::eval_command::{Watch, failure, judge_with, load};
use crate::exit::Failure;
use crate::version;

/// Trains and judges. Models go to `keep`, named for the network that they have not seen.
pub(crate) fn leave_one_out(
    table: &Table,
    data: &Path,
    toml: &Path,
    keep: &Path,
    threads: usize,
    watch: &Watch,
) -> Result<Vec<Trial>, Failure> {
    let rows = table.rows_where(|row| table.split[row] != Split::None);
    let device = device().map_err(failure)?;
    let mut trials = Vec::new();
    for network in networks(table, &rows) {
        let out = keep.join(network.replace('/', "-"));
        if out.exists() {
            watch.tell(&format!("without {network}: {} is there", out.display()));
        } else {
            watch.tell(&format!("without {network}: training"));
            let mut config = Config::read(toml, &[]).map_err(failure)?;
            data.clone_into(&mut config.data.table);
            leave_out(&mut config, table, network);
            let order = Order {
                config: &config,
                out: &out,
                resume: true,
                producer: version::PRODUCER,
                command: &format!("tapline eval --leave-one-source-out --retrain {}", toml.display()),
                device: &device,
            };
            make(&order, &mut Lines(watch)).map_err(failure)?;
        }
        let model = load(&out)?;
        let left_out = table.rows_where(|row| {
            table.split[row] != Split::None && is_of_network(network, table.source.name(row))
        });
        let logits = judge_with(&model, table, &left_out, threads, network, watch)?;
        let opinions = logits.opinions(&model.manifest, None).map_err(failure)?;
        let labels: Vec<u8> = left_out.iter().map(|row| table.class[*row as usize]).collect();
        for opinion in &opinions {
            let name = format!("{network}, {}", opinion.name);
            trials.push(trial("Leave one network out, whole models", &name, opinion, &labels));
        }
    }
    Ok(trials)
}

/// Leaves a network out of a configuration, by the names of its sites.
fn leave_out(config: &mut Config, table: &Table, network: &str) {
    let mut validates = false;
    for row in (0..table.rows()).filter(|row| is_of_network(network, table.source.name(*row))) {
        let site = table.site.name(row);
        if !config.data.leave_out.iter().any(|known| known == site) {
            config.data.leave_out.push(site.to_owned());
        }
        validates |= table.split[row] == Split::Validate;
    }
    let (learnt, chosen_by) =
        if validates { (Split::Validate, Split::Test) } else { (Split::Test, Split::Validate) };
    config.data.train = vec![Split::Train, learnt];
    config.data.validate = vec![chosen_by];
}

/// A line per stage and epoch.
struct Lines<'a>(&'a Watch);

impl Progress for Lines<'_> {
    fn stage(&mut self, what: &str) {
        self.0.tell(what);
    }

    fn epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        self.0.tell(&format!("epoch {}: loss {:.4}", report.epoch, report.class_loss));
        ControlFlow::Continue(())
    }
}
