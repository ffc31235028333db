//! Layer and root-mean-square normalisation over the last axes.
//!
//! `y = (x - mean) / √(var + epsilon) · scale + bias`; the root-mean-square form does not subtract the mean. Reads
//! `LayerNormalization`, `RMSNormalization` and `MeanVarianceNormalization`. Shapes: x `[…, axes]`; scale and bias
//! broadcast to x.

use super::Operator;
use super::ReduceKind;
use super::read::{Reader, Reading, resolve, resolve_all};
use super::role::Role;
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Builder, Reduction, Unary};
use crate::tensor::DType;

/// Normalisation over axes, then an optional affine map. Operands: x, scale (optional), bias (optional).
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// Normalised axes, ascending.
    pub axes: Vec<usize>,
    /// Constant added to the variance.
    pub epsilon: f32,
    /// True if the mean is subtracted; false for root-mean-square normalisation.
    pub centre: bool,
}

impl Operator for LayerNorm {
    fn attributes(&self) -> String {
        format!(" axes={:?} epsilon={:e}{}", self.axes, self.epsilon, if self.centre { "" } else { " rms" })
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let mut y = if self.centre { subtract_mean(b, inputs[0], &self.axes) } else { inputs[0] };
        y = divide_by_root_mean_square(b, y, &self.axes, f64::from(self.epsilon));
        if let Some(scale) = inputs.get(1) {
            y = b.mul(y, *scale);
        }
        if let Some(bias) = inputs.get(2) {
            y = b.plus(y, *bias);
        }
        vec![y]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Normalize
    }
}

/// Builds the mean over `axes`, which stay with dimension 1.
fn mean(b: &mut Builder, x: Value, axes: &[usize]) -> Value {
    let count = axes.iter().fold(crate::tensor::Dim::known(1), |n, a| &n * b.ty(x).dim(*a));
    let sum = b.reduce_keepdims(Reduction::Sum, x, axes);
    super::reduce::divide_by(b, sum, &count)
}

/// Builds `x - mean(x)` over `axes`.
pub(super) fn subtract_mean(b: &mut Builder, x: Value, axes: &[usize]) -> Value {
    let mean = mean(b, x, axes);
    b.minus(x, mean)
}

/// Builds `x / √(mean(x²) + epsilon)` over `axes`.
pub(super) fn divide_by_root_mean_square(b: &mut Builder, x: Value, axes: &[usize], epsilon: f64) -> Value {
    let square = b.mul(x, x);
    let mean_square = mean(b, square, axes);
    let epsilon = b.scalar_like(epsilon, x);
    let stabilized = b.plus(mean_square, epsilon);
    let root = b.unary(Unary::Sqrt, stabilized);
    b.binary(Binary::Div, x, root)
}

/// Returns the readers of `LayerNormalization`, `RMSNormalization` and `MeanVarianceNormalization`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("LayerNormalization", 17, |r| {
            let mut outputs = read(r, true)?;
            if r.outputs > 1 {
                let x = r.input(0)?;
                let rank = r.ty(x).rank();
                let axes: Vec<usize> = (resolve(r.int_or("axis", -1)?, rank)?..rank).collect();
                let epsilon = r.float_or("epsilon", 1e-5)?;
                outputs.extend(statistics(r, x, &axes, epsilon, true)?);
            }
            Ok(outputs)
        }),
        Reader::new("RMSNormalization", 23, |r| read(r, false)),
        Reader::new("MeanVarianceNormalization", 9, |r| {
            let x = r.input(0)?;
            let axes = r.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
            let axes = resolve_all(&axes, r.ty(x).rank())?;
            // The specification adds 1e-9 to the standard deviation; its square, added to the variance, is below float32 resolution.
            Ok(vec![r.add(LayerNorm { axes, epsilon: 1e-18, centre: true }, &[x])?])
        }),
    ]
}

/// Builds the mean and the inverse standard deviation, or the inverse root mean square without `centre`: outputs of training.
pub(super) fn statistics(
    r: &mut Reading,
    x: Value,
    axes: &[usize],
    epsilon: f32,
    centre: bool,
) -> Result<[Value; 2], OpError> {
    let mean = r.reduce(ReduceKind::Mean, x, axes)?;
    let difference = if centre { r.add(super::Sub, &[x, mean])? } else { x };
    let square = r.add(super::Mul, &[difference, difference])?;
    let variance = r.reduce(ReduceKind::Mean, square, axes)?;
    let epsilon = r.add_scalar(f64::from(epsilon), DType::F32);
    let variance = r.add(super::Add, &[variance, epsilon])?;
    let deviation = r.unary(Unary::Sqrt, variance)?;
    Ok([mean, r.unary(Unary::Reciprocal, deviation)?])
}

fn read(r: &mut Reading, centre: bool) -> Result<Vec<Value>, OpError> {
    r.ignore(&["stash_type"]);
    let x = r.input(0)?;
    let rank = r.ty(x).rank();
    let axis = resolve(r.int_or("axis", -1)?, rank)?;
    let epsilon = r.float_or("epsilon", 1e-5)?;
    let inputs: Vec<Value> = [x, r.input(1)?].into_iter().chain(r.optional(2)).collect();
    let op = LayerNorm { axes: (axis..rank).collect(), epsilon, centre };
    let y = r.add(op, &inputs)?;
    if r.ty(y).shape != r.ty(x).shape {
        return Err(OpError::mismatch("shape after scale and bias", r.ty(x), r.ty(y)));
    }
    Ok(vec![y])
}
