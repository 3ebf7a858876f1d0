//! The four schemas by name.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use tapline_record::{Column, column::Kind};

use crate::{CIC_2018, CIC_GINTS, CIC_HEAD, TAPLINE_1};

/// Which columns a run writes, and by which rules flows live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchemaId {
    /// Tapline's own: every known defect of CICFlowMeter corrected.
    #[default]
    Tapline1,
    /// CICFlowMeter of February 2018, as the CSE-CIC-IDS2018 tables name the columns.
    Cic2018,
    /// CICFlowMeter 4.0 as it is built today.
    CicHead,
    /// The corrected fork of Gints Engelen.
    CicGints,
}

/// A column without its accessor: what documentation needs.
#[derive(Clone, Copy, Debug)]
pub struct ColumnDoc {
    /// Name as in the header.
    pub name: &'static str,
    /// Type of the cells.
    pub kind: Kind,
    /// Unit, or empty.
    pub unit: &'static str,
    /// Meaning.
    pub definition: &'static str,
}

impl SchemaId {
    /// Every schema, the default first.
    pub const ALL: [Self; 4] = [Self::Tapline1, Self::Cic2018, Self::CicHead, Self::CicGints];

    /// The name on the command line and in every output that carries it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tapline1 => "tapline-1",
            Self::Cic2018 => "cic-2018",
            Self::CicHead => "cic-head",
            Self::CicGints => "cic-gints",
        }
    }

    /// The columns' documentation, in the order of the header.
    #[must_use]
    pub fn docs(self) -> Vec<ColumnDoc> {
        match self {
            Self::Tapline1 => docs_of(TAPLINE_1),
            Self::Cic2018 => docs_of(CIC_2018),
            Self::CicHead => docs_of(CIC_HEAD),
            Self::CicGints => docs_of(CIC_GINTS),
        }
    }

    /// SHA-256 over name, type and unit of every column: the contract between rows and whoever reads them.
    #[must_use]
    pub fn hash(self) -> String {
        match self {
            Self::Tapline1 => schema_hash(self, TAPLINE_1),
            Self::Cic2018 => schema_hash(self, CIC_2018),
            Self::CicHead => schema_hash(self, CIC_HEAD),
            Self::CicGints => schema_hash(self, CIC_GINTS),
        }
    }
}

/// [`SchemaId::hash`] of any table of columns: lower-case hex.
#[must_use]
pub fn schema_hash<R>(id: SchemaId, columns: &[Column<R>]) -> String {
    let mut hash = Sha256::new();
    hash.update(id.name());
    for column in columns {
        hash.update(format!("\n{}\t{:?}\t{}", column.name, column.kind, column.unit));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SchemaId {
    type Err = UnknownSchema;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|id| id.name() == text).ok_or(UnknownSchema)
    }
}

/// No schema has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownSchema;

impl fmt::Display for UnknownSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown schema; there are tapline-1, cic-2018, cic-head and cic-gints")
    }
}

impl std::error::Error for UnknownSchema {}

fn docs_of<R>(columns: &[Column<R>]) -> Vec<ColumnDoc> {
    columns
        .iter()
        .map(|column| ColumnDoc {
            name: column.name,
            kind: column.kind,
            unit: column.unit,
            definition: column.definition,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_hashes_differ() {
        let mut hashes: Vec<String> = SchemaId::ALL.iter().map(|id| id.hash()).collect();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), SchemaId::ALL.len());
        for id in SchemaId::ALL {
            assert_eq!(id.name().parse(), Ok(id));
            let mut names: Vec<&str> = id.docs().iter().map(|doc| doc.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{id} has a column twice");
            for doc in id.docs() {
                assert!(doc.definition.len() > 5, "{id}: {} is undocumented", doc.name);
            }
        }
    }

    #[test]
    fn tapline_names_carry_their_unit() {
        for doc in SchemaId::Tapline1.docs() {
            let suffix = match doc.unit {
                "us" => "_us",
                "bytes" => "_bytes",
                "packets" => "_pkts",
                "bytes/s" => "bytes_per_s",
                "packets/s" => "pkts_per_s",
                _ => continue,
            };
            assert!(doc.name.ends_with(suffix), "{} is in {}", doc.name, doc.unit);
        }
    }
}
