//! Metrics as text: Prometheus' exposition format, version 0.0.4.
//!
//! In: a table of [`Metric`]s and a [`Snapshot`]. Out: `# HELP`, `# TYPE` and samples, in the order of the table. What has no
//! samples is left out whole. No two samples of a metric have the same labels: counts of the same name are added up
//! (two `[[interface]]` blocks may name one interface), of levels the greater stands.

use std::fmt::Write as _;

use crate::snapshot::Snapshot;

/// `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One metric: a row of the table [`METRICS`](crate::METRICS).
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Ends with the unit, and `_total` if it counts.
    pub name: &'static str,
    /// What it is, in one line.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: MetricKind,
    /// Of the value; empty for plain numbers.
    pub unit: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// Reads its samples.
    pub(crate) read: fn(&Snapshot, &mut Samples),
}

/// Whether a metric only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It does, until the sensor starts again.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// Values of one metric, each with the values of its labels.
#[derive(Debug)]
pub(crate) struct Samples {
    kind: MetricKind,
    samples: Vec<(Vec<String>, Number)>,
}

/// A value. Counts stay integers, so that large ones lose nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Count(u64),
    Real(f64),
}

/// All metrics of a snapshot as text.
pub fn exposition(metrics: &[Metric], snapshot: &Snapshot) -> String {
    let mut text = String::with_capacity(16 << 10);
    for metric in metrics {
        let mut samples = Samples { kind: metric.kind, samples: Vec::new() };
        (metric.read)(snapshot, &mut samples);
        metric.write(&samples.samples, &mut text);
    }
    text
}

impl Metric {
    fn write(&self, samples: &[(Vec<String>, Number)], text: &mut String) {
        if samples.is_empty() {
            return;
        }
        // Writing to a string does not fail.
        _ = writeln!(text, "# HELP {} {}", self.name, self.help);
        _ = writeln!(text, "# TYPE {} {}", self.name, self.kind.name());
        for (values, number) in samples {
            text.push_str(self.name);
            for (at, (label, value)) in self.labels.iter().zip(values).enumerate() {
                text.push(if at == 0 { '{' } else { ',' });
                _ = write!(text, "{label}=\"");
                push_escaped(value, text);
                text.push('"');
            }
            if !self.labels.is_empty() {
                text.push('}');
            }
            _ = match number {
                Number::Count(count) => writeln!(text, " {count}"),
                Number::Real(real) if real.is_nan() => writeln!(text, " NaN"),
                Number::Real(real) if real.is_infinite() => {
                    writeln!(text, " {}Inf", if *real > 0.0 { '+' } else { '-' })
                }
                Number::Real(real) => writeln!(text, " {real}"),
            };
        }
    }
}

impl MetricKind {
    /// As in the exposition format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

impl Samples {
    /// One value; `labels` are the values of the metric's labels.
    pub(crate) fn add(&mut self, labels: &[&str], number: impl Into<Number>) {
        let number = number.into();
        match self.samples.iter_mut().find(|(values, _)| values == labels) {
            Some((_, there)) => *there = self.kind.joined(*there, number),
            None => self.samples.push((labels.iter().map(|value| (*value).to_owned()).collect(), number)),
        }
    }
}

impl MetricKind {
    fn joined(self, a: Number, b: Number) -> Number {
        match (self, a, b) {
            (Self::Counter, Number::Count(a), Number::Count(b)) => Number::Count(a.saturating_add(b)),
            (Self::Counter, a, b) => Number::Real(a.real() + b.real()),
            (Self::Gauge, a, b) => {
                if b.real() > a.real() {
                    b
                } else {
                    a
                }
            }
        }
    }
}

impl Number {
    fn real(self) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Real(real) => real,
        }
    }
}

impl From<u64> for Number {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Number {
    fn from(real: f64) -> Self {
        Self::Real(real)
    }
}

impl From<bool> for Number {
    fn from(holds: bool) -> Self {
        Self::Count(u64::from(holds))
    }
}

fn push_escaped(value: &str, text: &mut String) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            _ => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::InterfaceView;

    const LEVEL: Metric = Metric {
        name: "level_ratio",
        help: "A level.",
        kind: MetricKind::Gauge,
        unit: "ratio",
        labels: &[],
        read: |_, out| out.add(&[], f64::NEG_INFINITY),
    };
    const SEEN: Metric = Metric {
        name: "seen_packets_total",
        help: "Packets.",
        kind: MetricKind::Counter,
        unit: "packets",
        labels: &["interface", "reason"],
        read: |snapshot, out| {
            for interface in &snapshot.interfaces {
                out.add(&[&interface.name, "a \"b\"\n\\"], interface.seen_pkts);
            }
        },
    };

    #[test]
    fn samples_of_the_same_labels_are_joined_and_label_values_escaped() {
        let of = |name: &str, seen_pkts| InterfaceView {
            name: name.into(),
            seen_pkts,
            ..InterfaceView::default()
        };
        let interfaces = vec![of("eth0", u64::MAX - 3), of("eth1", 7), of("eth0", 2)];
        let snapshot = Snapshot { interfaces, ..Snapshot::default() };
        assert_eq!(
            exposition(&[LEVEL, SEEN], &snapshot),
            r#"# HELP level_ratio A level.
# TYPE level_ratio gauge
level_ratio -Inf
# HELP seen_packets_total Packets.
# TYPE seen_packets_total counter
seen_packets_total{interface="eth0",reason="a \"b\"\n\\"} 18446744073709551614
seen_packets_total{interface="eth1",reason="a \"b\"\n\\"} 7
"#
        );
    }

    #[test]
    fn what_has_no_samples_is_left_out() {
        assert_eq!(exposition(&[SEEN], &Snapshot::default()), "");
    }
}
