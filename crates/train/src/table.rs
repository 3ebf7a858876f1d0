//! The training table: a Parquet file of labelled flows as flat arrays.
//!
//! In: what `tapline dataset build` writes; rows in the order in which flows ended, one column `x_<input>` per input of
//! the network. Out: [`Table`]: inputs as one row-major array of `f32`, labels and places as small numbers. Columns that
//! training does not need are not read. Row group after row group is decoded, so only the arrays themselves take memory,
//! about 4 bytes per cell; a table that would take more than [`Limits`] is refused before any row is read.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::TrainError;

/// Class names in the order of the network's outputs; the first is benign.
pub const CLASSES: [&str; 8] =
    ["benign", "scan", "brute-force", "dos", "web-attack", "c2", "exfiltration", "lateral"];

/// Prefix of the columns that hold inputs.
pub const INPUT_PREFIX: &str = "x_";

/// What a row is for; a network belongs to one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose by.
    Validate,
    /// To be looked at once.
    Test,
    /// None of them: a trial.
    None,
}

impl Split {
    /// Every split.
    pub const ALL: [Self; 4] = [Self::Train, Self::Validate, Self::Test, Self::None];

    /// The name in tables and configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validate => "validate",
            Self::Test => "test",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Texts of a column, each stored once.
#[derive(Clone, Debug, Default)]
pub struct Names {
    names: Vec<String>,
    places: HashMap<String, u32>,
    ids: Vec<u32>,
}

impl Names {
    /// The number of a row's text: texts are numbered from 0 as they first appear.
    #[must_use]
    pub fn id(&self, row: usize) -> u32 {
        self.ids[row]
    }

    /// A row's text.
    #[must_use]
    pub fn name(&self, row: usize) -> &str {
        &self.names[self.ids[row] as usize]
    }

    /// The text of each number.
    #[must_use]
    pub fn all(&self) -> &[String] {
        &self.names
    }

    /// The number of every row.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The number of a text, if any row has it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<u32> {
        self.places.get(name).copied()
    }

    fn push(&mut self, name: &str) {
        let id = match self.places.get(name) {
            Some(id) => *id,
            None => {
                let id = self.names.len() as u32;
                self.names.push(name.to_owned());
                self.places.insert(name.to_owned(), id);
                id
            }
        };
        self.ids.push(id);
    }
}

/// How much memory a table may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows at most.
    pub rows: usize,
    /// Bytes of all arrays at most.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 50_000_000, bytes: 8 << 30 }
    }
}

/// Labelled flows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the inputs, without the prefix, in the order of the file.
    pub inputs: Vec<String>,
    cells: Vec<f32>,
    /// Class of each row, as a place in [`CLASSES`].
    pub class: Vec<u8>,
    /// Whether the label is an attack.
    pub hostile: Vec<bool>,
    /// What was done, in the words of the truth.
    pub behaviour: Names,
    /// The network: a site of the testbed or a collection of the corpus.
    pub site: Names,
    /// Where the network comes from: `testbed/<site>` or `corpus/<collection>`.
    pub source: Names,
    /// Windows never cross runs.
    pub run: Names,
    /// What the row is for.
    pub split: Vec<Split>,
    whole: Vec<bool>,
    /// Address of the initiator: with the run, whose window the flow belongs to.
    pub host: Names,
    /// Address of the responder.
    pub target: Names,
    /// Its port; 0 for protocols without ports.
    pub target_port: Vec<u16>,
    /// First packet, microseconds since the epoch.
    pub start_us: Vec<i64>,
    /// When the flow's end was certain, microseconds since the epoch: the clock of windows.
    pub decided_us: Vec<i64>,
    /// What the file says about itself (`tapline.*`).
    pub metadata: BTreeMap<String, String>,
}

impl Table {
    /// Reads a table with the usual limits.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is no Parquet; a column is missing or of another type; a label is unknown; an input is
    /// null or not finite; there are no rows or no inputs; the table is too large.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        Self::read_within(path, Limits::default())
    }

    /// Reads a table that takes no more than `limits`.
    ///
    /// # Errors
    ///
    /// As [`Table::read`].
    pub fn read_within(path: &Path, limits: Limits) -> Result<Self, TrainError> {
        let file = File::open(path).map_err(|source| TrainError::Read { path: path.to_owned(), source })?;
        let reader = SerializedFileReader::new(file).map_err(|source| parquet_error(path, source))?;
        Reading { path, reader: &reader }.table(limits)
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.class.len()
    }

    /// Inputs of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.inputs.len()
    }

    /// Whether a flow is of a capture as it is: not half a conversation, nor without what was before.
    #[must_use]
    pub fn is_whole(&self, row: u32) -> bool {
        self.whole.get(row as usize).is_none_or(|whole| *whole)
    }

    /// Inputs of one row, in the order of [`Table::inputs`].
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.cells[row * self.width()..(row + 1) * self.width()]
    }

    /// Inputs of every row: `[rows, width]`, row-major.
    #[must_use]
    pub fn cells(&self) -> &[f32] {
        &self.cells
    }

    /// Rows for which `keep` holds, in order.
    #[must_use]
    pub fn rows_where(&self, keep: impl Fn(usize) -> bool) -> Vec<u32> {
        (0..self.rows()).filter(|row| keep(*row)).map(|row| row as u32).collect()
    }
}

