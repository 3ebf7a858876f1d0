//! A configuration while its layers are laid over each other.
//!
//! In: layers, the earliest first. Out: the configuration with all layers applied and checked, or all that is wrong with
//! them. A wrong value in an early layer is told even if a later layer sets the key.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::INTERFACES_MAX;
use crate::config::{Config, InterfaceConfig};
use crate::error::{ConfigError, Flaw, Place, Problem, Problems, nearest};
use crate::keys::{INTERFACE, INTERFACE_KEYS, KEYS, Key, names, sections};
use crate::kind::{Bad, Form};
use crate::rules;

/// See the module.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    config: Config,
    /// What a new interface begins with; its name is empty.
    new_interface: InterfaceConfig,
    notes: Notes<'a>,
}

/// What is remembered of the layers.
#[derive(Debug, Default)]
pub(crate) struct Notes<'a> {
    /// Where keys, blocks and lists got their value; those with the default are missing.
    origins: BTreeMap<String, Origin<'a>>,
    problems: Problems,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
struct Origin<'a> {
    layer: Layer<'a>,
    /// Bytes of a file.
    span: Range<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Layer<'a> {
    File { path: &'a Path, text: &'a str },
    Variable { name: &'a str },
    Setting { text: &'a str },
}

impl<'a> Draft<'a> {
    /// Begins with the earliest layer.
    pub(crate) fn new(config: Config) -> Self {
        let first = config.interfaces.first();
        let mut new_interface = first.cloned().unwrap_or_else(InterfaceConfig::blank);
        new_interface.name.clear();
        Self { config, new_interface, notes: Notes::default() }
    }

    pub(crate) fn add_problem(&mut self, problem: impl FnOnce() -> Problem) {
        self.notes.problems.push(problem);
    }

    /// Lays a file over it.
    pub(crate) fn add_file(&mut self, path: &'a Path, text: &'a str) {
        let layer = Layer::File { path, text };
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What has been recovered may miss keys or have wrong values; saying so would only distract.
            self.add_syntax_errors(layer, &errors);
            return;
        }
        for (name, value) in table.get_ref() {
            let section = name.get_ref().as_ref();
            let mut keys = KEYS.iter().filter(|key| key.section == section).peekable();
            match value.get_ref() {
                _ if section == INTERFACE => self.add_blocks(value, layer),
                DeValue::Table(table) if keys.peek().is_some() => {
                    assign_all(&mut self.config, keys, section, table, layer, &mut self.notes);
                }
                _ if keys.peek().is_some() => {
                    let text = format!("must be written as [{section}], with its keys below");
                    self.notes.rule(layer.at(value.span()), section, text);
                }
                _ => self.notes.unknown(layer.at(name.span()), "", section),
            }
        }
    }

    /// Lays those variables over it that are ours, in the order of their names.
    pub(crate) fn add_environment(&mut self, environment: &'a [(OsString, OsString)]) {
        let mut ours: Vec<_> = environment
            .iter()
            .filter_map(|(name, value)| Some((name.to_str()?, path_of_variable(name.to_str()?)?, value)))
            .collect();
        // By number where there is one: interface 2 is there before interface 10 is made.
        let number = |path: &[String]| path.get(1).and_then(|step| step.parse::<u32>().ok());
        ours.sort_by_cached_key(|(_, path, _)| (path.len(), number(path), path.clone()));
        for (name, path, value) in ours {
            let layer = Layer::Variable { name };
            match value.to_str() {
                Some(value) => self.add_one(&path, value, layer),
                None => self.notes.syntax(layer.at(0..0), "not UTF-8"),
            }
        }
    }

    /// Lays a setting over it, `key=value`.
    pub(crate) fn add_setting(&mut self, text: &'a str) {
        let layer = Layer::Setting { text };
        let Some((key, value)) = text.split_once('=') else {
            return self.notes.syntax(layer.at(0..0), "write key=value, such as flow.idle_timeout=60s");
        };
        let path: Vec<String> = key.split('.').map(|step| step.trim().to_owned()).collect();
        self.add_one(&path, value.trim(), layer);
    }

    /// The configuration, checked.
    pub(crate) fn finish(mut self) -> Result<Config, ConfigError> {
        rules::check(&self.config, &mut self.notes);
        self.notes.problems.into_result()?;
        Ok(self.config)
    }

    fn add_syntax_errors(&mut self, layer: Layer<'a>, errors: &[toml::de::Error]) {
        let mut line_end = 0;
        for error in errors {
            let span = error.span().unwrap_or_default();
            // What follows on the same line is mostly the same mistake.
            if span.start < line_end {
                continue;
            }
            line_end = layer.line_end(span.start);
            self.notes.syntax(layer.at(span), error.message());
        }
    }

    /// Replaces the interfaces by the blocks of a file or a setting.
    fn add_blocks(&mut self, value: &Spanned<DeValue<'_>>, layer: Layer<'a>) {
        let misplaced = || "must be written as [[interface]], with its keys below".to_owned();
        let Some(blocks) = value.get_ref().as_array() else {
            return self.notes.rule(layer.at(value.span()), INTERFACE, misplaced());
        };
        self.config.interfaces.clear();
        self.notes.origins.retain(|path, _| blocks_of(path).all(|block| block != INTERFACE));
        self.notes.origins.insert(INTERFACE.to_owned(), layer.at(value.span()));
        for (at, block) in blocks.iter().enumerate().take(INTERFACES_MAX) {
            let path = format!("{INTERFACE}.{at}");
            self.notes.origins.insert(path.clone(), layer.at(block.span()));
            let mut interface = self.new_interface.clone();
            match block.get_ref().as_table() {
                Some(table) => {
                    assign_all(&mut interface, INTERFACE_KEYS.iter(), &path, table, layer, &mut self.notes);
                }
                None => self.notes.rule(layer.at(block.span()), &path, misplaced()),
            }
            self.config.interfaces.push(interface);
        }
        if let Some(block) = blocks.get(INTERFACES_MAX) {
            let text =
                format!("there are {} of them; at most {INTERFACES_MAX} can be captured", blocks.len());
            self.notes.rule(layer.at(block.span()), INTERFACE, text);
        }
    }

    /// Makes the interfaces those named; what is known of a name stays.
    fn name_interfaces(&mut self, names: &[Spanned<DeValue<'_>>], layer: Layer<'a>) {
        let known = std::mem::take(&mut self.config.interfaces);
        self.add_blocks(&as_blocks(names), layer);
        for interface in &mut self.config.interfaces {
            if let Some(same) = known.iter().find(|known| known.name == interface.name) {
                interface.clone_from(same);
            }
        }
    }

    /// Lays one value over it, whose key is `path`.
    fn add_one(&mut self, path: &[String], value: &str, layer: Layer<'a>) {
        let steps: Vec<&str> = path.iter().map(String::as_str).collect();
        let is_number = |step: &str| !step.is_empty() && step.bytes().all(|digit| digit.is_ascii_digit());
        match steps[..] {
            [INTERFACE] => {
                let list = spanned(loosened(value, Form::Texts));
                match list.get_ref().as_array() {
                    Some(names) if names.iter().all(|name| name.get_ref().is_str()) => {
                        self.name_interfaces(names, layer);
                    }
                    _ => self.add_blocks(&list, layer),
                }
            }
            [INTERFACE, number, name] if is_number(number) => {
                let block = format!("{INTERFACE}.{number}");
                if let Some(at) = self.interface_at(number, &block, layer) {
                    let interface = &mut self.config.interfaces[at];
                    assign(interface, INTERFACE_KEYS.iter(), &block, name, value, layer, &mut self.notes);
                }
            }
            [INTERFACE, ..] => {
                let text = "interfaces are counted from 0, as in interface.0.name".to_owned();
                self.notes.rule(layer.at(0..0), &path.join("."), text);
            }
            [section] if let Some(key) = KEYS.iter().find(|key| key.section == section) => {
                let key = layer.spell(&format!("{section}.{}", key.name));
                let text = format!("is a section: name one of its keys, such as {key}");
                self.notes.rule(layer.at(0..0), section, text);
            }
            [section, name] => {
                let keys = KEYS.iter().filter(|key| key.section == section);
                assign(&mut self.config, keys, section, name, value, layer, &mut self.notes);
            }
            _ => self.notes.unknown(layer.at(0..0), "", &path.join(".")),
        }
    }

    /// Where the interface of a number is; the next one is made.
    fn interface_at(&mut self, number: &str, block: &str, layer: Layer<'a>) -> Option<usize> {
        let count = self.config.interfaces.len();
        let at = number.parse().unwrap_or(usize::MAX);
        if at > count || at >= INTERFACES_MAX {
            let text = if at >= INTERFACES_MAX {
                format!("at most {INTERFACES_MAX} interfaces can be captured, counted from 0")
            } else {
                format!("interfaces are counted from 0, and the next one is {INTERFACE}.{count}")
            };
            self.notes.rule(layer.at(0..0), block, text);
            return None;
        }
        if at == count {
            self.config.interfaces.push(self.new_interface.clone());
            self.notes.origins.insert(block.to_owned(), layer.at(0..0));
        }
        Some(at)
    }
}

impl<'a> Notes<'a> {
    /// Notes that a rule over `keys` is broken, at the first of them in the latest layer; not if one of them is known to be
    /// wrong.
    pub(crate) fn broken(&mut self, keys: &[String], text: String) {
        let is_wrong = |key: &String| blocks_of(key).any(|path| self.problems.has(path));
        if keys.iter().any(is_wrong) {
            return;
        }
        // A key that a block left out has its place, but those that it names are better ones to point at.
        let set = keys.iter().filter_map(|key| {
            let mut around = blocks_of(key).enumerate();
            let (steps_up, origin) =
                around.find_map(|(steps, path)| Some((steps, self.origins.get(path)?)))?;
            Some((key, origin, steps_up))
        });
        let best = set.min_by_key(|(_, origin, steps_up)| (Reverse(origin.layer.rank()), *steps_up));
        if let Some((key, origin, _)) = best {
            self.rule(origin.clone(), key, text);
        }
    }

    fn syntax(&mut self, origin: Origin<'_>, message: &str) {
        self.push(origin, "", || Flaw::Syntax { message: message.to_owned() });
    }

    fn rule(&mut self, origin: Origin<'_>, key: &str, text: String) {
        self.push(origin, key, || Flaw::Rule { text });
    }

    fn unknown(&mut self, origin: Origin<'_>, section: &str, name: &str) {
        let key = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
        let layer = origin.layer;
        self.push(origin, &key, || Flaw::Unknown {
            nearest: nearest_key(section, name).map(|key| layer.spell(&key)),
        });
    }

    fn push(&mut self, origin: Origin<'_>, key: &str, flaw: impl FnOnce() -> Flaw) {
        self.problems.push(|| Problem { place: origin.place(), key: key.to_owned(), flaw: flaw() });
    }
}

impl Origin<'_> {
    fn place(self) -> Place {
        match self.layer {
            Layer::File { path, text } => Place::in_file(path.to_owned(), text, self.span),
            Layer::Variable { name } => Place::Environment { name: name.to_owned() },
            Layer::Setting { text } => Place::Setting { text: text.to_owned() },
        }
    }
}

