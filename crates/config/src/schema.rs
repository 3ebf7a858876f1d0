//! The JSON Schema of the configuration, for editors and for those who generate files.

use serde::ser::{Serialize, SerializeMap, Serializer};
use toml::Value;

use crate::INTERFACES_MAX;
use crate::config::Config;
use crate::keys::{INTERFACE, INTERFACE_KEYS, KEYS, Key, sections};
use crate::manual;

/// JSON whose keys stay in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Flag(bool),
    Number(u64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(&'static str, Self)>),
}

/// The schema (JSON Schema, 2020-12), made of the table of keys and the comments of the default file. What a key must have in
/// common with others it cannot say.
#[must_use]
pub fn json_schema() -> String {
    let default = Config::default();
    let mut properties: Vec<(&'static str, Json)> =
        sections().map(|name| (name, section(name, &default))).collect();
    properties.sort_by_key(|(name, _)| manual::entries().position(|(path, _)| path == *name));
    let schema = Json::Object(vec![
        ("$schema", Json::text("https://json-schema.org/draft/2020-12/schema")),
        ("title", Json::text("Tapline sensor")),
        (
            "description",
            Json::text("The file that tapline run -c reads. What it leaves out has its default."),
        ),
        ("type", Json::text("object")),
        ("additionalProperties", Json::Flag(false)),
        ("properties", Json::Object(properties)),
    ]);
    let mut text = serde_json::to_string_pretty(&schema).expect("text, numbers and lists are JSON");
    text.push('\n');
    text
}

impl Json {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        match value {
            Value::Boolean(flag) => Self::Flag(flag),
            Value::Integer(number) => Self::Number(number.unsigned_abs()),
            Value::String(text) => Self::Text(text),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            other => Self::Text(other.to_string()),
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

fn section(name: &str, default: &Config) -> Json {
    if name != INTERFACE {
        return section_of(name, KEYS.iter().filter(|key| key.section == name), default, &[]);
    }
    let block = section_of(name, INTERFACE_KEYS.iter(), &default.interfaces[0], &["name"]);
    Json::Object(vec![
        ("type", Json::text("array")),
        ("minItems", Json::Number(1)),
        ("maxItems", Json::Number(INTERFACES_MAX as u64)),
        ("items", block),
    ])
}

fn section_of<R: 'static>(
    name: &str,
    keys: impl Iterator<Item = &'static Key<R>>,
    root: &R,
    required: &[&str],
) -> Json {
    let mut members = Vec::new();
    if let Some(comment) = manual::comment_of(name) {
        members.push(("description", Json::text(comment)));
    }
    members.push(("type", Json::text("object")));
    members.push(("additionalProperties", Json::Flag(false)));
    if !required.is_empty() {
        members.push(("required", Json::List(required.iter().map(|name| Json::text(name)).collect())));
    }
    members.push(("properties", Json::Object(keys.map(|key| (key.name, property(key, root))).collect())));
    Json::Object(members)
}

fn property<R>(key: &Key<R>, root: &R) -> Json {
    let comment = manual::comment_of(&format!("{}.{}", key.section, key.name)).unwrap_or_default();
    let range = key.field.range_text().map_or_else(String::new, |range| format!(". Range: {range}."));
    let mut members = vec![("description", Json::Text(format!("{comment}{range}")))];
    members.extend(key.field.schema());
    members.push(("default", key.field.write(root).into()));
    Json::Object(members)
}
