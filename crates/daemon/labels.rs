//! Labels in the daemon: truth files read, flows labelled, the columns that show it, and the counts told.
//!
//! In: `--truth` and `--rules`, then flow after flow. Out: [`LabelCells`] for the tail of a row, [`LabelStats`] for the
//! summary and `--stats`. How a flow finds its row is `tapline-label`'s business.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use tapline_label::{Class, Endpoints, Label, LabelCounts, Slack, TruthError, TruthTable};
use tapline_record::column::Kind;
use tapline_record::{Cell, Column, ShortText};

use crate::cli::TruthArgs;
use crate::exit::{Code, Failure};
use crate::row_tail::RowTail;

/// Rules are written by hand; more than this is a mistake of file names.
const RULES_BYTES_MAX: u64 = 64 << 20;

/// Truth, and what became of it.
#[derive(Debug)]
pub(crate) struct Labeller {
    table: TruthTable,
    counts: LabelCounts,
}

impl Labeller {
    /// Reads all truth that the command line names; `None` if it names none.
    pub(crate) fn open(args: &TruthArgs) -> Result<Option<Self>, Failure> {
        let mut table: Option<TruthTable> = None;
        let tables = args
            .truth
            .iter()
            .map(|path| read_csv(path))
            .chain(args.rules.iter().map(|path| read_rules(path)));
        for next in tables {
            let next = next?;
            table = Some(match table {
                Some(table) => table.join(next).map_err(of_truth)?,
                None => next,
            });
        }
        let default = Slack::default();
        let slack = Slack {
            before_us: args.pad_before.unwrap_or(default.before_us),
            after_us: args.pad_after.unwrap_or(default.after_us),
        };
        Ok(table.map(|table| {
            let counts = LabelCounts::new(&table);
            Self { table: table.with_slack(slack), counts }
        }))
    }

    /// The label of a flow of `packets` packets, counted.
    pub(crate) fn label(&mut self, flow: &Endpoints, packets: u64) -> Option<Label<'_>> {
        let label = self.table.label(flow);
        self.counts.add(label.as_ref(), packets);
        label
    }

    pub(crate) fn stats(&self) -> LabelStats {
        let counts = &self.counts;
        let stats = |counts: tapline_label::counts::ClassCounts| ClassStats {
            flows: counts.flows,
            packets: counts.packets,
            conflicts: counts.conflicts,
        };
        LabelStats {
            rows: self.table.rows() as u64,
            rows_never_used: counts.rows_never_used(),
            reversed: counts.reversed(),
            by_class: Class::ALL
                .into_iter()
                .map(|class| (class.name(), stats(counts.class(class))))
                .filter(|(_, class)| class.flows > 0)
                .collect(),
            unlabelled: stats(counts.unlabelled()),
            conflicts: counts
                .conflicts()
                .map(|(class, rival, flows)| ConflictStats {
                    class: class.name(),
                    rival: rival.name(),
                    flows,
                })
                .collect(),
            never_used: counts
                .never_used(&self.table)
                .take(NEVER_USED_MAX)
                .map(|(file, line)| format!("{file}:{line}"))
                .collect(),
        }
    }
}

/// Rows that are named in the statistics when no flow matched them.
const NEVER_USED_MAX: usize = 20;

/// The counts of labels, as `--stats` writes them.
#[derive(Debug, Serialize)]
pub(crate) struct LabelStats {
    /// Rows of truth.
    rows: u64,
    rows_never_used: u64,
    /// Flows whose row describes them the other way round.
    reversed: u64,
    by_class: BTreeMap<&'static str, ClassStats>,
    unlabelled: ClassStats,
    conflicts: Vec<ConflictStats>,
    /// The first of the rows that no flow matched.
    never_used: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ClassStats {
    flows: u64,
    packets: u64,
    conflicts: u64,
}

#[derive(Debug, Serialize)]
struct ConflictStats {
    class: &'static str,
    rival: &'static str,
    flows: u64,
}

impl LabelStats {
    /// The table of the summary, lines ended. Packets are told where they were counted.
    pub(crate) fn text(&self, packets: bool) -> String {
        let mut out = String::new();
        let mut line = |mark: &str, name: &str, figures: [&str; 3]| {
            let [flows, of_packets, conflicts] = figures;
            let _ = write!(out, "{mark:<8} {name:<12} {flows:>12}");
            if packets {
                let _ = write!(out, " {of_packets:>12}");
            }
            let _ = writeln!(out, " {conflicts:>12}");
        };
        line("labels", "class", ["flows", "packets", "conflicts"]);
        let rest = [("unlabelled", &self.unlabelled)];
        for (name, class) in self.by_class.iter().map(|(name, class)| (*name, class)).chain(rest) {
            let figures = [class.flows, class.packets, class.conflicts].map(|figure| figure.to_string());
            line("", name, [&figures[0], &figures[1], &figures[2]]);
        }
        for conflict in &self.conflicts {
            let ConflictStats { class, rival, flows } = conflict;
            let _ = writeln!(out, "         conflict: {class} over {rival} {flows}");
        }
        if self.rows_never_used > 0 {
            let _ = write!(
                out,
                "         {} of {} rows of truth matched no flow",
                self.rows_never_used, self.rows
            );
            let _ = match self.never_used.first() {
                Some(first) => writeln!(out, ", the first is {first}"),
                None => writeln!(out),
            };
        }
        out
    }
}

/// A label as cells: it outlives the table that it was looked up in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LabelCells {
    class: Class,
    conflict: bool,
    behaviour: ShortText,
    tool: ShortText,
    technique: ShortText,
    site: ShortText,
    run: ShortText,
}

