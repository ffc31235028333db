//! Helpers of all kernels: sizes, row-major values, and picking elements by axis tables.

use std::borrow::Cow;
use std::cmp::Ordering;

use ndarray::{ArrayD, IxDyn};

use crate::OpError;
use crate::tensor::{Array, DType, Dim, Shape, TensorType};

/// The largest number of elements of a result.
const MAX_ELEMS: usize = 1 << 31;

/// For each index along one axis of the result, the operand's offset that it contributes; `None` picks the fill.
pub(in crate::prim) type Table = Vec<Option<usize>>;

/// The arithmetic of floats and integers. Integers wrap.
pub(in crate::prim) trait Number: Copy + PartialOrd {
    const ZERO: Self;
    const ONE: Self;
    /// Below or equal to every number.
    const LOWEST: Self;
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn larger(self, other: Self) -> Self;
    fn smaller(self, other: Self) -> Self;
}

impl Number for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const LOWEST: f64 = f64::NEG_INFINITY;
    fn plus(self, other: f64) -> f64 {
        self + other
    }
    fn times(self, other: f64) -> f64 {
        self * other
    }
    fn larger(self, other: f64) -> f64 {
        self.max(other)
    }
    fn smaller(self, other: f64) -> f64 {
        self.min(other)
    }
}

impl Number for i64 {
    const ZERO: i64 = 0;
    const ONE: i64 = 1;
    const LOWEST: i64 = i64::MIN;
    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
    fn times(self, other: i64) -> i64 {
        self.wrapping_mul(other)
    }
    fn larger(self, other: i64) -> i64 {
        self.max(other)
    }
    fn smaller(self, other: i64) -> i64 {
        self.min(other)
    }
}

/// The element type that stands for all of an array's kind.
fn dtype(x: &Array) -> DType {
    match x {
        Array::F(_) => DType::F64,
        Array::I(_) => DType::I64,
        Array::B(_) => DType::Bool,
    }
}

/// The type of an array.
pub(in crate::prim) fn ty(x: &Array) -> TensorType {
    TensorType::new(dtype(x), x.dims().iter().map(|d| Dim::known(*d as i64)).collect::<Shape>())
}

/// A kernel that does not compute on this kind of element.
pub(in crate::prim) fn wrong_kind(expected: &str, x: &Array) -> OpError {
    OpError::mismatch("element type", expected, dtype(x))
}

/// A float operand.
pub(in crate::prim) fn float(x: &Array) -> Result<&ArrayD<f64>, OpError> {
    match x {
        Array::F(x) => Ok(x),
        Array::I(_) | Array::B(_) => Err(wrong_kind("a float type", x)),
    }
}

/// An integer operand.
pub(in crate::prim) fn integer(x: &Array) -> Result<&ArrayD<i64>, OpError> {
    match x {
        Array::I(x) => Ok(x),
        Array::F(_) | Array::B(_) => Err(wrong_kind("an integer type", x)),
    }
}

/// The value of a dimension that may be negative, as a start may.
pub(in crate::prim) fn known(dim: &Dim) -> Result<i64, OpError> {
    dim.as_known().ok_or_else(|| OpError::Invalid(format!("dimension {dim} is not known")))
}

/// The values of dimensions.
pub(in crate::prim) fn known_dims(dims: &[Dim]) -> Result<Vec<usize>, OpError> {
    let one = |dim: &Dim| {
        usize::try_from(known(dim)?).map_err(|_| OpError::Invalid(format!("dimension {dim} is negative")))
    };
    dims.iter().map(one).collect()
}

/// The number of elements, if kernels may make an array of so many. An axis of 0 does not excuse the others.
pub(in crate::prim) fn elems(dims: &[usize]) -> Result<usize, OpError> {
    let product = dims.iter().try_fold(1usize, |n, d| n.checked_mul((*d).max(1)));
    match product {
        Some(n) if n <= MAX_ELEMS => Ok(if dims.contains(&0) { 0 } else { n }),
        _ => Err(OpError::Limit(format!("{dims:?} has more than {MAX_ELEMS} elements"))),
    }
}

/// An array of row-major values.
pub(in crate::prim) fn array<T>(dims: &[usize], values: Vec<T>) -> Result<ArrayD<T>, OpError> {
    let count = values.len();
    ArrayD::from_shape_vec(IxDyn(dims), values)
        .map_err(|_| OpError::mismatch("elements", format!("those of {dims:?}"), count))
}

