//! Reductions over axes: sum, mean, maximum, minimum, product, and functions of these. Also reads the global pools.

use super::Operator;
use super::fold::DimTensor;
use super::read::{Reader, Reading, resolve_all};
use super::role::{LinearMap, Role, Route, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, Binary, Builder, Reduction, Transform, Unary};
use crate::tensor::{DType, Dim, Shape};

/// Reduction over axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    /// Function of the reduction.
    pub kind: ReduceKind,
    /// Reduced axes, ascending and in `0..rank`.
    pub axes: Vec<usize>,
    /// True if the reduced axes stay with dimension 1.
    pub keep: bool,
}

/// Function of a reduction that carries relevance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceKind {
    /// Sum of the elements.
    Sum,
    /// Mean of the elements.
    Mean,
    /// Largest element.
    Max,
    /// Smallest element.
    Min,
    /// Product of the elements.
    Prod,
    /// `ln Σ eˣ`, a smooth maximum.
    LogSumExp,
}

impl Reduce {
    pub(super) fn name(&self) -> String {
        match self.kind {
            ReduceKind::Sum => "ReduceSum",
            ReduceKind::Mean => "ReduceMean",
            ReduceKind::Max => "ReduceMax",
            ReduceKind::Min => "ReduceMin",
            ReduceKind::Prod => "ReduceProd",
            ReduceKind::LogSumExp => "ReduceLogSumExp",
        }
        .into()
    }

    /// Builds the reduction with the reduced axes kept.
    fn reduced(&self, b: &mut Builder, x: Value) -> Value {
        if self.kind == ReduceKind::LogSumExp {
            // The largest element is subtracted from the exponent, which could overflow.
            let largest = b.reduce_keepdims(Reduction::Max, x, &self.axes);
            let exponent = b.minus(x, largest);
            let powers = b.unary(Unary::Exp, exponent);
            let sum = b.reduce_keepdims(Reduction::Sum, powers, &self.axes);
            let log = b.unary(Unary::Log, sum);
            return b.plus(log, largest);
        }
        let kind = match self.kind {
            ReduceKind::Sum | ReduceKind::Mean | ReduceKind::LogSumExp => Reduction::Sum,
            ReduceKind::Max => Reduction::Max,
            ReduceKind::Min => Reduction::Min,
            ReduceKind::Prod => Reduction::Prod,
        };
        let y = b.reduce_keepdims(kind, x, &self.axes);
        match self.kind {
            ReduceKind::Mean => {
                let count = self.axes.iter().fold(Dim::known(1), |n, a| &n * b.ty(x).dim(*a));
                divide_by(b, y, &count)
            }
            _ => y,
        }
    }

    /// Removes the reduced axes unless they are kept.
    fn drop_axes(&self, b: &mut Builder, y: Value) -> Value {
        if self.keep {
            return y;
        }
        let shape = b.ty(y).shape;
        let dims = shape.0.into_iter().enumerate().filter(|(i, _)| !self.axes.contains(i)).map(|(_, d)| d);
        b.reshape(y, &dims.collect())
    }

    /// Restores the reduced axes of `r` with dimension 1.
    fn with_axes(&self, b: &mut Builder, site: &Site, r: Value) -> Value {
        let mut shape = b.ty(site.inputs[0]).shape;
        for axis in &self.axes {
            shape.0[*axis] = Dim::known(1);
        }
        b.reshape(r, &shape)
    }

    /// Evaluates the sum or product of a vector of dimensions.
    pub(super) fn of_dims(&self, d: &DimTensor) -> Option<DimTensor> {
        if d.dims.len() != 1 || self.axes != [0] {
            return None;
        }
        let value = match self.kind {
            ReduceKind::Sum => d.values.iter().fold(Dim::known(0), |a, v| &a + v),
            ReduceKind::Prod => d.values.iter().fold(Dim::known(1), |a, v| &a * v),
            _ => return None,
        };
        Some(DimTensor { dims: if self.keep { vec![1] } else { vec![] }, values: vec![value] })
    }
}

/// Builds `x / count`, where `count` may be symbolic.
pub(super) fn divide_by(b: &mut Builder, x: Value, count: &Dim) -> Value {
    let dtype = b.ty(x).dtype;
    let n = match count.as_known() {
        Some(n) => b.scalar_like(n as f64, x),
        None => {
            let n = b.add(prim::Dims { dims: vec![], values: vec![count.clone()] }, &[]);
            b.cast(n, dtype)
        }
    };
    b.binary(Binary::Div, x, n)
}

impl Operator for Reduce {
    fn attributes(&self) -> String {
        format!(" axes={:?} keep={}", self.axes, self.keep)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let y = self.reduced(b, inputs[0]);
        vec![self.drop_axes(b, y)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        match self.kind {
            ReduceKind::Sum | ReduceKind::Mean => Role::Pool(self),
            ReduceKind::Max | ReduceKind::Min | ReduceKind::Prod | ReduceKind::LogSumExp => {
                Role::Select(self)
            }
        }
    }
}

impl LinearMap for Reduce {
    fn has_weight(&self) -> bool {
        false
    }

    fn apply(&self, b: &mut Builder, _: &Site, x: Value, _: Transform) -> Value {
        let y = b.reduce_keepdims(Reduction::Sum, x, &self.axes);
        self.drop_axes(b, y)
    }