impl LabelCells {
    pub(crate) const fn is_hostile(&self) -> bool {
        self.class.is_hostile()
    }
}

impl From<Label<'_>> for LabelCells {
    fn from(label: Label<'_>) -> Self {
        let text = |name: &str| {
            let mut text = ShortText::new();
            text.push_ascii(name.as_bytes());
            text
        };
        Self {
            class: label.class,
            conflict: label.conflict,
            behaviour: text(label.behaviour),
            tool: text(label.tool),
            technique: text(label.technique),
            site: text(label.site),
            run: text(label.run),
        }
    }
}

/// The columns of labels in the tail of a row.
pub(crate) const LABEL_COLUMNS: &[Column<RowTail>] = &[
    Column {
        name: "label_class",
        kind: Kind::Text,
        unit: "",
        definition: "benign, scan, brute-force, dos, web-attack, c2, exfiltration, lateral; empty if nothing is known",
        cell: |tail| cell(tail, |label| Cell::Name(label.class.name())),
    },
    Column {
        name: "label_hostile",
        kind: Kind::Int,
        unit: "",
        definition: "1 if the class is an attack; empty if nothing is known",
        cell: |tail| cell(tail, |label| Cell::Int(i64::from(label.class.is_hostile()))),
    },
    Column {
        name: "label_behaviour",
        kind: Kind::Text,
        unit: "",
        definition: "What was done, in the words of the truth",
        cell: |tail| cell(tail, |label| Cell::Text(label.behaviour)),
    },
    Column {
        name: "label_tool",
        kind: Kind::Text,
        unit: "",
        definition: "The program it was done with",
        cell: |tail| cell(tail, |label| Cell::Text(label.tool)),
    },
    Column {
        name: "label_technique",
        kind: Kind::Text,
        unit: "",
        definition: "ATT&CK technique",
        cell: |tail| cell(tail, |label| Cell::Text(label.technique)),
    },
    Column {
        name: "label_site",
        kind: Kind::Text,
        unit: "",
        definition: "Where it was recorded",
        cell: |tail| cell(tail, |label| Cell::Text(label.site)),
    },
    Column {
        name: "label_run",
        kind: Kind::Text,
        unit: "",
        definition: "The run of the experiment",
        cell: |tail| cell(tail, |label| Cell::Text(label.run)),
    },
    Column {
        name: "label_conflict",
        kind: Kind::Int,
        unit: "",
        definition: "1 if equally specific rows of truth disagree; the label is then that of a hostile one",
        cell: |tail| cell(tail, |label| Cell::Int(i64::from(label.conflict))),
    },
];

fn cell(tail: &RowTail, read: fn(&LabelCells) -> Cell) -> Cell {
    tail.label.as_ref().map_or(Cell::Null, read)
}

fn read_csv(path: &Path) -> Result<TruthTable, Failure> {
    let file =
        File::open(path).with_context(|| format!("opening truth {}", path.display())).map_err(no_input)?;
    TruthTable::from_csv(BufReader::new(file), &path.display().to_string()).map_err(of_truth)
}

fn read_rules(path: &Path) -> Result<TruthTable, Failure> {
    let context = || format!("reading rules {}", path.display());
    let bytes = fs::metadata(path).with_context(context).map_err(no_input)?.len();
    if bytes > RULES_BYTES_MAX {
        let message = format!(
            "{} has {bytes} bytes, too many for rules; give rows of truth as --truth",
            path.display()
        );
        return Err(Failure::new(Code::Data, anyhow::anyhow!(message)));
    }
    let text = fs::read_to_string(path).with_context(context).map_err(no_input)?;
    TruthTable::from_rules(&text, &path.display().to_string()).map_err(of_truth)
}

fn no_input(error: anyhow::Error) -> Failure {
    Failure::new(Code::NoInput, error)
}

fn of_truth(error: TruthError) -> Failure {
    Failure::new(if error.is_io() { Code::Io } else { Code::Data }, error)
}