impl<'a> Layer<'a> {
    const fn at(self, span: Range<usize>) -> Origin<'a> {
        Origin { layer: self, span }
    }

    /// Later layers go before earlier ones.
    const fn rank(self) -> u8 {
        match self {
            Self::File { .. } => 0,
            Self::Variable { .. } => 1,
            Self::Setting { .. } => 2,
        }
    }

    /// How a key is written in this layer.
    fn spell(self, key: &str) -> String {
        match self {
            Self::Variable { .. } => format!("TAPLINE_{}", key.to_ascii_uppercase().replace('.', "__")),
            Self::File { .. } if key == INTERFACE => format!("[[{key}]]"),
            Self::File { .. } if !key.contains('.') => format!("[{key}]"),
            _ => key.to_owned(),
        }
    }

    fn line_end(self, byte: usize) -> usize {
        let Self::File { text, .. } = self else { return byte };
        let rest = text.as_bytes().get(byte..).unwrap_or_default();
        byte + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
    }
}

/// Assigns all keys of a section's table.
fn assign_all<'a, R: 'static>(
    root: &mut R,
    keys: impl Iterator<Item = &'static Key<R>> + Clone,
    section: &str,
    table: &DeTable<'_>,
    layer: Layer<'a>,
    notes: &mut Notes<'a>,
) {
    for (name, value) in table {
        let name_text = name.get_ref().as_ref();
        match keys.clone().find(|key| key.name == name_text) {
            Some(key) => assign_value(root, key, section, value, layer, notes),
            None => notes.unknown(layer.at(name.span()), section, name_text),
        }
    }
}

