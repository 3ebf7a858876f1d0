//! What holds for any configuration, and for any garbage.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use tapline_config::{Config, ConfigError, DEFAULT_TOML, Layers, PROBLEMS_MAX};

use crate::some_config::some_config;

/// Reads whatever comes; if it is refused, the text of the error is made, and bounded.
fn survive(layers: &Layers) -> Result<(), TestCaseError> {
    match Config::load(layers) {
        Ok(config) => {
            let again = Config::from_toml(&config.effective_toml(), Path::new("again"));
            prop_assert_eq!(again.unwrap(), config);
        }
        Err(ConfigError::Invalid { problems, more }) => {
            prop_assert!(!problems.is_empty() && problems.len() <= PROBLEMS_MAX);
            prop_assert!(more == 0 || problems.len() == PROBLEMS_MAX);
            let text = ConfigError::Invalid { problems, more }.to_string();
            prop_assert!(text.len() < PROBLEMS_MAX * 8_192);
            let is_bare = |letter: char| letter.is_control() && letter != '\n';
            prop_assert!(!text.contains(is_bare), "{:?}", text);
        }
        Err(error) => panic!("{error}"),
    }
    Ok(())
}

fn survive_file(bytes: &[u8]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tapline.toml");
    std::fs::write(&file, bytes).unwrap();
    survive(&Layers { file: Some(file), ..Layers::default() })
}

/// Words that are near to what is meant.
fn some_word() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "interface",
        "sensor",
        "flow",
        "rows",
        "name",
        "memory",
        "partial",
        "idle_timeout",
        "0",
        "1",
        "99",
        "-1",
        "é",
        "\"1s\"",
        "1GiB",
        "true",
        "[]",
        "[\"1s\"]",
        "{}",
        "[[interface]]",
        "[flow]",
        "\"",
        "'''",
        "",
        " ",
        "0x10",
        "1e9",
        "eth0,eth1",
        "18446744073709551616",
        "9223372036854775807us",
        "\u{7f}",
        "\0",
    ];
    prop_oneof![3 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => ".{0,8}"]
}

proptest! {
    #[test]
    fn what_is_in_force_reads_as_itself(config in some_config()) {
        let text = config.effective_toml();
        let again = Config::from_toml(&text, Path::new("again"));
        prop_assert_eq!(again.unwrap_or_else(|error| panic!("{error}\n{text}")), config);
    }

    #[test]
    fn what_did_not_change_is_not_told(one in some_config(), other in some_config()) {
        prop_assert!(one.changes(&one).is_empty());
        let changes = one.changes(&other);
        prop_assert_eq!(changes.is_empty(), one == other);
        prop_assert_eq!(&other.changes(&one), &changes);
    }

    #[test]
    fn garbage_is_refused_in_order(bytes in vec(any::<u8>(), 0..200), text in "\\PC{0,200}") {
        survive_file(&bytes)?;
        survive_file(text.as_bytes())?;
    }

    #[test]
    fn a_damaged_default_is_refused_in_order(cuts in vec((any::<prop::sample::Index>(), 0_usize..20, "[\\x00-\\x7fé]{0,4}"), 1..6)) {
        let mut text: Vec<char> = DEFAULT_TOML.chars().collect();
        for (at, length, new) in cuts {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, new.chars());
        }
        survive_file(text.into_iter().collect::<String>().as_bytes())?;
    }

    #[test]
    fn words_in_any_order_are_refused_in_order(
        lines in vec((some_word(), some_word()), 0..8),
        settings in vec(vec(some_word(), 1..5), 0..6),
        variables in vec((vec(some_word(), 1..4), some_word()), 0..6),
    ) {
        let file: String = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        survive_file(file.as_bytes())?;
        let settings = settings.into_iter().map(|words| {
            let (value, key) = words.split_last().unwrap();
            format!("{}={value}", key.join("."))
        });
        let variables = variables.into_iter().map(|(words, value)| {
            (format!("TAPLINE_{}", words.join("__").to_uppercase()).into(), value.into())
        });
        survive(&Layers { file: None, environment: variables.collect(), settings: settings.collect() })?;
    }
}

#[test]
fn a_long_line_and_many_mistakes_stay_small() {
    let one_line = format!(
        "flow = {{ {} }}\n",
        (0..50_000).map(|at| format!("k{at} = 1")).collect::<Vec<_>>().join(", ")
    );
    let Err(error) = Config::from_toml(&one_line, Path::new("long")) else { panic!("accepted") };
    let ConfigError::Invalid { problems, more } = &error else { panic!("{error}") };
    assert_eq!((problems.len(), *more), (20, 49_980));
    assert!(error.to_string().len() < 20_000, "{}", error.to_string().len());
    let deep = format!("flow = {}", "[".repeat(500_000));
    assert!(Config::from_toml(&deep, Path::new("deep")).is_err());
}
