//! Where a training stood after its last whole epoch.
//!
//! One safetensors file: weights, the moments of the optimiser, the best weights so far, and as its metadata everything
//! else, in TOML, whose numbers read back exactly and need not be finite. It is replaced in one step, so that a kill at any moment leaves the one or the other.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::schedule::Schedule;
use crate::training::EpochReport;

/// A checkpoint.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Everything but tensors.
    pub state: State,
    /// `weight.<name>`, `first.<name>`, `second.<name>`, `best.<name>`.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Everything of a checkpoint but tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// What is trained on what: a checkpoint of something else is refused.
    pub fingerprint: String,
    /// Steps of the optimiser.
    pub steps: u64,
    /// Where the schedule stands.
    pub schedule: Schedule,
    /// Reports of the epochs that are over. The next epoch is their number: generators are seeded by it.
    pub epochs: Vec<EpochReport>,
    /// Whether training is over.
    pub finished: bool,
}

impl Checkpoint {
    /// Writes the checkpoint in place of an earlier one.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or the device failed.
    pub fn write(&self, path: &Path) -> Result<(), TrainError> {
        let bytes =
            self.bytes().map_err(|reason| TrainError::Checkpoint { path: path.to_owned(), reason })?;
        replace(path, &bytes).map_err(|source| TrainError::Write { path: path.to_owned(), source })
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        let state = toml::to_string(&self.state).map_err(|error| error.to_string())?;
        let metadata = HashMap::from([(STATE.to_owned(), state)]);
        let tensors = self.tensors.iter();
        safetensors::serialize(tensors, Some(metadata)).map_err(|error| error.to_string())
    }

    /// Reads a checkpoint, if there is one; tensors go to `device`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is damaged, or is of another format.
    pub fn read(path: &Path, device: &Device) -> Result<Option<Self>, TrainError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(TrainError::Read { path: path.to_owned(), source }),
        };
        let damaged = |reason: String| TrainError::Checkpoint { path: path.to_owned(), reason };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
        let state = header.metadata().as_ref().and_then(|metadata| metadata.get(STATE));
        let state = state.ok_or_else(|| damaged("it holds no state of a training".to_owned()))?;
        let state = toml::from_str(state).map_err(|error| damaged(error.to_string()))?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, device)?.into_iter().collect();
        Ok(Some(Self { state, tensors }))
    }
}

/// Puts `bytes` in the place of a file, in one step.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The new name is on the disk once the directory is.
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(directory)?.sync_all()
}

/// Key of the metadata.
const STATE: &str = "tapline.training";

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let tensor = Tensor::new(&[[1.0_f32, -2.5], [0.1, 3.0]], &Device::Cpu).unwrap();
        let state = State {
            fingerprint: "abc".to_owned(),
            steps: 12,
            schedule: Schedule::new(),
            epochs: Vec::new(),
            finished: false,
        };
        Checkpoint { state, tensors: BTreeMap::from([("weight.a".to_owned(), tensor)]) }
    }

    #[test]
    fn it_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        assert!(Checkpoint::read(&path, &Device::Cpu).unwrap().is_none());
        checkpoint().write(&path).unwrap();
        let mut later = checkpoint();
        later.state.steps = 13;
        later.write(&path).unwrap();
        let read = Checkpoint::read(&path, &Device::Cpu).unwrap().unwrap();
        assert_eq!(read.state, later.state);
        assert_eq!(read.tensors["weight.a"].to_vec2::<f32>().unwrap(), [[1.0, -2.5], [0.1, 3.0]]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        checkpoint().write(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        for end in [0, 7, 40, bytes.len() - 1] {
            fs::write(&path, &bytes[..end]).unwrap();
            assert!(matches!(
                Checkpoint::read(&path, &Device::Cpu).unwrap_err(),
                TrainError::Checkpoint { .. } | TrainError::Device(_)
            ));
        }
        let nameless = dir.path().join("missing/checkpoint.safetensors");
        assert!(matches!(checkpoint().write(&nameless).unwrap_err(), TrainError::Write { .. }));
    }
}
