//! `tapline features`: the columns, from the same table that the rows are written by.

use std::fmt::Write;

use tapline_features::inputs::{self, INPUTS};
use tapline_features::lookahead::PAUSE_US;
use tapline_features::{ColumnDoc, SchemaId};

use crate::cli::Schema;
use crate::exit::{Code, Failure};
use crate::print;

pub(crate) fn list(schema: Schema) -> Result<(), Failure> {
    let docs = schema.0.docs();
    let mut text = format!("{}: {} columns, hash {}\n\n", schema.0, docs.len(), schema.0.hash());
    for doc in &docs {
        let _ = writeln!(text, "{:<28} {:<10} {}", doc.name, doc.unit, doc.definition);
    }
    print(text.as_bytes())
}

/// The inputs that models choose from.
pub(crate) fn list_inputs() -> Result<(), Failure> {
    let mut text = format!(
        "{}: {} inputs, context read {} s after a flow's end, hash {}\n\n",
        inputs::SCHEMA,
        INPUTS.len(),
        PAUSE_US / 1_000_000,
        inputs::schema_hash()
    );
    for input in INPUTS {
        let _ = writeln!(text, "{:<30} {:<16} {}", input.name, input.unit, input.definition);
    }
    print(text.as_bytes())
}

pub(crate) fn explain(name: &str, schema: Option<Schema>) -> Result<(), Failure> {
    let schemas = schema.map_or_else(|| SchemaId::ALL.to_vec(), |schema| vec![schema.0]);
    let mut text = String::new();
    for id in &schemas {
        for doc in id.docs().iter().filter(|doc| doc.name.eq_ignore_ascii_case(name)) {
            let unit = if doc.unit.is_empty() { "none" } else { doc.unit };
            let _ = writeln!(
                text,
                "{}\n  schema:  {id}\n  type:    {:?}\n  unit:    {unit}\n  meaning: {}\n",
                doc.name, doc.kind, doc.definition
            );
        }
    }
    if text.is_empty() {
        let nearest = nearest(name, &schemas);
        let message = format!("no column is called {name:?}; did you mean {nearest:?}?");
        return Err(Failure::new(Code::Usage, anyhow::anyhow!(message)));
    }
    print(text.trim_end().as_bytes())?;
    print(b"\n")
}

/// The column name with the fewest edits.
fn nearest(name: &str, schemas: &[SchemaId]) -> &'static str {
    schemas
        .iter()
        .flat_map(|id| id.docs())
        .min_by_key(|doc: &ColumnDoc| edits(&name.to_lowercase(), &doc.name.to_lowercase()))
        .map_or("", |doc| doc.name)
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_column_is_recognised() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(nearest("fwd_pkt", &[SchemaId::Tapline1]), "fwd_pkts");
    }
}
