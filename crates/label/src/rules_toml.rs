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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Endpoints;

    const RULES: &str = r#"
site = "lab"

[defaults]
class = "benign"

[[rule]]
source = ["10.0.0.8", "10.0.1.0/24"]
destination = "10.0.0.1"
destination_port = 22
protocol = "tcp"
start = 2017-07-04T09:20:00-03:00
end = "2017-07-04T10:20:00-03:00"
class = "brute-force"
behaviour = "ssh-patator"
technique = "T1110"

[[rule]]
destination_port = "1-1024"
start = 1499173200000001
class = "scan"
"#;

    fn flow(source: [u8; 4], minute: i64) -> Endpoints {
        let first = Timestamp::from_micros(1_499_170_800_000_000 + minute * 60_000_000);
        Endpoints {
            source: source.into(),
            source_port: 40_000,
            destination: [10, 0, 0, 1].into(),
            destination_port: 22,
            protocol: 6,
            first,
            last: first,
        }
    }

    #[test]
    fn rules_are_read() {
        let table = TruthTable::from_rules(RULES, "rules.toml").unwrap();
        assert_eq!(table.rows(), 2);
        for source in [[10, 0, 0, 8], [10, 0, 1, 77]] {
            let label = table.label(&flow(source, 30)).unwrap();
            assert_eq!((label.class, label.row, label.site), (Class::BruteForce, 7, "lab"));
            assert_eq!((label.behaviour, label.technique, label.tool), ("ssh-patator", "T1110", ""));
        }
        // Outside the window of the first rule, inside that of the second.
        assert_eq!(table.label(&flow([10, 0, 0, 8], 61)).unwrap().row, 18);
        let default = table.label(&flow([10, 0, 0, 7], 0)).unwrap();
        assert_eq!((default.class, default.row, default.site), (Class::Benign, 0, "lab"));
    }

    #[track_caller]
    fn refused(text: &str, message: &str) {
        let error = TruthTable::from_rules(text, "r.toml").unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        refused(
            "[[rule]]\nclass = \"scan\"\nsrc = \"10.0.0.1\"\n",
            "r.toml:3:1: unknown field `src`, expected one of",
        );
        refused("[[rule]]\nsource = \"10.0.0.1\"\n", "r.toml:1:1: missing field `class`");
        refused("[[rule]]\nclass = \"ddos\"\n", "r.toml:2:9: unknown class \"ddos\" (benign, scan, ");
        refused(
            "[[rule]]\nclass = \"scan\"\nstart = 2017-07-04T09:20:00\n",
            "r.toml:3:9: \"2017-07-04T09:20:00\" is no time; write 2017-07-04T09:20:00-03:00, with the offset",
        );
        refused(
            "[[rule]]\nclass = \"scan\"\nsource = 1.5\n",
            "r.toml:3:10: a float where an address belongs",
        );
        refused("[[rule]]\nclass = \"scan\"\nsource = []\n", "r.toml:3:10: an empty list");
        refused(
            "[[rule]]\nclass = \"scan\"\nstart = 2\nend = 1\n",
            "r.toml:4:7: the end is before the start",
        );
        refused("[defaults]\nclass = \"scan\"\n", "r.toml:2:9: \"scan\" is no default class");
        refused("[[rule]\n", "r.toml:1:");
        refused("site = \"a\"\nnote = \"b\"\n", "r.toml:2:1: unknown field `note`");
    }
}
