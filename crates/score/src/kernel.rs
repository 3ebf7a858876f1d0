//! Fast loops: dispatch to the vector units of this processor, and matrix products.
//!
//! The only `unsafe` of the crate. Measured, one core: with the loops compiled for the baseline of x86-64 and the
//! maths of libm, a step of an LSTM spends more time in `tanh` than in its matrix product (25 to 30 ns each); compiled
//! for AVX-512 or AVX2 the same safe loops vectorise, 1 to 2 ns each. The matrix products are those of the `gemm`
//! crate, whose interface is raw pointers.

#![expect(
    unsafe_code,
    reason = "calls of functions compiled for other processors, and of gemm; measured above"
)]

/// A loop over slices, written in safe Rust, that gains from wide vectors.
///
/// `run` must be `#[inline(always)]`, so that it is compiled anew inside each function of [`dispatch`].
pub(crate) trait Kernel {
    /// Runs the loop. `FMA` says whether `mul_add` is one instruction.
    fn run<const FMA: bool>(self);
}

/// Runs a kernel in its widest form that this processor can execute.
#[inline]
pub(crate) fn dispatch(kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            // SAFETY: the processor has just said that it has these features; AVX-512F implies FMA.
            return unsafe { with_avx512(kernel) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { with_avx2(kernel) };
        }
        kernel.run::<{ cfg!(target_feature = "fma") }>();
    }
    #[cfg(not(target_arch = "x86_64"))]
    kernel.run::<{ cfg!(target_arch = "aarch64") }>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn with_avx512(kernel: impl Kernel) {
    kernel.run::<true>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2(kernel: impl Kernel) {
    kernel.run::<true>();
}

/// `a * b + c`, fused where that is one instruction and not a call of libm.
#[inline(always)]
pub(crate) fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Values that a loop works on together: a vector of AVX-512, two of AVX2.
///
/// Loops over several slices work on arrays of these, loaded and stored by the two functions below: arrays are known not to
/// overlap, where slices would be compared row for row.
pub(crate) const LANES: usize = 16;

/// The values from `at`, and zeros behind the end.
#[inline(always)]
pub(crate) fn load(values: &[f32], at: usize) -> [f32; LANES] {
    let values = &values[at..];
    if let Some(lanes) = values.first_chunk() {
        return *lanes;
    }
    let mut lanes = [0.0; LANES];
    lanes[..values.len()].copy_from_slice(values);
    lanes
}

/// Puts back what [`load`] took, but for what was behind the end.
#[inline(always)]
pub(crate) fn store(lanes: [f32; LANES], values: &mut [f32], at: usize) {
    let values = &mut values[at..];
    if let Some(place) = values.first_chunk_mut() {
        *place = lanes;
        return;
    }
    values.copy_from_slice(&lanes[..values.len()]);
}

/// A matrix in a slice that somebody else owns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` rows of `columns` values, row after row.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(values, rows, columns, columns)
    }

    /// `rows` rows of `columns` values, `stride` values from the start of one row to that of the next.
    pub(crate) fn strided(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        Self { values, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// The same values with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// What a product does to its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// Replaces what is there.
    Overwrite,
    /// Is added to it.
    Add,
}

/// `left * right` into rows of `destination` that start `stride` values apart.
///
/// # Panics
///
/// If the shapes do not fit each other or their slices.
pub(crate) fn matmul(
    destination: &mut [f32],
    stride: usize,
    how: Update,
    left: Matrix<'_>,
    right: Matrix<'_>,
    threads: usize,
) {
    let (rows, inner, columns) = (left.rows, left.columns, right.columns);
    assert_eq!(inner, right.rows, "inner dimensions of a product");
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(columns <= stride || rows == 1, "rows of a destination overlap");
    let extent =
        |rows: usize, row: usize, columns: usize, column: usize| (rows - 1) * row + (columns - 1) * column;
    assert!(extent(rows, stride, columns, 1) < destination.len(), "destination of a product");
    if inner > 0 {
        for side in [&left, &right] {
            assert!(
                extent(side.rows, side.row_stride, side.columns, side.column_stride) < side.values.len(),
                "factor of a product"
            );
        }
    }
    let parallelism = if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None };
    // SAFETY: the asserts keep every address `pointer + row * row stride + column * column stride` inside its slice,
    // for all rows and columns of the shapes given; strides are of slices, so they fit an isize. The destination is
    // borrowed mutably, so it is none of the factors, and its rows do not overlap.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            destination.as_mut_ptr(),
            1,
            stride as isize,
            how == Update::Add,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// `e^x` for x in [-87, 87]; outside of that the bound's. Relative error at most 3e-7.
///
/// `2^k` times the Taylor polynomial of degree 6 of what is left, at most `ln(2) / 2`.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    // Adding it rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln(2) in two parts, the first with few enough bits that its product with k is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 87.0);
    let shifted = multiply_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let k = shifted - ROUND;
    let r = multiply_add::<FMA>(-k, LN_2_LOW, multiply_add::<FMA>(-k, LN_2_HIGH, x));
    let mut p = 1.0 / 720.0;
    p = multiply_add::<FMA>(p, r, 1.0 / 120.0);
    p = multiply_add::<FMA>(p, r, 1.0 / 24.0);
    p = multiply_add::<FMA>(p, r, 1.0 / 6.0);
    p = multiply_add::<FMA>(p, r, 0.5);
    p = multiply_add::<FMA>(p, r, 1.0);
    p = multiply_add::<FMA>(p, r, 1.0);
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// `1 / (1 + e^-x)`, absolute error at most 1e-6.
#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// The hyperbolic tangent, absolute error at most 1e-6.
#[inline(always)]
pub(crate) fn tanh<const FMA: bool>(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp::<FMA>(2.0 * x))
}

