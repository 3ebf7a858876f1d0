//! What Prometheus would make of the metrics: by a parser of the exposition format, and by promtool where it is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use fastrand::Rng;
use tapline_control::{METRICS, MetricKind, Snapshot, exposition, metrics_page};

use crate::samples;

const LABELS: [&str; 6] = ["interface", "reason", "class", "sink", "cause", "worker"];
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

/// A sample: metric, labels, value.
type Sample = (String, BTreeMap<String, String>, f64);

#[test]
fn the_metrics_of_any_snapshot_can_be_parsed() {
    for seed in 0..400 {
        let snapshot = samples::odd(&mut Rng::with_seed(seed));
        let text = exposition(METRICS, &snapshot);
        let parsed = parse(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        let mut series = BTreeSet::new();
        for (name, labels, _) in &parsed {
            assert!(series.insert((name, labels)), "seed {seed}: {name} {labels:?} stands twice");
        }
    }
}

#[test]
fn every_metric_of_an_ordinary_sensor_has_samples() {
    let parsed = parse(&exposition(METRICS, &samples::ordinary())).unwrap();
    for metric in METRICS {
        assert!(parsed.iter().any(|(name, ..)| name == metric.name), "{} has none", metric.name);
    }
}

/// Somebody can add up the scrape and find every packet.
#[test]
fn the_terms_of_the_accounts_balance_in_a_scrape() {
    let parsed = parse(&exposition(METRICS, &samples::ordinary())).unwrap();
    let sum = |names: &[&str]| -> f64 {
        let named = |name: &str| names.iter().any(|short| name == format!("tapline_{short}"));
        parsed.iter().filter(|(name, ..)| named(name)).map(|sample| sample.2).sum()
    };
    let ways = [
        "processed_packets_total",
        "kernel_dropped_packets_total",
        "ring_dropped_packets_total",
        "filtered_packets_total",
        "shed_packets_total",
        "undecodable_packets_total",
        "in_flight_packets",
    ];
    assert_eq!(sum(&["seen_packets_total"]).to_bits(), sum(&ways).to_bits());
    let ends =
        ["emitted_flow_packets_total", "ended_flow_packets", "live_flow_packets", "non_flow_packets_total"];
    assert_eq!(sum(&["processed_packets_total"]).to_bits(), sum(&ends).to_bits());
    assert_eq!(sum(&["unaccounted_packets"]).to_bits(), 0_f64.to_bits());
}

#[test]
fn names_units_and_labels_keep_the_rules() {
    let mut names = BTreeSet::new();
    for metric in METRICS {
        let name = metric.name;
        assert!(names.insert(name), "{name} stands twice");
        assert!(name.starts_with("tapline_"), "{name}");
        assert!(name.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_'), "{name}");
        assert_eq!(metric.kind == MetricKind::Counter, name.ends_with("_total"), "{name}");
        if ["bytes", "seconds", "packets", "ratio"].contains(&metric.unit) {
            assert!(name.trim_end_matches("_total").ends_with(metric.unit), "{name} is in {}", metric.unit);
        }
        assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '\\', '|']), "{name}");
        assert!(metric.labels.iter().all(|label| LABELS.contains(label)), "{name}");
    }
}

/// `TAPLINE_WRITE_DOCS=1` writes the page instead.
#[test]
fn the_page_of_metrics_is_made_from_the_table() {
    let path = Path::new(DOCS).join("metrics.md");
    if std::env::var_os("TAPLINE_WRITE_DOCS").is_some() {
        std::fs::write(&path, metrics_page()).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(there, metrics_page(), "run this test with TAPLINE_WRITE_DOCS=1");
}

#[test]
fn promtool_finds_nothing_to_say() {
    for snapshot in [samples::ordinary(), Snapshot::default()] {
        if !promtool(&["check", "metrics"], &exposition(METRICS, &snapshot)) {
            return;
        }
    }
    for seed in 0..20 {
        promtool(&["check", "metrics"], &exposition(METRICS, &samples::odd(&mut Rng::with_seed(seed))));
    }
}

/// The rules that docs/control.md proposes are the ones in docs/tapline.rules.yml, and Prometheus takes them; they name
/// metrics that there are.
#[test]
fn the_proposed_rules_are_valid() {
    let path = Path::new(DOCS).join("tapline.rules.yml");
    let rules = std::fs::read_to_string(&path).unwrap();
    let words = rules.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let named: BTreeSet<&str> = words.filter(|word| word.starts_with("tapline_")).collect();
    assert!(named.len() > 5);
    for name in named {
        assert!(METRICS.iter().any(|metric| metric.name == name), "{name} is no metric");
    }
    promtool(&["check", "rules", path.to_str().unwrap()], "");
}

/// Whether promtool is there; panics unless it is content and silent.
fn promtool(arguments: &[&str], input: &str) -> bool {
    let command = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = command else {
        println!("skipped: promtool is not installed (Debian: apt install prometheus)");
        return false;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{input}");
    if arguments[1] == "metrics" {
        assert_eq!(said, "", "{input}");
    }
    true
}

/// Reads the exposition format 0.0.4, strictly: each family has its HELP, its TYPE and its samples, together.
fn parse(text: &str) -> Result<Vec<Sample>, String> {
    let mut samples = Vec::new();
    let mut families = BTreeSet::new();
    let (mut helped, mut typed) = (String::new(), String::new());
    for line in text.split_terminator('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split(' ').next().unwrap_or_default().to_owned();
            if !families.insert(helped.clone()) {
                return Err(format!("{helped} stands twice"));
            }
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').ok_or(line)?;
            if name != helped || !["counter", "gauge"].contains(&kind) {
                return Err(line.to_owned());
            }
            name.clone_into(&mut typed);
        } else {
            let sample = parse_sample(line).ok_or_else(|| format!("cannot read {line:?}"))?;
            if sample.0 != typed {
                return Err(format!("{line:?} stands under {typed}"));
            }
            samples.push(sample);
        }
    }
    if text.is_empty() || text.ends_with('\n') { Ok(samples) } else { Err("the last line has no end".into()) }
}

fn parse_sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"")?;
            let (value, behind) = parse_value(behind)?;
            labels.insert(label.to_owned(), value).is_none().then_some(())?;
            if let Some(behind) = behind.strip_prefix(',') {
                rest = behind;
            } else {
                rest = behind.strip_prefix('}')?;
                break;
            }
        }
    }
    let number = match rest.strip_prefix(' ')? {
        "NaN" => f64::NAN,
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        digits => digits.parse().ok()?,
    };
    Some((name.to_owned(), labels, number))
}

/// Up to the closing quote, which is taken along.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                plain @ ('\\' | '"') => plain,
                _ => return None,
            }),
            _ => value.push(letter),
        }
    }
    None
}
