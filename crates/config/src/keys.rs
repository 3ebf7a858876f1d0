//! The table of keys: for each its section, name, kind, range, field, and whether a change needs a restart.
//!
//! Everything else is made of it: reading, [`effective_toml`](crate::Config::effective_toml), the schema, and what changed. The
//! default values and the descriptions are in `default.toml`; a test holds the two together.

use toml::Value;
use toml::de::DeValue;

use crate::choice::{Compress, Encapsulation, Fanout, LogFormat, LogLevel, RowFormat, Timestamp};
use crate::config::{Config, InterfaceConfig};
use crate::kind::{
    Bad, Count, FILTER, Flag, Form, INTERFACE_NAME, Kind, LISTEN, OneOf, PATH, RisingTimes, SENSOR_NAME,
    SOCKET_PATH, SYSLOG, Size, SomeOf, TextOrNone, Time, TimeOrNone, WEBHOOK,
};
use crate::schema::Json;

/// A key of a section, whose field is somewhere in `R`.
pub(crate) struct Key<R: 'static> {
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    /// Whether a change needs a restart.
    pub(crate) restart: bool,
    pub(crate) field: &'static dyn Field<R>,
}

/// A field of `R` and its kind.
pub(crate) trait Field<R>: Sync {
    fn form(&self) -> Form;
    fn read(&self, root: &mut R, value: &DeValue<'_>) -> Result<(), Bad>;
    fn write(&self, root: &R) -> Value;
    fn is_same(&self, one: &R, other: &R) -> bool;
    fn schema(&self) -> Vec<(&'static str, Json)>;
    fn range_text(&self) -> Option<String>;
}

struct Lens<R, K: Kind> {
    kind: K,
    get: fn(&R) -> &K::Of,
    get_mut: fn(&mut R) -> &mut K::Of,
}

impl<R, K: Kind> Field<R> for Lens<R, K> {
    fn form(&self) -> Form {
        self.kind.form()
    }

    fn read(&self, root: &mut R, value: &DeValue<'_>) -> Result<(), Bad> {
        *(self.get_mut)(root) = self.kind.read(value)?;
        Ok(())
    }

    fn write(&self, root: &R) -> Value {
        self.kind.write((self.get)(root))
    }

    fn is_same(&self, one: &R, other: &R) -> bool {
        (self.get)(one) == (self.get)(other)
    }

    fn schema(&self) -> Vec<(&'static str, Json)> {
        self.kind.schema()
    }

    fn range_text(&self) -> Option<String> {
        self.kind.range_text()
    }
}

/// A field of an interface (one step), or of a section (two).
macro_rules! field {
    ($kind:expr, $field:ident) => {
        &Lens { kind: $kind, get: |one: &InterfaceConfig| &one.$field, get_mut: |one| &mut one.$field }
    };
    ($kind:expr, $section:ident.$field:ident) => {
        &Lens {
            kind: $kind,
            get: |all: &Config| &all.$section.$field,
            get_mut: |all| &mut all.$section.$field,
        }
    };
}

/// The name of the section that stands there once for each interface.
pub(crate) const INTERFACE: &str = "interface";

/// The keys of an interface.
pub(crate) const INTERFACE_KEYS: &[Key<InterfaceConfig>] = &[
    restart(INTERFACE, "name", field!(INTERFACE_NAME, name)),
    restart(INTERFACE, "filter", field!(TextOrNone(FILTER), filter)),
    restart(INTERFACE, "readers", field!(count_u16(1, 16), readers)),
    restart(INTERFACE, "fanout", field!(OneOf(Fanout::ALL), fanout)),
    restart(INTERFACE, "buffer", field!(Size { least: MIB, most: GIB }, buffer_bytes)),
    restart(INTERFACE, "snap_length", field!(Size { least: 96, most: 256 * KIB }, snap_length_bytes)),
    restart(INTERFACE, "promiscuous", field!(Flag, promiscuous)),
    restart(INTERFACE, "outgoing", field!(Flag, outgoing)),
    restart(INTERFACE, "timestamp", field!(OneOf(Timestamp::ALL), timestamp)),
];

/// The keys of all other sections, those of a section together.
pub(crate) const KEYS: &[Key<Config>] = &[
    restart("sensor", "name", field!(TextOrNone(SENSOR_NAME), sensor.name)),
    restart("sensor", "memory", field!(Size { least: 128 * MIB, most: 16 * TIB }, sensor.memory_bytes)),
    restart("sensor", "workers", field!(count_u16(1, 64), sensor.workers)),
    restart("flow", "idle_timeout", field!(Time { least_us: MS, most_us: HOUR }, flow.idle_timeout_us)),
    restart("flow", "active_timeout", field!(Time { least_us: MS, most_us: HOUR }, flow.active_timeout_us)),
    restart(
        "flow",
        "partial",
        field!(RisingTimes { each: Time { least_us: MS, most_us: HOUR }, most_items: 8 }, flow.partial_us),
    ),
    restart("flow", "vlan_in_key", field!(Flag, flow.vlan_in_key)),
    restart("flow", "dedup", field!(TimeOrNone(Time { least_us: 1, most_us: SECOND }), flow.dedup_us)),
    restart("flow", "no_decapsulate", field!(SomeOf(Encapsulation::ALL), flow.no_decapsulate)),
    live(
        "emergency",
        "idle_timeout",
        field!(Time { least_us: MS, most_us: HOUR }, emergency.idle_timeout_us),
    ),
    live("emergency", "enter_percent", field!(PERCENT, emergency.enter_percent)),
    live("emergency", "leave_percent", field!(PERCENT, emergency.leave_percent)),
    live("scoring", "model", field!(TextOrNone(PATH), scoring.model)),
    live("scoring", "shed_percent", field!(PERCENT, scoring.shed_percent)),
    restart("rows", "format", field!(OneOf(RowFormat::ALL), rows.format)),
    restart("rows", "folder", field!(PATH, rows.folder)),
    restart("rows", "rotate_size", field!(Size { least: 4 * KIB, most: TIB }, rows.rotate_size_bytes)),
    restart(
        "rows",
        "rotate_age",
        field!(TimeOrNone(Time { least_us: MS, most_us: 366 * DAY }), rows.rotate_age_us),
    ),
    restart(
        "rows",
        "keep_files",
        field!(Count { least: 1, most: 1_000_000, narrow: |count| count as u32 }, rows.keep_files),
    ),
    restart("rows", "keep_size", field!(Size { least: 4 * KIB, most: 1_024 * TIB }, rows.keep_size_bytes)),
    restart("rows", "compress", field!(OneOf(Compress::ALL), rows.compress)),
    restart("eve", "enabled", field!(Flag, eve.enabled)),
    restart("eve", "flows", field!(Flag, eve.flows)),
    restart(
        "eve",
        "stats_every",
        field!(TimeOrNone(Time { least_us: 100 * MS, most_us: DAY }), eve.stats_every_us),
    ),
    restart("alerts", "file", field!(Flag, alerts.file)),
    restart("alerts", "syslog", field!(TextOrNone(SYSLOG), alerts.syslog)),
    restart("alerts", "webhook", field!(TextOrNone(WEBHOOK), alerts.webhook)),
    restart("control", "listen", field!(TextOrNone(LISTEN), control.listen)),
    restart("control", "socket", field!(TextOrNone(SOCKET_PATH), control.socket)),
    restart("rights", "landlock", field!(Flag, rights.landlock)),
    restart("rights", "seccomp", field!(Flag, rights.seccomp)),
    live("log", "level", field!(OneOf(LogLevel::ALL), log.level)),
    restart("log", "format", field!(OneOf(LogFormat::ALL), log.format)),
];

/// The names of all sections.
pub(crate) fn sections() -> impl Iterator<Item = &'static str> {
    let first_of_each =
        KEYS.iter().enumerate().filter(|(at, key)| *at == 0 || KEYS[at - 1].section != key.section);
    std::iter::once(INTERFACE).chain(first_of_each.map(|(_, key)| key.section))
}

/// All keys: section and name.
pub(crate) fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of_interfaces = INTERFACE_KEYS.iter().map(|key| (key.section, key.name));
    KEYS.iter().map(|key| (key.section, key.name)).chain(of_interfaces)
}