/// A file being read.
struct Reading<'a> {
    path: &'a Path,
    reader: &'a SerializedFileReader<File>,
}

impl Reading<'_> {
    fn table(&self, limits: Limits) -> Result<Table, TrainError> {
        let metadata = self.reader.metadata();
        let columns = metadata.file_metadata().schema_descr().columns();
        let places: HashMap<String, usize> =
            columns.iter().enumerate().map(|(place, column)| (column.path().string(), place)).collect();
        let place = |name: &str| {
            places.get(name).copied().ok_or_else(|| {
                self.refuse(format!(
                    "column {name:?} is missing; `tapline dataset build` of this version writes it"
                ))
            })
        };
        let inputs: Vec<(usize, &str)> = columns
            .iter()
            .enumerate()
            .filter_map(|(place, column)| Some((place, column.name().strip_prefix(INPUT_PREFIX)?)))
            .collect();
        if inputs.is_empty() {
            return Err(self.refuse(format!("no column begins with {INPUT_PREFIX:?}: it has no inputs")));
        }
        let rows = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        if rows == 0 {
            return Err(self.refuse("it has no rows".to_owned()));
        }
        let bytes = rows.saturating_mul(inputs.len() * size_of::<f32>() + ROW_BYTES);
        if rows > limits.rows || bytes > limits.bytes {
            return Err(self.refuse(format!(
                "{rows} rows of {} inputs would take {} MiB; at most {} rows and {} MiB are read",
                inputs.len(),
                bytes >> 20,
                limits.rows,
                limits.bytes >> 20
            )));
        }

        let mut table = Table {
            inputs: inputs.iter().map(|(_, name)| (*name).to_owned()).collect(),
            cells: vec![0.0; rows * inputs.len()],
            ..Table::default()
        };
        for pair in metadata.file_metadata().key_value_metadata().into_iter().flatten() {
            table.metadata.insert(pair.key.clone(), pair.value.clone().unwrap_or_default());
        }
        for (at, (place, name)) in inputs.iter().enumerate() {
            self.input(*place, name, at, &mut table)?;
        }
        self.texts(place("label_class")?, |row, name| {
            let class = CLASSES.iter().position(|class| *class == name).ok_or_else(|| {
                self.refuse(format!("label_class {name:?} of row {row} is none of {}", CLASSES.join(", ")))
            })?;
            table.class.push(class as u8);
            Ok(())
        })?;
        self.texts(place("split")?, |row, name| {
            let split = Split::ALL.into_iter().find(|split| split.name() == name).ok_or_else(|| {
                self.refuse(format!("split {name:?} of row {row} is none of train, validate, test, none"))
            })?;
            table.split.push(split);
            Ok(())
        })?;
        let named: [(&str, &mut Names); 6] = [
            ("label_behaviour", &mut table.behaviour),
            ("site", &mut table.site),
            ("source", &mut table.source),
            ("run", &mut table.run),
            ("src_ip", &mut table.host),
            ("dst_ip", &mut table.target),
        ];
        for (name, names) in named {
            self.texts(place(name)?, |_, text| {
                names.push(text);
                Ok(())
            })?;
        }
        self.integers(place("label_hostile")?, |row, value| {
            let hostile = match value {
                0 => false,
                1 => true,
                _ => return Err(self.refuse(format!("label_hostile of row {row} is {value}, not 0 or 1"))),
            };
            if hostile != (table.class[row] != 0) {
                let class = CLASSES[usize::from(table.class[row])];
                return Err(
                    self.refuse(format!("label_hostile of row {row} is {value}, its class {class:?}"))
                );
            }
            table.hostile.push(hostile);
            Ok(())
        })?;
        // Older tables do not have it.
        if let Ok(place) = place("view") {
            self.texts(place, |_, value| {
                table.whole.push(value == "whole");
                Ok(())
            })?;
        }
        self.integers(place("dst_port")?, |row, value| {
            let port = u16::try_from(value)
                .map_err(|_| self.refuse(format!("dst_port of row {row} is {value}, which is no port")))?;
            table.target_port.push(port);
            Ok(())
        })?;
        self.integers(place("start")?, |_, value| {
            table.start_us.push(value);
            Ok(())
        })?;
        self.integers(place("decided_us")?, |_, value| {
            table.decided_us.push(value);
            Ok(())
        })?;
        Ok(table)
    }

    /// Reads input number `at`.
    fn input(&self, place: usize, name: &str, at: usize, table: &mut Table) -> Result<(), TrainError> {
        let width = table.inputs.len();
        let cells = &mut table.cells;
        let mut put = |row: usize, value: f32| {
            if !value.is_finite() {
                return Err(self.refuse(format!("input {name:?} of row {row} is {value}")));
            }
            cells[row * width + at] = value;
            Ok(())
        };
        self.column(place, &mut |chunk, first, rows| match chunk {
            ColumnReader::DoubleColumnReader(chunk) => {
                self.values(place, chunk, first, rows, &mut |row, value| put(row, *value as f32))
            }
            ColumnReader::FloatColumnReader(chunk) => {
                self.values(place, chunk, first, rows, &mut |row, value| put(row, *value))
            }
            _ => Err(self.wrong_type(place, Physical::DOUBLE)),
        })
    }

    fn texts(
        &self,
        place: usize,
        mut each: impl FnMut(usize, &str) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let mut put = |row: usize, value: &ByteArray| {
            let text = value.as_utf8().map_err(|source| parquet_error(self.path, source))?;
            each(row, text)
        };
        self.column(place, &mut |chunk, first, rows| match chunk {
            ColumnReader::ByteArrayColumnReader(chunk) => self.values(place, chunk, first, rows, &mut put),
            _ => Err(self.wrong_type(place, Physical::BYTE_ARRAY)),
        })
    }

    fn integers(
        &self,
        place: usize,
        mut each: impl FnMut(usize, i64) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        self.column(place, &mut |chunk, first, rows| match chunk {
            ColumnReader::Int64ColumnReader(chunk) => {
                self.values(place, chunk, first, rows, &mut |row, value| each(row, *value))
            }
            ColumnReader::Int32ColumnReader(chunk) => {
                self.values(place, chunk, first, rows, &mut |row, value| each(row, i64::from(*value)))
            }
            _ => Err(self.wrong_type(place, Physical::INT64)),
        })
    }

    /// Goes through the chunks of a column: `each` gets a chunk, its first row and its number of rows.
    fn column(
        &self,
        place: usize,
        each: &mut dyn FnMut(ColumnReader, usize, usize) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let mut first = 0;
        for number in 0..self.reader.num_row_groups() {
            let chunk = self
                .reader
                .get_row_group(number)
                .and_then(|group| group.get_column_reader(place))
                .map_err(|source| parquet_error(self.path, source))?;
            let rows = self.reader.metadata().row_group(number).num_rows().max(0) as usize;
            each(chunk, first, rows)?;
            first += rows;
        }
        Ok(())
    }

    /// Hands out the values of a chunk with their rows; a null is refused.
    fn values<T: DataType>(
        &self,
        place: usize,
        mut chunk: ColumnReaderImpl<T>,
        first: usize,
        rows: usize,
        each: &mut Each<'_, T>,
    ) -> Result<(), TrainError> {
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        let mut done = 0;
        while done < rows {
            values.clear();
            levels.clear();
            let (records, read, _) = chunk
                .read_records(BATCH_ROWS, Some(&mut levels), None, &mut values)
                .map_err(|source| parquet_error(self.path, source))?;
            if records == 0 || read < records {
                let missing = levels.iter().position(|level| *level == 0).unwrap_or(read);
                let name = self.name(place);
                let row = first + done + missing;
                return Err(self.refuse(format!("column {name:?} has no value in row {row}")));
            }
            for (at, value) in values.iter().enumerate() {
                each(first + done + at, value)?;
            }
            done += records;
        }
        Ok(())
    }

    fn name(&self, place: usize) -> String {
        self.reader.metadata().file_metadata().schema_descr().column(place).path().string()
    }

    fn wrong_type(&self, place: usize, expect: Physical) -> TrainError {
        let found = self.reader.metadata().file_metadata().schema_descr().column(place).physical_type();
        self.refuse(format!("column {:?} is {found}, not {expect}", self.name(place)))
    }

    fn refuse(&self, reason: String) -> TrainError {
        TrainError::Table { path: self.path.to_owned(), reason }
    }
}

