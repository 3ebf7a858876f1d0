//! A configuration while its layers are laid over each other.
//!
//! In: layers, the earliest first. Out: the configuration with all layers applied and checked, or all that is wrong with
//! them. A wrong value in an early layer is told even if a later layer sets the key.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::INTERFACES_MAX;
use crate::config::{Config, InterfaceConfig};
use crate::error::{ConfigError, Flaw, Place, Problem, Problems, nearest};
use crate::keys::{INTERFACE, INTERFACE_KEYS, KEYS, Key, names, sections};
use crate::kind::Form;
use crate::rules;

/// See the module.
#[derive(Debug)]
pub(crate) struct Draft {
    config: Config,
    /// What a new interface begins with; its name is empty.
    new_interface: InterfaceConfig,
    notes: Notes,
}

/// What is remembered of the layers.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Where keys got their value; those with the default are missing.
    origins: BTreeMap<String, Place>,
    problems: Problems,
}

/// The layer that a value comes from.
#[derive(Clone, Copy)]
enum Origin<'a> {
    File { path: &'a Path, text: &'a str },
    Environment { name: &'a str },
    Setting { text: &'a str },
}

impl Draft {
    /// Begins with the earliest layer.
    pub(crate) fn new(config: Config) -> Self {
        let first = config.interfaces.first();
        let mut new_interface = first.cloned().unwrap_or_else(InterfaceConfig::blank);
        new_interface.name.clear();
        Self { config, new_interface, notes: Notes::default() }
    }

    pub(crate) fn add_problem(&mut self, problem: Problem) {
        self.notes.problems.push(problem);
    }

    /// Lays a file over it.
    pub(crate) fn add_file(&mut self, path: &Path, text: &str) {
        let origin = Origin::File { path, text };
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What has been recovered may miss keys or have wrong values; saying so would only distract.
            self.add_syntax_errors(origin, &errors);
            return;
        }
        for (name, value) in table.get_ref() {
            match value.get_ref() {
                _ if name.get_ref() == INTERFACE => self.add_blocks(value, origin),
                DeValue::Table(keys) if KEYS.iter().any(|key| key.section == name.get_ref()) => {
                    let keys_of = KEYS.iter().filter(|key| key.section == name.get_ref());
                    assign_all(&mut self.config, keys_of, name.get_ref(), keys, origin, &mut self.notes);
                }
                _ if sections().any(|section| section == name.get_ref()) => {
                    let text = format!("is a section: write [{0}], and its keys below", name.get_ref());
                    self.notes.problem(origin, value.span(), name.get_ref(), Flaw::Rule { text });
                }
                _ => self.notes.problem(origin, name.span(), name.get_ref(), unknown("", name.get_ref())),
            }
        }
    }

    /// Lays those variables over it that are ours, in the order of their names.
    pub(crate) fn add_environment(&mut self, environment: &[(OsString, OsString)]) {
        let mut ours: Vec<_> = environment
            .iter()
            .filter_map(|(name, value)| Some((name.to_str()?, path_of_variable(name.to_str()?)?, value)))
            .collect();
        // By number where there is one: interface 2 is there before interface 10 is made.
        ours.sort_by_key(|(_, path, _)| {
            (path.len(), path.get(1).and_then(|at| at.parse::<u32>().ok()), path.clone())
        });
        for (name, path, value) in ours {
            let origin = Origin::Environment { name };
            match value.to_str() {
                Some(value) => self.add_one(&path, value, origin),
                None => {
                    self.notes.problem(origin, 0..0, "", Flaw::Syntax { message: "not UTF-8".to_owned() })
                }
            }
        }
    }

    /// Lays a setting over it, `key=value`.
    pub(crate) fn add_setting(&mut self, text: &str) {
        let origin = Origin::Setting { text };
        let Some((key, value)) = text.split_once('=') else {
            let message = "no setting: write key=value, such as flow.idle_timeout=60s".to_owned();
            return self.notes.problem(origin, 0..0, "", Flaw::Syntax { message });
        };
        let path: Vec<String> = key.split('.').map(|step| step.trim().to_owned()).collect();
        self.add_one(&path, value.trim(), origin);
    }

    /// The configuration, checked.
    pub(crate) fn finish(mut self) -> Result<Config, ConfigError> {
        rules::check(&self.config, &mut self.notes);
        self.notes.problems.into_result()?;
        Ok(self.config)
    }

    fn add_syntax_errors(&mut self, origin: Origin<'_>, errors: &[toml::de::Error]) {
        let mut last_line = None;
        for error in errors {
            let place = origin.place(error.span().unwrap_or_default());
            // What follows on the same line is mostly the same mistake.
            let line = if let Place::File { line, .. } = &place { Some(*line) } else { None };
            if line.is_some() && line == last_line {
                continue;
            }
            last_line = line;
            let flaw = Flaw::Syntax { message: error.message().to_owned() };
            self.notes.problems.push(Problem { place, key: String::new(), flaw });
        }
    }

    /// Replaces the interfaces by the blocks of a file or a setting.
    fn add_blocks(&mut self, value: &Spanned<DeValue<'_>>, origin: Origin<'_>) {
        let misplaced = || Flaw::Rule {
            text: "is a list of sections: write [[interface]], and its keys below".to_owned(),
        };
        let Some(blocks) = value.get_ref().as_array() else {
            return self.notes.problem(origin, value.span(), INTERFACE, misplaced());
        };
        self.config.interfaces.clear();
        self.notes.origins.insert(INTERFACE.to_owned(), origin.place(value.span()));
        for (at, block) in blocks.iter().enumerate().take(INTERFACES_MAX) {
            let path = format!("{INTERFACE}.{at}");
            self.notes.origins.insert(path.clone(), origin.place(block.span()));
            let mut interface = self.new_interface.clone();
            match block.get_ref().as_table() {
                Some(keys) => {
                    assign_all(&mut interface, INTERFACE_KEYS.iter(), &path, keys, origin, &mut self.notes);
                }
                None => self.notes.problem(origin, block.span(), &path, misplaced()),
            }
            self.config.interfaces.push(interface);
        }
        if blocks.len() > INTERFACES_MAX {
            let text =
                format!("{} blocks; at most {INTERFACES_MAX} interfaces can be captured", blocks.len());
            self.notes.problem(origin, blocks[INTERFACES_MAX].span(), INTERFACE, Flaw::Rule { text });
        }
    }

    /// Makes the interfaces those named; what is known of a name stays.
    fn name_interfaces(&mut self, names: &Spanned<DeValue<'_>>, origin: Origin<'_>) {
        let known = std::mem::take(&mut self.config.interfaces);
        self.add_blocks(&as_blocks(names), origin);
        for interface in &mut self.config.interfaces {
            if let Some(same) = known.iter().find(|known| known.name == interface.name) {
                interface.clone_from(same);
            }
        }
    }

    /// Lays one value over it, whose key is `path`.
    fn add_one(&mut self, path: &[String], value: &str, origin: Origin<'_>) {
        let steps: Vec<&str> = path.iter().map(String::as_str).collect();
        match steps[..] {
            [INTERFACE] => {
                let value = spanned(loosened(value, Form::Texts));
                let is_of_names = value
                    .get_ref()
                    .as_array()
                    .is_some_and(|list| list.iter().all(|item| item.get_ref().is_str()) && !list.is_empty());
                if is_of_names {
                    self.name_interfaces(&value, origin)
                } else {
                    self.add_blocks(&value, origin)
                }
            }
            [INTERFACE, at, name] if at.bytes().all(|digit| digit.is_ascii_digit()) => {
                let Some(interface) = self.interface_at(at, origin) else { return };
                let path = format!("{INTERFACE}.{at}");
                assign(interface.0, INTERFACE_KEYS.iter(), &path, name, value, origin, interface.1);
            }
            [section, name] if section != INTERFACE => {
                let keys = KEYS.iter().filter(|key| key.section == section);
                assign(&mut self.config, keys, section, name, value, origin, &mut self.notes);
            }
            _ => {
                let flaw = match steps[..] {
                    [section] if sections().any(|known| known == section) => Flaw::Rule {
                        text: format!("is a section: name one of its keys, as in {section}.key"),
                    },
                    [INTERFACE, _] | [INTERFACE, _, _] => Flaw::Rule {
                        text: "interfaces are counted from 0, as in interface.0.name".to_owned(),
                    },
                    [name] => unknown("", name),
                    _ => Flaw::Unknown { nearest: None },
                };
                self.notes.problem(origin, 0..0, &path.join("."), flaw);
            }
        }
    }

    /// The interface of a number; the next one is made.
    fn interface_at(&mut self, at: &str, origin: Origin<'_>) -> Option<(&mut InterfaceConfig, &mut Notes)> {
        let path = format!("{INTERFACE}.{at}");
        let count = self.config.interfaces.len();
        match at.parse::<usize>() {
            Ok(at) if at < count => {}
            Ok(at) if at == count && count < INTERFACES_MAX => {
                self.config.interfaces.push(self.new_interface.clone());
                self.notes.origins.insert(path, origin.place(0..0));
            }
            _ => {
                let text = format!("there are {count} interfaces, counted from 0; {INTERFACES_MAX} at most");
                self.notes.problem(origin, 0..0, &path, Flaw::Rule { text });
                return None;
            }
        }
        let at: usize = at.parse().ok()?;
        Some((self.config.interfaces.get_mut(at)?, &mut self.notes))
    }
}

