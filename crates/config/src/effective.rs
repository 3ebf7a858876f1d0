//! What is in force, as TOML.

use std::fmt::Write as _;

use crate::config::Config;
use crate::keys::{INTERFACE, INTERFACE_KEYS, KEYS, Key};

impl Config {
    /// All keys with what is in force, as TOML that reads as this configuration. It shows everything, a password in the
    /// address of a webhook too.
    #[must_use]
    pub fn effective_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            if key.section != section {
                if section == "sensor" {
                    self.write_interfaces(&mut text);
                }
                section = key.section;
                write_header(&mut text, &format!("[{section}]"));
            }
            write_key(&mut text, key, self);
        }
        text
    }

    fn write_interfaces(&self, text: &mut String) {
        for interface in &self.interfaces {
            write_header(text, &format!("[[{INTERFACE}]]"));
            for key in INTERFACE_KEYS {
                write_key(text, key, interface);
            }
        }
    }
}

fn write_header(text: &mut String, header: &str) {
    let gap = if text.is_empty() { "" } else { "\n" };
    let _ = writeln!(text, "{gap}{header}");
}

fn write_key<R>(text: &mut String, key: &Key<R>, root: &R) {
    let _ = writeln!(text, "{} = {}", key.name, key.field.write(root));
}
