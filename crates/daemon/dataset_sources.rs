//! The sources of a training table: runs of the testbed, and the public corpus.
//!
//! In: directories. Out: for each capture its labelled flows in the order of time, and what was dropped on the way. A
//! run directory holds `run.json` (run, site, split), `truth.csv` and captures, which are read together. The corpus is a
//! folder with its `labels.tsv`; each file is a capture of its own.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::Deserialize;
use tapline_dataset::corpus::{self, CorpusFile, Reading};
use tapline_dataset::{Dropped, Split};
use tapline_label::{Class, Endpoints, TruthError, TruthTable};

use crate::dataset_flows::{AttackPackets, Part, Stretch, flows_of};
use crate::dataset_table::{Marks, Names, Origin, addresses};
use crate::exit::{Code, Failure};
use crate::narrow_tap::NarrowTap;
use crate::observed_flows::Observed;

/// The flows of one capture, labelled, in no order yet.
pub(crate) struct Batch {
    pub(crate) origin: Origin,
    pub(crate) flows: Vec<(Observed, Marks)>,
    pub(crate) dropped: Vec<(Dropped, Option<Class>, u64)>,
    pub(crate) warnings: Vec<String>,
    pub(crate) captures: u64,
    /// Whether packets come after what was read.
    pub(crate) goes_on: bool,
}

/// What of a capture is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Whole,
    /// As a tap that gets one direction would see it.
    OneWay,
    /// As one of several taps on segments would see it.
    Segment(u32),
    /// As if capturing had begun and ended then.
    Short(Stretch),
}

impl View {
    /// Its name in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::OneWay => "one-way",
            Self::Segment(_) => "segment",
            Self::Short(_) => "short",
        }
    }

    fn part(self, number: u32) -> Part {
        match self {
            Self::Whole => Part::default(),
            Self::OneWay => Part { tap: Some(NarrowTap::OneWay { salt: number }), ..Part::default() },
            Self::Segment(which) => {
                let salt = number << 8 | which;
                Part { tap: Some(NarrowTap::Segment { salt }), ..Part::default() }
            }
            Self::Short(stretch) => Part { stretch: Some(stretch), ..Part::default() },
        }
    }

    /// The number by which copies of flows in other captures are known. Where flows are as in the whole, with other flows around
    /// them, they are no copies.
    const fn number(self, number: u32) -> u32 {
        match self {
            Self::Whole | Self::Segment(_) | Self::Short(_) => 2 * number,
            Self::OneWay => 2 * number + 1,
        }
    }

    /// The name of a run: hosts of two views of one run are not the same hosts.
    fn run(self, name: &str) -> String {
        match self {
            Self::Whole => name.to_owned(),
            Self::OneWay => format!("{name}, one way"),
            Self::Segment(which) => format!("{name}, segment {which}"),
            Self::Short(Stretch { from_us, .. }) => format!("{name}, from {} s", from_us / 1_000_000),
        }
    }
}

/// Labelled flows of one capture; at 1100 bytes each they are held until the caps are known.
const FLOWS_MAX: usize = 2_000_000;

/// What a run says about itself; it may say more.
#[derive(Debug, Deserialize)]
struct RunFile {
    run: String,
    site: String,
    split: String,
}

/// What a run of the testbed is for.
pub(crate) fn split_of_run(folder: &Path) -> Result<Split, Failure> {
    let path = folder.join("run.json");
    let split = read_run_file(&path)?.split.parse();
    split.with_context(|| path.display().to_string()).map_err(|error| Failure::new(Code::Data, error))
}

/// Reads one run of the testbed. `number` is that of the capture within the table.
pub(crate) fn read_run(folder: &Path, number: u32, view: View, names: &mut Names) -> Result<Batch, Failure> {
    let about = read_run_file(&folder.join("run.json"))?;
    let split = split_of_run(folder)?;
    let captures = captures_in(folder)?;
    let truth_path = folder.join("truth.csv");
    let truth = File::open(&truth_path)
        .with_context(|| {
            format!("opening {}; a run holds captures, truth.csv and run.json", truth_path.display())
        })
        .map_err(no_input)?;
    let truth =
        TruthTable::from_csv(BufReader::new(truth), &truth_path.display().to_string()).map_err(of_truth)?;

    let site = names.get(&about.site)?;
    let capture = match captures.as_slice() {
        [only] => file_name(only),
        several => format!("{} and {} more", file_name(&several[0]), several.len() - 1),
    };
    let origin = Origin {
        site,
        run: names.get(&view.run(&about.run))?,
        source: names.get(&format!("testbed/{site}"))?,
        split,
        capture: names.get(&capture)?,
        number: view.number(number),
        view: view.name(),
    };
    let mut flows = Vec::new();
    let mut unlabelled = 0;
    let read = flows_of(&captures, view.part(number), |observed| {
        let Some(label) = truth.label(&Endpoints::from(&observed.flow.head)) else {
            unlabelled += 1;
            return Ok(());
        };
        let marks = Marks {
            class: label.class,
            behaviour: names.get(label.behaviour)?,
            tool: names.get(label.tool)?,
            technique: names.get(label.technique)?,
            conflict: label.conflict,
        };
        push(&mut flows, observed, marks, folder)
    })?;
    let mut warnings: Vec<String> = read.errors.iter().map(|error| described(error, folder)).collect();
    // Part of a run may well be without a flow.
    if flows.is_empty() && matches!(view, View::Whole | View::OneWay) {
        let window = truth_window(&truth_path)?;
        let packets = read.span.map(|(first, last)| (first.micros, last.micros));
        warnings.push(nothing_labelled(folder, unlabelled, packets, window));
    }
    let dropped = vec![(Dropped::Unlabelled, None, unlabelled)];
    Ok(Batch { origin, flows, dropped, warnings, captures: captures.len() as u64, goes_on: read.goes_on })
}

