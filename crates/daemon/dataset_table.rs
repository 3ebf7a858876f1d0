//! The training table: the columns behind those of the schema, the numbers that the honesty checks see, and the file.
//!
//! In: labelled flows, in the order of rows. Out: `flows.parquet`, and a row for the card and the sample each.

use std::collections::HashSet;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Context;
use tapline_dataset::sample::{OF_ADDRESSES, address_numbers, role_of};
use tapline_dataset::{CardBuilder, Copies, Feature, Role, Row, Sample, Split};
use tapline_export::{ExportError, Format, NumberText, RowWriter, TableMeta};
use tapline_features::inputs::{self, INPUTS};
use tapline_features::{SchemaId, TAPLINE_1};
use tapline_label::Class;
use tapline_record::column::Kind;
use tapline_record::{Cell, Column, FlowHead};

use crate::exit::{Code, Failure};
use crate::observed_flows::{Flow, Observed};
use crate::version;

/// What is known about a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) class: Class,
    pub(crate) behaviour: &'static str,
    pub(crate) tool: &'static str,
    pub(crate) technique: &'static str,
    pub(crate) conflict: bool,
}

/// Where a flow comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) site: &'static str,
    pub(crate) run: &'static str,
    /// Kind of source and network: `testbed/a`, `corpus/markofu`.
    pub(crate) source: &'static str,
    pub(crate) split: Split,
    pub(crate) capture: &'static str,
    /// Number of the capture within the table.
    pub(crate) number: u32,
    /// What of it was read.
    pub(crate) view: &'static str,
}

/// The cells behind the features.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    pub(crate) marks: Marks,
    pub(crate) origin: Origin,
    pub(crate) decided_us: i64,
    pub(crate) inputs: [f32; INPUTS_MAX],
}

/// Room for the inputs of the model.
const INPUTS_MAX: usize = 192;

const _: () = assert!(INPUTS.len() <= INPUTS_MAX, "write further accessors into INPUT_CELLS");

/// The columns behind those of the schema: first these, then an `x_` column per input.
const TAIL: &[Column<Tail>] = &[
    text("label_class", "benign, scan, brute-force, dos, web-attack, c2, exfiltration or lateral", |tail| {
        Cell::Name(tail.marks.class.name())
    }),
    flag("label_hostile", "1 if the class is an attack", |tail| {
        Cell::Int(i64::from(tail.marks.class.is_hostile()))
    }),
    text("label_behaviour", "What was done, in the words of the truth", |tail| {
        Cell::Name(tail.marks.behaviour)
    }),
    text("label_tool", "The program it was done with; may be empty", |tail| Cell::Name(tail.marks.tool)),
    text("label_technique", "ATT&CK technique; may be empty", |tail| Cell::Name(tail.marks.technique)),
    flag("label_conflict", "1 if truth contradicts itself about the flow", |tail| {
        Cell::Int(i64::from(tail.marks.conflict))
    }),
    text("site", "The network: site of the testbed, or collection of the corpus", |tail| {
        Cell::Name(tail.origin.site)
    }),
    text("run", "The run of the testbed; of the corpus the capture", |tail| Cell::Name(tail.origin.run)),
    text("source", "Where the network comes from: testbed/<site> or corpus/<collection>", |tail| {
        Cell::Name(tail.origin.source)
    }),
    text("split", "train, validate, test, or none", |tail| Cell::Name(tail.origin.split.name())),
    text("capture", "The capture file", |tail| Cell::Name(tail.origin.capture)),
    text(
        "view",
        "whole; one-way: as a tap would see it that gets one direction; segment: a tap on a segment; short: as if capturing had begun and ended there",
        |tail| Cell::Name(tail.origin.view),
    ),
    Column {
        name: "decided_us",
        kind: Kind::Int,
        unit: "us",
        definition: "When the flow's end was certain, microseconds since the epoch: the clock of windows",
        cell: |tail| Cell::Int(tail.decided_us),
    },
];

