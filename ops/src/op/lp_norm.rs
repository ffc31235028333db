//! Norms of order p along an axis or over windows. Reads `LpNormalization`, `LpPool` and `GlobalLpPool`.

use super::conv::read_window;
use super::read::{Reader, Reading, resolve};
use super::{Add, Arithmetic, Conv, Div, ReduceKind};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, ConvGeometry, Unary};
use crate::tensor::{DType, Tensor};

/// Returns the readers of `LpNormalization`, `LpPool` and `GlobalLpPool`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("LpNormalization", 1, normalization),
        Reader::new("LpPool", 2, pool),
        Reader::new("GlobalLpPool", 2, |r| {
            let x = r.input(0)?;
            let order = order(r)?;
            let axes: Vec<usize> = (2..r.ty(x).rank()).collect();
            let powers = power(r, x, order)?;
            let sum = r.reduce(ReduceKind::Sum, powers, &axes)?;
            Ok(vec![root(r, sum, order)?])
        }),
    ]
}

fn order(r: &Reading) -> Result<i64, OpError> {
    match r.int_or("p", 2)? {
        order if order >= 1 => Ok(order),
        other => Err(OpError::mismatch("p", "at least 1", other)),
    }
}

/// Builds `|x|^p`.
fn power(r: &mut Reading, x: Value, order: i64) -> Result<Value, OpError> {
    if order == 2 {
        return r.add(super::Mul, &[x, x]);
    }
    let magnitude = r.unary(Unary::Abs, x)?;
    if order == 1 {
        return Ok(magnitude);
    }
    let order = r.add_scalar(order as f64, DType::F32);
    r.add(Arithmetic { f: Binary::Pow }, &[magnitude, order])
}

/// Builds the p-th root of a value that is not negative.
fn root(r: &mut Reading, x: Value, order: i64) -> Result<Value, OpError> {
    match order {
        1 => Ok(x),
        2 => r.unary(Unary::Sqrt, x),
        _ => {
            let inverse = r.add_scalar(1.0 / order as f64, DType::F32);
            r.add(Arithmetic { f: Binary::Pow }, &[x, inverse])
        }
    }
}

/// Reads `LpNormalization`: `x / ‖x‖`, 0 where the norm is 0.
fn normalization(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let axis = resolve(r.int_or("axis", -1)?, r.ty(x).rank())?;
    let order = order(r)?;
    let powers = power(r, x, order)?;
    let sum = r.reduce(ReduceKind::Sum, powers, &[axis])?;
    let norm = root(r, sum, order)?;
    // 0 / 1 where the norm is 0.
    let zero = r.add_scalar(0.0, DType::F32);
    let is_zero = r.compare(Binary::Equal, norm, zero)?;
    let unit = r.cast(is_zero, DType::F32)?;
    let norm = r.add(Add, &[norm, unit])?;
    Ok(vec![r.add(Div, &[x, norm])?])
}

/// Reads `LpPool`. The sum of a window is a convolution of each channel with ones.
fn pool(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let ty = r.ty(x);
    let kernel = r.sizes("kernel_shape")?;
    let kernel = kernel.ok_or_else(|| OpError::missing_attribute("kernel_shape", "the size of a window"))?;
    let window = read_window(r, kernel.clone(), &ty)?;
    let channels = ty.dim(1).as_known().and_then(|c| usize::try_from(c).ok());
    let channels = channels.ok_or_else(|| OpError::symbolic("channels", "a known number", ty.dim(1)))?;
    let order = order(r)?;
    let powers = power(r, x, order)?;
    let shape = [vec![channels, 1], kernel].concat();
    let ones = r.add_constant(Tensor::from_f32(&shape, &vec![1.0; shape.iter().product()]));
    let sum = r.add(Conv { geometry: ConvGeometry { window, groups: channels } }, &[powers, ones])?;
    Ok(vec![root(r, sum, order)?])
}
