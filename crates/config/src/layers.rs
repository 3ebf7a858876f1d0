//! The layers of a configuration, and how they are read: default, file, environment, settings.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::draft::Draft;
use crate::error::{ConfigError, Flaw, Place, Problem};
use crate::{DEFAULT_TOML, FILE_MAX_BYTES};

/// Where a configuration comes from. Later layers go before earlier ones: default, file, environment, settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// The file; its `[[interface]]` blocks, if there are any, replace the default's. What a block leaves out has its
    /// default, but for the name.
    pub file: Option<PathBuf>,
    /// The environment, or none of it. Variables are ours if they begin with `TAPLINE_` and a section's name, or have two
    /// underscores: `TAPLINE_FLOW__IDLE_TIMEOUT=60s`, `TAPLINE_INTERFACE__0__NAME=eth1`, `TAPLINE_INTERFACE=eth1,eth2`.
    pub environment: Vec<(OsString, OsString)>,
    /// Settings, in order: `flow.idle_timeout=60s`, `interface.0.name=eth1`, `interface=eth1,eth2`. The value is TOML, or
    /// else text; lists may also be written with commas.
    pub settings: Vec<String>,
}

impl Config {
    /// Reads and checks all layers. To read only a file, hand no environment and no settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Read`] if the file cannot be read, [`ConfigError::TooLong`] if it is no configuration; else all that is
    /// wrong, at once.
    pub fn load(layers: &Layers) -> Result<Self, ConfigError> {
        let bytes = layers.file.as_deref().map(read).transpose()?.unwrap_or_default();
        let mut draft = Draft::new(Self::default());
        if let Some(path) = &layers.file {
            match str::from_utf8(&bytes) {
                Ok(text) => draft.add_file(path, text),
                Err(error) => draft.add_problem(|| not_utf8(path, &bytes, error.valid_up_to())),
            }
        }
        draft.add_environment(&layers.environment);
        for setting in &layers.settings {
            draft.add_setting(setting);
        }
        draft.finish()
    }

    /// Checks the text of a file, with nothing else. `path` is what errors call it.
    ///
    /// # Errors
    ///
    /// All that is wrong, at once.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut draft = Draft::new(Self::default());
        draft.add_file(path, text);
        draft.finish()
    }

    /// The default, from the embedded file.
    pub(crate) fn embedded() -> Self {
        let mut draft = Draft::new(Self::blank());
        draft.add_file(Path::new("default.toml"), DEFAULT_TOML);
        draft.finish().expect("the embedded default is valid: a test reads it")
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(ConfigError::TooLong { path: path.to_owned(), most_bytes: FILE_MAX_BYTES });
    }
    Ok(bytes)
}

fn not_utf8(path: &Path, bytes: &[u8], valid_bytes: usize) -> Problem {
    // The replacement character takes no fewer bytes than those that it stands for were before it.
    let text = String::from_utf8_lossy(bytes);
    Problem {
        place: Place::in_file(path.to_owned(), &text, valid_bytes..valid_bytes + '\u{fffd}'.len_utf8()),
        key: String::new(),
        flaw: Flaw::Syntax { message: "not UTF-8".to_owned() },
    }
}
