//! Layers whose operands and results are quantised: the float layer of the values that the operands stand for, and a rounding of its
//! result. Reads `QLinearConv` and `QLinearMatMul`, and the same of other operators in com.microsoft.

use super::dequantise::dequantise;
use super::grid::QuantisedType;
use super::integer_product::factor;
use super::quantisation::quantise;
use super::quantisation_layout::{Layout, finite, positive};
use super::quantise::whole;
use super::read::{MICROSOFT, Reader, Reading, resolve};
use super::{Add, Concat, Mul, Select};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::DType;

/// Opset whose definitions of float operators the layers follow, where no attribute says another.
const OPSET: i64 = 13;

/// Returns the readers of the layers.
pub fn readers() -> Vec<Reader> {
    let layer = |op: &'static str, read| Reader::of(MICROSOFT, op, read);
    vec![
        Reader::new("QLinearConv", 10, conv),
        Reader::new("QLinearMatMul", 10, |r| {
            let a = operand(r, 0)?;
            let b = right_factor(r, 3)?;
            let y = r.read_as("MatMul", OPSET, &[Some(a), Some(b)])?;
            result(r, y, 6)
        }),
        layer("QLinearConv", conv),
        layer("QGemm", gemm),
        layer("QLinearAdd", |r| {
            let pair = [operand(r, 0)?, operand(r, 3)?];
            let y = r.add(Add, &pair)?;
            result(r, y, 6)
        }),
        layer("QLinearMul", |r| {
            let pair = [operand(r, 0)?, operand(r, 3)?];
            let y = r.add(Mul, &pair)?;
            result(r, y, 6)
        }),
        layer("QLinearConcat", |r| {
            let count = r.inputs.len().saturating_sub(2) / 3;
            let parts = (0..count.max(1)).map(|i| operand(r, 2 + 3 * i)).collect::<Result<Vec<_>, _>>()?;
            let axis = r.int("axis")?.ok_or_else(|| OpError::missing_attribute("axis", "an integer"))?;
            let axis = resolve(axis, r.ty(parts[0]).rank())?;
            let y = r.add(Concat { axis }, &parts)?;
            result(r, y, 0)
        }),
        layer("QLinearWhere", |r| {
            let condition = r.input(0)?;
            let operands = [condition, operand(r, 1)?, operand(r, 4)?];
            let y = r.add(Select, &operands)?;
            result(r, y, 7)
        }),
        layer("QLinearGlobalAveragePool", |r| pool(r, "GlobalAveragePool")),
        layer("QLinearAveragePool", |r| pool(r, "AveragePool")),
        layer("QLinearReduceMean", |r| function(r, "ReduceMean", OPSET)),
        layer("QLinearSigmoid", |r| function(r, "Sigmoid", OPSET)),
        layer("QLinearLeakyRelu", |r| function(r, "LeakyRelu", OPSET)),
        layer("QLinearSoftmax", |r| {
            let opset = r.int_or("opset", OPSET)?;
            function(r, "Softmax", opset)
        }),
    ]
}

/// Adds the values of the operand at `i`, which its scale and zero point follow.
fn operand(r: &mut Reading, i: usize) -> Result<Value, OpError> {
    let (x, scale, zero) = (r.input(i)?, r.input(i + 1)?, r.optional(i + 2));
    positive(r, scale)?;
    single(r, scale)?;
    dequantise(r, x, scale, zero, Layout::Tensor)
}

/// Adds the values of a right factor at `i`, which its scale and zero point follow.
fn right_factor(r: &mut Reading, i: usize) -> Result<Value, OpError> {
    let (b, scale, zero) = (r.input(i)?, r.input(i + 1)?, r.optional(i + 2));
    factor(r, b, scale, zero)
}

/// Adds the rounded result; its scale is the operand at `i`, its zero point the next.
fn result(r: &mut Reading, y: Value, i: usize) -> Result<Vec<Value>, OpError> {
    let (scale, zero) = (r.input(i)?, r.optional(i + 1));
    Ok(vec![rounded(r, y, scale, zero)?])
}