/// Sums of the columns of `[rows, columns]`, added to `[columns]`.
pub(crate) struct ColumnSums<'a> {
    pub(crate) rows: &'a [f32],
    pub(crate) sums: &'a mut [f32],
}

impl Kernel for ColumnSums<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for row in self.rows.chunks_exact(self.sums.len()) {
            for (sum, x) in self.sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Map<'a> {
        x: &'a [f32],
        exp: &'a mut [f32],
        sigmoid: &'a mut [f32],
        tanh: &'a mut [f32],
    }

    impl Kernel for Map<'_> {
        #[inline(always)]
        fn run<const FMA: bool>(self) {
            for (i, &x) in self.x.iter().enumerate() {
                self.exp[i] = exp::<FMA>(x);
                self.sigmoid[i] = sigmoid::<FMA>(x);
                self.tanh[i] = tanh::<FMA>(x);
            }
        }
    }

    /// Values from -90 to 90, dense around 0, and the extremes.
    fn arguments() -> Vec<f32> {
        let mut x: Vec<f32> = (-90_000..=90_000).map(|i| i as f32 * 1e-3).collect();
        x.extend((-10_000..=10_000).map(|i| i as f32 * 1e-5));
        x.extend([0.0, -0.0, f32::MIN_POSITIVE, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY]);
        x
    }

    fn check(x: &[f32], exp: &[f32], sigmoid: &[f32], tanh: &[f32]) {
        for (i, &x) in x.iter().enumerate() {
            let wide = f64::from(x);
            let expected = wide.clamp(-87.0, 87.0).exp();
            assert!((f64::from(exp[i]) / expected - 1.0).abs() <= 3e-7, "exp({x}) = {}", exp[i]);
            let expected = 1.0 / (1.0 + (-wide).exp());
            assert!((f64::from(sigmoid[i]) - expected).abs() <= 1e-6, "sigmoid({x}) = {}", sigmoid[i]);
            assert!((f64::from(tanh[i]) - wide.tanh()).abs() <= 1e-6, "tanh({x}) = {}", tanh[i]);
        }
    }

    #[test]
    fn approximations_stay_within_their_errors_in_every_form() {
        let x = arguments();
        let mut results = [vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; x.len()]];
        for form in 0..3 {
            let [exp, sigmoid, tanh] = &mut results;
            let kernel = Map { x: &x, exp, sigmoid, tanh };
            match form {
                0 => dispatch(kernel),
                1 => kernel.run::<false>(),
                _ => kernel.run::<true>(),
            }
            check(&x, &results[0], &results[1], &results[2]);
        }
    }

    #[test]
    fn a_value_that_is_no_number_stays_none() {
        assert!(sigmoid::<false>(f32::NAN).is_nan() && tanh::<false>(f32::NAN).is_nan());
    }

    #[test]
    fn products_of_strided_and_transposed_matrices_are_those_of_three_loops() {
        let (m, n, k) = (7, 19, 5);
        let value = |i: usize| ((i * 37) % 23) as f32 - 11.0;
        let left: Vec<f32> = (0..m * (k + 3)).map(value).collect();
        let right: Vec<f32> = (0..n * k).map(value).collect();
        let mut out = vec![1.0; m * (n + 2)];
        for (how, base) in [(Update::Add, 1.0), (Update::Overwrite, 0.0)] {
            let (a, b) = (Matrix::strided(&left, m, k, k + 3), Matrix::new(&right, n, k).transposed());
            matmul(&mut out, n + 2, how, a, b, 1);
            for i in 0..m {
                for j in 0..n {
                    let expected: f32 =
                        base + (0..k).map(|l| left[i * (k + 3) + l] * right[j * k + l]).sum::<f32>();
                    assert!((out[i * (n + 2) + j] - expected).abs() < 1e-3, "{how:?} {i} {j}");
                }
                // What lies between the rows is nobody's.
                assert!(out[i * (n + 2) + n..(i + 1) * (n + 2)].iter().all(|&x| (x - 1.0).abs() < 1e-9));
            }
        }
    }

    #[test]
    #[should_panic(expected = "factor of a product")]
    fn a_factor_that_is_too_short_is_refused() {
        matmul(
            &mut [0.0; 4],
            2,
            Update::Overwrite,
            Matrix::new(&[0.0; 3], 2, 2),
            Matrix::new(&[0.0; 4], 2, 2),
            1,
        );
    }
}
