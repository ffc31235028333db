//! Values on the grid of a quantised type: `x̂ = x + e` with the rounding error `e`, and its whole number `x̂ / scale + zero point`.
//!
//! A quantised tensor is [`Encode`] of the value that it stands for. What reads it as a number takes that value
//! ([`decode`](super::dequantise::decode)), so that relevance passes through quantised layers as through float ones, and the rounding
//! error is an operand of its own, [`Quantisation`]'s second. Everything else reads the whole numbers, which carry no relevance.

use super::grid::{Grid, QuantisedType};
use super::read::Reading;
use super::role::Role;
use super::{Activation, Function, Op, Operator};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Builder, Unary};
use crate::tensor::{DType, Tensor};

/// Value on the grid of a quantised type. Operands: value before rounding, rounding error.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantisation;

/// Rounding error `x̂ - x` of values on a grid. Operands: x, scale, zero point (optional); they broadcast. It carries no relevance.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundingError {
    /// Numbers that the grid has, in units of the scale and counted from the zero point.
    pub grid: Grid,
    /// True if `x` may lie outside of the grid and saturates.
    pub saturates: bool,
}

/// Whole numbers `x̂ / scale + zero point` of a quantised type. Operands: x̂, scale, zero point (optional). They carry no relevance.
#[derive(Clone, Debug, PartialEq)]
pub struct Encode {
    /// Element type that holds the numbers.
    pub dtype: DType,
}

/// The operand without relevance, such as the data from which a scale is computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Detached;

impl Operator for Quantisation {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.plus(inputs[0], inputs[1])]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Sum { subtracts: false }
    }
}

impl Operator for RoundingError {
    fn attributes(&self) -> String {
        match self.grid {
            Grid::Whole { low, high } => format!(" {low}..={high}"),
            Grid::Float { fraction, exponent, largest } => format!(" 2^{exponent} {fraction} ..={largest:?}"),
        }
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let (x, scale) = (inputs[0], inputs[1]);
        let mut steps = b.binary(Binary::Div, x, scale);
        if self.saturates && matches!(self.grid, Grid::Float { .. }) {
            steps = clamped(b, steps, self.grid);
        }
        steps = self.grid.round(b, steps);
        if self.saturates && matches!(self.grid, Grid::Whole { .. }) {
            let zero = inputs.get(2).map(|zero| b.cast(*zero, DType::F32));
            let whole = zero.map_or(steps, |zero| b.plus(steps, zero));
            let whole = clamped(b, whole, self.grid);
            steps = zero.map_or(whole, |zero| b.minus(whole, zero));
        }
        let rounded = b.mul(steps, scale);
        vec![b.minus(rounded, x)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::NoRelevance
    }
}

/// Builds `v` within the range of a grid.
fn clamped(b: &mut Builder, v: Value, grid: Grid) -> Value {
    let [low, high] = grid.bounds();
    b.unary(Unary::Clip { min: Some(low as f32), max: Some(high as f32) }, v)
}

impl Operator for Encode {
    fn attributes(&self) -> String {
        format!(" to={}", self.dtype)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let mut y = b.binary(Binary::Div, inputs[0], inputs[1]);
        if self.dtype.is_integer() {
            y = b.unary(Unary::Round, y);
        }
        if let Some(zero) = inputs.get(2) {
            let zero = b.cast(*zero, DType::F32);
            y = b.plus(y, zero);
        }
        vec![b.cast(y, self.dtype)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::NoRelevance
    }
}

impl Operator for Detached {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, _: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![inputs[0]]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::NoRelevance
    }
}

/// Scale and zero point of a quantised tensor, of shapes that broadcast to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// Size of a step.
    pub scale: Value,
    /// Number that stands for 0; 0 itself if absent.
    pub zero: Option<Value>,
}

/// Adds the quantised tensor of `x`: what lies outside of the range saturates, the rest is rounded.
///
/// # Errors
/// As [`Reading::add`].
pub(super) fn quantise(r: &mut Reading, x: Value, steps: Steps, to: QuantisedType) -> Result<Value, OpError> {
    let rounded = on_grid(r, x, steps, to.grid)?;
    encode(r, rounded, steps, to.dtype)
}

/// Adds the values next to those of `x` on a grid.
///
/// # Errors
/// As [`Reading::add`].
pub(super) fn on_grid(r: &mut Reading, x: Value, steps: Steps, grid: Grid) -> Result<Value, OpError> {
    let mut x = r.cast(x, DType::F32)?;
    if may_be_nan(r, x) {
        // ONNX Runtime's quantised number of NaN is the smallest.
        let is_number = r.compare(Binary::Equal, x, x)?;
        let lowest = r.add_scalar(f64::from(f32::MIN), DType::F32);
        x = r.select(is_number, x, lowest)?;
    }
    let bounds = constant_bounds(r, steps, grid);
    if let Some([min, max]) = bounds {
        // A saturated value is clipped first: what rounding adds is at most half a step.
        let f = Function::Unary(Unary::Clip { min: Some(min), max: Some(max) });
        x = r.add(Activation { f }, &[x])?;
    }
    let error = RoundingError { grid, saturates: bounds.is_none() };
    let error = r.add(error, &steps.operands(x))?;
    r.add(Quantisation, &[x, error])
}

/// Returns whether `x` is a product with an infinite constant, as a mask has that was multiplied out: it is NaN where the other factor
/// is 0.
fn may_be_nan(r: &Reading, x: Value) -> bool {
    let is_infinite = |v: &Value| r.constant(*v).is_some_and(|t| t.to_f32().iter().any(|v| v.is_infinite()));
    matches!(r.graph.op(x.node), Op::Mul(_)) && r.graph.node_inputs(x.node).iter().any(is_infinite)
}

/// Adds the whole numbers of values that lie on the grid.
///
/// # Errors
/// As [`Reading::add`].
pub(super) fn encode(r: &mut Reading, x: Value, steps: Steps, dtype: DType) -> Result<Value, OpError> {
    r.add(Encode { dtype }, &steps.operands(x))
}

impl Steps {
    fn operands(self, x: Value) -> Vec<Value> {
        [x, self.scale].into_iter().chain(self.zero).collect()
    }
}

/// Returns the smallest and the largest value of a grid with one constant scale.
fn constant_bounds(r: &Reading, steps: Steps, grid: Grid) -> Option<[f32; 2]> {
    let single = |t: Tensor| (t.elems() == 1).then(|| t.to_f64()[0]);
    let scale = single(r.constant(steps.scale)?)?;
    let zero = match steps.zero {
        Some(zero) => single(r.constant(zero)?)?,
        None => 0.0,
    };
    Some(grid.bounds().map(|bound| (scale * (bound - zero)) as f32))
}