/// Assigns one key of a section from text.
fn assign<'a, R: 'static>(
    root: &mut R,
    mut keys: impl Iterator<Item = &'static Key<R>>,
    section: &str,
    name: &str,
    value: &str,
    layer: Layer<'a>,
    notes: &mut Notes<'a>,
) {
    match keys.find(|key| key.name == name) {
        Some(key) => {
            assign_value(root, key, section, &spanned(loosened(value, key.field.form())), layer, notes)
        }
        None => notes.unknown(layer.at(0..0), section, name),
    }
}

fn assign_value<'a, R>(
    root: &mut R,
    key: &Key<R>,
    section: &str,
    value: &Spanned<DeValue<'_>>,
    layer: Layer<'a>,
    notes: &mut Notes<'a>,
) {
    let path = format!("{section}.{}", key.name);
    if let Err(Bad { flaw, span }) = key.field.read(root, value.get_ref()) {
        notes.push(layer.at(span.unwrap_or_else(|| value.span())), &path, || flaw);
    }
    notes.origins.insert(path, layer.at(value.span()));
}

/// A value from outside the file: TOML if it is of the form that the key has, else text, or texts with commas between them.
fn loosened(text: &str, form: Form) -> DeValue<'_> {
    let as_toml = DeValue::parse(text).map(Spanned::into_inner);
    match (form, as_toml) {
        (Form::Text, Ok(value)) if value.is_str() => value,
        (Form::Texts, Ok(value)) if value.is_array() => value,
        (Form::Bare, Ok(value)) => value,
        (Form::Texts, _) if text.is_empty() => DeValue::Array(DeArray::default()),
        (Form::Texts, _) => {
            let item = |item: &str| spanned(DeValue::String(item.trim().to_owned().into()));
            DeValue::Array(text.split(',').map(item).collect())
        }
        _ => DeValue::String(text.into()),
    }
}

