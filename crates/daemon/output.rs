//! Where rows go: a file, a file in a directory, or standard output.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tapline_export::{Format, Output};

use crate::cli::{ReplayArgs, RowFormat};
use crate::exit::{Code, Failure};

/// A chosen output, not opened yet.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `None` for standard output.
    path: Option<PathBuf>,
    /// Parquet is written under another name until its footer is there.
    partial: Option<PathBuf>,
}

/// The row format: as asked for, else by the ending of the output's name, else CSV.
pub(crate) fn format_of(args: &ReplayArgs) -> Option<Format> {
    match args.format {
        Some(RowFormat::Csv) => Some(Format::Csv),
        Some(RowFormat::Ndjson) => Some(Format::Ndjson),
        Some(RowFormat::Parquet) => Some(Format::Parquet),
        Some(RowFormat::None) => None,
        None => match args.output.extension().and_then(|ending| ending.to_str()) {
            Some("ndjson" | "json" | "jsonl") => Some(Format::Ndjson),
            Some("parquet") => Some(Format::Parquet),
            _ => Some(Format::Csv),
        },
    }
}

impl Target {
    pub(crate) fn new(args: &ReplayArgs, format: Format) -> Self {
        if args.output == Path::new("-") {
            return Self { path: None, partial: None };
        }
        let is_dir = args.output.is_dir() || args.output.as_os_str().to_string_lossy().ends_with('/');
        let path = if is_dir { args.output.join(file_name(args, format)) } else { args.output.clone() };
        let partial = (format == Format::Parquet && !is_special(&path)).then(|| {
            let mut name = path.clone().into_os_string();
            name.push(".partial");
            PathBuf::from(name)
        });
        Self { path: Some(path), partial }
    }

    pub(crate) fn open(&self) -> Result<Output, Failure> {
        let Some(path) = &self.path else {
            return Ok(Output::stream(io::stdout()));
        };
        let path = self.partial.as_ref().unwrap_or(path);
        let file = File::create(path)
            .with_context(|| format!("creating output {}", path.display()))
            .map_err(|error| Failure::new(Code::CantCreate, error))?;
        // Pipes and devices cannot be cut back to the last whole row.
        Ok(if is_special(path) { Output::stream(file) } else { Output::from(file) })
    }

    /// Gives a finished file its name.
    pub(crate) fn publish(&self) -> Result<(), Failure> {
        let (Some(path), Some(partial)) = (&self.path, &self.partial) else { return Ok(()) };
        fs::rename(partial, path)
            .with_context(|| format!("renaming {} to {}", partial.display(), path.display()))
            .map_err(Failure::io)
    }

    /// Removes an unfinished Parquet file, which nobody can read; text is whole up to its last row and stays.
    pub(crate) fn discard(&self) {
        if let Some(partial) = &self.partial {
            // What went wrong before is what the user is told.
            let _ = fs::remove_file(partial);
        }
    }

    /// Names the output in an error.
    pub(crate) fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string())
    }
}

fn file_name(args: &ReplayArgs, format: Format) -> String {
    let stem = match args.inputs.as_slice() {
        [only] if only != Path::new("-") => only.file_name().and_then(|name| name.to_str()).map(stem_of),
        _ => None,
    };
    format!("{}.{}", stem.unwrap_or("flows"), format.name())
}

/// The name without the endings of captures and compressions.
fn stem_of(name: &str) -> &str {
    let mut stem = name;
    for ending in [".gz", ".zst", ".lz4", ".pcap", ".pcapng", ".cap"] {
        stem = stem.strip_suffix(ending).filter(|stem| !stem.is_empty()).unwrap_or(stem);
    }
    stem
}

fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| !meta.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems() {
        assert_eq!(stem_of("a.pcap"), "a");
        assert_eq!(stem_of("a.b.pcapng.zst"), "a.b");
        assert_eq!(stem_of(".pcap"), ".pcap");
        assert_eq!(stem_of("day1"), "day1");
    }
}