const fn live<R>(section: &'static str, name: &'static str, field: &'static dyn Field<R>) -> Key<R> {
    Key { section, name, restart: false, field }
}

const fn restart<R>(section: &'static str, name: &'static str, field: &'static dyn Field<R>) -> Key<R> {
    Key { section, name, restart: true, field }
}

const fn count_u16(least: u64, most: u64) -> Count<u16> {
    Count { least, most, narrow: |count| count as u16 }
}

const PERCENT: Count<u8> = Count { least: 1, most: 100, narrow: |count| count as u8 };

const MS: i64 = 1_000;
const SECOND: i64 = 1_000 * MS;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{DEFAULT_TOML, manual};

    #[test]
    fn the_default_file_has_each_key_once_and_no_other() {
        let table: BTreeSet<String> = names().map(|(section, name)| format!("{section}.{name}")).collect();
        let in_file = || manual::entries().map(|(path, _)| path).filter(|path| path.contains('.'));
        assert_eq!(in_file().collect::<BTreeSet<_>>(), table);
        assert_eq!(in_file().count(), KEYS.len() + INTERFACE_KEYS.len());
    }

    #[test]
    fn the_default_file_is_short_and_every_section_and_key_is_commented() {
        let is_active = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        assert!(DEFAULT_TOML.lines().filter(is_active).count() <= 60);
        for (path, comment) in manual::entries() {
            assert!(comment.len() > 10, "{path} has no comment");
        }
        assert_eq!(manual::entries().count(), sections().count() + names().count());
    }

    #[test]
    fn the_default_file_marks_what_needs_a_restart() {
        let is_marked = |path: &str| manual::comment_of(path).unwrap().ends_with("(restart)");
        let table = KEYS.iter().map(|key| (key.section, key.name, key.restart));
        let of_interfaces = INTERFACE_KEYS.iter().map(|key| (key.section, key.name, key.restart));
        for (section, name, restart) in table.chain(of_interfaces) {
            let path = format!("{section}.{name}");
            assert_eq!(is_marked(section) || is_marked(&path), restart, "{path}");
        }
    }
}
