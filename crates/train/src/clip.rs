//! Clipping of gradients by their global norm (Pascanu et al. 2013), which candle lacks.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

/// Scales the gradients of `variables` so that their norm, taken over all of them together, is `most` at most.
///
/// Gives the norm before. Is it not finite, nothing is scaled: such gradients are of no use.
///
/// # Errors
///
/// The device failed.
pub fn clip_global_norm<'a>(
    gradients: &mut GradStore,
    variables: impl Iterator<Item = &'a Var> + Clone,
    most: f64,
) -> Result<f64> {
    let squares = variables
        .clone()
        .filter_map(|variable| gradients.get(variable))
        .map(|gradient| gradient.sqr()?.sum_all())
        .collect::<Result<Vec<_>>>()?;
    if squares.is_empty() {
        return Ok(0.0);
    }
    // One value leaves the device, not one per variable.
    let norm = f64::from(Tensor::stack(&squares, 0)?.sum_all()?.sqrt()?.to_scalar::<f32>()?);
    if norm.is_finite() && norm > most {
        for variable in variables {
            if let Some(gradient) = gradients.remove(variable) {
                gradients.insert(variable, (gradient * (most / norm))?);
            }
        }
    }
    Ok(norm)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use candle_core::Device;

    use super::*;

    fn gradients(scale: f64) -> (Vec<Var>, GradStore) {
        let variables: Vec<Var> = [[1.0_f32, 2.0], [0.5, 0.5]]
            .iter()
            .map(|values| Var::new(values, &Device::Cpu).unwrap())
            .collect();
        // Gradients [2, 0] and [1, 2]: norm 3.
        let by = Tensor::new(&[[2.0_f32, 0.0], [1.0, 2.0]], &Device::Cpu).unwrap();
        let loss = variables
            .iter()
            .enumerate()
            .map(|(at, variable)| (variable.as_tensor() * by.get(at).unwrap()).unwrap().sum_all().unwrap())
            .reduce(|a, b| (a + b).unwrap())
            .unwrap();
        let gradients = (loss * scale).unwrap().backward().unwrap();
        (variables, gradients)
    }

    fn values(gradients: &GradStore, variable: &Var) -> Vec<f32> {
        gradients.get(variable).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_long_gradient_is_shortened_whole() {
        let (variables, mut gradients) = gradients(1.0);
        let norm = clip_global_norm(&mut gradients, variables.iter(), 1.5).unwrap();
        assert!((norm - 3.0).abs() < 1e-6);
        assert_eq!(values(&gradients, &variables[0]), [1.0, 0.0]);
        assert_eq!(values(&gradients, &variables[1]), [0.5, 1.0]);
    }

    #[test]
    fn a_short_one_stays() {
        let (variables, mut gradients) = gradients(1.0);
        assert!((clip_global_norm(&mut gradients, variables.iter(), 3.5).unwrap() - 3.0).abs() < 1e-6);
        assert_eq!(values(&gradients, &variables[0]), [2.0, 0.0]);
        let none: [Var; 0] = [];
        assert_eq!(clip_global_norm(&mut gradients, none.iter(), 1.0).unwrap(), 0.0);
    }

    #[test]
    fn what_is_not_finite_is_told() {
        let (variables, mut gradients) = gradients(f64::INFINITY);
        assert!(!clip_global_norm(&mut gradients, variables.iter(), 1.0).unwrap().is_finite());
    }
}
