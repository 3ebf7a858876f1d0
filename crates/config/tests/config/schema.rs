//! The schema: committed as it is made, and true.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value};
use tapline_config::{Config, DEFAULT_TOML, json_schema};

use crate::some_config::some_config;

#[test]
fn the_committed_schema_is_the_one_that_is_made() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tapline.schema.json");
    let committed = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        committed == json_schema(),
        "docs/tapline.schema.json is old; make it anew:\n\
         cargo run -p tapline-config --example schema > docs/tapline.schema.json"
    );
}

#[test]
fn every_section_is_closed_and_every_key_described_with_its_default() {
    let schema: Value = serde_json::from_str(&json_schema()).unwrap();
    let default: Value = toml::from_str(DEFAULT_TOML).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    let mut keys = 0;
    for (section, section_schema) in schema["properties"].as_object().unwrap() {
        let (block, defaults) = match section.as_str() {
            "interface" => (&section_schema["items"], &default[section][0]),
            _ => (section_schema, &default[section]),
        };
        assert_eq!(block["additionalProperties"], false, "{section}");
        assert!(block["description"].as_str().is_some_and(|text| text.len() > 10), "{section}");
        for (key, key_schema) in block["properties"].as_object().unwrap() {
            assert!(
                key_schema["description"].as_str().is_some_and(|text| text.len() > 10),
                "{section}.{key}"
            );
            // Times and sizes are written in their greatest unit.
            let of_default = |value: &Value| {
                format!("[{section}]\n{key} = {value}").replace("[interface]", "[[interface]]")
            };
            let name = if section == "interface" && key != "name" { "\nname = \"eth0\"" } else { "" };
            let read = |value| Config::from_toml(&(of_default(value) + name), Path::new("default")).unwrap();
            assert_eq!(read(&key_schema["default"]), read(&defaults[key]), "{section}.{key}");
            keys += 1;
        }
    }
    assert_eq!(keys, 42);
}

#[test]
fn the_default_is_valid_and_what_is_wrong_is_not() {
    assert_eq!(faults(DEFAULT_TOML), Vec::<String>::new());
    for (text, fault) in [
        ("[sensr]", "/: sensr is not allowed"),
        ("[flow]\nidle = \"1s\"", "/flow: idle is not allowed"),
        ("[flow]\nidle_timeout = 1", "/flow/idle_timeout: not string"),
        ("[flow]\nidle_timeout = \"1\"", "/flow/idle_timeout: pattern"),
        ("[sensor]\nmemory = \"1GB\"", "/sensor/memory: pattern"),
        ("[sensor]\nworkers = 65", "/sensor/workers: maximum"),
        ("[log]\nlevel = \"loud\"", "/log/level: enum"),
        ("[[interface]]", "/interface/0: name is required"),
        ("[[interface]]\nname = \"\"", "/interface/0/name: minLength"),
        ("interface = []", "/interface: minItems"),
        ("[flow]\nno_decapsulate = [\"gre\", \"gre\"]", "/flow/no_decapsulate: uniqueItems"),
    ] {
        assert_eq!(faults(text), [fault], "{text}");
        assert!(Config::from_toml(text, Path::new("wrong")).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn every_configuration_is_valid(config in some_config()) {
        prop_assert_eq!(faults(&config.effective_toml()), Vec::<String>::new());
    }
}

/// What the schema has against a file.
fn faults(text: &str) -> Vec<String> {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(&json_schema()).unwrap());
    let mut faults = Vec::new();
    validate(&toml::from_str(text).unwrap(), SCHEMA.as_object().unwrap(), "", &mut faults);
    faults
}

/// The part of JSON Schema that the schema uses; another word is a panic.
fn validate(value: &Value, schema: &Map<String, Value>, path: &str, faults: &mut Vec<String>) {
    let at = if path.is_empty() { "/" } else { path };
    let mut fault = |text: &str| faults.push(format!("{at}: {text}"));
    let length = value.as_str().map_or(0, |text| text.chars().count() as u64);
    let items = value.as_array().map_or(&[][..], Vec::as_slice);
    let kind = schema["type"].as_str().unwrap();
    let is_of_kind = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "boolean" => value.is_boolean(),
        other => panic!("{other}"),
    };
    if !is_of_kind {
        return fault(&format!("not {kind}"));
    }
    for (word, says) in schema {
        match word.as_str() {
            "$schema" | "title" | "description" | "default" | "type" => {}
            "enum" if !says.as_array().unwrap().contains(value) => fault("enum"),
            "minimum" if value.as_u64() < says.as_u64() => fault("minimum"),
            "maximum" if value.as_u64() > says.as_u64() => fault("maximum"),
            "minLength" if length < says.as_u64().unwrap() => fault("minLength"),
            "maxLength" if length > says.as_u64().unwrap() => fault("maxLength"),
            "minItems" if (items.len() as u64) < says.as_u64().unwrap() => fault("minItems"),
            "maxItems" if items.len() as u64 > says.as_u64().unwrap() => fault("maxItems"),
            "uniqueItems" if (1..items.len()).any(|at| items[..at].contains(&items[at])) => {
                fault("uniqueItems")
            }
            "pattern" if !is_number_with_unit(value.as_str().unwrap(), says.as_str().unwrap()) => {
                fault("pattern")
            }
            "required" => {
                for name in says.as_array().unwrap().iter().filter_map(Value::as_str) {
                    if value.get(name).is_none() {
                        fault(&format!("{name} is required"));
                    }
                }
            }
            "additionalProperties" => {
                assert_eq!(says, false);
                for name in
                    value.as_object().unwrap().keys().filter(|name| schema["properties"].get(name).is_none())
                {
                    fault(&format!("{name} is not allowed"));
                }
            }
            "enum" | "minimum" | "maximum" | "minLength" | "maxLength" | "minItems" | "maxItems"
            | "uniqueItems" | "pattern" | "properties" | "items" => {}
            other => panic!("{other}"),
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        if let Some(schema) = schema["properties"].get(name) {
            validate(member, schema.as_object().unwrap(), &format!("{path}/{name}"), faults);
        }
    }
    for (at, item) in items.iter().enumerate() {
        validate(item, schema["items"].as_object().unwrap(), &format!("{path}/{at}"), faults);
    }
}

/// `^[0-9]+(a|b|c)$`, the only pattern that there is.
fn is_number_with_unit(text: &str, pattern: &str) -> bool {
    let units = pattern.strip_prefix("^[0-9]+(").unwrap().strip_suffix(")$").unwrap();
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    unit.len() < text.len() && units.split('|').any(|known| known == unit)
}
