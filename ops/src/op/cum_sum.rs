//! Running sums along an axis, computed as a product with a triangular matrix of ones. Reads `CumSum`.

use super::Operator;
use super::read::{Reader, Reading, resolve};
use super::role::{LinearMap, Role, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, Binary, Builder, Transform};
use crate::tensor::{DType, Dim, Shape};

/// Running sums along the last axis of a float operand.
#[derive(Clone, Debug, PartialEq)]
pub struct CumSum {
    /// True if an element is not included in its own sum.
    pub exclusive: bool,
    /// True if the sums run from the last element to the first.
    pub reverse: bool,
}

impl CumSum {
    /// Builds `x · T` with `T[i, j] = 1` if sum `j` includes element `i`.
    fn product(&self, b: &mut Builder, x: Value) -> Value {
        let shape = b.ty(x).shape;
        let n = shape.0.last().cloned().unwrap_or_default();
        let to = b.add(prim::Iota { len: n.clone() }, &[]);
        let from = b.reshape(to, &Shape(vec![n.clone(), Dim::known(1)]));
        let (lower, upper) = if self.reverse { (to, from) } else { (from, to) };
        let f = if self.exclusive { Binary::Less } else { Binary::LessOrEqual };
        let included = b.binary(f, lower, upper);
        let triangle = b.cast(included, b.ty(x).dtype);
        let rows = shape.0[..shape.rank() - 1].iter().fold(Dim::known(1), |m, d| &m * d);
        let matrix = b.reshape(x, &Shape(vec![rows, n]));
        let y = b.matmul(matrix, triangle);
        b.reshape(y, &shape)
    }
}

impl Operator for CumSum {
    fn attributes(&self) -> String {
        let flag = |on: bool, name: &str| if on { format!(" {name}") } else { String::new() };
        format!("{}{}", flag(self.exclusive, "exclusive"), flag(self.reverse, "reverse"))
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![self.product(b, inputs[0])]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Pool(self)
    }
}

impl LinearMap for CumSum {
    fn has_weight(&self) -> bool {
        false
    }

    fn apply(&self, b: &mut Builder, _: &Site, x: Value, _: Transform) -> Value {
        self.product(b, x)
    }

    fn transpose(&self, b: &mut Builder, _: &Site, s: Value, _: Transform) -> Value {
        CumSum { reverse: !self.reverse, ..self.clone() }.product(b, s)
    }

    fn bias(&self, _: &mut Builder, _: &Site) -> Option<Value> {
        None
    }
}

/// Returns the reader of `CumSum`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("CumSum", 11, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, axis) = (r.input(0)?, r.input(1)?);
    let ty = r.ty(x);
    let axis = match r.ints_of(axis, "axis")?.as_slice() {
        [axis] => resolve(*axis, ty.rank())?,
        other => return Err(OpError::mismatch("axis", "one value", other.len())),
    };
    let op = CumSum { exclusive: r.flag("exclusive", false)?, reverse: r.flag("reverse", false)? };
    let mut perm: Vec<usize> = (0..ty.rank()).collect();
    perm.swap(axis, ty.rank() - 1);
    let swap_axes = |r: &mut Reading, v: Value| {
        if axis + 1 == ty.rank() { Ok(v) } else { r.add(super::Transpose { perm: perm.clone() }, &[v]) }
    };
    let mut y = swap_axes(r, x)?;
    // Integers (counts of a mask) stay exact in float32 up to 2^24.
    if !ty.dtype.is_float() {
        y = r.add(super::Cast { to: DType::F32 }, &[y])?;
    }
    y = r.add(op, &[y])?;
    if !ty.dtype.is_float() {
        y = r.add(super::Cast { to: ty.dtype }, &[y])?;
    }
    Ok(vec![swap_axes(r, y)?])
}