/// `["eth0"]` as `[{ name = "eth0" }]`.
fn as_blocks<'v>(names: &[Spanned<DeValue<'v>>]) -> Spanned<DeValue<'v>> {
    let block = |name: &Spanned<DeValue<'v>>| {
        let mut table = DeTable::new();
        table.insert(Spanned::new(0..0, "name".into()), name.clone());
        spanned(DeValue::Table(table))
    };
    spanned(DeValue::Array(names.iter().map(block).collect()))
}

/// A value that is not in a file.
fn spanned(value: DeValue<'_>) -> Spanned<DeValue<'_>> {
    Spanned::new(0..0, value)
}

/// A key, the block or section that it is in, and so on: `interface.0.name`, `interface.0`, `interface`.
fn blocks_of(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(key), |path| path.rsplit_once('.').map(|(block, _)| block))
}

/// The key that a variable sets; `None` if the variable is not ours.
fn path_of_variable(name: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix("TAPLINE_")?.to_ascii_lowercase();
    let is_of_section = |section: &str| {
        rest.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    let is_ours = rest.contains("__") || sections().any(is_of_section);
    is_ours.then(|| rest.split("__").map(str::to_owned).collect())
}

/// The key that was probably meant by one that nobody knows: of nearly this name in its section, or else anywhere.
fn nearest_key(section: &str, name: &str) -> Option<String> {
    let block = section.split_once('.').map_or(section, |(list, _)| list);
    let here = names().filter(|&(section, _)| section == block).map(|(_, name)| name);
    if let Some(near) = nearest(name, here) {
        return Some(format!("{section}.{near}"));
    }
    if section.is_empty()
        && let Some(near) = nearest(name, sections())
    {
        return Some(near.to_owned());
    }
    let with_section = |(section, name): (&str, &str)| {
        if section == INTERFACE { format!("{section}.0.{name}") } else { format!("{section}.{name}") }
    };
    let all: Vec<(String, String)> = names().map(|key| (with_section(key), key.1.to_owned())).collect();
    let by_name = || {
        let near = nearest(name, all.iter().map(|(_, name)| name.as_str()))?;
        all.iter().find(|(_, name)| name == near).map(|(path, _)| path.clone())
    };
    if sections().any(|known| known == block) {
        return by_name();
    }
    let path = format!("{section}.{name}");
    let by_path = nearest(path.trim_start_matches('.'), all.iter().map(|(path, _)| path.as_str()));
    by_path.map(str::to_owned).or_else(by_name)
}