/// The values, row-major.
pub(in crate::prim) fn values<T: Clone>(x: &ArrayD<T>) -> Cow<'_, [T]> {
    match x.as_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(x.iter().cloned().collect()),
    }
}

/// Row-major strides.
pub(in crate::prim) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// The table that takes a whole axis as it is.
pub(in crate::prim) fn whole(dim: usize, stride: usize) -> Table {
    (0..dim).map(|i| Some(i * stride)).collect()
}

/// Tables that take every axis as it is.
pub(in crate::prim) fn identity(dims: &[usize]) -> Vec<Table> {
    dims.iter().zip(strides(dims)).map(|(dim, stride)| whole(*dim, stride)).collect()
}

/// Tables that broadcast `from` to `to`.
pub(in crate::prim) fn broadcast(from: &[usize], to: &[usize]) -> Vec<Table> {
    let lead = to.len().saturating_sub(from.len());
    let strides = strides(from);
    let table = |(i, dim): (usize, &usize)| match i.checked_sub(lead) {
        Some(axis) if from[axis] != 1 => whole(*dim, strides[axis]),
        Some(_) | None => vec![Some(0); *dim],
    };
    to.iter().enumerate().map(table).collect()
}

/// The elements at the sums of table entries, row-major over the tables; `fill` where one of the entries is `None`.
pub(in crate::prim) fn pick<T: Clone>(x: &[T], tables: &[Table], fill: &T) -> Vec<T> {
    let mut out = Vec::with_capacity(tables.iter().map(Vec::len).product());
    pick_from(x, tables, Some(0), fill, &mut out);
    out
}

fn pick_from<T: Clone>(x: &[T], tables: &[Table], base: Option<usize>, fill: &T, out: &mut Vec<T>) {
    match tables {
        [] => out.push(base.and_then(|at| x.get(at)).unwrap_or(fill).clone()),
        [table, rest @ ..] => {
            for entry in table {
                let base = base.zip(*entry).map(|(base, offset)| base + offset);
                pick_from(x, rest, base, fill, out);
            }
        }
    }
}

/// `x` broadcast to `dims`, row-major.
pub(in crate::prim) fn broadcast_values<'a, T: Clone>(
    x: &'a ArrayD<T>,
    dims: &[usize],
    fill: &T,
) -> Cow<'a, [T]> {
    if x.shape() == dims {
        return values(x);
    }
    Cow::Owned(pick(&values(x), &broadcast(x.shape(), dims), fill))
}

/// The numbers of elements before, along and after an axis.
pub(in crate::prim) fn around(dims: &[usize], axis: usize) -> (usize, usize, usize) {
    (dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product())
}

/// Picks elements of any type; `fill` stands where a table has no entry.
pub(in crate::prim) fn picked(
    x: &Array,
    tables: &[Table],
    fill: f32,
    dims: &[usize],
) -> Result<Array, OpError> {
    Ok(match x {
        Array::F(x) => Array::F(array(dims, pick(&values(x), tables, &f64::from(fill)))?),
        Array::I(x) => Array::I(array(dims, pick(&values(x), tables, &(fill as i64)))?),
        Array::B(x) => Array::B(array(dims, pick(&values(x), tables, &(fill != 0.0)))?),
    })
}

/// The indices, resolved: negative ones count from the end.
pub(in crate::prim) fn resolved(indices: &Array, axis: usize, dim: usize) -> Result<Vec<usize>, OpError> {
    let resolve = |index: &i64| {
        let from_start = if *index < 0 { index.saturating_add(dim as i64) } else { *index };
        usize::try_from(from_start).ok().filter(|i| *i < dim).ok_or_else(|| {
            OpError::Invalid(format!("index {index} is out of range for axis {axis} of dimension {dim}"))
        })
    };
    values(integer(indices)?).iter().map(resolve).collect()
}

/// The error of operands that are not of one kind of element.
pub(in crate::prim) fn two_kinds() -> OpError {
    OpError::Invalid("operands have different element types".into())
}

/// Zeros of either sign are equal, and a NaN of either sign is the largest.
pub(in crate::prim) fn by_value(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}
