//! Values that quantised tensors stand for: `(x - zero point) · scale`. Reads `DequantizeLinear`.

use super::quantisation::Steps;
use super::quantisation_layout::{Layout, finite, positive};
use super::read::{MICROSOFT, Reader, Reading};
use super::{Div, Gather, Mul, Op, Sub};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Tensor};

/// Returns the readers of `DequantizeLinear`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("DequantizeLinear", 10, read), Reader::of(MICROSOFT, "DequantizeLinear", read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    // Floats are float32 throughout.
    r.ignore(&["output_dtype"]);
    let (x, scale, zero) = (r.input(0)?, r.input(1)?, r.optional(2));
    let layout = Layout::read(r, x, scale)?;
    // Tools give blocks a negative scale where their largest number is positive.
    if matches!(layout, Layout::Axis { blocked: true, .. }) {
        finite(r, scale)?
    } else {
        positive(r, scale)?
    }
    Ok(vec![dequantise(r, x, scale, zero, layout)?])
}

/// Adds the values of a quantised tensor with the scale and zero point of the file.
///
/// # Errors
/// If scale or zero point do not fit the tensor.
pub(super) fn dequantise(
    r: &mut Reading,
    x: Value,
    scale: Value,
    zero: Option<Value>,
    layout: Layout,
) -> Result<Value, OpError> {
    layout.check(r, x, scale, zero)?;
    if let Some(values) = constant(r, x, scale, zero, layout)? {
        return Ok(values);
    }
    let steps = layout.steps(r, x, scale, zero)?;
    if layout == Layout::Tensor
        && let Some(rows) = rows(r, x, steps, MOVES)?
    {
        return Ok(rows);
    }
    decode(r, x, Some(steps.scale), steps.zero)
}

/// Adds the values of constant numbers with constant steps; `None` if something is computed.
fn constant(
    r: &mut Reading,
    x: Value,
    scale: Value,
    zero: Option<Value>,
    layout: Layout,
) -> Result<Option<Value>, OpError> {
    let (Some(numbers), Some(scales)) = (r.constant(x), r.constant(scale)) else { return Ok(None) };
    let zeros = match zero {
        Some(zero) => r.constant(zero),
        None => Some(Tensor::from_i64(&[], &[0])),
    };
    let Some(zeros) = zeros else { return Ok(None) };
    r.check_size(&numbers.ty().with_dtype(DType::F32))?;
    let values = layout.values(&numbers, r.narrow(x), scales.to_f32(), zeros.to_f32())?;
    Ok(Some(r.add_constant(values)))
}

