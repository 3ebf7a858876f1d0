//! `tapline label`: rows that are flows already, with what is known about them behind each.
//!
//! In: CSV or NDJSON of any schema of Tapline's or of CICFlowMeter. Out: the same bytes, row for row, and the label
//! columns. Only the columns that say who talked to whom and when are looked at, and nothing is held but the row in
//! hand, so files may be of any length.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, anyhow};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tapline_label::time_text::{CoarseTime, parse_cic, parse_rfc3339};
use tapline_label::{Endpoints, Label};

use crate::cli::{LabelArgs, TextFormat};
use crate::exit::{Code, Failure};
use crate::labels::{LABEL_COLUMNS, Labeller};

/// A row that is longer is no flow.
const ROW_BYTES_MAX: usize = 1 << 20;
/// Rows leave in blocks of about this size.
const BLOCK_BYTES: usize = 256 << 10;

#[expect(clippy::print_stderr, reason = "the summary goes to standard error")]
pub(crate) fn run(args: &LabelArgs) -> Result<(), Failure> {
    let format = args.format.unwrap_or_else(|| format_of(&args.inputs[0]));
    if let Some(path) = args.inputs.iter().find(|path| path.extension().is_some_and(|it| it == "parquet")) {
        let message = format!("{} is parquet; label while replaying: tapline replay --truth", path.display());
        return Err(Failure::usage(message));
    }
    let Some(mut labeller) = Labeller::open(&args.truth)? else {
        return Err(Failure::usage("there is nothing to label by; say --truth or --rules"));
    };
    if let Some(path) = args.inputs.iter().find(|path| is_same_file(path, &args.output)) {
        return Err(Failure::usage(format!("{} is read; write the labelled rows elsewhere", path.display())));
    }
    let mut out = RowSink::open(&args.output)?;
    let mut header: Option<Vec<u8>> = None;
    for path in &args.inputs {
        let mut lines = Lines::open(path)?;
        match format {
            TextFormat::Csv => label_csv(&mut lines, args, &mut labeller, &mut header, &mut out)?,
            TextFormat::Ndjson => label_ndjson(&mut lines, args, &mut labeller, &mut out)?,
        }
    }
    out.flush()?;
    if !args.quiet {
        eprint!("{}", labeller.stats().text(false));
    }
    Ok(())
}

fn is_same_file(input: &Path, output: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok().filter(|path| path.is_file());
    real(input).is_some_and(|input| real(output) == Some(input))
}

fn format_of(path: &Path) -> TextFormat {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("ndjson" | "json" | "jsonl") => TextFormat::Ndjson,
        _ => TextFormat::Csv,
    }
}

fn label_csv(
    lines: &mut Lines,
    args: &LabelArgs,
    labeller: &mut Labeller,
    header: &mut Option<Vec<u8>>,
    out: &mut RowSink,
) -> Result<(), Failure> {
    if !lines.next_record()? {
        return Err(lines.fault(1, "the file is empty; its first line must name the columns"));
    }
    let (names, ending) = split_ending(&lines.row);
    let names = names.strip_prefix(b"\xef\xbb\xbf").unwrap_or(names);
    let columns = Columns::find(names).map_err(|problem| lines.fault(1, problem))?;
    match header {
        Some(first) if first == names => {}
        Some(_) => {
            return Err(lines.fault(1, "another header than in the file before; label them one by one"));
        }
        None => {
            out.push(names);
            for column in LABEL_COLUMNS {
                out.push(b",");
                out.push(column.name.as_bytes());
            }
            out.push(ending);
            out.end_row()?;
            *header = Some(names.to_vec());
        }
    }
    let mut spans = Vec::new();
    while lines.next_record()? {
        let (row, ending) = split_ending(&lines.row);
        out.push(row);
        // The published tables of CIC-IDS2017 hold rows of nothing but commas.
        if !row.iter().all(|byte| *byte == b',') {
            split_fields(row, &mut spans);
            let flow =
                columns.read(row, &spans, args).map_err(|(at, problem)| lines.fault(at + 1, problem))?;
            push_csv(out, labeller.label(&flow, 0).as_ref());
        } else if !row.is_empty() {
            push_csv(out, None);
        }
        out.push(if ending.is_empty() { b"\n" } else { ending });
        out.end_row()?;
    }
    Ok(())
}

