//! The model directory that the command line names.

use std::mem;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::anyhow;
use tapline_features::inputs::{self, INPUTS};
use tapline_score::model_dir::MANIFEST_FILE;
use tapline_score::{Detector, InputSchema, LoadedModel, Manifest, ModelDir, ScoreError};

use crate::exit::{Code, Failure};
use crate::place::Place;

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

/// A model on its way: a thread of its own reads it, while captures are opened and packets are read.
pub(crate) struct Loading(Place<State>);

enum State {
    Running(JoinHandle<Result<Model, Failure>>),
    Loaded(Box<Model>),
    /// Somebody has it, or knows why nobody can.
    Taken,
}

impl Loading {
    /// Begins to read a model directory.
    pub(crate) fn start(directory: &Path) -> Result<Arc<Self>, Failure> {
        let directory = directory.to_owned();
        let thread = thread::Builder::new().name("model".to_owned()).spawn(move || Model::open(&directory));
        let thread = thread.map_err(|error| Failure::new(Code::Software, error))?;
        Ok(Arc::new(Self(Place::new(State::Running(thread)))))
    }

    /// Waits until the model is there, or it is certain why it will not be.
    pub(crate) fn wait(&self) -> Result<(), Failure> {
        let mut state = self.0.lock();
        *state = match mem::replace(&mut *state, State::Taken) {
            State::Running(thread) => {
                State::Loaded(Box::new(thread.join().unwrap_or_else(|panic| resume_unwind(panic))?))
            }
            other => other,
        };
        Ok(())
    }

    /// The model, waiting for it.
    pub(crate) fn take(&self) -> Result<Model, Failure> {
        self.wait()?;
        match mem::replace(&mut *self.0.lock(), State::Taken) {
            State::Loaded(model) => Ok(*model),
            _ => Err(Failure::new(Code::Software, anyhow!("the model was taken twice"))),
        }
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
