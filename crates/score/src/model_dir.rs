//! Model directories: `model.toml`, `model.safetensors`, `README.md`.
//!
//! In: a path. Out: a [`LoadedModel`] that is what its manifest says and fits this build, or a refusal that names the file,
//! the key or tensor, and what to do. A model that was changed after it was written is refused by the SHA-256 in its manifest.
//! Nothing of a file is believed: sizes have bounds before memory is taken, and every number is checked before it is
//! used.
//!
//! Written is a model under another name until all of it is on the disk, and never over another one.

#![expect(clippy::disallowed_types, reason = "models are read and written here, and nothing else is")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use crate::cpu_network::CpuNetwork;
use crate::ensemble::Ensemble;
use crate::expected::{self, expected_tensors};
use crate::logistic::Logistic;
use crate::manifest::{DetectorKind, Manifest};
use crate::manifest_check::{self, FORMAT, InputSchema, WEIGHTS_FILE};
use crate::manifest_text::parse;
use crate::network::BilstmAttn;
use crate::one_input::OneInput;
use crate::tensors::StoredTensor;
use crate::trees::Trees;
use crate::{Detector, ScoreError};

/// The file of the manifest.
pub const MANIFEST_FILE: &str = "model.toml";

/// The file for people.
pub const README_FILE: &str = "README.md";

/// Bounds of files.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
const WEIGHTS_BYTES_MAX: u64 = 256 << 20;
const HEADER_BYTES_MAX: u64 = 4 << 20;

/// A directory that holds a model, or will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelDir {
    path: PathBuf,
}

/// A model that is what its manifest says.
#[derive(Clone, Debug)]
pub struct LoadedModel {
    /// Everything but the weights.
    pub manifest: Manifest,
    /// Where it came from.
    path: PathBuf,
    /// The file of weights, checked.
    weights: Vec<u8>,
}

/// A model that was checked, and the detectors that were made of it, as the manifest lists them.
type Checked = (LoadedModel, Vec<Box<dyn Detector>>);

impl ModelDir {
    /// The directory at `path`; nothing is touched yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads the model and checks all of it: the manifest, that it fits the inputs of this build, the weights.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or something is not as it should be; the refusal names it and says what to do.
    pub fn load(&self, schema: &InputSchema<'_>) -> Result<LoadedModel, ScoreError> {
        self.read(schema).map(|(model, _)| model)
    }

    /// The same, with what judges in the manifest's name: the detectors that were made to see whether they can be.
    ///
    /// # Errors
    ///
    /// As [`ModelDir::load`].
    pub fn load_to_judge(&self, schema: &InputSchema<'_>) -> Result<(LoadedModel, Ensemble), ScoreError> {
        let (model, detectors) = self.read(schema)?;
        let specs = model.manifest.detectors.iter();
        let ensemble = Ensemble::new(specs.map(|spec| spec.vote).zip(detectors).collect());
        let ensemble = ensemble.ok_or_else(|| nobody_votes(&self.path))?;
        Ok((model, ensemble))
    }

    fn read(&self, schema: &InputSchema<'_>) -> Result<Checked, ScoreError> {
        let manifest_path = self.path.join(MANIFEST_FILE);
        let manifest = self.manifest()?;
        manifest_check::check_schema(&manifest.inputs, schema)
            .map_err(|reason| refused(&manifest_path, reason))?;
        let weights_path = self.path.join(WEIGHTS_FILE);
        let weights = read(&weights_path, WEIGHTS_BYTES_MAX)?;
        let found = sha256(&weights);
        if found != manifest.weights.sha256 {
            let said = &manifest.weights.sha256;
            return Err(refused(
                &weights_path,
                format!(
                    "its SHA-256 is {found}, and {MANIFEST_FILE} says {said}; it was changed or damaged, copy the model again"
                ),
            ));
        }
        LoadedModel { manifest, path: self.path.clone(), weights }.checked()
    }