/// An accessor for each input, by place: columns hold plain functions, which remember nothing.
const INPUT_CELLS: [fn(&Tail) -> Cell; INPUTS_MAX] = {
    macro_rules! cells {
        ($($place:literal)*) => { [$(|tail| Cell::Float(f64::from(tail.inputs[$place]))),*] };
    }
    cells! {
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23
        24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47
        48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71
        72 73 74 75 76 77 78 79 80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95
        96 97 98 99 100 101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116 117 118 119
        120 121 122 123 124 125 126 127 128 129 130 131 132 133 134 135 136 137 138 139 140 141 142 143
        144 145 146 147 148 149 150 151 152 153 154 155 156 157 158 159 160 161 162 163 164 165 166 167
        168 169 170 171 172 173 174 175 176 177 178 179 180 181 182 183 184 185 186 187 188 189 190 191
    }
};

/// [`TAIL`] and a column per input, made once.
fn tail_columns() -> &'static [Column<Tail>] {
    static COLUMNS: OnceLock<Vec<Column<Tail>>> = OnceLock::new();
    COLUMNS.get_or_init(|| {
        let of_inputs = INPUTS.iter().zip(INPUT_CELLS).map(|(input, cell)| Column {
            name: Box::leak(format!("x_{}", input.name).into_boxed_str()),
            kind: Kind::Float,
            unit: input.unit,
            definition: input.definition,
            cell,
        });
        TAIL.iter().map(|column| Column { ..*column }).chain(of_inputs).collect()
    })
}

const fn text(name: &'static str, definition: &'static str, cell: fn(&Tail) -> Cell) -> Column<Tail> {
    Column { name, kind: Kind::Text, unit: "", definition, cell }
}

const fn flag(name: &'static str, definition: &'static str, cell: fn(&Tail) -> Cell) -> Column<Tail> {
    Column { name, kind: Kind::Int, unit: "", definition, cell }
}

/// Names that live as long as the program: a row refers to them, and there are few.
#[derive(Debug, Default)]
pub(crate) struct Names(HashSet<&'static str>);

impl Names {
    /// Names of sites, captures, behaviours and tools, all together.
    const MAX: usize = 200_000;

    /// The one copy of a name.
    pub(crate) fn get(&mut self, name: &str) -> Result<&'static str, Failure> {
        if let Some(known) = self.0.get(name) {
            return Ok(known);
        }
        if self.0.len() == Self::MAX {
            let message =
                format!("more than {} names of captures and behaviours; build several tables", Self::MAX);
            return Err(Failure::new(Code::Data, anyhow::anyhow!(message)));
        }
        let name: &'static str = Box::leak(name.into());
        self.0.insert(name);
        Ok(name)
    }
}

/// Bytes of both directions: what tells copies, beside the head.
pub(crate) fn bytes_of(flow: &Flow) -> [i64; 2] {
    ["fwd_ip_bytes", "bwd_ip_bytes"].map(|name| {
        let column = TAPLINE_1.iter().find(|column| column.name == name);
        match column.map(|column| (column.cell)(flow)) {
            Some(Cell::Int(bytes)) => bytes,
            _ => 0,
        }
    })
}

/// The addresses of initiator and responder.
pub(crate) fn addresses(head: &FlowHead) -> [IpAddr; 2] {
    [head.initiator(), head.responder()].map(|end| end.ip(head.key.ip_version))
}

/// The table being written.
pub(crate) struct Table {
    rows: RowWriter<Flow, Tail>,
    path: PathBuf,
    partial: PathBuf,
    pub(crate) card: CardBuilder,
    pub(crate) copies: Copies,
    numbers: Vec<&'static Column<Flow>>,
    row: Vec<f32>,
    sample: Option<Sample>,
}

impl Table {
    /// Creates the file, under another name until it is whole.
    pub(crate) fn create(path: &Path, checks: bool, seed: u64) -> Result<Self, Failure> {
        if !Format::Parquet.is_built() {
            return Err(Failure::new(
                Code::Unavailable,
                ExportError::FormatNotBuilt { format: Format::Parquet },
            ));
        }
        let partial = path.with_extension("parquet.partial");
        let file = File::create(&partial)
            .with_context(|| format!("creating output {}", partial.display()))
            .map_err(|error| Failure::new(Code::CantCreate, error))?;
        let schema = SchemaId::Tapline1;
        let meta = TableMeta {
            schema_id: schema.name().to_owned(),
            schema_hash: schema.hash(),
            producer: version::PRODUCER.to_owned(),
        };
        let rows = RowWriter::with_tail(
            Format::Parquet,
            TAPLINE_1,
            tail_columns(),
            NumberText::Shortest,
            meta,
            file.into(),
        )
        .with_context(|| format!("writing to {}", path.display()))
        .map_err(Failure::io)?;
        let numbers: Vec<_> = TAPLINE_1
            .iter()
            .filter(|column| matches!(column.kind, Kind::Int | Kind::Float) && role_of(column.name).is_some())
            .collect();
        Ok(Self {
            rows,
            path: path.to_owned(),
            partial,
            card: CardBuilder::default(),
            copies: Copies::default(),
            row: Vec::with_capacity(numbers.len() + OF_ADDRESSES.len()),
            sample: checks.then(|| Sample::new(features(&numbers), seed)),
            numbers,
        })
    }