/// What is done with a value and its row.
type Each<'a, T> = dyn FnMut(usize, &<T as DataType>::T) -> Result<(), TrainError> + 'a;

fn parquet_error(path: &Path, source: ParquetError) -> TrainError {
    TrainError::Parquet { path: PathBuf::from(path), source }
}

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;

/// Bytes of a row besides its inputs.
const ROW_BYTES: usize = 2 + 1 + 6 * size_of::<u32>() + size_of::<u16>() + 2 * size_of::<i64>();

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;
    use crate::test_table::{Change, TestRow, write};

    fn rows() -> Vec<TestRow> {
        vec![
            TestRow { x: vec![1.0, -2.5], ..TestRow::default() },
            TestRow {
                x: vec![0.25, 7.0],
                class: "scan",
                behaviour: "syn",
                host: "10.0.0.9",
                ..TestRow::default()
            },
            TestRow { x: vec![3.0, 4.0], split: "validate", run: "b", site: "b", ..TestRow::default() },
        ]
    }

    fn error(change: Change) -> String {
        let file = write(&["one", "two"], &rows(), change);
        Table::read(file.path()).unwrap_err().to_string().replace(&file.path().display().to_string(), "T")
    }

    #[test]
    fn a_table_reads_back() {
        let file = write(&["one", "two"], &rows(), Change::None);
        let table = Table::read(file.path()).unwrap();
        assert_eq!(table.inputs, ["one", "two"]);
        assert_eq!((table.rows(), table.width()), (3, 2));
        assert_eq!(table.row(1), [0.25, 7.0]);
        assert_eq!(table.cells(), [1.0, -2.5, 0.25, 7.0, 3.0, 4.0]);
        assert_eq!(table.class, [0, 1, 0]);
        assert_eq!(table.hostile, [false, true, false]);
        assert_eq!(table.behaviour.name(1), "syn");
        assert_eq!(table.host.ids(), [0, 1, 0]);
        assert_eq!(table.host.find("10.0.0.9"), Some(1));
        assert_eq!(table.split, [Split::Train, Split::Train, Split::Validate]);
        assert_eq!(table.source.all(), ["testbed/a", "testbed/b"]);
        assert_eq!(table.metadata["tapline.inputs"], "inputs-1 c0ffee");
        assert_eq!(table.rows_where(|row| table.split[row] == Split::Validate), [2]);
    }

    #[test]
    fn row_groups_follow_one_another() {
        let rows: Vec<TestRow> = (0..20_000)
            .map(|at| TestRow { x: vec![at as f32], decided_us: at, ..TestRow::default() })
            .collect();
        let file = write(&["one"], &rows, Change::GroupRows(9_000));
        let table = Table::read(file.path()).unwrap();
        assert_eq!(table.rows(), 20_000);
        assert!(table.cells().iter().enumerate().all(|(at, value)| *value == at as f32));
        assert!(table.decided_us.iter().enumerate().all(|(at, value)| *value == at as i64));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(
            error(Change::Without("decided_us")),
            "table T: column \"decided_us\" is missing; `tapline dataset build` of this version writes it"
        );
        assert_eq!(error(Change::Without("x_")), "table T: no column begins with \"x_\": it has no inputs");
        assert_eq!(error(Change::Null("site", 2)), "table T: column \"site\" has no value in row 2");
        assert_eq!(error(Change::Null("x_two", 0)), "table T: column \"x_two\" has no value in row 0");
        assert_eq!(error(Change::Text("split")), "table T: column \"start\" is BYTE_ARRAY, not INT64");
    }

    #[test]
    fn unknown_labels_are_refused() {
        let read = |row: TestRow| {
            let file = write(&["one"], &[row], Change::None);
            let error = Table::read(file.path()).unwrap_err().to_string();
            error.split_once(": ").unwrap().1.to_owned()
        };
        let row = || TestRow { x: vec![1.0], ..TestRow::default() };
        assert_eq!(
            read(TestRow { class: "worm", ..row() }),
            "label_class \"worm\" of row 0 is none of benign, scan, brute-force, dos, web-attack, c2, exfiltration, \
             lateral"
        );
        assert_eq!(
            read(TestRow { split: "both", ..row() }),
            "split \"both\" of row 0 is none of train, validate, test, none"
        );
        assert_eq!(read(TestRow { x: vec![f32::INFINITY], ..row() }), "input \"one\" of row 0 is inf");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let empty = write(&["one"], &[], Change::None);
        assert!(Table::read(empty.path()).unwrap_err().to_string().ends_with("it has no rows"));
        let file = write(&["one", "two"], &rows(), Change::None);
        let few =
            Table::read_within(file.path(), Limits { rows: 2, bytes: 1 << 20 }).unwrap_err().to_string();
        assert!(
            few.ends_with("3 rows of 2 inputs would take 0 MiB; at most 2 rows and 1 MiB are read"),
            "{few}"
        );
        assert!(Table::read_within(file.path(), Limits { rows: 9, bytes: 60 }).is_err());
        let missing = Table::read(Path::new("/nonexistent/flows.parquet")).unwrap_err().to_string();
        assert!(missing.starts_with("reading /nonexistent/flows.parquet: "), "{missing}");
    }
}
