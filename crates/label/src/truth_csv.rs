//! Truth as CSV: one row for everything that a generator of traffic did.

use std::io::Read;

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use crate::ROWS_MAX;
use crate::class::Class;
use crate::error::TruthError;
use crate::rule::{Addresses, Ports, Rule, check_name, check_ports, check_technique, parse_protocol};
use crate::table::TruthTable;

/// The columns, in their order.
pub const COLUMNS: [&str; 14] = [
    "start_us",
    "end_us",
    "source",
    "source_port",
    "destination",
    "destination_port",
    "protocol",
    "class",
    "hostile",
    "behaviour",
    "tool",
    "technique",
    "run",
    "site",
];

/// The first line of a truth CSV.
pub const HEADER: &str = "start_us,end_us,source,source_port,destination,destination_port,protocol,class,hostile,\
                          behaviour,tool,technique,run,site";

/// Adds the rows of `reader` to an empty table.
pub(crate) fn read(reader: impl Read, name: &str, table: &mut TruthTable) -> Result<(), TruthError> {
    let mut rows = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(reader);
    let mut record = StringRecord::new();
    let fail = |line: u64, column: usize, problem: String| TruthError::Place {
        name: name.to_owned(),
        line,
        column: column as u64,
        problem,
    };
    if !rows.read_record(&mut record).map_err(|error| of_csv(error, name))? {
        return Err(fail(1, 1, format!("the file is empty; its first line must be {HEADER}")));
    }
    check_header(&record).map_err(|(field, problem)| fail(1, column_of(&record, field), problem))?;
    while rows.read_record(&mut record).map_err(|error| of_csv(error, name))? {
        let line = record.position().map_or(0, csv::Position::line);
        let row = Row::parse(&record);
        let row = row.map_err(|(field, problem)| fail(line, column_of(&record, field), problem))?;
        let entry = table.push_entry(line, row.class, row.texts);
        if !table.push_rule(Rule { entry, ..row.rule }) {
            return Err(TruthError::TooMany { name: name.to_owned(), line, max: ROWS_MAX });
        }
    }
    Ok(())
}

struct Row<'a> {
    rule: Rule,
    class: Class,
    texts: [&'a str; 5],
}

impl<'a> Row<'a> {
    /// Gives the number of the field that is wrong, and what is.
    fn parse(record: &'a StringRecord) -> Result<Self, (usize, String)> {
        if record.len() != COLUMNS.len() {
            let problem = format!("{} fields where {} belong", record.len(), COLUMNS.len());
            return Err(((record.len() - 1).min(COLUMNS.len()), problem));
        }
        let at = |index: usize| move |problem: String| (index, format!("{}: {problem}", COLUMNS[index]));
        let text = |index: usize| record[index].trim();
        let rule = Rule {
            start_us: micros(text(0), i64::MIN).map_err(at(0))?,
            end_us: micros(text(1), i64::MAX).map_err(at(1))?,
            source: Addresses::parse(text(2)).map_err(at(2))?,
            source_port: Ports::parse(text(3)).map_err(at(3))?,
            destination: Addresses::parse(text(4)).map_err(at(4))?,
            destination_port: Ports::parse(text(5)).map_err(at(5))?,
            protocol: parse_protocol(text(6)).map_err(at(6))?,
            entry: 0,
        };
        if rule.start_us > rule.end_us {
            return Err(at(1)("the end is before the start".to_owned()));
        }
        let rule = Rule {
            source_port: check_ports(rule.source_port, rule.protocol).map_err(at(3))?,
            destination_port: check_ports(rule.destination_port, rule.protocol).map_err(at(5))?,
            ..rule
        };
        let class: Class = text(7).parse().map_err(|error| at(7)(format!("{error}")))?;
        match text(8) {
            "0" if class.is_hostile() => return Err(at(8)(format!("0, but {class} is hostile; write 1"))),
            "1" if !class.is_hostile() => {
                return Err(at(8)(format!("1, but {class} is not hostile; write 0")));
            }
            "0" | "1" => {}
            other => return Err(at(8)(format!("{other:?} is neither 0 nor 1"))),
        }
        let texts = [9, 10, 11, 12, 13].map(text);
        for (index, text) in (9..).zip(texts) {
            check_name(text).map_err(at(index))?;
        }
        check_technique(texts[2]).map_err(at(11))?;
        Ok(Self { rule, class, texts })
    }
}