fn label_ndjson(
    lines: &mut Lines,
    args: &LabelArgs,
    labeller: &mut Labeller,
    out: &mut RowSink,
) -> Result<(), Failure> {
    while lines.next_line()? {
        let row = lines.row.trim_ascii_end();
        if row.is_empty() {
            continue;
        }
        let flow: JsonRow<'_> =
            serde_json::from_slice(row).map_err(|error| lines.fault(error.column(), json_problem(&error)))?;
        let flow = flow.read(args).map_err(|problem| lines.fault(1, problem))?;
        let object = row.strip_suffix(b"}").ok_or_else(|| lines.fault(row.len(), "no object"))?;
        out.push(object);
        push_json(out, labeller.label(&flow, 0).as_ref());
        out.push(b"}\n");
        out.end_row()?;
    }
    Ok(())
}

/// The label's texts, in the order of [`LABEL_COLUMNS`].
fn texts<'t>(label: &Label<'t>) -> [(&'t str, bool); LABEL_COLUMNS.len()] {
    let number = |yes: bool| (if yes { "1" } else { "0" }, false);
    let text = |text| (text, true);
    [
        text(label.class.name()),
        number(label.hostile),
        text(label.behaviour),
        text(label.tool),
        text(label.technique),
        text(label.site),
        text(label.run),
        number(label.conflict),
    ]
}

fn push_csv(out: &mut RowSink, label: Option<&Label<'_>>) {
    let Some(label) = label else {
        LABEL_COLUMNS.iter().for_each(|_| out.push(b","));
        return;
    };
    for (text, _) in texts(label) {
        out.push(b",");
        if text.contains([',', '"']) {
            out.push(format!("\"{}\"", text.replace('"', "\"\"")).as_bytes());
        } else {
            out.push(text.as_bytes());
        }
    }
}

fn push_json(out: &mut RowSink, label: Option<&Label<'_>>) {
    let texts = label.map(texts);
    for (index, column) in LABEL_COLUMNS.iter().enumerate() {
        out.push(format!(",\"{}\":", column.name).as_bytes());
        match texts.map(|texts| texts[index]) {
            None => out.push(b"null"),
            Some((number, false)) => out.push(number.as_bytes()),
            // Names are printable ASCII, so these two need an escape and nothing else does.
            Some((text, true)) => {
                out.push(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")).as_bytes());
            }
        }
    }
}

/// Where the columns are that a label is found by.
#[derive(Debug)]
struct Columns {
    source: usize,
    source_port: usize,
    destination: usize,
    destination_port: usize,
    protocol: usize,
    start: usize,
    end: End,
}

/// How a row says when the flow ended.
#[derive(Clone, Copy, Debug)]
enum End {
    Instant(usize),
    /// Microseconds since the start.
    Duration(usize),
}

/// The names of Tapline, and those of CICFlowMeter in all its versions.
const SOURCE: &[&str] = &["src_ip", "Src IP", "Source IP"];
const SOURCE_PORT: &[&str] = &["src_port", "Src Port", "Source Port"];
const DESTINATION: &[&str] = &["dst_ip", "Dst IP", "Destination IP"];
const DESTINATION_PORT: &[&str] = &["dst_port", "Dst Port", "Destination Port"];
const PROTOCOL: &[&str] = &["protocol", "Protocol"];
const START: &[&str] = &["start", "Timestamp"];
const END: &[&str] = &["end"];
const DURATION: &[&str] = &["duration_us", "Flow Duration"];

impl Columns {
    fn find(header: &[u8]) -> Result<Self, String> {
        let mut spans = Vec::new();
        split_fields(header, &mut spans);
        let names: Vec<String> = spans
            .iter()
            .map(|(from, to)| String::from_utf8_lossy(unquoted(&header[*from..*to])).trim().to_owned())
            .collect();
        let find = |known: &[&str]| names.iter().position(|name| known.contains(&name.as_str()));
        let need = |known: &[&str]| find(known).ok_or_else(|| missing(known));
        if let Some(there) = names.iter().find(|name| LABEL_COLUMNS.iter().any(|column| column.name == *name))
        {
            return Err(labelled_already(there));
        }
        let end = match find(END) {
            Some(end) => End::Instant(end),
            None => End::Duration(need(DURATION)?),
        };
        Ok(Self {
            source: need(SOURCE)?,
            source_port: need(SOURCE_PORT)?,
            destination: need(DESTINATION)?,
            destination_port: need(DESTINATION_PORT)?,
            protocol: need(PROTOCOL)?,
            start: need(START)?,
            end,
        })
    }

    /// Gives where in the row something is wrong, and what.
    fn read(
        &self,
        row: &[u8],
        spans: &[(usize, usize)],
        args: &LabelArgs,
    ) -> Result<Endpoints, (usize, String)> {
        let field = |index: usize, known: &[&str]| match spans.get(index) {
            Some((from, to)) => match std::str::from_utf8(unquoted(&row[*from..*to])) {
                Ok(text) => Ok((*from, text.trim())),
                Err(_) => Err((*from, format!("{} is not UTF-8", known[0]))),
            },
            None => Err((row.len(), format!("the row ends before {}", known[0]))),
        };
        let port = |index, known| {
            let (at, text) = field(index, known)?;
            number(text).map_err(|problem| (at, problem))
        };
        let address = |index, known| {
            let (at, text) = field(index, known)?;
            address(text).map_err(|problem| (at, problem))
        };
        let (at, start) = field(self.start, START)?;
        let start = instant(start, args).map_err(|problem| (at, problem))?;
        let last = match self.end {
            End::Instant(index) => {
                let (at, end) = field(index, END)?;
                instant(end, args).map_err(|problem| (at, problem))?.instant
            }
            End::Duration(index) => {
                let (at, text) = field(index, DURATION)?;
                let duration_us = duration(text).map_err(|problem| (at, problem))?;
                start.instant.plus_micros(duration_us).plus_micros(start.resolution_us - 1)
            }
        };
        let (protocol_at, protocol) = field(self.protocol, PROTOCOL)?;
        Ok(Endpoints {
            source: address(self.source, SOURCE)?,
            source_port: port(self.source_port, SOURCE_PORT)?,
            destination: address(self.destination, DESTINATION)?,
            destination_port: port(self.destination_port, DESTINATION_PORT)?,
            protocol: number(protocol).map_err(|problem| (protocol_at, problem))?,
            first: start.instant,
            last,
        })
    }
}

/// The same keys of an object; the others are passed over.
#[derive(Deserialize)]
struct JsonRow<'a> {
    #[serde(borrow, alias = "Src IP", alias = "Source IP")]
    src_ip: Option<Cow<'a, str>>,
    #[serde(alias = "Src Port", alias = "Source Port")]
    src_port: Option<u16>,
    #[serde(borrow, alias = "Dst IP", alias = "Destination IP")]
    dst_ip: Option<Cow<'a, str>>,
    #[serde(alias = "Dst Port", alias = "Destination Port")]
    dst_port: Option<u16>,
    #[serde(alias = "Protocol")]
    protocol: Option<u8>,
    #[serde(borrow, alias = "Timestamp")]
    start: Option<Cow<'a, str>>,
    #[serde(borrow)]
    end: Option<Cow<'a, str>>,
    #[serde(alias = "Flow Duration")]
    duration_us: Option<i64>,
    label_class: Option<IgnoredAny>,
}

impl JsonRow<'_> {
    fn read(&self, args: &LabelArgs) -> Result<Endpoints, String> {
        if self.label_class.is_some() {
            return Err(labelled_already(LABEL_COLUMNS[0].name));
        }
        let start = instant(self.start.as_deref().ok_or_else(|| missing(START))?, args)?;
        let last = match (&self.end, self.duration_us) {
            (Some(end), _) => instant(end, args)?.instant,
            (None, Some(duration_us)) => {
                start.instant.plus_micros(duration_us.max(0)).plus_micros(start.resolution_us - 1)
            }
            (None, None) => return Err(missing(DURATION)),
        };
        Ok(Endpoints {
            source: address(self.src_ip.as_deref().ok_or_else(|| missing(SOURCE))?)?,
            source_port: self.src_port.ok_or_else(|| missing(SOURCE_PORT))?,
            destination: address(self.dst_ip.as_deref().ok_or_else(|| missing(DESTINATION))?)?,
            destination_port: self.dst_port.ok_or_else(|| missing(DESTINATION_PORT))?,
            protocol: self.protocol.ok_or_else(|| missing(PROTOCOL))?,
            first: start.instant,
            last,
        })
    }
}

