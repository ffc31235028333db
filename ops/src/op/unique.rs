//! Values that differ, each once. Reads `Unique`.
//!
//! The number of values is a data-dependent dimension. Every element (or slice along `axis`) is compared with every other one, so
//! that memory grows with the square of their number. Slices are ordered as words are: by their first different element.

use super::elements::gather;
use super::non_zero::non_zero;
use super::read::{Reader, Reading, resolve};
use super::{Add, Arg, Gather, ReduceKind, Sub, TopK, Transpose};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Unary};
use crate::tensor::{DType, Dim, Shape};

/// Returns the reader of `Unique`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Unique", 11, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let shape = r.ty(x).shape;
    let sorted = r.flag("sorted", true)?;
    let axis = r.int("axis")?.map(|axis| resolve(axis, shape.rank())).transpose()?;
    // Slices as rows of a matrix: [count, elements].
    let (x, axis) = match axis {
        Some(axis) => (x, axis),
        None => (r.reshape(x, Shape(vec![shape.elems()]))?, 0),
    };
    let shape = r.ty(x).shape;
    let count = shape.0[axis].clone();
    let front: Vec<usize> = std::iter::once(axis).chain((0..shape.rank()).filter(|i| *i != axis)).collect();
    let rows = if axis == 0 { x } else { r.add(Transpose { perm: front }, &[x])? };
    let elements = shape.0.iter().enumerate().filter(|(i, _)| *i != axis);
    let elements = elements.fold(Dim::known(1), |n, (_, d)| &n * d);
    let rows = r.reshape(rows, Shape(vec![count.clone(), elements]))?;

    let equal = equal_rows(r, rows, rows)?;
    let ones = r.cast(equal, DType::I64)?;
    // A row is the first of its kind if the first row that equals it is itself.
    let first = r.add(Arg { max: true, axis: 1, keep: false }, &[ones])?;
    let position = r.count_along(&count, 0, 1)?;
    let is_first = r.compare(Binary::Equal, first, position)?;
    let first_rows = non_zero(r, is_first)?;
    let unique = r.ty(first_rows).dim(1).clone();
    let mut indices = r.reshape(first_rows, Shape(vec![unique.clone()]))?;
    if sorted {
        let order = sorted_order(r, rows, indices, &unique)?;
        indices = gather(r, indices, order, 0)?;
    }
    let y = r.add(Gather { axis }, &[x, indices])?;
    let chosen = r.add(Gather { axis: 0 }, &[rows, indices])?;
    let matches = equal_rows(r, rows, chosen)?;
    let matches = r.cast(matches, DType::I64)?;
    let inverse = r.add(Arg { max: true, axis: 1, keep: false }, &[matches])?;
    let counts = r.reduce(ReduceKind::Sum, matches, &[0])?;
    let counts = r.reshape(counts, Shape(vec![unique]))?;
    Ok(vec![y, indices, inverse, counts])
}

/// Returns `a [n, 1, e]` and `b [1, m, e]` of matrices of rows.
fn against(r: &mut Reading, a: Value, b: Value) -> Result<[Value; 2], OpError> {
    let (ta, tb) = (r.ty(a).shape.0, r.ty(b).shape.0);
    let a = r.reshape(a, Shape(vec![ta[0].clone(), Dim::known(1), ta[1].clone()]))?;
    let b = r.reshape(b, Shape(vec![Dim::known(1), tb[0].clone(), tb[1].clone()]))?;
    Ok([a, b])
}

/// Returns whether each row of `a` equals each row of `b`: `[n, m]`.
fn equal_rows(r: &mut Reading, a: Value, b: Value) -> Result<Value, OpError> {
    let (n, m) = (r.ty(a).dim(0).clone(), r.ty(b).dim(0).clone());
    let [a, b] = against(r, a, b)?;
    let equal = r.compare(Binary::Equal, a, b)?;
    let differs = r.unary(Unary::Not, equal)?;
    let differences = r.cast(differs, DType::I64)?;
    let count = r.reduce(ReduceKind::Sum, differences, &[2])?;
    let count = r.reshape(count, Shape(vec![n, m]))?;
    let zero = r.add_scalar(0.0, DType::I64);
    r.compare(Binary::Equal, count, zero)
}

/// Returns the order in which the rows at `indices` ascend.
fn sorted_order(r: &mut Reading, rows: Value, indices: Value, count: &Dim) -> Result<Value, OpError> {
    let rows = r.add(Gather { axis: 0 }, &[rows, indices])?;
    let [a, b] = against(r, rows, rows)?;
    let (less, more) = (r.compare(Binary::Less, a, b)?, r.compare(Binary::Less, b, a)?);
    let (less, more) = (r.cast(less, DType::I64)?, r.cast(more, DType::I64)?);
    let differs = r.add(Add, &[less, more])?;
    // The first element that differs decides.
    let deciding = r.add(Arg { max: true, axis: 2, keep: true }, &[differs])?;
    let sign = r.add(Sub, &[less, more])?;
    let sign = gather(r, sign, deciding, 2)?;
    let unit = r.add_scalar(1.0, DType::I64);
    let precedes = r.compare(Binary::Equal, sign, unit)?;
    let precedes = r.cast(precedes, DType::I64)?;
    // Number of rows before each row.
    let rank = r.reduce(ReduceKind::Sum, precedes, &[0])?;
    let rank = r.reshape(rank, Shape(vec![count.clone()]))?;
    r.add(TopK { axis: 0, k: count.clone(), largest: false }, &[rank])
}
