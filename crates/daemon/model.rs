//! The model directory that the command line names.

use std::path::Path;

use tapline_features::inputs::{self, INPUTS};
use tapline_score::model_dir::MANIFEST_FILE;
use tapline_score::{Detector, InputSchema, LoadedModel, Manifest, ModelDir, ScoreError};

use crate::exit::{Code, Failure};

/// A model, ready to judge.
pub(crate) struct Model {
    pub(crate) manifest: Manifest,
    pub(crate) detector: Box<dyn Detector>,
}

impl Model {
    /// Reads a model directory and sees that it is what its manifest says, and made for the inputs of this build.
    ///
    /// # Errors
    ///
    /// If it is not, or cannot be read.
    pub(crate) fn open(directory: &Path) -> Result<Self, Failure> {
        let (model, detector) =
            read(directory, ModelDir::load_to_judge).map_err(|error| of_score(error, directory))?;
        Ok(Self { manifest: model.manifest, detector: Box::new(detector) })
    }
}

/// The same, not made ready yet.
pub(crate) fn open(directory: &Path) -> Result<LoadedModel, Failure> {
    load(directory).map_err(|error| of_score(error, directory))
}

/// The same, with the refusal as it is.
pub(crate) fn load(directory: &Path) -> Result<LoadedModel, ScoreError> {
    read(directory, ModelDir::load)
}

fn read<T>(
    directory: &Path,
    how: impl FnOnce(&ModelDir, &InputSchema<'_>) -> Result<T, ScoreError>,
) -> Result<T, ScoreError> {
    let names: Vec<&str> = INPUTS.iter().map(|input| input.name).collect();
    let hash = inputs::schema_hash();
    how(&ModelDir::new(directory), &InputSchema { name: inputs::SCHEMA, hash: &hash, inputs: &names })
}

fn of_score(error: ScoreError, directory: &Path) -> Failure {
    let code = match &error {
        _ if !directory.join(MANIFEST_FILE).exists() => Code::NoInput,
        ScoreError::Refused { .. } => Code::Data,
        ScoreError::Read { .. } => Code::NoInput,
        _ => Code::Software,
    };
    Failure::new(code, error)
}
