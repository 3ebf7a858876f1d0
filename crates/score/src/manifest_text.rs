//! A manifest out of its text.
//!
//! In: what `model.toml` holds. Out: a [`Manifest`], not checked yet; or what is wrong with the text, with line and column.
//!
//! Nine tenths of a manifest are knots, histograms and scores: long lists of numbers, each on one line, as [`toml`] writes them.
//! They are read here, and the rest, with empty lists in their place, is TOML's: 1.5 ms instead of 13 for the model that comes with
//! Tapline. Whatever is not written so is left to TOML, and so is the whole text if anything is wrong with it: what is accepted, and
//! what is said about the rest, does not depend on the short way.

use serde::Deserialize;

use crate::manifest::Manifest;
use crate::manifest_check::{self, FORMAT};

/// Reads a manifest; what is wrong with it has a line and a column, both from 1.
pub(crate) fn parse(text: &str) -> Result<Manifest, String> {
    /// Of a manifest of any version.
    #[derive(Deserialize)]
    struct Version {
        format: Option<i64>,
    }
    if let Some(manifest) = with_lists_apart(text) {
        return Ok(manifest);
    }
    let manifest = match toml::from_str::<Manifest>(text) {
        Ok(manifest) if manifest.format == FORMAT => return Ok(manifest),
        other => other,
    };
    let Version { format } = toml::from_str(text).map_err(|error| place(text, &error))?;
    match format {
        Some(format) if format == i64::from(FORMAT) => manifest.map_err(|error| place(text, &error)),
        Some(format) => Err(manifest_check::other_format(format)),
        None => Err(format!("there is no key format; this build reads format = {FORMAT}")),
    }
}

fn place(text: &str, error: &toml::de::Error) -> String {
    let problem = error.message().replace('\n', ", ");
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return problem };
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let (line, column) = (before.matches('\n').count() + 1, before.len() - line_start + 1);
    format!("line {line}, column {column}: {problem}")
}

/// A list that is read here.
enum List {
    /// Of the column of this number.
    Column(usize, ColumnList, Vec<f32>),
    Scores(Vec<f32>),
    Ranks(Vec<u64>),
}

#[derive(Clone, Copy)]
enum ColumnList {
    Knots,
    Marks,
    Edges,
    Shares,
}

/// The table that a line belongs to.
#[derive(Clone, Copy)]
enum Table {
    Column(usize),
    Calibration,
    Other,
}

/// The short way; `None` if anything at all is unusual.
fn with_lists_apart(text: &str) -> Option<Manifest> {
    let mut rest = String::with_capacity(text.len() / 4);
    let mut lists = Vec::new();
    let (mut table, mut columns) = (Table::Other, 0);
    let (mut end, mut last_end) = (0, 0);
    for line in text.split_inclusive('\n') {
        end += line.len();
        if line.starts_with('[') {
            table = match line.trim_end() {
                "[[inputs.columns]]" => {
                    columns += 1;
                    Table::Column(columns - 1)
                }
                "[calibration]" => Table::Calibration,
                _ => Table::Other,
            };
        }
        match list(line, table) {
            Some((key, list)) => {
                rest.push_str(key);
                rest.push_str(" = []\n");
                lists.push(list);
                last_end = end;
            }
            None => rest.push_str(line),
        }
    }
    // Within a text of several lines a list would be none.
    if ["\"\"\"", "'''"].iter().any(|quotes| text[..last_end].contains(quotes)) {
        return None;
    }
    let mut manifest = toml::from_str::<Manifest>(&rest).ok().filter(|manifest| manifest.format == FORMAT)?;
    for list in lists {
        match list {
            List::Column(column, which, numbers) => {
                let column = manifest.inputs.columns.get_mut(column)?;
                *match which {
                    ColumnList::Knots => &mut column.knots,
                    ColumnList::Marks => &mut column.marks,
                    ColumnList::Edges => &mut column.edges,
                    ColumnList::Shares => &mut column.shares,
                } = numbers;
            }
            List::Scores(numbers) => manifest.calibration.scores = numbers,
            List::Ranks(numbers) => manifest.calibration.ranks = numbers,
        }
    }
    Some(manifest)
}