fn missing(known: &[&str]) -> String {
    format!("no column {}; a flow has no label without it", known.join(" or "))
}

fn labelled_already(name: &str) -> String {
    format!("column {name} is there already; label the rows as they were before")
}

fn json_problem(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    // The place is told in front.
    text.truncate(text.rfind(" at line ").unwrap_or(text.len()));
    text
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is no address"))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is no port or protocol number"))
}

/// The tools write negative durations where packets came out of order.
fn duration(text: &str) -> Result<i64, String> {
    let duration_us: i64 = text.parse().map_err(|_| format!("{text:?} is no duration in microseconds"))?;
    Ok(duration_us.max(0))
}

fn instant(text: &str, args: &LabelArgs) -> Result<CoarseTime, String> {
    if text.as_bytes().get(10) == Some(&b'T') {
        return parse_rfc3339(text).map(|instant| CoarseTime { instant, resolution_us: 1 });
    }
    parse_cic(text, args.utc_offset, args.clock)
}

/// Where each field of a CSV record begins and ends, quotes included.
fn split_fields(row: &[u8], spans: &mut Vec<(usize, usize)>) {
    spans.clear();
    let mut from = 0;
    let mut quoted = false;
    for (at, byte) in row.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                spans.push((from, at));
                from = at + 1;
            }
            _ => {}
        }
    }
    spans.push((from, row.len()));
}

