//! What differs between two configurations, and what of it can change while the sensor runs.

use crate::config::Config;
use crate::keys::{INTERFACE, INTERFACE_KEYS, KEYS};

/// Keys that differ, with dots: `flow.idle_timeout`, `interface.0.filter`. An interface that is new or gone is
/// `interface.1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// A reload applies them.
    pub live: Vec<String>,
    /// They wait for a restart.
    pub restart: Vec<String>,
}

impl Changes {
    /// Whether nothing differs.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }

    fn push(&mut self, key: String, restart: bool) {
        if restart { self.restart.push(key) } else { self.live.push(key) }
    }
}

impl Config {
    /// The keys whose value in `new` is another, in the order of the default file, interfaces last.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Changes {
        let mut changes = Changes::default();
        for key in KEYS.iter().filter(|key| !key.field.is_same(self, new)) {
            changes.push(format!("{}.{}", key.section, key.name), key.restart);
        }
        for at in 0..self.interfaces.len().max(new.interfaces.len()) {
            let (Some(one), Some(other)) = (self.interfaces.get(at), new.interfaces.get(at)) else {
                changes.push(format!("{INTERFACE}.{at}"), true);
                continue;
            };
            for key in INTERFACE_KEYS.iter().filter(|key| !key.field.is_same(one, other)) {
                changes.push(format!("{INTERFACE}.{at}.{}", key.name), key.restart);
            }
        }
        changes
    }
}
