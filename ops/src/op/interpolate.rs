//! Interpolation: along some axes, each element of the result is a weighted sum of a few elements of the operand.
//!
//! `Resize` (linear, cubic), `GridSample` and `RoiAlign` are read as this operator. Operands: x, then for each axis
//! int64 indices `[…, taps]` and weights of the same shape. The axis is replaced by the axes before `taps`; with
//! several axes there is exactly one.

use super::Operator;
use super::role::{LinearMap, Role, Site};
use crate::graph::Value;
use crate::prim::{self, Binary, Builder, Reduction, Transform, Unary};
use crate::tensor::{Dim, Shape};

/// Weighted sums of elements along axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Interpolate {
    /// Interpolated axes of x, ascending.
    pub axes: Vec<usize>,
}

impl Interpolate {
    /// Returns the indices and weights of axis `k` among the operands.
    fn taps(inputs: &[Value], k: usize) -> (Value, Value) {
        (inputs[1 + 2 * k], inputs[2 + 2 * k])
    }

    /// Builds the interpolation of `x` with transformed weights.
    fn forward(&self, b: &mut Builder, inputs: &[Value], x: Value, transform: Transform) -> Value {
        let mut y = x;
        for (k, axis) in self.axes.iter().enumerate() {
            let (at, w) = Self::taps(inputs, k);
            let (taps, after) = (axis + b.ty(at).rank() - 1, b.ty(y).rank() - axis - 1);
            let w = transformed_weights(b, w, transform, after);
            y = b.add(prim::Gather { axis: *axis }, &[y, at]);
            y = b.mul(y, w);
            y = b.reduce(Reduction::Sum, y, &[taps]);
        }
        y
    }

    /// Builds the adjoint; `to` are the operand's dimensions along the axes.
    fn back(&self, b: &mut Builder, inputs: &[Value], s: Value, transform: Transform, to: &[Dim]) -> Value {
        let mut s = s;
        for (k, axis) in self.axes.iter().enumerate().rev() {
            let (at, w) = Self::taps(inputs, k);
            let taps = axis + b.ty(at).rank() - 1;
            let mut shape = b.ty(s).shape;
            let after = shape.rank() - taps;
            shape.0.insert(taps, Dim::known(1));
            let w = transformed_weights(b, w, transform, after);
            s = b.reshape(s, &shape);
            s = b.mul(s, w);
            s = b.add(prim::ScatterAdd { axis: *axis, to: to[k].clone() }, &[s, at]);
        }
        s
    }
}

/// Builds the transformed weights with `after` axes of dimension 1 appended.
fn transformed_weights(b: &mut Builder, w: Value, transform: Transform, after: usize) -> Value {
    let w = match transform {
        Transform::Id => w,
        Transform::Abs => b.abs(w),
        Transform::Pos => b.unary(Unary::Relu, w),
        Transform::Neg => {
            let zero = b.scalar_like(0.0, w);
            b.binary(Binary::Min, w, zero)
        }
        Transform::Square => b.mul(w, w),
        Transform::One => {
            let unit = b.scalar_like(1.0, w);
            let shape = b.ty(w).shape;
            b.expand(unit, &shape)
        }
    };
    let mut shape = b.ty(w).shape.0;
    shape.extend(vec![Dim::known(1); after]);
    b.reshape(w, &Shape(shape))
}

impl Operator for Interpolate {
    fn attributes(&self) -> String {
        format!(" axes={:?}", self.axes)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![self.forward(b, inputs, inputs[0], Transform::Id)]
    }

    /// Positions are not contributions: a grid or box that depends on the input takes no relevance.
    fn role(&self, live: &[bool]) -> Role<'_> {
        if live.first() == Some(&true) { Role::Linear(self) } else { Role::NoRelevance }
    }
}

impl LinearMap for Interpolate {
    fn has_weight(&self) -> bool {
        true
    }

    fn apply(&self, b: &mut Builder, site: &Site, x: Value, transform: Transform) -> Value {
        self.forward(b, site.inputs, x, transform)
    }

    fn transpose(&self, b: &mut Builder, site: &Site, s: Value, transform: Transform) -> Value {
        let shape = b.ty(site.inputs[0]).shape;
        let to: Vec<Dim> = self.axes.iter().map(|a| shape.0[*a].clone()).collect();
        self.back(b, site.inputs, s, transform, &to)
    }

    fn bias(&self, _: &mut Builder, _: &Site) -> Option<Value> {
        None
    }
}