/// The corpus: where it is, and what is in it.
pub(crate) struct Corpus {
    folder: PathBuf,
    modbus: Option<PathBuf>,
    pub(crate) files: Vec<CorpusFile>,
}

impl Corpus {
    pub(crate) fn open(folder: &Path, labels: &Path, modbus: Option<&Path>) -> Result<Self, Failure> {
        let text = fs::read_to_string(labels)
            .with_context(|| format!("reading labels {}", labels.display()))
            .map_err(no_input)?;
        let files = corpus::parse(&text)
            .with_context(|| labels.display().to_string())
            .map_err(|error| Failure::new(Code::Data, error))?;
        for place in [Some(folder), modbus].into_iter().flatten() {
            if !place.is_dir() {
                return Err(no_input(anyhow!(
                    "{} is no directory; unpack the corpus into one",
                    place.display()
                )));
            }
        }
        Ok(Self { folder: folder.to_owned(), modbus: modbus.map(Path::to_owned), files })
    }

    /// Reads one file. `number` is that of the capture within the table.
    pub(crate) fn read(
        &self,
        file: &CorpusFile,
        number: u32,
        view: View,
        names: &mut Names,
    ) -> Result<Batch, Failure> {
        let site = names.get(&file.source)?;
        let capture = names.get(&file.path)?;
        let origin = Origin {
            site,
            run: names.get(&view.run(&file.path))?,
            source: names.get(&format!("corpus/{site}"))?,
            split: file.split,
            capture,
            number: view.number(number),
            view: view.name(),
        };
        let mut batch = Batch {
            origin,
            flows: Vec::new(),
            dropped: Vec::new(),
            warnings: Vec::new(),
            captures: 1,
            goes_on: false,
        };
        let path = self.folder.join(&file.path);
        let Some(reading) = file.reading() else {
            let message = format!(
                "{}: no mapping for class {:?}; add it to crates/dataset/src/corpus.rs",
                file.path, file.class
            );
            return Err(Failure::new(Code::Data, anyhow!(message)));
        };
        let attacks = match reading {
            Reading::ByPacket(_) => match self.attack_packets(file, &path) {
                Ok(attacks) => attacks,
                Err(failure) => return unread(batch, &failure),
            },
            _ => None,
        };
        let mut counts = [0u64; 2];
        let read = flows_of(std::slice::from_ref(&path), view.part(number), |observed| {
            let flow = &observed.flow;
            let [source, destination] = addresses(&flow.head);
            let ends = [(source, flow.head.initiator().port), (destination, flow.head.responder().port)];
            let label = match (reading, &attacks) {
                (Reading::Whole(label, keep), _) if keep.keeps(flow.head.key.protocol, ends) => label,
                (Reading::Whole(..), _) => {
                    counts[0] += 1;
                    return Ok(());
                }
                (Reading::ByPacket(attack), Some(attacks)) if attacks.are_in(&flow.head) => attack,
                (Reading::ByPacket(_), Some(_)) => BENIGN_ICS,
                (Reading::ByPacket(_), None) | (Reading::LeftOut(_), _) => {
                    counts[1] += 1;
                    return Ok(());
                }
            };
            let marks = Marks {
                class: label.class,
                behaviour: label.behaviour,
                tool: "",
                technique: "",
                conflict: false,
            };
            push(&mut batch.flows, observed, marks, &path)
        });
        match read {
            Ok(read) => batch.warnings.extend(read.errors.iter().map(|error| described(error, &path))),
            Err(failure) => return unread(batch, &failure),
        }
        if let (Reading::ByPacket(_), None) = (reading, &attacks) {
            batch.warnings.push(format!(
                "{}: left out without its packet labels; name their folder with --modbus",
                file.path
            ));
        }
        batch.dropped =
            vec![(Dropped::HostBackground, None, counts[0]), (Dropped::FileNotTrusted, None, counts[1])];
        Ok(batch)
    }

