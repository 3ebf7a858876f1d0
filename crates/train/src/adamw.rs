//! AdamW (Loshchilov and Hutter 2019), with a state that can be saved.
//!
//! The formulas are those of `candle_nn::AdamW`, against which it is tested; that one keeps its moments to itself, so a
//! training with it cannot be continued. Weights decay here only where they are matrices: biases and norms do not.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

/// Settings of the optimiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWSpec {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Keeps the quotient finite.
    pub epsilon: f64,
    /// Share of a matrix that decays in a step, times the rate.
    pub weight_decay: f64,
}

impl Default for AdamWSpec {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }
}

/// The optimiser and its moments.
#[derive(Debug)]
pub struct AdamW {
    spec: AdamWSpec,
    parameters: Vec<Parameter>,
    steps: u64,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    variable: Var,
    first: Tensor,
    second: Tensor,
}

impl AdamW {
    /// An optimiser of these variables, by name.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub fn new(variables: &BTreeMap<String, Var>, spec: AdamWSpec) -> Result<Self> {
        let parameters = variables
            .iter()
            .map(|(name, variable)| {
                Ok(Parameter {
                    name: name.clone(),
                    variable: variable.clone(),
                    first: variable.zeros_like()?,
                    second: variable.zeros_like()?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { spec, parameters, steps: 0 })
    }

    /// Moves every variable that has a gradient.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub fn step(&mut self, gradients: &GradStore, rate: f64) -> Result<()> {
        let AdamWSpec { beta1, beta2, epsilon, weight_decay } = self.spec;
        self.steps += 1;
        // Beyond some thousand steps both are 1.
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let scale_first = 1.0 / (1.0 - beta1.powi(steps));
        let scale_second = 1.0 / (1.0 - beta2.powi(steps));
        for parameter in &mut self.parameters {
            let Some(gradient) = gradients.get(&parameter.variable) else { continue };
            // A gradient may still hang on the graph of the loss, which would otherwise never be freed.
            let gradient = gradient.detach();
            let first = ((&parameter.first * beta1)? + (&gradient * (1.0 - beta1))?)?;
            let second = ((&parameter.second * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
            let step = ((&first * scale_first)? / ((&second * scale_second)?.sqrt()? + epsilon)?)?;
            let theta = parameter.variable.as_detached_tensor();
            let theta = if theta.rank() >= 2 { (theta * (1.0 - rate * weight_decay))? } else { theta };
            parameter.variable.set(&(theta - (step * rate)?)?)?;
            parameter.first = first;
            parameter.second = second;
        }
        Ok(())
    }

    /// Steps so far.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The moments, named `first.<variable>` and `second.<variable>`.
    #[must_use]
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        self.parameters
            .iter()
            .flat_map(|parameter| {
                [
                    (format!("first.{}", parameter.name), parameter.first.clone()),
                    (format!("second.{}", parameter.name), parameter.second.clone()),
                ]
            })
            .collect()
    }

    /// Goes back to a saved state. Says which moment is missing or of another shape, and then changes nothing.
    ///
    /// # Errors
    ///
    /// The name of the moment.
    pub fn restore(
        &mut self,
        steps: u64,
        mut saved: impl FnMut(&str) -> Option<Tensor>,
    ) -> std::result::Result<(), String> {
        let mut moments = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            let mut moment = |kind: &str| {
                let name = format!("{kind}.{}", parameter.name);
                saved(&name).filter(|moment| moment.shape() == parameter.first.shape()).ok_or(name)
            };
            moments.push((moment("first")?, moment("second")?));
        }
        for (parameter, (first, second)) in self.parameters.iter_mut().zip(moments) {
            parameter.first = first;
            parameter.second = second;
        }
        self.steps = steps;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use candle_nn::{Optimizer, ParamsAdamW};

    use super::*;

    fn variables() -> BTreeMap<String, Var> {
        let matrix = Var::new(&[[1.0_f32, -2.0], [0.5, 3.0]], &Device::Cpu).unwrap();
        let bias = Var::new(&[0.25_f32, -0.75], &Device::Cpu).unwrap();
        BTreeMap::from([("bias".to_owned(), bias), ("matrix".to_owned(), matrix)])
    }

    /// Something with gradients that change from step to step.
    fn gradients(variables: &BTreeMap<String, Var>) -> GradStore {
        let out = variables["matrix"].sqr().unwrap().broadcast_add(&variables["bias"]).unwrap();
        out.sin().unwrap().sum_all().unwrap().backward().unwrap()
    }

    fn values(variable: &Var) -> Vec<f32> {
        variable.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn the_first_step_is_that_by_hand() {
        // Both moments divided by their bias are g and g^2: a step of `rate` against the sign of g, after the decay.
        let variables = variables();
        let loss = (&variables["matrix"].sum_all().unwrap() - variables["bias"].sum_all().unwrap()).unwrap();
        let spec = AdamWSpec { weight_decay: 0.5, ..AdamWSpec::default() };
        let mut optimiser = AdamW::new(&variables, spec).unwrap();
        optimiser.step(&loss.backward().unwrap(), 0.1).unwrap();
        let expect: Vec<f32> = [1.0_f32, -2.0, 0.5, 3.0].iter().map(|x| x * 0.95 - 0.1).collect();
        for (value, expect) in values(&variables["matrix"]).iter().zip(expect) {
            assert!((value - expect).abs() < 1e-6);
        }
        for (value, expect) in values(&variables["bias"]).iter().zip([0.35, -0.65]) {
            assert!((value - expect).abs() < 1e-6, "a bias does not decay");
        }
    }

    #[test]
    fn it_goes_where_candle_goes() {
        let ours = variables();
        let theirs = variables();
        let mut optimiser =
            AdamW::new(&ours, AdamWSpec { weight_decay: 0.0, ..AdamWSpec::default() }).unwrap();
        let params = ParamsAdamW { lr: 0.05, weight_decay: 0.0, ..ParamsAdamW::default() };
        let mut reference = candle_nn::AdamW::new(theirs.values().cloned().collect(), params).unwrap();
        for _ in 0..50 {
            optimiser.step(&gradients(&ours), 0.05).unwrap();
            reference.step(&gradients(&theirs)).unwrap();
        }
        for name in ["matrix", "bias"] {
            for (ours, theirs) in values(&ours[name]).iter().zip(values(&theirs[name])) {
                assert!((ours - theirs).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_saved_state_goes_on_as_if_nothing_had_been() {
        let straight = variables();
        let mut optimiser = AdamW::new(&straight, AdamWSpec::default()).unwrap();
        for _ in 0..4 {
            optimiser.step(&gradients(&straight), 0.05).unwrap();
        }
        let broken = variables();
        let mut first = AdamW::new(&broken, AdamWSpec::default()).unwrap();
        for _ in 0..2 {
            first.step(&gradients(&broken), 0.05).unwrap();
        }
        let mut second = AdamW::new(&broken, AdamWSpec::default()).unwrap();
        let state = first.state();
        assert_eq!(second.restore(1, |_| None), Err("first.bias".to_owned()));
        second.restore(first.steps(), |name| state.get(name).cloned()).unwrap();
        for _ in 0..2 {
            second.step(&gradients(&broken), 0.05).unwrap();
        }
        for name in ["matrix", "bias"] {
            assert_eq!(values(&straight[name]), values(&broken[name]));
        }
    }
}