    /// Reads and checks the manifest alone, for whatever inputs and weights it was made.
    ///
    /// # Errors
    ///
    /// As [`ModelDir::load`].
    pub fn manifest(&self) -> Result<Manifest, ScoreError> {
        let path = self.path.join(MANIFEST_FILE);
        let bytes = read(&path, MANIFEST_BYTES_MAX)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            refused(
                &path,
                format!("byte {} is not UTF-8; the file is damaged", error.utf8_error().valid_up_to()),
            )
        })?;
        let manifest = parse(&text).map_err(|reason| refused(&path, reason))?;
        manifest_check::check(&manifest).map_err(|reason| refused(&path, reason))?;
        Ok(manifest)
    }

    /// Writes a model into this directory, which must not be there yet. Format, the weights' file and hash, and the end
    /// of the manifest's id are filled in: a bare name gets the first digits of the hash, and digits that were there are
    /// replaced. The whole is checked as in loading, but for the inputs of this build.
    ///
    /// # Errors
    ///
    /// If the directory is there, cannot be written, or would be refused when it is loaded.
    pub fn write(
        &self,
        manifest: Manifest,
        tensors: &[StoredTensor],
        readme: &str,
    ) -> Result<LoadedModel, ScoreError> {
        if fs::symlink_metadata(&self.path).is_ok() {
            return Err(refused(
                &self.path,
                "something is there already; models are never overwritten".to_owned(),
            ));
        }
        let model = self.assemble(manifest, tensors)?;
        let text =
            toml::to_string(&model.manifest).map_err(|error| refused(&self.path, error.to_string()))?;
        for (file, bytes, bytes_max) in [
            (MANIFEST_FILE, text.len(), MANIFEST_BYTES_MAX),
            (WEIGHTS_FILE, model.weights.len(), WEIGHTS_BYTES_MAX),
        ] {
            check_size(bytes as u64, bytes_max).map_err(|reason| refused(&self.path.join(file), reason))?;
        }
        if parse(&text).as_ref() != Ok(&model.manifest) {
            return Err(refused(&self.path, "the manifest does not survive being written".to_owned()));
        }

        let name = self.path.file_name().ok_or_else(|| refused(&self.path, "it has no name".to_owned()))?;
        let mut partial_name = std::ffi::OsString::from(".");
        partial_name.push(name);
        partial_name.push(format!(".{}.partial", std::process::id()));
        let parent = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let partial = parent.join(partial_name);
        let files = [
            (MANIFEST_FILE, text.as_bytes()),
            (WEIGHTS_FILE, model.weights.as_slice()),
            (README_FILE, readme.as_bytes()),
        ];
        let outcome = publish(&partial, &self.path, parent, &files);
        if outcome.is_err() {
            // What went wrong before is what the caller is told.
            let _ = fs::remove_dir_all(&partial);
        }
        outcome.map(|()| model)
    }

    /// The model as it will be loaded.
    fn assemble(&self, mut manifest: Manifest, tensors: &[StoredTensor]) -> Result<LoadedModel, ScoreError> {
        let weights = safetensors::serialize(tensors.iter().map(|tensor| (&tensor.name, tensor)), None)
            .map_err(|error| refused(&self.path, error.to_string()))?;
        manifest.format = FORMAT;
        WEIGHTS_FILE.clone_into(&mut manifest.weights.file);
        manifest.weights.sha256 = sha256(&weights);
        let bare = match manifest.id.rsplit_once('-') {
            Some((bare, digits))
                if digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
            {
                bare
            }
            _ => &manifest.id,
        };
        manifest.id = format!("{bare}-{}", &manifest.weights.sha256[..8]);
        manifest_check::check(&manifest).map_err(|reason| refused(&self.path, reason))?;
        Ok(LoadedModel { manifest, path: self.path.clone(), weights }.checked()?.0)
    }
}

impl LoadedModel {
    /// Where it came from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Detectors as the manifest lists them, fresh ones each time.
    ///
    /// # Errors
    ///
    /// A failure of the device.
    pub fn detectors(&self) -> Result<Vec<Box<dyn Detector>>, ScoreError> {
        let file = self.file()?;
        self.manifest.detectors.iter().map(|spec| self.build(&file, &spec.kind)).collect()
    }

    /// What judges in the manifest's name: the detectors with votes. A fresh one each time, with memory of its own.
    ///
    /// # Errors
    ///
    /// A failure of the device.
    pub fn ensemble(&self) -> Result<Ensemble, ScoreError> {
        let file = self.file()?;
        let voters = self.manifest.detectors.iter().filter(|spec| spec.vote.share > 0.0);
        let voters = voters.map(|spec| Ok((spec.vote, self.build(&file, &spec.kind)?)));
        Ensemble::new(voters.collect::<Result<_, ScoreError>>()?).ok_or_else(|| nobody_votes(&self.path))
    }

    /// Numbers that each detector consists of, as the manifest lists them.
    #[must_use]
    pub fn parameters(&self) -> Vec<usize> {
        let Ok(file) = self.file() else { return Vec::new() };
        let of = |prefix: String| {
            let tensors = file.iter().filter(|(name, _)| name.starts_with(&prefix));
            tensors.map(|(_, tensor)| tensor.shape().iter().product::<usize>()).sum()
        };
        self.manifest.detectors.iter().map(|spec| of(format!("{}.", spec.kind.name()))).collect()
    }

    /// The tensors, to write the model again with another calibration.
    ///
    /// # Errors
    ///
    /// None that [`ModelDir::load`] would not have met.
    pub fn tensors(&self) -> Result<Vec<StoredTensor>, ScoreError> {
        let file = self.file()?;
        let tensors = file.iter().map(|(name, view)| {
            let words = view.data().as_chunks().0;
            match view.dtype() {
                Dtype::U32 => {
                    let numbers: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
                    StoredTensor::u32(name, view.shape(), &numbers)
                }
                _ => StoredTensor::f32(name, view.shape(), &floats(view.data())),
            }
        });
        Ok(tensors.collect())
    }