fn check_header(header: &StringRecord) -> Result<(), (usize, String)> {
    if header.iter().eq(COLUMNS) {
        return Ok(());
    }
    for (index, name) in header.iter().enumerate() {
        if !COLUMNS.contains(&name) {
            return Err((index, format!("unknown column {name:?}; the columns are {HEADER}")));
        }
    }
    for name in COLUMNS {
        if !header.iter().any(|there| there == name) {
            return Err((0, format!("column {name} is missing; the columns are {HEADER}")));
        }
    }
    Err((0, format!("the columns are there, but not once each in this order: {HEADER}")))
}

fn micros(text: &str, unbounded: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(unbounded);
    }
    text.parse().map_err(|_| format!("{text:?} is no time; write microseconds since the epoch, or nothing"))
}

/// Where a field starts, from 1, if none before it is quoted.
fn column_of(record: &StringRecord, field: usize) -> usize {
    1 + record.iter().take(field).map(|text| text.len() + 1).sum::<usize>()
}

fn of_csv(error: csv::Error, name: &str) -> TruthError {
    let line = error.position().map_or(1, csv::Position::line);
    let problem = error.to_string();
    match error.into_kind() {
        ErrorKind::Io(source) => TruthError::Read { name: name.to_owned(), source },
        ErrorKind::Utf8 { err, .. } => {
            let problem = format!("field {} is not UTF-8", err.field() + 1);
            TruthError::Place { name: name.to_owned(), line, column: 1, problem }
        }
        _ => TruthError::Place { name: name.to_owned(), line, column: 1, problem },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &str) -> Result<TruthTable, TruthError> {
        TruthTable::from_csv(format!("{HEADER}\n{rows}\n").as_bytes(), "truth.csv")
    }

    #[track_caller]
    fn refused(row: &str, message: &str) {
        assert_eq!(table(row).unwrap_err().to_string(), message);
    }

    #[test]
    fn the_header_is_the_columns() {
        assert_eq!(HEADER, COLUMNS.join(","));
    }

    #[test]
    fn wrong_values_are_told_with_their_place() {
        const GOOD: &str = "1,2,10.0.0.9,,10.0.0.1,22,tcp,brute-force,1,guess,hydra,T1110.001,r,s";
        assert_eq!(table(GOOD).unwrap().rows(), 1);
        refused(
            &format!("{GOOD}\n1,2,10.0.0.9,,10.0.0.1,22,tpc,benign,0,,,,,"),
            "truth.csv:3:27: protocol: \"tpc\" is no protocol; write tcp, udp, icmp, icmp6, sctp, 0 to 255 or *",
        );
        refused("1,2,*,,*,,,benign,1,,,,,", "truth.csv:2:19: hostile: 1, but benign is not hostile; write 0");
        refused("1,2,*,,*,,,scan,0,,,,,", "truth.csv:2:17: hostile: 0, but scan is hostile; write 1");
        refused("2,1,*,,*,,,scan,1,,,,,", "truth.csv:2:3: end_us: the end is before the start");
        refused("1,2,*,,*,,,scan,1,,,,", "truth.csv:2:22: 13 fields where 14 belong");
        refused(
            "1,2,*,,*,,,scan,1,,,portscan,,",
            "truth.csv:2:21: technique: \"portscan\" is no ATT&CK technique; write T1110, T1110.001 or nothing",
        );
        let long = "x".repeat(56);
        refused(
            &format!("1,2,*,,*,,,scan,1,{long},,,,"),
            &format!("truth.csv:2:19: behaviour: \"{long}\" has 56 bytes; at most 55 fit a cell"),
        );
    }

    #[test]
    fn wrong_headers_are_told() {
        let read = |text: &str| TruthTable::from_csv(text.as_bytes(), "t").unwrap_err().to_string();
        assert!(read("").starts_with("t:1:1: the file is empty; its first line must be start_us,"));
        assert!(read(&format!("{HEADER},note\n")).starts_with("t:1:122: unknown column \"note\"; "));
        assert!(read(&HEADER.replace(",run", "")).starts_with("t:1:1: column run is missing; "));
        assert!(read(&format!("{HEADER},run")).contains("not once each in this order"));
    }

    #[test]
    fn reading_can_fail() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::ConnectionReset.into())
            }
        }
        let error = TruthTable::from_csv(Broken, "t").unwrap_err();
        assert!(error.is_io());
        assert_eq!(error.to_string(), "t: reading failed");
        let error = TruthTable::from_csv(&b"\xff\xfe\n"[..], "t").unwrap_err();
        assert_eq!(error.to_string(), "t:1:1: field 1 is not UTF-8");
    }
}
