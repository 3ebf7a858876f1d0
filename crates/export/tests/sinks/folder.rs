//! What stands in a sink's folder.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tapline_record::Timestamp;

/// 2023-11-14T22:13:20Z and `ms` milliseconds: before any file of a test is born, so that a file's age is the test's.
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + ms * 1_000)
}

/// Files of the folder that begin with `stem`, in the order of their lines: numbered ones, then the active one.
pub(crate) fn files(folder: &Path, stem: &str) -> Vec<PathBuf> {
    let mut files: Vec<(String, PathBuf)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            let rest = name.strip_prefix(stem)?.to_owned();
            let number = rest.strip_prefix('-').map_or_else(|| "~".to_owned(), |rest| rest[17..].to_owned());
            Some((number, path))
        })
        .collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}

/// A file's text, unpacked.
pub(crate) fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let mut text = String::new();
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => drop(MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap()),
        Some("zst") => {
            let mut unpacked = Vec::with_capacity(bytes.len() * 60 + (1 << 20));
            ruzstd::decoding::FrameDecoder::new().decode_all_to_vec(&bytes, &mut unpacked).unwrap();
            text = String::from_utf8(unpacked).unwrap();
        }
        _ => text = String::from_utf8(bytes).unwrap(),
    }
    text
}

/// The text of all of them.
pub(crate) fn all_text(folder: &Path, stem: &str) -> String {
    files(folder, stem).iter().map(|path| text(path)).collect()
}