    /// A model with another manifest and other tensors, as it would be loaded had it been written.
    ///
    /// # Errors
    ///
    /// As [`ModelDir::write`], but for those of the disk.
    pub fn changed(&self, manifest: Manifest, tensors: &[StoredTensor]) -> Result<Self, ScoreError> {
        ModelDir::new(&self.path).assemble(manifest, tensors)
    }

    /// Itself, if the weights are what the manifest says and detectors can be made of them; and these.
    fn checked(self) -> Result<Checked, ScoreError> {
        let path = self.path.join(WEIGHTS_FILE);
        let header_bytes = self.weights.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        check_size(header_bytes, HEADER_BYTES_MAX)
            .map_err(|reason| refused(&path, format!("header: {reason}")))?;
        let file = self.file()?;
        let (width, classes) = self.shape();
        let expected: Vec<_> = self
            .manifest
            .detectors
            .iter()
            .flat_map(|spec| expected_tensors(&spec.kind, width, classes))
            .collect();
        expected::check(&file, &expected).map_err(|reason| refused(&path, reason))?;
        let detectors = self.detectors()?;
        Ok((self, detectors))
    }

    fn file(&self) -> Result<SafeTensors<'_>, ScoreError> {
        SafeTensors::deserialize(&self.weights).map_err(|error| {
            refused(&self.path.join(WEIGHTS_FILE), format!("it is no safetensors file: {error}"))
        })
    }

    /// Inputs of a step, and classes.
    fn shape(&self) -> (usize, usize) {
        (self.manifest.inputs.columns.len(), self.manifest.classes.len())
    }

    fn build(&self, file: &SafeTensors<'_>, kind: &DetectorKind) -> Result<Box<dyn Detector>, ScoreError> {
        let (width, classes) = self.shape();
        let fault = |error: &dyn std::fmt::Display| refused(&self.path.join(WEIGHTS_FILE), error.to_string());
        Ok(match kind {
            DetectorKind::BilstmAttn(spec) => {
                let prefix = format!("{}.", kind.name());
                let tensors =
                    file.iter().filter(|(name, _)| name.starts_with(&prefix)).map(|(name, view)| {
                        let tensor = Tensor::from_vec(floats(view.data()), view.shape(), &Device::Cpu)?;
                        Ok((name.to_owned(), tensor))
                    });
                let tensors = tensors.collect::<candle_core::Result<HashMap<_, _>>>()?;
                let variables = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
                let network =
                    BilstmAttn::new(spec, width, classes, variables).map_err(|error| fault(&error))?;
                Box::new(CpuNetwork::new(&network)?)
            }
            DetectorKind::Trees(spec) => {
                Box::new(Trees::load(file, spec, width, classes).map_err(|error| fault(&error))?)
            }
            DetectorKind::Logistic => {
                Box::new(Logistic::load(file, width, classes).map_err(|error| fault(&error))?)
            }
            DetectorKind::OneInput => {
                Box::new(OneInput::load(file, width, classes).map_err(|error| fault(&error))?)
            }
        })
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ScoreError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => refused(
            path,
            format!(
                "it is not there; a model directory holds {MANIFEST_FILE}, {WEIGHTS_FILE} and {README_FILE}"
            ),
        ),
        _ => ScoreError::Read { path: path.to_owned(), source },
    };
    // Asked before it is opened: opening a pipe waits for somebody to write.
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(refused(path, "it is not a file".to_owned()));
    }
    check_size(metadata.len(), bytes_max).map_err(|reason| refused(path, reason))?;
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes)).map_err(failed)?;
    check_size(bytes.len() as u64, bytes_max).map_err(|reason| refused(path, reason))?;
    Ok(bytes)
}

/// Writes files into a new directory, and gives it its name when they are on the disk.
fn publish(partial: &Path, path: &Path, parent: &Path, files: &[(&str, &[u8])]) -> Result<(), ScoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ScoreError::Write { path, source }
    };
    fs::create_dir_all(parent).map_err(failed(parent))?;
    fs::create_dir(partial).map_err(failed(partial))?;
    for (name, bytes) in files {
        let path = partial.join(name);
        File::create_new(&path)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .map_err(failed(&path))?;
    }
    let sync =
        |path: &Path| File::open(path).and_then(|directory| directory.sync_all()).map_err(failed(path));
    sync(partial)?;
    // A directory is never renamed over one that holds something.
    fs::rename(partial, path).map_err(failed(path))?;
    sync(parent)
}

fn check_size(bytes: u64, bytes_max: u64) -> Result<(), String> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(format!("{bytes} bytes, and no model needs more than {bytes_max}; is this the right file?"))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn nobody_votes(path: &Path) -> ScoreError {
    refused(path, "no detector has a vote".to_owned())
}

fn refused(path: &Path, reason: String) -> ScoreError {
    ScoreError::Refused { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests;