impl Notes {
    /// Notes that the first of `keys` which a layer has set, of the latest layer, breaks a rule; not if one of them is known
    /// to be wrong.
    pub(crate) fn broken(&mut self, keys: &[String], text: String) {
        if keys.iter().any(|key| self.problems.has(key)) {
            return;
        }
        let set = keys.iter().filter_map(|key| Some((key, self.origin(key)?)));
        let latest = set.rev().max_by_key(|(_, place)| place.layer());
        let Some((key, place)) = latest else { return };
        let problem = Problem { place: place.clone(), key: key.clone(), flaw: Flaw::Rule { text } };
        self.problems.push(problem);
    }

    /// Where a key got its value, or the block or list that it is in.
    fn origin(&self, key: &str) -> Option<&Place> {
        let block = key.rsplit_once('.').map_or(key, |(block, _)| block);
        let list = block.split_once('.').map_or(block, |(list, _)| list);
        [key, block, list].into_iter().find_map(|path| self.origins.get(path))
    }

    fn problem(&mut self, origin: Origin<'_>, span: Range<usize>, key: &str, flaw: Flaw) {
        self.problems.push(Problem { place: origin.place(span), key: key.to_owned(), flaw });
    }
}

impl Origin<'_> {
    fn place(self, span: Range<usize>) -> Place {
        match self {
            Self::File { path, text } => Place::in_file(path.to_owned(), text, span),
            Self::Environment { name } => Place::Environment { name: name.to_owned() },
            Self::Setting { text } => Place::Setting { text: text.to_owned() },
        }
    }
}

