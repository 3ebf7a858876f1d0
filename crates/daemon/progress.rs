//! The progress bar: on a terminal only, drawn at most twenty times a second.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for `bytes_total` bytes of input, a spinner if their number is not known, nothing if `quiet` or if
    /// standard error is no terminal.
    pub(crate) fn new(bytes_total: Option<u64>, quiet: bool) -> Self {
        if quiet || !std::io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden() };
        }
        let (bar, template) = match bytes_total {
            Some(total) => {
                (ProgressBar::new(total), "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg} eta {eta}")
            }
            None => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec} {msg}"),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar }
    }

    pub(crate) fn update(&self, bytes_read: u64, packets: u64) {
        if self.bar.is_hidden() {
            return;
        }
        let per_s = packets as f64 / self.bar.elapsed().as_secs_f64().max(1e-3);
        self.bar.set_message(format!("{packets} packets ({per_s:.0}/s)"));
        self.bar.set_position(bytes_read);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
