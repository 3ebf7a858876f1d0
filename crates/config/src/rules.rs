//! What several keys must have in common.
//!
//! In: a configuration whose values are each within their range, or known to be wrong. Out: notes of broken rules, each at the
//! key of the latest layer that takes part in it.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::draft::Notes;
use crate::keys::INTERFACE;
use crate::quantity::{size_text, time_text};

pub(crate) fn check(config: &Config, notes: &mut Notes<'_>) {
    check_interfaces(config, notes);
    check_memory(config, notes);
    let Config { flow, emergency, rows, .. } = config;
    if let Some(&oldest) = flow.partial_us.last()
        && oldest >= flow.active_timeout_us
    {
        let (oldest, cut) = (time_text(oldest), time_text(flow.active_timeout_us));
        let text =
            format!("no flow is ever {oldest} old for an early record: flow.active_timeout cuts it at {cut}");
        notes.broken(&keys(&["flow.partial", "flow.active_timeout"]), text);
    }
    if emergency.leave_percent >= emergency.enter_percent {
        let (enter, leave) = (emergency.enter_percent, emergency.leave_percent);
        let text =
            format!("emergency.leave_percent ({leave}) must be below emergency.enter_percent ({enter})");
        notes.broken(&keys(&["emergency.enter_percent", "emergency.leave_percent"]), text);
    }
    if rows.keep_size_bytes < rows.rotate_size_bytes {
        let (kept, file) = (size_text(rows.keep_size_bytes), size_text(rows.rotate_size_bytes));
        let text = format!("rows.keep_size ({kept}) must hold one file of rows.rotate_size ({file})");
        notes.broken(&keys(&["rows.rotate_size", "rows.keep_size"]), text);
    }
}

fn check_interfaces(config: &Config, notes: &mut Notes<'_>) {
    if config.interfaces.is_empty() {
        notes.broken(&keys(&[INTERFACE]), "no interface is left to capture from".to_owned());
    }
    let mut names = BTreeSet::new();
    for (at, interface) in config.interfaces.iter().enumerate() {
        let key = format!("{INTERFACE}.{at}.name");
        if interface.name.is_empty() {
            notes.broken(&[key], "is missing: each interface needs its name".to_owned());
        } else if !names.insert(&interface.name) {
            notes.broken(&[key], format!("{:?} is named twice", interface.name));
        }
    }
}

fn check_memory(config: &Config, notes: &mut Notes<'_>) {
    let (buffers, memory) = (config.capture_buffers_bytes(), config.sensor.memory_bytes);
    if buffers <= memory / 2 {
        return;
    }
    let of_interface = |at| ["buffer", "readers"].map(|key| format!("{INTERFACE}.{at}.{key}"));
    let mut taking_part = keys(&["sensor.memory"]);
    taking_part.extend((0..config.interfaces.len()).flat_map(of_interface));
    let (buffers, memory) = (size_text(buffers), size_text(memory));
    let text = format!(
        "the capture buffers of all readers take {buffers}; they can take half of sensor.memory, which is {memory}"
    );
    notes.broken(&taking_part, text);
}

fn keys(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
