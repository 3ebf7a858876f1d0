//! Tensors of a model file, checked as they are read, and tensors on their way into one.
//!
//! In: a parsed safetensors file. Out: plain vectors of the shape that was asked for, every float finite; or a
//! [`TensorFault`] that names the tensor. Whoever reads the file adds its path.

use std::borrow::Cow;

use safetensors::{Dtype, SafeTensors, View};

/// Why a detector cannot be made of the tensors that were given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorFault {
    /// The file lacks a tensor.
    #[error("tensor {name} is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// The numbers are of another type.
    #[error("tensor {name} holds {found:?}, not {expected:?}")]
    Type {
        /// The tensor.
        name: String,
        /// Type in the file.
        found: Dtype,
        /// Type that belongs there.
        expected: Dtype,
    },
    /// The shape is another one.
    #[error("tensor {name} has the shape {found:?}, not {expected}")]
    Shape {
        /// The tensor.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape that belongs there, in words.
        expected: String,
    },
    /// A number is not one that may stand there.
    #[error("tensor {name}, number {at}: {reason}")]
    Value {
        /// The tensor.
        name: String,
        /// Place of the number, row-major.
        at: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The manifest asks for a method that does not exist.
    #[error("no such method: {found}")]
    Method {
        /// What the manifest says.
        found: String,
    },
}

/// A tensor on its way into a model file: it goes straight to [`safetensors::serialize`].
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTensor {
    /// Name in the file, `<kind>.<name>`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub numbers: Numbers,
}

/// Numbers of a [`StoredTensor`].
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Weights, thresholds.
    F32(Vec<f32>),
    /// Places.
    U32(Vec<u32>),
}

impl StoredTensor {
    pub(crate) fn f32(name: &str, shape: &[usize], numbers: &[f32]) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), numbers.len());
        Self { name: name.to_owned(), shape: shape.to_vec(), numbers: Numbers::F32(numbers.to_vec()) }
    }

    pub(crate) fn u32(name: &str, shape: &[usize], numbers: &[u32]) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), numbers.len());
        Self { name: name.to_owned(), shape: shape.to_vec(), numbers: Numbers::U32(numbers.to_vec()) }
    }
}

impl View for &StoredTensor {
    fn dtype(&self) -> Dtype {
        match self.numbers {
            Numbers::F32(_) => Dtype::F32,
            Numbers::U32(_) => Dtype::U32,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(match &self.numbers {
            Numbers::F32(numbers) => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
            Numbers::U32(numbers) => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
        })
    }

    fn data_len(&self) -> usize {
        4 * self.shape.iter().product::<usize>()
    }
}

/// Shape of a tensor of `N` dimensions.
pub(crate) fn shape<const N: usize>(
    tensors: &SafeTensors<'_>,
    name: &str,
) -> Result<[usize; N], TensorFault> {
    let view = tensors.tensor(name).map_err(|_| TensorFault::Missing { name: name.to_owned() })?;
    view.shape().try_into().map_err(|_| TensorFault::Shape {
        name: name.to_owned(),
        found: view.shape().to_vec(),
        expected: format!("{N} dimensions"),
    })
}

/// Finite floats of a tensor of exactly this shape.
pub(crate) fn read_f32(
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>, TensorFault> {
    let numbers: Vec<f32> = words(tensors, name, Dtype::F32, shape)?.map(f32::from_le_bytes).collect();
    expect_finite(name, &numbers)?;
    Ok(numbers)
}

/// Integers of a tensor of exactly this shape.
pub(crate) fn read_u32(
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<u32>, TensorFault> {
    Ok(words(tensors, name, Dtype::U32, shape)?.map(u32::from_le_bytes).collect())
}

/// That no number is infinite or not a number.
pub(crate) fn expect_finite(name: &str, numbers: &[f32]) -> Result<(), TensorFault> {
    match numbers.iter().position(|number| !number.is_finite()) {
        Some(at) => Err(TensorFault::Value { name: name.to_owned(), at, reason: "it is not finite" }),
        None => Ok(()),
    }
}

/// That there are as many numbers as the shape says.
pub(crate) fn expect_shape(name: &str, found: usize, shape: &[usize]) -> Result<(), TensorFault> {
    if found == shape.iter().product::<usize>() {
        return Ok(());
    }
    Err(TensorFault::Shape { name: name.to_owned(), found: vec![found], expected: format!("{shape:?}") })
}

fn words<'a>(
    tensors: &SafeTensors<'a>,
    name: &str,
    expected: Dtype,
    shape: &[usize],
) -> Result<impl Iterator<Item = [u8; 4]> + use<'a>, TensorFault> {
    let name = || name.to_owned();
    let view = tensors.tensor(&name()).map_err(|_| TensorFault::Missing { name: name() })?;
    if view.dtype() != expected {
        return Err(TensorFault::Type { name: name(), found: view.dtype(), expected });
    }
    if view.shape() != shape {
        let expected = format!("{shape:?}");
        return Err(TensorFault::Shape { name: name(), found: view.shape().to_vec(), expected });
    }
    let (words, _) = view.data().as_chunks::<4>();
    Ok(words.iter().copied())
}
