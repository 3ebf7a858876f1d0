//! The comments of `default.toml`: what it says of each section and key.

use crate::DEFAULT_TOML;

/// What the comment of a section (`flow`) or key (`flow.partial`) says; `None` if it has none.
pub(crate) fn comment_of(path: &str) -> Option<&'static str> {
    entries()
        .find(|(known, _)| known == path)
        .map(|(_, comment)| comment)
        .filter(|comment| !comment.is_empty())
}

/// Sections and keys with their comments, in the order of the file.
pub(crate) fn entries() -> impl Iterator<Item = (String, &'static str)> {
    let mut section = "";
    DEFAULT_TOML.lines().filter_map(move |line| {
        let (code, comment) = split(line);
        if let Some(header) = code.strip_prefix('[') {
            section = header.trim_start_matches('[').trim_end_matches(']');
            return Some((section.to_owned(), comment));
        }
        let (name, _) = code.split_once('=')?;
        Some((format!("{section}.{}", name.trim()), comment))
    })
}

/// A line's code and comment. Strings in the file have no quotes within.
fn split(line: &'static str) -> (&'static str, &'static str) {
    let mut in_text = false;
    let begins = |letter: char| {
        in_text ^= letter == '"';
        letter == '#' && !in_text
    };
    let (code, comment) = line.find(begins).map_or((line, ""), |at| line.split_at(at));
    (code.trim(), comment.trim_start_matches('#').trim())
}
