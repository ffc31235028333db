//! Matrix product over the last two axes; batch axes broadcast. Reads ONNX `MatMul`.
//!
//! A product with a constant matrix is linear in the other operand; with a constant right matrix it is read as
//! [`Linear`](super::Linear).

use super::Operator;
use super::read::{Reader, Reading};
use super::role::{BilinearMap, LinearMap, Role, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Builder, Factor, Transform};
use crate::tensor::{Dim, Shape};

/// Matrix product of two operands of rank ≥ 2.
#[derive(Clone, Debug, PartialEq)]
pub struct MatMul;

impl Operator for MatMul {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![self.product(b, inputs[0], inputs[1])]
    }

    fn role(&self, live: &[bool]) -> Role<'_> {
        if live == [true, true] { Role::Bilinear(self) } else { Role::Linear(self) }
    }
}

impl LinearMap for MatMul {
    fn has_weight(&self) -> bool {
        true
    }

    fn apply(&self, b: &mut Builder, site: &Site, x: Value, transform: Transform) -> Value {
        match site.data() {
            0 => b.matmul(x, Factor::transformed(site.inputs[1], transform)),
            _ => b.matmul(Factor::transformed(site.inputs[0], transform), x),
        }
    }

    fn transpose(&self, b: &mut Builder, site: &Site, s: Value, transform: Transform) -> Value {
        let data = site.data();
        let r = match data {
            0 => b.matmul(s, Factor::transformed(site.inputs[1], transform).transpose()),
            _ => b.matmul(Factor::transformed(site.inputs[0], transform).transpose(), s),
        };
        let shape = b.ty(site.inputs[data]).shape;
        b.sum_to(r, &shape)
    }

    fn bias(&self, _: &mut Builder, _: &Site) -> Option<Value> {
        None
    }
}

impl BilinearMap for MatMul {
    fn product(&self, b: &mut Builder, x: Value, y: Value) -> Value {
        b.matmul(x, y)
    }

    fn left(&self, b: &mut Builder, site: &Site, s: Value, y: Value) -> Value {
        let r = b.matmul(s, Factor::transposed(y));
        let shape = b.ty(site.inputs[0]).shape;
        b.sum_to(r, &shape)
    }

    fn right(&self, b: &mut Builder, site: &Site, s: Value, x: Value) -> Value {
        let r = b.matmul(Factor::transposed(x), s);
        let shape = b.ty(site.inputs[1]).shape;
        b.sum_to(r, &shape)
    }
}

/// Returns the reader of `MatMul`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("MatMul", 1, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, w) = (r.input(0)?, r.input(1)?);
    Ok(vec![product(r, x, w)?])
}

/// Adds a product of matrices, of batches of matrices or of vectors.
pub(super) fn product(r: &mut Reading, mut x: Value, mut w: Value) -> Result<Value, OpError> {
    let (sx, sw) = (r.ty(x).shape, r.ty(w).shape);
    if sx.rank() == 0 || sw.rank() == 0 {
        return Err(OpError::mismatch("rank of an operand", "at least 1", 0));
    }
    // A vector is read as a matrix of one row (left) or one column (right), which is removed from the result.
    if sx.rank() == 1 {
        x = r.reshape(x, Shape([vec![Dim::known(1)], sx.0.clone()].concat()))?;
    }
    if sw.rank() == 1 {
        w = r.reshape(w, Shape([sw.0.clone(), vec![Dim::known(1)]].concat()))?;
    }
    // A transposed constant matrix, such as an embedding table used as the head of a language model, is read as the table itself.
    let table = if sw.rank() == 2 { transposed_constant(r, w) } else { None };
    let transposed = table.is_some();
    let w = table.unwrap_or(w);
    let linear = r.constant(w).is_some() && r.ty(w).rank() == 2 && r.constant(x).is_none();
    let y = if linear { r.add(super::Linear { transposed }, &[x, w])? } else { r.add(MatMul, &[x, w])? };
    let mut shape = r.ty(y).shape;
    if sw.rank() == 1 {
        shape.0.pop();
    }
    if sx.rank() == 1 {
        let row = shape.rank() - if sw.rank() == 1 { 1 } else { 2 };
        shape.0.remove(row);
    }
    r.reshape(y, shape)
}

/// Returns the constant matrix of which `w` is the transpose.
pub(super) fn transposed_constant(r: &Reading, w: Value) -> Option<Value> {
    let super::Op::Transpose(super::Transpose { perm }) = r.graph.op(w.node) else { return None };
    let matrix = r.graph.node_inputs(w.node).first().copied()?;
    (perm.as_slice() == [1, 0] && r.constant(matrix).is_some()).then_some(matrix)
}
