//! What follows the columns of a schema: labels where there is truth, verdicts where there is a model.
//!
//! In: what is known of a flow when its row is written. Out: the columns behind those of the schema, the verdict's before the
//! label's.

use tapline_record::column::Kind;
use tapline_record::{Cell, Column, Names, ShortText};

use crate::labels::{LABEL_COLUMNS, LabelCells};

/// What is known of a flow beside the flow itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowTail {
    pub(crate) verdict: Option<VerdictCells>,
    pub(crate) label: Option<LabelCells>,
}

/// A verdict as cells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VerdictCells {
    pub(crate) class: ShortText,
    pub(crate) score: f64,
    pub(crate) probability: f64,
    pub(crate) p_value: f64,
    /// Empty if the flow was not explained.
    pub(crate) top_features: Names,
    pub(crate) model: ShortText,
}

/// The columns of the tail that are asked for.
pub(crate) const fn tail_columns(verdicts: bool, labels: bool) -> &'static [Column<RowTail>] {
    match (verdicts, labels) {
        (false, false) => &[],
        (true, false) => VERDICT_COLUMNS,
        (false, true) => LABEL_COLUMNS,
        (true, true) => BOTH,
    }
}

/// What the model says.
const VERDICT_COLUMNS: &[Column<RowTail>] = &[
    Column {
        name: "class",
        kind: Kind::Text,
        unit: "",
        definition: "What the model takes the flow for: the likeliest hostile class if the score is suspicious, else benign",
        cell: |tail| cell(tail, |verdict| Cell::Text(verdict.class)),
    },
    Column {
        name: "score",
        kind: Kind::Float,
        unit: "log-odds",
        definition: "How much likelier hostile than benign; 4 decimals",
        cell: |tail| cell(tail, |verdict| Cell::Float(verdict.score)),
    },
    Column {
        name: "probability",
        kind: Kind::Float,
        unit: "",
        definition: "Probability of the class; 6 decimals",
        cell: |tail| cell(tail, |verdict| Cell::Float(verdict.probability)),
    },
    Column {
        name: "p_value",
        kind: Kind::Float,
        unit: "",
        definition: "Share of benign flows, of the model's calibration, that score at least so high; 4 digits",
        cell: |tail| cell(tail, |verdict| Cell::Float(verdict.p_value)),
    },
    Column {
        name: "top_features",
        kind: Kind::Text,
        unit: "",
        definition: "Inputs that raised the score most, of flows that raised an alert; else empty",
        cell: |tail| {
            cell(tail, |verdict| match verdict.top_features {
                none if none.is_empty() => Cell::Null,
                names => Cell::Names(names),
            })
        },
    },
    Column {
        name: "model",
        kind: Kind::Text,
        unit: "",
        definition: "Which model: its name and the first digits of the SHA-256 of its weights",
        cell: |tail| cell(tail, |verdict| Cell::Text(verdict.model)),
    },
];

fn cell(tail: &RowTail, read: fn(&VerdictCells) -> Cell) -> Cell {
    tail.verdict.as_ref().map_or(Cell::Null, read)
}

const BOTH: &[Column<RowTail>] = &{
    const COLUMNS: usize = VERDICT_COLUMNS.len() + LABEL_COLUMNS.len();
    let mut both = [const { EMPTY }; COLUMNS];
    let mut at = 0;
    while at < COLUMNS {
        both[at] = if at < VERDICT_COLUMNS.len() {
            Column { ..VERDICT_COLUMNS[at] }
        } else {
            Column { ..LABEL_COLUMNS[at - VERDICT_COLUMNS.len()] }
        };
        at += 1;
    }
    both
};

const EMPTY: Column<RowTail> =
    Column { name: "", kind: Kind::Text, unit: "", definition: "", cell: |_| Cell::Null };

impl VerdictCells {
    /// Cells of a verdict, rounded to what means something.
    pub(crate) fn new(verdict: &tapline_score::Verdict, class: ShortText, model: ShortText) -> Self {
        Self {
            class,
            score: round(f64::from(verdict.score), 1e4),
            probability: round(f64::from(verdict.probability), 1e6),
            p_value: significant(verdict.p_value),
            top_features: Names::default(),
            model,
        }
    }
}

fn round(value: f64, per_unit: f64) -> f64 {
    (value * per_unit).round() / per_unit
}

/// Four digits.
pub(crate) fn significant(value: f64) -> f64 {
    let magnitude = value.abs().log10().floor();
    if !(-15.0..15.0).contains(&magnitude) {
        return value;
    }
    // Powers of ten up to the 22nd are exact, so the quotient is the double that is nearest to the decimal.
    let decimals = 3 - magnitude as i32;
    let power = 10_f64.powi(decimals.abs());
    if decimals < 0 { (value / power).round() * power } else { (value * power).round() / power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_where_they_are_asked_for() {
        let names = |verdicts, labels| -> Vec<&str> {
            tail_columns(verdicts, labels).iter().map(|column| column.name).collect()
        };
        assert!(names(false, false).is_empty());
        let (verdict, label) = (names(true, false), names(false, true));
        assert_eq!(verdict, ["class", "score", "probability", "p_value", "top_features", "model"]);
        assert_eq!(label.first(), Some(&"label_class"));
        assert_eq!(names(true, true), [verdict, label].concat());
    }

    #[test]
    fn four_digits() {
        assert_eq!(format!("{}", significant(1.0 / 54_321.0)), "0.00001841");
        assert_eq!(format!("{}", significant(0.99999)), "1");
        assert_eq!(format!("{}", significant(0.0)), "0");
        assert_eq!(format!("{}", significant(-123_456.7)), "-123500");
        assert_eq!(format!("{}", significant(2.000_000_1)), "2");
    }
}