/// A line that is a key of this table with a list as [`toml`] writes it: the key, and the list.
fn list(line: &str, table: Table) -> Option<(&str, List)> {
    let (key, numbers) = line.trim_end().split_once(" = [")?;
    let numbers = numbers.strip_suffix(']')?;
    let list = match (table, key) {
        (Table::Column(at), "knots") => List::Column(at, ColumnList::Knots, floats(numbers)?),
        (Table::Column(at), "marks") => List::Column(at, ColumnList::Marks, floats(numbers)?),
        (Table::Column(at), "edges") => List::Column(at, ColumnList::Edges, floats(numbers)?),
        (Table::Column(at), "shares") => List::Column(at, ColumnList::Shares, floats(numbers)?),
        (Table::Calibration, "scores") => List::Scores(floats(numbers)?),
        (Table::Calibration, "ranks") => List::Ranks(integers(numbers)?),
        _ => return None,
    };
    Some((key, list))
}

/// Floats with digits on both sides of the point.
fn floats(numbers: &str) -> Option<Vec<f32>> {
    let float = |number: &str| {
        let (whole, fraction) = number.strip_prefix('-').unwrap_or(number).split_once('.')?;
        (is_whole(whole) && !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit()))
            .then_some(())?;
        // By way of the double that TOML has for it.
        number.parse::<f64>().ok().map(|number| number as f32).filter(|number| number.is_finite())
    };
    numbers.split(", ").map(float).collect()
}

fn integers(numbers: &str) -> Option<Vec<u64>> {
    // TOML's integers have a sign.
    let integer = |number: &str| is_whole(number).then(|| number.parse().ok())?;
    numbers
        .split(", ")
        .map(|number| integer(number).filter(|number| i64::try_from(*number).is_ok()))
        .collect()
}

/// Digits without a needless zero.
fn is_whole(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.is_empty()
        && (!digits.starts_with('0') || digits.len() == 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::example::{manifest, window};

    /// Both ways agree: what the short one accepts is what TOML reads, and it accepts whatever is `usual`.
    fn agree(text: &str, usual: bool) {
        let short = with_lists_apart(text);
        assert!(short.is_some() || !usual, "the short way should have taken\n{text}");
        if let Some(short) = short {
            let long = toml::from_str::<Manifest>(text).expect("the short way took what is no manifest");
            // As text, which tells a zero from a negative one.
            assert_eq!(format!("{short:?}"), format!("{long:?}"));
        }
    }

    fn text() -> String {
        let mut manifest = manifest(window(4, 2, 1_000, 2));
        manifest.format = FORMAT;
        manifest.inputs.columns[0].knots = vec![-1.5, -0.0, 1e-7, 16_777_216.0, 3.0e30];
        manifest.inputs.columns[0].marks = vec![-1.0, 0.0, 0.1, 0.2, 0.3];
        manifest.calibration.ranks = vec![u64::from(u32::MAX), 1];
        toml::to_string(&manifest).unwrap()
    }

    #[test]
    fn lists_are_read_as_toml_reads_them() {
        agree(&text(), true);
        agree(&text().replace('\n', "\r\n"), true);
    }

    #[test]
    fn what_is_not_usual_is_left_to_toml() {
        let text = text();
        let line = text.lines().find(|line| line.starts_with("scores = [")).unwrap();
        for other in [
            "scores = [1, 2.0]",
            "scores = [1_000.0, 2.0]",
            "scores = [1e3, 2.0]",
            "scores = [+1.0]",
            "scores = [nan]",
            "scores = []",
            "scores = [1.0,2.0]",
            "scores = [ 1.0 ]",
            "scores = [1.0] # one",
            "scores = [01.0]",
            "scores = [1.]",
            "scores = [1.0, ]",
            "scores = [\n1.0,\n]",
            "scores = [1.0]\nscores = [1.0]",
            "scores = [1.0]\nedges = [1.0]",
            "\"scores\" = [1.0]",
            "scores = '''\nscores = [1.0]\n'''",
            "[[inputs.columns]]\nedges = [1.0]",
            "scores = [1.0]\n[inputs]\ncolumns = []",
        ] {
            agree(&text.replace(line, other), false);
        }
        let told = parse(&text.replace(line, "scores = [1.0, x]")).unwrap_err();
        let at = text.lines().position(|other| other == line).unwrap() + 1;
        assert!(told.starts_with(&format!("line {at}, column 16: ")), "{told}");
    }

    proptest! {
        #[test]
        fn a_damaged_text_is_read_as_toml_reads_it(at in 0.0_f64..1.0, cut in 0_usize..4, byte in r#"["'\[\]=.,0-9e#\n-]"#) {
            let mut text = text();
            let at = (at * text.len() as f64) as usize;
            text.replace_range(at..(at + cut).min(text.len()), &byte);
            agree(&text, false);
        }
    }
}