fn rounded(r: &mut Reading, y: Value, scale: Value, zero: Option<Value>) -> Result<Value, OpError> {
    positive(r, scale)?;
    single(r, scale)?;
    let to: QuantisedType = match zero {
        Some(zero) => match r.narrow(zero) {
            Some(narrow) => narrow.quantised_type(),
            None => whole(r.ty(zero).dtype)?,
        },
        None => whole(DType::U8)?,
    };
    let steps = Layout::Tensor.steps(r, y, scale, zero)?;
    quantise(r, y, steps, to)
}

/// Refuses scales of more than one element.
fn single(r: &Reading, scale: Value) -> Result<(), OpError> {
    let shape = r.ty(scale).shape;
    if shape.elems().is(1) {
        return Ok(());
    }
    let property = format!("shape of scale `{}`", r.graph.value_name(scale));
    Err(OpError::invalid(&property, "one element", shape))
}

/// Reads a function of one operand: x, scale, zero point, scale and zero point of the result.
fn function(r: &mut Reading, op: &str, opset: i64) -> Result<Vec<Value>, OpError> {
    let x = operand(r, 0)?;
    let y = r.read_as(op, opset, &[Some(x)])?;
    result(r, y, 3)
}

/// Reads an average over positions.
fn pool(r: &mut Reading, op: &str) -> Result<Vec<Value>, OpError> {
    if r.flag("channels_last", false)? {
        return Err(OpError::unsupported("channels_last", 0, 1));
    }
    function(r, op, OPSET)
}

/// Reads a convolution: x, w with their scales and zero points, scale and zero point of the result, int32 bias (optional).
fn conv(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = operand(r, 0)?;
    let (w, w_scale, w_zero) = (r.input(3)?, r.input(4)?, r.optional(5));
    finite(r, w_scale)?;
    let layout = Layout::of(r, w_scale, || 0);
    let w = dequantise(r, w, w_scale, w_zero, layout)?;
    let bias = match r.optional(8) {
        Some(bias) => {
            let scale = r.input(1)?;
            Some(scaled_bias(r, bias, scale, w_scale)?)
        }
        None => None,
    };
    if r.flag("channels_last", false)? {
        return Err(OpError::unsupported("channels_last", 0, 1));
    }
    let y = r.read_as("Conv", OPSET, &[Some(x), Some(w), bias])?;
    result(r, y, 6)
}

/// Adds the values of an int32 bias, whose steps are the products of those of the operands.
fn scaled_bias(r: &mut Reading, bias: Value, scale: Value, w_scale: Value) -> Result<Value, OpError> {
    let scale = r.reshape(scale, crate::tensor::Shape(vec![]))?;
    let steps = r.add(Mul, &[w_scale, scale])?;
    let layout = Layout::of(r, steps, || 0);
    dequantise(r, bias, steps, None, layout)
}

/// Reads `QGemm`: A and B with their scales and zero points, int32 C (optional), scale and zero point of the result (optional; without
/// them the result is float).
fn gemm(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let a = operand(r, 0)?;
    let (b, b_scale, b_zero) = (r.input(3)?, r.input(4)?, r.optional(5));
    finite(r, b_scale)?;
    let columns = usize::from(!r.flag("transB", false)?);
    let layout = Layout::of(r, b_scale, || columns);
    let b = dequantise(r, b, b_scale, b_zero, layout)?;
    let mut y = r.read_as("Gemm", OPSET, &[Some(a), Some(b)])?;
    if let Some(c) = r.optional(6) {
        let scale = r.input(1)?;
        let alpha = r.float_or("alpha", 1.0)?;
        let alpha = r.add_scalar(f64::from(alpha), DType::F32);
        let scale = r.add(Mul, &[scale, alpha])?;
        let c = scaled_bias(r, c, scale, b_scale)?;
        y = r.add(Add, &[y, c])?;
    }
    match r.optional(7) {
        Some(scale) => {
            let zero = r.optional(8);
            Ok(vec![rounded(r, y, scale, zero)?])
        }
        None => {
            r.optional(8);
            Ok(vec![y])
        }
    }
}