/// Adds the look-up of rows in the values of a constant table, and what moves them after the look-up; `None` for other tensors.
fn rows(r: &mut Reading, x: Value, steps: Steps, moves: usize) -> Result<Option<Value>, OpError> {
    let (op, operands) = (r.graph.op(x.node).clone(), r.graph.node_inputs(x.node));
    match op {
        Op::Gather(Gather { axis: 0 }) => {
            match constant(r, operands[0], steps.scale, steps.zero, Layout::Tensor)? {
                Some(table) => Ok(Some(r.add(op, &[table, operands[1]])?)),
                None => Ok(None),
            }
        }
        Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) if moves > 0 => {
            match rows(r, operands[0], steps, moves - 1)? {
                Some(rows) => Ok(Some(r.add(op, &[rows])?)),
                None => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

/// Adds `(x - zero point) · scale` for operands that broadcast. Without a scale, steps are the unit.
///
/// # Errors
/// As [`Reading::add`].
pub(super) fn decode(
    r: &mut Reading,
    x: Value,
    scale: Option<Value>,
    zero: Option<Value>,
) -> Result<Value, OpError> {
    let real = real(r, x)?;
    let Some(Real { value, steps }) = real.filter(|real| equal(r, real.steps.zero, zero)) else {
        let mut y = number(r, x)?;
        if let Some(zero) = zero {
            let zero = r.cast(zero, DType::F32)?;
            y = r.add(Sub, &[y, zero])?;
        }
        return match scale {
            Some(scale) if !is_unit(r, scale) => r.add(Mul, &[y, scale]),
            _ => Ok(y),
        };
    };
    if scale.is_some() && equal(r, scale, Some(steps.scale)) {
        return Ok(value);
    }
    let whole = in_steps(r, value, steps.scale)?;
    match scale {
        Some(scale) if !is_unit(r, scale) => r.add(Mul, &[whole, scale]),
        _ => Ok(whole),
    }
}

/// Adds the whole numbers of a tensor as float32. Those of a quantised value carry its relevance.
///
/// # Errors
/// As [`Reading::add`].
pub(super) fn number(r: &mut Reading, x: Value) -> Result<Value, OpError> {
    match quantised_number(r, x)? {
        Some(number) => Ok(number),
        None => r.cast(x, DType::F32),
    }
}

/// Adds the whole numbers of a quantised value, with its relevance; `None` if the tensor is none.
///
/// # Errors
/// As [`Reading::add`].
pub(super) fn quantised_number(r: &mut Reading, x: Value) -> Result<Option<Value>, OpError> {
    let Some(Real { value, steps }) = real(r, x)? else { return Ok(None) };
    let whole = in_steps(r, value, steps.scale)?;
    Ok(Some(match steps.zero {
        Some(zero) if !is_zero(r, zero) => {
            let zero = r.cast(zero, DType::F32)?;
            r.add(super::Add, &[whole, zero])?
        }
        _ => whole,
    }))
}

/// Adds a value in units of a scale.
fn in_steps(r: &mut Reading, value: Value, scale: Value) -> Result<Value, OpError> {
    if is_unit(r, scale) { Ok(value) } else { r.add(Div, &[value, scale]) }
}

/// Value that a quantised tensor stands for.
struct Real {
    value: Value,
    steps: Steps,
}

/// Largest number of operators that are moved from whole numbers to the values that they stand for.
const MOVES: usize = 32;

/// Returns the value that a tensor of whole numbers stands for; `None` for other tensors. What only moves whole numbers,
/// or chooses the largest of them, is added once more for the values.
fn real(r: &mut Reading, x: Value) -> Result<Option<Real>, OpError> {
    real_within(r, x, &mut { MOVES })
}

fn real_within(r: &mut Reading, x: Value, moves: &mut usize) -> Result<Option<Real>, OpError> {
    let operands = r.graph.node_inputs(x.node);
    match r.graph.op(x.node) {
        Op::Encode(_) => {
            let steps = Steps { scale: operands[1], zero: operands.get(2).copied() };
            Ok(Some(Real { value: operands[0], steps }))
        }
        Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Slice(_)
        | Op::Expand(_)
        | Op::MaxPool(_)
        | Op::Gather(_)
        | Op::Concat(_)
            if *moves > 0 =>
        {
            *moves -= 1;
            let op = r.graph.op(x.node).clone();
            let data = if matches!(op, Op::Gather(_)) { 1 } else { operands.len() };
            let mut steps: Option<Steps> = None;
            let mut values = operands.clone();
            for value in &mut values[..data] {
                let Some(real) = real_within(r, *value, moves)? else { return Ok(None) };
                // Steps of one axis would have to move with it.
                if r.ty(real.steps.scale).rank() > 0
                    && r.constant(real.steps.scale).is_none_or(|t| t.elems() != 1)
                {
                    return Ok(None);
                }
                if steps.is_some_and(|s| {
                    !equal(r, Some(s.scale), Some(real.steps.scale)) || !equal(r, s.zero, real.steps.zero)
                }) {
                    return Ok(None);
                }
                steps = Some(real.steps);
                *value = real.value;
            }
            let Some(steps) = steps else { return Ok(None) };
            let value = r.add(op, &values)?;
            Ok(Some(Real { value, steps }))
        }
        Op::Add(_) if *moves > 0 && r.ty(x).dtype == DType::I32 => {
            *moves -= 1;
            real_sum(r, operands, moves)
        }
        _ => Ok(None),
    }
}

/// Returns the sum of whole numbers in units, as an integer product and its bias are; `None` if no operand has them.
fn real_sum(r: &mut Reading, mut terms: Vec<Value>, moves: &mut usize) -> Result<Option<Real>, OpError> {
    let mut steps: Option<Steps> = None;
    for term in &mut terms {
        match real_within(r, *term, moves)? {
            Some(real) if is_unit(r, real.steps.scale) && equal(r, real.steps.zero, None) => {
                steps = Some(real.steps);
                *term = real.value;
            }
            Some(_) => return Ok(None),
            None => *term = r.cast(*term, DType::F32)?,
        }
    }
    let Some(steps) = steps else { return Ok(None) };
    let value = r.add(super::Add, &terms)?;
    Ok(Some(Real { value, steps }))
}

/// Returns whether two scales or zero points are equal; an absent zero point is 0.
fn equal(r: &Reading, a: Option<Value>, b: Option<Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) if a == b => true,
        (Some(a), Some(b)) => match (r.constant(a), r.constant(b)) {
            (Some(a), Some(b)) => {
                (a.dims() == b.dims() || (a.elems() == 1 && b.elems() == 1)) && a.to_f64() == b.to_f64()
            }
            _ => false,
        },
        (Some(a), None) | (None, Some(a)) => is_zero(r, a),
        (None, None) => true,
    }
}

fn is_zero(r: &Reading, v: Value) -> bool {
    r.constant(v).is_some_and(|t| t.to_f64().iter().all(|v| *v == 0.0))
}

fn is_unit(r: &Reading, v: Value) -> bool {
    r.constant(v).is_some_and(|t| t.to_f64().iter().all(|v| *v == 1.0))
}