    /// Adds a row.
    pub(crate) fn write(&mut self, observed: &Observed, marks: Marks, origin: Origin) -> Result<(), Failure> {
        let Observed { flow, context, decided_us } = observed;
        let head = &flow.head;
        let [source, destination] = addresses(head);
        let mut tail = Tail { marks, origin, decided_us: *decided_us, inputs: [0.0; INPUTS_MAX] };
        inputs::fill(flow, context, &mut tail.inputs[..INPUTS.len()]);
        self.card.add(&Row {
            site: origin.site,
            split: origin.split,
            class: marks.class,
            behaviour: marks.behaviour,
            conflict: marks.conflict,
            protocol: head.key.protocol,
            service_port: head.responder().port,
            initiator: source,
            duration_us: head.duration_us(),
            packets: head.packets,
        });
        if let Some(sample) = &mut self.sample {
            self.row.clear();
            self.row.extend(self.numbers.iter().map(|column| number(&(column.cell)(flow))));
            self.row.extend(address_numbers(source, destination));
            sample.add(origin.site, marks.class, &self.row);
        }
        self.rows.write_with(flow, &tail).map_err(|error| failed(error, &self.path))
    }

    /// Notes a fact in the file's metadata.
    pub(crate) fn annotate(&mut self, key: &str, value: String) {
        self.rows.annotate(key, value);
    }

    /// Ends the file and gives it its name.
    pub(crate) fn finish(self) -> Result<(CardBuilder, Option<Sample>), Failure> {
        self.rows.finish().map_err(|error| failed(error, &self.path))?;
        fs::rename(&self.partial, &self.path)
            .with_context(|| format!("renaming {} to {}", self.partial.display(), self.path.display()))
            .map_err(Failure::io)?;
        Ok((self.card, self.sample))
    }

    /// Removes the unfinished file, which nobody can read.
    pub(crate) fn discard(self) {
        // What went wrong before is what the user is told.
        let _ = fs::remove_file(&self.partial);
    }
}

fn features(numbers: &[&'static Column<Flow>]) -> Vec<Feature> {
    let of_columns = numbers.iter().map(|column| Feature {
        name: column.name.to_owned(),
        role: role_of(column.name).unwrap_or(Role::Ordinary),
    });
    let of_addresses =
        OF_ADDRESSES.iter().map(|name| Feature { name: (*name).to_owned(), role: Role::Shortcut });
    of_columns.chain(of_addresses).collect()
}

/// A cell as a number; -1 stands for none, which no column has otherwise.
fn number(cell: &Cell) -> f32 {
    match cell {
        Cell::Int(value) => *value as f32,
        Cell::Float(value) if value.is_finite() => *value as f32,
        _ => -1.0,
    }
}

fn failed(error: ExportError, path: &Path) -> Failure {
    Failure::io(anyhow::Error::new(error).context(format!("writing to {}", path.display())))
}

#[cfg(test)]
mod tests {
    use tapline_dataset::sample::{LEFT_OUT, SHORTCUTS};

    use super::*;

    #[test]
    fn the_roles_speak_of_columns_that_are_there() {
        for name in SHORTCUTS.iter().chain(&LEFT_OUT) {
            assert!(TAPLINE_1.iter().any(|column| column.name == *name), "{name}");
        }
    }

    #[test]
    fn no_column_of_the_tail_is_one_of_the_schema() {
        for tail in tail_columns() {
            assert!(TAPLINE_1.iter().all(|column| column.name != tail.name), "{}", tail.name);
        }
    }
}
