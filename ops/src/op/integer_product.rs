//! Products of quantised operands. Reads `MatMulInteger` and `ConvInteger`, and `DynamicQuantizeMatMul` and `MatMulIntegerToFloat` of
//! com.microsoft.
//!
//! The product is that of the values which the operands stand for, in float32: its whole numbers are exact up to 2²⁴.

use super::Add;
use super::dequantise::dequantise;
use super::quantisation::{Steps, encode};
use super::quantisation_layout::{Layout, finite};
use super::quantise::rounded;
use super::read::{MICROSOFT, Reader, Reading};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Shape, Tensor};

/// Returns the readers of the products.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("MatMulInteger", 10, |r| {
            let (a, b) = (r.input(0)?, r.input(1)?);
            let (a_zero, b_zero) = (r.optional(2), r.optional(3));
            let a = centred(r, a, a_zero, |rank| rank.saturating_sub(2))?;
            let b = centred(r, b, b_zero, |rank| rank.saturating_sub(1))?;
            let y = r.read_as("MatMul", 13, &[Some(a), Some(b)])?;
            Ok(vec![whole_numbers(r, y)?])
        }),
        Reader::new("ConvInteger", 10, |r| {
            let (x, w) = (r.input(0)?, r.input(1)?);
            let (x_zero, w_zero) = (r.optional(2), r.optional(3));
            let x = centred(r, x, x_zero, |_| 0)?;
            let w = centred(r, w, w_zero, |_| 0)?;
            let y = r.read_as("Conv", 11, &[Some(x), Some(w)])?;
            Ok(vec![whole_numbers(r, y)?])
        }),
        Reader::of(MICROSOFT, "DynamicQuantizeMatMul", |r| {
            let (a, b, b_scale) = (r.input(0)?, r.input(1)?, r.input(2)?);
            let (b_zero, bias) = (r.optional(3), r.optional(4));
            let a = rounded(r, a)?;
            let b = factor(r, b, b_scale, b_zero)?;
            product(r, a, b, bias)
        }),
        Reader::of(MICROSOFT, "MatMulIntegerToFloat", |r| {
            let (a, b) = (r.input(0)?, r.input(1)?);
            let (a_scale, b_scale) = (r.input(2)?, r.input(3)?);
            let (a_zero, b_zero, bias) = (r.optional(4), r.optional(5), r.optional(6));
            let layout = Layout::of(r, a_scale, || 0);
            let a = dequantise(r, a, a_scale, a_zero, layout)?;
            let b = factor(r, b, b_scale, b_zero)?;
            product(r, a, b, bias)
        }),
    ]
}

/// Adds `a · b + bias`.
fn product(r: &mut Reading, a: Value, b: Value, bias: Option<Value>) -> Result<Vec<Value>, OpError> {
    let y = r.read_as("MatMul", 13, &[Some(a), Some(b)])?;
    Ok(vec![match bias {
        Some(bias) => r.add(Add, &[y, bias])?,
        None => y,
    }])
}

/// Adds the values of a right factor, whose scale and zero point are those of all elements or of each column.
pub(super) fn factor(r: &mut Reading, b: Value, scale: Value, zero: Option<Value>) -> Result<Value, OpError> {
    finite(r, scale)?;
    let columns = r.ty(b).rank().saturating_sub(1);
    let layout = Layout::of(r, scale, || columns);
    dequantise(r, b, scale, zero, layout)
}

/// Adds `x - zero point`. A zero point of several elements belongs to the axis that `axis` returns for the operand's rank.
fn centred(
    r: &mut Reading,
    x: Value,
    zero: Option<Value>,
    axis: fn(usize) -> usize,
) -> Result<Value, OpError> {
    let count = zero.map_or_else(|| Shape(vec![]), |zero| r.ty(zero).shape);
    let scale = match count.as_known().as_deref() {
        Some([n]) if *n != 1 => r.add_constant(Tensor::from_f32(&[*n], &vec![1.0; *n])),
        _ if count.elems().is(1) => r.add_scalar(1.0, DType::F32),
        _ => {
            return Err(OpError::unsupported("shape of the zero point", "one element or one axis", count));
        }
    };
    let along = axis(r.ty(x).rank());
    let layout = Layout::of(r, scale, || along);
    dequantise(r, x, scale, zero, layout)
}

/// Adds the int32 tensor of whole numbers.
fn whole_numbers(r: &mut Reading, x: Value) -> Result<Value, OpError> {
    let scale = r.add_scalar(1.0, DType::F32);
    encode(r, x, Steps { scale, zero: None }, DType::I32)
}