/// A field without the quotes around it. Doubled quotes within stay, since no field that is read may hold any.
fn unquoted(field: &[u8]) -> &[u8] {
    field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\"")).unwrap_or(field)
}

/// The row and its line end.
fn split_ending(row: &[u8]) -> (&[u8], &[u8]) {
    let content = row.strip_suffix(b"\n").unwrap_or(row);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    row.split_at(content.len())
}

/// The rows of one input.
struct Lines {
    name: String,
    input: Box<dyn BufRead>,
    /// The row in hand, with its line end.
    row: Vec<u8>,
    /// The line it begins on, from 1.
    line: u64,
    /// Lines read.
    lines: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Failure> {
        let stdin = path == Path::new("-");
        let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
        let input: Box<dyn BufRead> = if stdin {
            Box::new(BufReader::with_capacity(BLOCK_BYTES, io::stdin()))
        } else {
            let file = File::open(path)
                .with_context(|| format!("opening flows {name}"))
                .map_err(|error| Failure::new(Code::NoInput, error))?;
            Box::new(BufReader::with_capacity(BLOCK_BYTES, file))
        };
        Ok(Self { name, input, row: Vec::new(), line: 0, lines: 0 })
    }

    /// The next line; `false` at the end.
    fn next_line(&mut self) -> Result<bool, Failure> {
        self.row.clear();
        self.line = self.lines + 1;
        self.append_line()
    }

    /// The next CSV record, whose quoted fields may go over several lines; `false` at the end.
    fn next_record(&mut self) -> Result<bool, Failure> {
        if !self.next_line()? {
            return Ok(false);
        }
        while self.row.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
            if !self.append_line()? {
                return Err(self.fault(1, "a quoted field is not closed"));
            }
        }
        Ok(true)
    }

    fn append_line(&mut self) -> Result<bool, Failure> {
        let room = (ROW_BYTES_MAX + 1).saturating_sub(self.row.len());
        let read = self
            .input
            .by_ref()
            .take(room as u64)
            .read_until(b'\n', &mut self.row)
            .with_context(|| format!("reading {}", self.name))
            .map_err(Failure::io)?;
        self.lines += u64::from(read > 0);
        if self.row.len() > ROW_BYTES_MAX {
            return Err(self.fault(1, "the row is longer than 1 MiB; is this a table of flows?"));
        }
        Ok(read > 0)
    }

    fn fault(&self, column: usize, problem: impl std::fmt::Display) -> Failure {
        Failure::new(Code::Data, anyhow!("{}:{}:{column}: {problem}", self.name, self.line))
    }
}

/// Whole rows on their way out.
struct RowSink {
    name: String,
    out: Box<dyn Write>,
    /// The same output if it can be cut back to its last whole row.
    file: Option<File>,
    rows: Vec<u8>,
    /// Bytes of whole rows that the output has.
    written: u64,
}

impl RowSink {
    fn open(path: &Path) -> Result<Self, Failure> {
        let (name, out, file): (_, Box<dyn Write>, _) = if path == Path::new("-") {
            ("standard output".to_owned(), Box::new(io::stdout().lock()), None)
        } else {
            let create = || -> io::Result<_> {
                let file = File::create(path)?;
                let again = if file.metadata()?.is_file() { Some(file.try_clone()?) } else { None };
                Ok((file, again))
            };
            let (file, again) = create()
                .with_context(|| format!("creating output {}", path.display()))
                .map_err(|error| Failure::new(Code::CantCreate, error))?;
            (path.display().to_string(), Box::new(file), again)
        };
        Ok(Self { name, out, file, rows: Vec::new(), written: 0 })
    }

    fn push(&mut self, bytes: &[u8]) {
        self.rows.extend_from_slice(bytes);
    }

    fn end_row(&mut self) -> Result<(), Failure> {
        if self.rows.len() < BLOCK_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let outcome = self.out.write_all(&self.rows).and_then(|()| self.out.flush());
        if let Err(error) = outcome {
            if let Some(file) = &self.file {
                // What went wrong before is what the user is told.
                let _ = file.set_len(self.written);
            }
            return Err(Failure::io(anyhow!(error).context(format!("writing to {}", self.name))));
        }
        self.written += self.rows.len() as u64;
        self.rows.clear();
        Ok(())
    }
}