    fn transpose(&self, b: &mut Builder, site: &Site, s: Value, _: Transform) -> Value {
        let s = self.with_axes(b, site, s);
        let shape = b.ty(site.inputs[0]).shape;
        b.expand(s, &shape)
    }

    fn bias(&self, _: &mut Builder, _: &Site) -> Option<Value> {
        None
    }
}

impl Route for Reduce {
    /// Winners of an extremum and factors of a product share equally; a smooth maximum shares by softmax.
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let x = site.inputs[0];
        let r = self.with_axes(b, site, r);
        if self.kind == ReduceKind::LogSumExp {
            let y = self.with_axes(b, site, site.y());
            let exponent = b.minus(x, y);
            let softmax = b.unary(Unary::Exp, exponent);
            return vec![Some(b.mul(r, softmax))];
        }
        let winners = if self.kind == ReduceKind::Prod {
            b.binary(Binary::Equal, x, x)
        } else {
            let y = self.with_axes(b, site, site.y());
            b.binary(Binary::Equal, x, y)
        };
        let winners = b.cast(winners, b.ty(r).dtype);
        let count = b.reduce_keepdims(Reduction::Sum, winners, &self.axes);
        let share = b.guarded_div(r, count);
        vec![Some(b.mul(share, winners))]
    }
}

/// Returns the readers of the reductions and of the global pools.
pub fn readers() -> Vec<Reader> {
    let mut readers: Vec<Reader> = [
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceL1",
        "ReduceL2",
        "ReduceSumSquare",
        "ReduceLogSum",
        "ReduceLogSumExp",
    ]
    .into_iter()
    .map(|op| Reader::new(op, 1, read))
    .collect();
    readers.push(Reader::new("GlobalAveragePool", 1, |r| global(r, ReduceKind::Mean)));
    readers.push(Reader::new("GlobalMaxPool", 1, |r| global(r, ReduceKind::Max)));
    readers
}

/// Reads a reduction over all axes but the batch and the channels.
pub(super) fn global(r: &mut Reading, kind: ReduceKind) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let rank = r.ty(x).rank();
    if rank < 3 {
        return Err(OpError::mismatch("rank of the operand", "at least 3", r.ty(x)));
    }
    Ok(vec![r.add(Reduce { kind, axes: (2..rank).collect(), keep: true }, &[x])?])
}

/// Reads a reduction. Its axes are an attribute up to opset 12 (`ReduceSum`) or 17 (the others), and an operand
/// afterwards.
fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let mut x = r.input(0)?;
    let rank = r.ty(x).rank();
    let keep = r.flag("keepdims", true)?;
    let axes = match r.optional(1) {
        Some(v) => Some(r.ints_of(v, "axes")?),
        None => r.ints("axes")?,
    };
    let noop = r.flag("noop_with_empty_axes", false)?;
    let axes = match axes.filter(|a| !a.is_empty()) {
        Some(axes) => resolve_all(&axes, rank)?,
        None if noop => vec![],
        None => (0..rank).collect(),
    };
    let square = matches!(r.op, "ReduceL2" | "ReduceSumSquare");
    if square {
        x = r.add(super::Mul, &[x, x])?;
    } else if r.op == "ReduceL1" {
        x = r.unary(Unary::Abs, x)?;
    }
    let log_of_sum = r.op == "ReduceLogSum";
    if axes.is_empty() && !square && !log_of_sum {
        return Ok(vec![x]);
    }
    let kind = match r.op {
        "ReduceMean" => ReduceKind::Mean,
        "ReduceMax" => ReduceKind::Max,
        "ReduceMin" => ReduceKind::Min,
        "ReduceProd" => ReduceKind::Prod,
        "ReduceLogSumExp" => ReduceKind::LogSumExp,
        _ => ReduceKind::Sum,
    };
    let is_bool = r.ty(x).dtype == DType::Bool;
    if is_bool && !matches!(kind, ReduceKind::Max | ReduceKind::Min) {
        return Err(OpError::mismatch("element type", "a number", DType::Bool));
    }
    if is_bool {
        return Ok(vec![reduce_booleans(r, x, &axes, keep, kind == ReduceKind::Max)?]);
    }
    let empty = Shape(axes.iter().map(|a| r.ty(x).dim(*a).clone()).collect()).elems().is(0);
    if empty && kind == ReduceKind::Mean {
        return Err(OpError::fault("reduction of no elements", "at least 1"));
    }
    let y = r.add(Reduce { kind, axes, keep }, &[x])?;
    Ok(vec![match r.op {
        "ReduceL2" => r.unary(Unary::Sqrt, y)?,
        "ReduceLogSum" => r.unary(Unary::Log, y)?,
        _ => y,
    }])
}

/// Builds whether any element is true, or whether all are: the number of those that decide it is more than 0, or 0.
fn reduce_booleans(
    r: &mut Reading,
    x: Value,
    axes: &[usize],
    keep: bool,
    any: bool,
) -> Result<Value, OpError> {
    let negate = |r: &mut Reading, x: Value| r.add(super::Compare { f: None, swap: false }, &[x]);
    let deciding = if any { x } else { negate(r, x)? };
    let count = r.cast(deciding, DType::I64)?;
    let count = r.add(Reduce { kind: ReduceKind::Sum, axes: axes.to_vec(), keep }, &[count])?;
    let is_any = r.cast(count, DType::Bool)?;
    if any { Ok(is_any) } else { negate(r, is_any) }
}
