//! The sensor's log: lines on standard error.
//!
//! Only the I/O side writes it: never more than a few lines a second, and none per packet or flow.

use std::io;

use tapline_config::config::LogConfig;
use tapline_config::{LogFormat, LogLevel};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, registry, reload};

/// Changes the level while the sensor runs.
pub(crate) struct Handle(reload::Handle<LevelFilter, Registry>);

impl Handle {
    pub(crate) fn set(&self, level: LogLevel) {
        // Fails only if the log has gone.
        let _ = self.0.reload(filter(level));
    }
}

/// Starts the log of the process.
pub(crate) fn start(config: &LogConfig) -> Handle {
    let (filter, handle) = reload::Layer::new(filter(config.level));
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(false).with_target(false);
    // journald knows the time.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let lines = match (config.format, journal) {
        (LogFormat::Text, true) => lines.without_time().boxed(),
        (LogFormat::Text, false) => lines.boxed(),
        (LogFormat::Json, _) => lines.json().boxed(),
    };
    // A log that is there already stays.
    let _ = registry().with(filter).with(lines).try_init();
    Handle(handle)
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}