/// Assigns all keys of a section's table.
fn assign_all<R: 'static>(
    root: &mut R,
    keys: impl Iterator<Item = &'static Key<R>> + Clone,
    section: &str,
    table: &DeTable<'_>,
    origin: Origin<'_>,
    notes: &mut Notes,
) {
    for (name, value) in table {
        let path = format!("{section}.{}", name.get_ref());
        match keys.clone().find(|key| key.name == name.get_ref()) {
            Some(key) => assign_value(root, key, path, value, origin, notes),
            None => notes.problem(origin, name.span(), &path, unknown(section, name.get_ref())),
        }
    }
}

/// Assigns one key of a section from text.
fn assign<R: 'static>(
    root: &mut R,
    mut keys: impl Iterator<Item = &'static Key<R>>,
    section: &str,
    name: &str,
    value: &str,
    origin: Origin<'_>,
    notes: &mut Notes,
) {
    let path = format!("{section}.{name}");
    match keys.find(|key| key.name == name) {
        Some(key) => {
            assign_value(root, key, path, &spanned(loosened(value, key.field.form())), origin, notes)
        }
        None => notes.problem(origin, 0..0, &path, unknown(section, name)),
    }
}

fn assign_value<R>(
    root: &mut R,
    key: &Key<R>,
    path: String,
    value: &Spanned<DeValue<'_>>,
    origin: Origin<'_>,
    notes: &mut Notes,
) {
    if let Err(bad) = key.field.read(root, value.get_ref()) {
        notes.problem(origin, bad.span.unwrap_or_else(|| value.span()), &path, bad.flaw);
    }
    notes.origins.insert(path, origin.place(value.span()));
}

