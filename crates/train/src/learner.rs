//! The reference network as something that can be trained.
//!
//! In: its shape, a seed, a device. Out: a [`Trainable`], whose variables are made by the seed alone, and at the end its
//! tensors.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use tapline_score::manifest::NetworkSpec;
use tapline_score::network::initialise;
use tapline_score::{BilstmAttn, CpuNetwork, Detector, ScoreError};

use crate::CLASSES;
use crate::training::Trainable;

/// A network with variables.
pub struct Learner {
    network: BilstmAttn,
    map: VarMap,
    variables: BTreeMap<String, Var>,
    spec: NetworkSpec,
    device: Device,
}

impl Learner {
    /// A network for steps of `width` inputs.
    ///
    /// # Errors
    ///
    /// A shape that is none, or a failure of the device.
    pub fn new(spec: &NetworkSpec, width: usize, seed: u64, device: &Device) -> Result<Self, ScoreError> {
        let map = VarMap::new();
        let builder = VarBuilder::from_varmap(&map, DType::F32, device);
        let network = BilstmAttn::new(spec, width, CLASSES.len(), builder)?;
        initialise(&map, seed)?;
        let variables = match map.data().lock() {
            Ok(data) => data.iter().map(|(name, variable)| (name.clone(), variable.clone())).collect(),
            Err(_) => BTreeMap::new(),
        };
        Ok(Self { network, map, variables, spec: spec.clone(), device: device.clone() })
    }

    /// Its variables by name.
    #[must_use]
    pub const fn variables(&self) -> &BTreeMap<String, Var> {
        &self.variables
    }

    /// The network as the sensor runs it.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub fn detector_on_cpu(&self) -> Result<Box<dyn Detector>, ScoreError> {
        Ok(Box::new(CpuNetwork::new(&self.network)?))
    }

    /// Numbers that it consists of.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.variables.values().map(|variable| variable.elem_count()).sum()
    }
}

impl Trainable for Learner {
    fn seed_dropout(&self, seed: u64) {
        self.network.seed_dropout(seed);
    }

    fn forward(&self, inputs: &Tensor, mask: &Tensor) -> Result<(Tensor, Tensor), ScoreError> {
        self.network.forward_train(inputs, mask, true)
    }

    fn detector(&self) -> Result<Box<dyn Detector>, ScoreError> {
        if self.device.is_cpu() {
            return self.detector_on_cpu();
        }
        let builder = VarBuilder::from_varmap(&self.map, DType::F32, &self.device);
        let width = self.network.width();
        Ok(Box::new(BilstmAttn::new(&self.spec, width, CLASSES.len(), builder)?))
    }
}

impl std::fmt::Debug for Learner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Learner").field("spec", &self.spec).field("parameters", &self.parameters()).finish()
    }
}

#[cfg(test)]
mod tests {
    use tapline_score::WindowBatch;

    use super::*;

    fn learner(seed: u64) -> Learner {
        let spec = NetworkSpec {
            hidden: vec![6, 4],
            heads: 2,
            attention: 4,
            norm: "layer".to_owned(),
            dropout: 0.5,
        };
        Learner::new(&spec, 3, seed, &Device::Cpu).unwrap()
    }

    fn values(learner: &Learner) -> Vec<f32> {
        let of = |variable: &Var| variable.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        learner.variables().values().flat_map(of).collect()
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(values(&learner(1)), values(&learner(1)));
        assert_ne!(values(&learner(1)), values(&learner(2)));
        assert_eq!(values(&learner(1)).len(), learner(1).parameters());
        let inputs = Tensor::ones((1, 2, 3), DType::F32, &Device::Cpu).unwrap();
        let mask = Tensor::ones((1, 2), DType::F32, &Device::Cpu).unwrap();
        let forward = |learner: &Learner, seed| {
            learner.seed_dropout(seed);
            let (logits, _) = learner.forward(&inputs, &mask).unwrap();
            logits.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let learner = learner(1);
        assert_eq!(forward(&learner, 5), forward(&learner, 5));
        assert_ne!(forward(&learner, 5), forward(&learner, 6));
    }

    #[test]
    fn the_detector_follows_the_variables() {
        let learner = learner(1);
        let batch = WindowBatch { width: 3, lengths: vec![2], inputs: vec![1.0; 6], fresh: Vec::new() };
        let logits = || {
            let mut logits = Vec::new();
            learner.detector().unwrap().logits(&batch, &mut logits).unwrap();
            logits
        };
        let before = logits();
        for variable in learner.variables().values() {
            variable.set(&variable.zeros_like().unwrap()).unwrap();
        }
        assert_ne!(logits(), before);
        assert_eq!(logits(), [0.0; 16]);
    }
}
