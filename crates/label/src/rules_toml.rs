//! Truth as rules in TOML: the published attack times of a public data set, written down by hand.

use std::ops::Range;

use serde::Deserialize;
use tapline_record::Timestamp;
use toml::{Spanned, Value};

use crate::ROWS_MAX;
use crate::class::Class;
use crate::error::TruthError;
use crate::rule::{Addresses, Ports, Rule, check_name, check_ports, check_technique, parse_protocol};
use crate::table::TruthTable;
use crate::time_text::parse_rfc3339;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    site: Option<Spanned<String>>,
    defaults: Option<Defaults>,
    #[serde(default)]
    rule: Vec<Spanned<RuleText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    class: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    source: Option<Spanned<Value>>,
    destination: Option<Spanned<Value>>,
    source_port: Option<Spanned<Value>>,
    destination_port: Option<Spanned<Value>>,
    protocol: Option<Spanned<Value>>,
    start: Option<Spanned<Value>>,
    end: Option<Spanned<Value>>,
    class: Spanned<String>,
    behaviour: Option<Spanned<String>>,
    technique: Option<Spanned<String>>,
}

/// What is wrong, and where in the text.
type Fault = (Range<usize>, String);

/// Adds the rules of `text` to an empty table.
pub(crate) fn read(text: &str, name: &str, table: &mut TruthTable) -> Result<(), TruthError> {
    let place = |(span, problem): Fault| {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        TruthError::Place {
            name: name.to_owned(),
            line: before.matches('\n').count() as u64 + 1,
            column: (before.len() - line_start) as u64 + 1,
            problem,
        }
    };
    let file: RuleFile = toml::from_str(text)
        .map_err(|error| place((error.span().unwrap_or(0..0), error.message().replace('\n', ", "))))?;
    let site = name_of(file.site.as_ref()).map_err(place)?;
    if let Some(defaults) = &file.defaults {
        let class = &defaults.class;
        match class.get_ref().as_str() {
            "benign" => table.set_default(Class::Benign, ["", "", "", "", site]),
            "unlabelled" => {}
            other => {
                let problem = format!("{other:?} is no default class; write benign or unlabelled");
                return Err(place((class.span(), problem)));
            }
        }
    }
    // Spans come in order, so lines are counted once over.
    let mut counted = (0, 1);
    for rule in &file.rule {
        let start = rule.span().start;
        counted = (start, counted.1 + text.get(counted.0..start).unwrap_or("").matches('\n').count() as u64);
        let line = counted.1;
        if !push(rule.get_ref(), line, site, table).map_err(place)? {
            return Err(TruthError::TooMany { name: name.to_owned(), line, max: ROWS_MAX });
        }
    }
    Ok(())
}

/// Gives `false` if there is no room.
fn push(rule: &RuleText, line: u64, site: &str, table: &mut TruthTable) -> Result<bool, Fault> {
    let class: Class =
        rule.class.get_ref().parse().map_err(|error| (rule.class.span(), format!("{error}")))?;
    let behaviour = name_of(rule.behaviour.as_ref())?;
    let technique = name_of(rule.technique.as_ref())?;
    if let Some(spanned) = &rule.technique {
        check_technique(technique).map_err(|problem| (spanned.span(), problem))?;
    }
    let protocol = one(rule.protocol.as_ref(), None, |text| parse_protocol(&text))?;
    let ports = |value: Option<&Spanned<Value>>| {
        one(value, Ports::ANY, |text| Ports::parse(&text).and_then(|ports| check_ports(ports, protocol)))
    };
    let start_us = time(rule.start.as_ref(), i64::MIN)?;
    let end_us = time(rule.end.as_ref(), i64::MAX)?;
    if start_us > end_us {
        let span = rule.end.as_ref().map_or(0..0, Spanned::span);
        return Err((span, "the end is before the start".to_owned()));
    }
    let like = Rule {
        source: Addresses::Any,
        destination: Addresses::Any,
        source_port: ports(rule.source_port.as_ref())?,
        destination_port: ports(rule.destination_port.as_ref())?,
        protocol,
        start_us,
        end_us,
        entry: table.push_entry(line, class, [behaviour, "", technique, "", site]),
    };
    let destinations = addresses(rule.destination.as_ref())?;
    for source in addresses(rule.source.as_ref())? {
        for destination in &destinations {
            if !table.push_rule(Rule { source, destination: *destination, ..like }) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn name_of(text: Option<&Spanned<String>>) -> Result<&str, Fault> {
    let Some(spanned) = text else { return Ok("") };
    check_name(spanned.get_ref()).map_err(|problem| (spanned.span(), problem))?;
    Ok(spanned.get_ref())
}

/// A value that may be text or a number.
fn one<T>(
    value: Option<&Spanned<Value>>,
    absent: T,
    parse: impl Fn(String) -> Result<T, String>,
) -> Result<T, Fault> {
    let Some(spanned) = value else { return Ok(absent) };
    let parsed = match spanned.get_ref() {
        Value::String(text) => parse(text.clone()),
        Value::Integer(number) => parse(number.to_string()),
        other => Err(format!("a {} where text or a number belongs", other.type_str())),
    };
    parsed.map_err(|problem| (spanned.span(), problem))
}

/// One address or a list of them.
fn addresses(value: Option<&Spanned<Value>>) -> Result<Vec<Addresses>, Fault> {
    let Some(spanned) = value else { return Ok(vec![Addresses::Any]) };
    let of_text = |value: &Value| match value {
        Value::String(text) => Addresses::parse(text),
        other => Err(format!("a {} where an address belongs", other.type_str())),
    };
    let parsed = match spanned.get_ref() {
        Value::Array(list) if list.is_empty() => Err("an empty list; leave the key out for any".to_owned()),
        Value::Array(list) => list.iter().map(of_text).collect(),
        single => of_text(single).map(|only| vec![only]),
    };
    parsed.map_err(|problem| (spanned.span(), problem))
}

/// RFC 3339 as text or as TOML's own date, or microseconds since the epoch.
fn time(value: Option<&Spanned<Value>>, unbounded: i64) -> Result<i64, Fault> {
    let Some(spanned) = value else { return Ok(unbounded) };
    let instant = match spanned.get_ref() {
        Value::Integer(micros) => Ok(Timestamp::from_micros(*micros)),
        Value::String(text) => parse_rfc3339(text),
        Value::Datetime(date) => parse_rfc3339(&date.to_string()),
        other => Err(format!("a {} where a time belongs", other.type_str())),
    };
    instant.map(|instant| instant.micros).map_err(|problem| (spanned.span(), problem))
}