/// A value from outside the file: TOML if it is of the form that the key has, else text, or texts with commas between them.
fn loosened(text: &str, form: Form) -> DeValue<'_> {
    let as_toml = DeValue::parse(text).map(Spanned::into_inner);
    match (form, as_toml) {
        (Form::Text, Ok(value)) if value.is_str() => value,
        (Form::Texts, Ok(value)) if value.is_array() => value,
        (Form::Bare, Ok(value)) => value,
        (Form::Texts, _) if text.is_empty() => DeValue::Array(toml::de::DeArray::default()),
        (Form::Texts, _) => {
            let item = |item: &str| spanned(DeValue::String(Cow::Owned(item.trim().to_owned())));
            DeValue::Array(text.split(',').map(item).collect())
        }
        _ => DeValue::String(Cow::Borrowed(text)),
    }
}

/// `["eth0"]` as `[{ name = "eth0" }]`.
fn as_blocks<'a>(names: &Spanned<DeValue<'a>>) -> Spanned<DeValue<'a>> {
    let block = |name: &Spanned<DeValue<'a>>| {
        let key = Spanned::new(0..0, Cow::Borrowed("name"));
        spanned(DeValue::Table([(key, name.clone())].into_iter().collect()))
    };
    spanned(DeValue::Array(
        names.get_ref().as_array().into_iter().flat_map(|names| names.iter()).map(block).collect(),
    ))
}

fn spanned(value: DeValue<'_>) -> Spanned<DeValue<'_>> {
    Spanned::new(0..0, value)
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

/// The flaw of a key that nobody knows, with the key that was probably meant: of nearly this name in this section, or else
/// one of this or nearly this name in another.
fn unknown(section: &str, name: &str) -> Flaw {
    let block = section.split_once('.').map_or(section, |(list, _)| list);
    let is_section = |section: &str| sections().any(|known| known == section);
    let in_section = names().filter(|&(section, _)| section == block).map(|(_, name)| name);
    let near = if section.is_empty() && nearest(name, sections()).is_some() {
        nearest(name, sections()).map(|section| format!("[{section}]"))
    } else if section.is_empty() || is_section(block) {
        let near_here = nearest(name, in_section).map(|near| format!("{section}.{near}"));
        near_here.or_else(|| {
            let near = nearest(name, names().map(|(_, name)| name))?;
            names().find(|&(_, name)| name == near).map(|(section, name)| format!("{section}.{name}"))
        })
    } else {
        let all: Vec<String> = names().map(|(section, name)| format!("{section}.{name}")).collect();
        nearest(&format!("{section}.{name}"), all.iter().map(String::as_str)).map(str::to_owned)
    };
    Flaw::Unknown { nearest: near }
}