    /// The attack's packets of a file with packet labels; `None` if it is not known where the labels are.
    fn attack_packets(&self, file: &CorpusFile, capture: &Path) -> Result<Option<AttackPackets>, Failure> {
        let Some(folder) = &self.modbus else { return Ok(None) };
        let name = file.own_name();
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let path = folder.join(format!("{stem}_labeled.csv"));
        let text = fs::read_to_string(&path)
            .with_context(|| format!("reading packet labels {}", path.display()))
            .map_err(no_input)?;
        let numbers = corpus::attack_packets(&text)
            .with_context(|| path.display().to_string())
            .map_err(|error| Failure::new(Code::Data, error))?;
        AttackPackets::find(capture, &numbers).map(Some)
    }
}

/// The flows of a Modbus capture that hold no packet of an attack.
const BENIGN_ICS: corpus::Label = corpus::Label { class: Class::Benign, behaviour: "ics" };

/// One file of thousands that cannot be read is a warning.
fn unread(mut batch: Batch, failure: &Failure) -> Result<Batch, Failure> {
    if failure.code() == Code::Software {
        return Err(Failure::new(Code::Software, anyhow!("{failure}")));
    }
    batch.flows.clear();
    batch.captures = 0;
    batch.warnings.push(failure.to_string());
    Ok(batch)
}

fn push(
    flows: &mut Vec<(Observed, Marks)>,
    flow: Observed,
    marks: Marks,
    from: &Path,
) -> Result<(), Failure> {
    if flows.len() == FLOWS_MAX {
        let message = format!("{} has more than {FLOWS_MAX} labelled flows; split it", from.display());
        return Err(Failure::new(Code::Data, anyhow!(message)));
    }
    flows.push((flow, marks));
    Ok(())
}

fn read_run_file(path: &Path) -> Result<RunFile, Failure> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("reading {}; a run holds captures, truth.csv and run.json", path.display()))
        .map_err(no_input)?;
    serde_json::from_str(&text)
        .with_context(|| format!("{}: run, site and split are needed", path.display()))
        .map_err(|error| Failure::new(Code::Data, error))
}

/// Captures of a run, by name.
fn captures_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let listing = || format!("listing {}", folder.display());
    let mut captures = Vec::new();
    for entry in fs::read_dir(folder).with_context(listing).map_err(no_input)? {
        let path = entry.with_context(listing).map_err(no_input)?.path();
        if path.is_file() && is_capture(&file_name(&path)) {
            captures.push(path);
        }
    }
    captures.sort();
    if captures.is_empty() {
        let message =
            format!("{} holds no capture (.pcap or .pcapng, plain, .gz, .zst or .lz4)", folder.display());
        return Err(no_input(anyhow!(message)));
    }
    Ok(captures)
}

fn is_capture(name: &str) -> bool {
    let plain = [".gz", ".zst", ".lz4"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    plain.ends_with(".pcap") || plain.ends_with(".pcapng")
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// From the earliest start to the latest end of the rows of truth.
fn truth_window(path: &Path) -> Result<Option<(i64, i64)>, Failure> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("reading {}", path.display()))
        .map_err(Failure::io)?;
    let times = text.lines().skip(1).filter_map(|line| {
        let mut fields = line.split(',');
        Some((fields.next()?.parse::<i64>().ok()?, fields.next()?.parse::<i64>().ok()?))
    });
    Ok(times.reduce(|(start, end), (next_start, next_end)| (start.min(next_start), end.max(next_end))))
}

/// Why nothing has a label, as far as the times tell.
fn nothing_labelled(
    folder: &Path,
    flows: u64,
    packets: Option<(i64, i64)>,
    truth: Option<(i64, i64)>,
) -> String {
    let what = format!("{}: none of {flows} flows has a label", folder.display());
    let (Some(packets), Some(truth)) = (packets, truth) else {
        let empty =
            if packets.is_none() { "its captures hold no packet" } else { "its truth.csv holds no row" };
        return format!("{what}: {empty}");
    };
    let seconds = |us: i64| us.div_euclid(1_000_000);
    if packets.0 > truth.1 || truth.0 > packets.1 {
        format!(
            "{what}: packets are of {} to {}, truth of {} to {} (unix seconds); the clocks differ, or the truth is that \
             of another run",
            seconds(packets.0),
            seconds(packets.1),
            seconds(truth.0),
            seconds(truth.1)
        )
    } else {
        format!("{what}, though the times fit: addresses or ports differ; is the truth that of another run?")
    }
}

fn described(error: &dyn std::error::Error, from: &Path) -> String {
    let mut text = format!("{}: {error}", from.display());
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn no_input(error: anyhow::Error) -> Failure {
    Failure::new(Code::NoInput, error)
}

fn of_truth(error: TruthError) -> Failure {
    Failure::new(if error.is_io() { Code::Io } else { Code::Data }, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_are_known_by_their_endings() {
        for name in ["span.pcap", "a.pcapng", "a.pcap.zst", "a.pcapng.gz", "a.pcap.lz4"] {
            assert!(is_capture(name), "{name}");
        }
        for name in ["truth.csv", "wire.json", "pcap", "a.pcap.txt", "a.zst"] {
            assert!(!is_capture(name), "{name}");
        }
    }
}
