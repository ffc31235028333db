//! Indices of selected elements, whose number is a data-dependent dimension. Reads `NonZero` and `Compress`.

use super::read::{Reader, Reading, resolve};
use super::role::Role;
use super::{Activation, Compare, Function, Op, Operator, Reduce, ReduceKind, Slice};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Builder, Prim, Unary};
use crate::tensor::{DType, Dim, Shape};

/// Indices of the non-zero elements, int64 `[rank, elements]`, then columns of zeros.
#[derive(Clone, Debug, PartialEq)]
pub struct NonZero;

impl Operator for NonZero {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.add(Prim::NonZero, inputs)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::NoRelevance
    }
}

/// Returns the readers of `NonZero` and `Compress`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("NonZero", 9, |r| {
            let x = r.input(0)?;
            Ok(vec![non_zero(r, x)?])
        }),
        Reader::new("Compress", 9, compress),
    ]
}

/// Returns the indices of the non-zero elements, `[rank, count]`.
pub(super) fn non_zero(r: &mut Reading, x: Value) -> Result<Value, OpError> {
    // Nodes are reused, because the same value must have the same data-dependent dimension.
    let existing = r.graph.consumers(x).into_iter().find(|(id, _)| matches!(r.graph.op(*id), Op::NonZero(_)));
    let padded = match existing {
        Some((node, _)) => Value { node, slot: 0 },
        None => r.add(NonZero, &[x])?,
    };
    let slice = r.graph.consumers(padded).into_iter().find(|(id, _)| matches!(r.graph.op(*id), Op::Slice(_)));
    if let Some((node, _)) = slice {
        return Ok(Value { node, slot: 0 });
    }
    let len = count(r, x)?;
    r.add(Slice { axis: 1, start: Dim::known(0), len, step: 1 }, &[padded])
}

/// Returns the number of non-zero elements of `x`: known if `x` is constant, otherwise a data-dependent dimension.
fn count(r: &mut Reading, x: Value) -> Result<Dim, OpError> {
    let ty = r.ty(x);
    let is_set = match ty.dtype {
        DType::Bool => x,
        dtype => {
            let zero = r.add_scalar(0.0, dtype);
            let is_zero = r.add(Compare { f: Some(Binary::Equal), swap: false }, &[x, zero])?;
            r.add(Activation { f: Function::Unary(Unary::Not) }, &[is_zero])?
        }
    };
    let ones = r.add(super::Cast { to: DType::I64 }, &[is_set])?;
    let flat = r.reshape(ones, Shape(vec![ty.shape.elems()]))?;
    let sum = r.add(Reduce { kind: ReduceKind::Sum, axes: vec![0], keep: false }, &[flat])?;
    r.dim_of(sum, "count")
}

/// Reads `Compress`: selects the slices along an axis where the condition holds, or elements of the flattened operand
/// without axis.
fn compress(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (mut x, mut condition) = (r.input(0)?, r.input(1)?);
    let mut axis = 0;
    match r.int("axis")? {
        Some(a) => axis = resolve(a, r.ty(x).rank())?,
        None => x = r.reshape(x, Shape(vec![r.ty(x).shape.elems()]))?,
    }
    let ty = r.ty(condition);
    if ty.rank() != 1 || ty.dtype != DType::Bool {
        return Err(OpError::mismatch("condition", "booleans along one axis", ty));
    }
    let dim = r.ty(x).dim(axis).clone();
    match (ty.dim(0).as_known(), dim.as_known()) {
        _ if *ty.dim(0) == dim => {}
        (Some(n), Some(d)) if n < d => {}
        (Some(n), Some(d)) if n > d => {
            let prefix = Slice { axis: 0, start: Dim::known(0), len: dim, step: 1 };
            condition = r.add(prefix, &[condition])?;
        }
        _ => return Err(OpError::dims("length of condition", &dim, ty.dim(0))),
    }
    let indices = non_zero(r, condition)?;
    let len = r.ty(indices).dim(1).clone();
    let indices = r.reshape(indices, Shape(vec![len]))?;
    Ok(vec![r.add(super::Gather { axis }, &[x, indices])?])
}
