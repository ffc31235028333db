//! Upper or lower triangle of the last two axes; other elements are 0. Reads `Trilu`.

use super::Operator;
use super::read::{Reader, Reading};
use super::role::{Role, Route, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, Binary, Builder, Prim};
use crate::tensor::{Dim, Shape};

/// Upper (`column - row ≥ k`) or lower (`column - row ≤ k`) triangle of the last two axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Trilu {
    /// True for the upper triangle, false for the lower.
    pub upper: bool,
    /// Diagonal that bounds the triangle; 0 is the main diagonal.
    pub k: Dim,
}

impl Trilu {
    /// Builds the triangle of `like`, which has the shape of `x`.
    fn keep(&self, b: &mut Builder, x: Value, like: Value) -> Value {
        let shape = b.ty(x).shape;
        let rank = shape.rank();
        let (rows, columns) = (shape.0[rank - 2].clone(), shape.0[rank - 1].clone());
        let column = b.add(prim::Iota { len: columns.clone() }, &[]);
        let row = b.add(prim::Iota { len: rows.clone() }, &[]);
        let row = b.reshape(row, &Shape(vec![rows, Dim::known(1)]));
        let k = b.add(prim::Dims { dims: vec![], values: vec![self.k.clone()] }, &[]);
        let bound = b.plus(row, k);
        let inside = if self.upper {
            b.binary(Binary::LessOrEqual, bound, column)
        } else {
            b.binary(Binary::LessOrEqual, column, bound)
        };
        let zero = b.scalar_like(0.0, like);
        b.add(Prim::Select, &[inside, like, zero])
    }
}

impl Operator for Trilu {
    fn attributes(&self) -> String {
        format!(" {} k={}", if self.upper { "upper" } else { "lower" }, self.k)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![self.keep(b, inputs[0], inputs[0])]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Rearrange(self)
    }
}

impl Route for Trilu {
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        vec![Some(self.keep(b, site.inputs[0], r))]
    }
}

/// Returns the reader of `Trilu`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Trilu", 14, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let ty = r.ty(x);
    if ty.rank() < 2 {
        return Err(OpError::mismatch("rank of the operand", "at least 2", ty.rank()));
    }
    let k = match r.optional(1) {
        None => Dim::known(0),
        Some(k) if r.dims(k).is_none() => return by_computed_diagonal(r, x, k),
        Some(k) => match r.dims_of(k, "k")?.as_slice() {
            [k] => k.clone(),
            other => return Err(OpError::mismatch("k", "one value", other.len())),
        },
    };
    let upper = r.flag("upper", true)?;
    if ty.dtype.is_float() || ty.dtype.is_integer() {
        return Ok(vec![r.add(Trilu { upper, k }, &[x])?]);
    }
    // Booleans are converted to integers, which have a zero.
    let integers = r.add(super::Cast { to: crate::tensor::DType::I64 }, &[x])?;
    let y = r.add(Trilu { upper, k }, &[integers])?;
    Ok(vec![r.add(super::Cast { to: ty.dtype }, &[y])?])
}

/// Builds the triangle of a diagonal that depends on the input's values.
fn by_computed_diagonal(r: &mut Reading, x: Value, k: Value) -> Result<Vec<Value>, OpError> {
    let upper = r.flag("upper", true)?;
    let ty = r.ty(x);
    let rank = ty.rank();
    let k = r.reshape(k, Shape(vec![]))?;
    let (row, column) = (r.count_along(ty.dim(rank - 2), 0, 2)?, r.count_along(ty.dim(rank - 1), 1, 2)?);
    let bound = r.add(super::Add, &[row, k])?;
    let (lower, higher) = if upper { (bound, column) } else { (column, bound) };
    let inside = r.compare(Binary::LessOrEqual, lower, higher)?;
    let zero = r.add_scalar(0.0, ty.dtype);
    Ok(vec![r.select(inside, x, zero)?])
}
