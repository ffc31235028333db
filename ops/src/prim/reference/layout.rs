//! Helpers of the reference kernels: sizes, row-major values, and selection of elements by axis tables.

use std::borrow::Cow;
use std::cmp::Ordering;

use ndarray::{ArrayD, IxDyn};

use crate::OpError;
use crate::tensor::{Array, DType, Dim, Shape, TensorType};

/// Largest number of elements of a result.
const MAX_ELEMS: usize = 1 << 31;

/// Offset of the operand's element for each index along one axis of the result; `None` selects the fill value.
pub(in crate::prim) type Table = Vec<Option<usize>>;

/// Arithmetic shared by floats and integers. Integers wrap.
pub(in crate::prim) trait Number: Copy + PartialOrd {
    const ZERO: Self;
    const ONE: Self;
    /// Lower bound of all numbers.
    const LOWEST: Self;
    /// Upper bound of all numbers.
    const HIGHEST: Self;
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn larger(self, other: Self) -> Self;
    fn smaller(self, other: Self) -> Self;
}

impl Number for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const LOWEST: f64 = f64::NEG_INFINITY;
    const HIGHEST: f64 = f64::INFINITY;
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
    const HIGHEST: i64 = i64::MAX;
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

/// Returns the element type that represents the kind of an array.
fn dtype(x: &Array) -> DType {
    match x {
        Array::F(_) => DType::F64,
        Array::I(_) => DType::I64,
        Array::B(_) => DType::Bool,
    }
}

/// Returns the type of an array.
pub(in crate::prim) fn ty(x: &Array) -> TensorType {
    TensorType::new(dtype(x), x.dims().iter().map(|d| Dim::known(*d as i64)).collect::<Shape>())
}

/// Returns the error of a kernel that does not support the element type of `x`.
pub(in crate::prim) fn wrong_type(expected: &str, x: &Array) -> OpError {
    OpError::mismatch("element type", expected, dtype(x))
}

/// Returns the values of a float array.
pub(in crate::prim) fn float(x: &Array) -> Result<&ArrayD<f64>, OpError> {
    match x {
        Array::F(x) => Ok(x),
        Array::I(_) | Array::B(_) => Err(wrong_type("a float type", x)),
    }
}

/// Returns the values of an integer array.
pub(in crate::prim) fn integer(x: &Array) -> Result<&ArrayD<i64>, OpError> {
    match x {
        Array::I(x) => Ok(x),
        Array::F(_) | Array::B(_) => Err(wrong_type("an integer type", x)),
    }
}

/// Returns the value of a dimension or index, which may be negative.
pub(in crate::prim) fn known(dim: &Dim) -> Result<i64, OpError> {
    dim.as_known().ok_or_else(|| OpError::invalid("dimension", "a known number", dim))
}

/// Returns the values of dimensions, none of which may be negative.
pub(in crate::prim) fn known_dims(dims: &[Dim]) -> Result<Vec<usize>, OpError> {
    let size = |dim: &Dim| {
        usize::try_from(known(dim)?).map_err(|_| OpError::invalid("dimension", "at least 0", dim))
    };
    dims.iter().map(size).collect()
}

/// Returns the number of elements of an array that kernels may allocate. Other axes must be within the limit even if
/// one is 0.
pub(in crate::prim) fn elems(dims: &[usize]) -> Result<usize, OpError> {
    let product = dims.iter().try_fold(1usize, |n, d| n.checked_mul((*d).max(1)));
    match product {
        Some(n) if n <= MAX_ELEMS => Ok(if dims.contains(&0) { 0 } else { n }),
        _ => Err(OpError::Limit(format!("tensor {dims:?} has too many elements: the limit is {MAX_ELEMS}"))),
    }
}

/// Creates an array from row-major values.
pub(in crate::prim) fn array<T>(dims: &[usize], values: Vec<T>) -> Result<ArrayD<T>, OpError> {
    let count = values.len();
    ArrayD::from_shape_vec(IxDyn(dims), values)
        .map_err(|_| OpError::mismatch("elements", format!("those of {dims:?}"), count))
}

/// Returns the values in row-major order.
pub(in crate::prim) fn values<T: Clone>(x: &ArrayD<T>) -> Cow<'_, [T]> {
    match x.as_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(x.iter().cloned().collect()),
    }
}

/// Returns the row-major strides, in elements.
pub(in crate::prim) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// Returns the table that selects a whole axis.
pub(in crate::prim) fn whole(dim: usize, stride: usize) -> Table {
    (0..dim).map(|i| Some(i * stride)).collect()
}

/// Returns the tables that select all elements.
pub(in crate::prim) fn identity(dims: &[usize]) -> Vec<Table> {
    dims.iter().zip(strides(dims)).map(|(dim, stride)| whole(*dim, stride)).collect()
}

/// Returns the tables that broadcast dimensions `from` to `to`.
pub(in crate::prim) fn broadcast(from: &[usize], to: &[usize]) -> Vec<Table> {
    let lead = to.len().saturating_sub(from.len());
    let strides = strides(from);
    let table = |(i, dim): (usize, &usize)| match i.checked_sub(lead) {
        Some(axis) if from[axis] != 1 => whole(*dim, strides[axis]),
        Some(_) | None => vec![Some(0); *dim],
    };
    to.iter().enumerate().map(table).collect()
}

/// Selects the elements at the sums of table entries, row-major over the tables, or `fill` if an entry is `None`.
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

/// Broadcasts `x` to `dims`; the values are row-major.
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

/// Numbers of elements around an axis; element `(o, d, i)` has index `(o · dim + d) · inner + i`.
pub(in crate::prim) struct AxisExtents {
    /// Product of the dimensions before the axis.
    pub(in crate::prim) outer: usize,
    /// Dimension of the axis.
    pub(in crate::prim) dim: usize,
    /// Product of the dimensions after the axis.
    pub(in crate::prim) inner: usize,
}

impl AxisExtents {
    /// Computes the extents around `axis`.
    pub(in crate::prim) fn new(dims: &[usize], axis: usize) -> AxisExtents {
        let inner = dims[axis + 1..].iter().product();
        AxisExtents { outer: dims[..axis].iter().product(), dim: dims[axis], inner }
    }
}

/// Selects elements of an array of any type with [`pick`].
pub(in crate::prim) fn pick_array(
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

/// Resolves indices into an axis of `dim` elements: negative indices count from the end.
pub(in crate::prim) fn resolve_indices(
    indices: &Array,
    axis: usize,
    dim: usize,
) -> Result<Vec<usize>, OpError> {
    let resolve = |index: &i64| {
        let from_start = if *index < 0 { index.saturating_add(dim as i64) } else { *index };
        usize::try_from(from_start).ok().filter(|i| *i < dim).ok_or_else(|| {
            OpError::fault(
                format!("index {index} is out of range for axis {axis}"),
                match dim {
                    0 => "elements along the axis".to_string(),
                    dim => format!("-{dim} to {}", dim - 1),
                },
            )
        })
    };
    values(integer(indices)?).iter().map(resolve).collect()
}

/// Returns the error of operands of different element types.
pub(in crate::prim) fn mixed_types() -> OpError {
    OpError::invalid("element types of the operands", "equal", "different ones")
}

/// Orders floats: zeros of either sign are equal, and NaN is the largest.
pub(in crate::prim) fn by_value(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prim::tests::arrays::{error, floats, known, row};
    use crate::prim::{Cast, Expand};

    #[test]
    fn symbolic_negative_and_huge_dimensions_are_refused() {
        let x = row(&[1.0]);
        let expand = |d: Dim| Expand { to: Shape(vec![d]) };
        assert_eq!(error(expand(Dim::symbol("n")), &[&x]), "dimension: expected a known number, found n");
        assert_eq!(error(expand(Dim::known(-3)), &[&x]), "dimension: expected at least 0, found -3");
        assert!(error(expand(Dim::known((1 << 31) + 1)), &[&x]).contains("the limit is 2147483648"));
        let empty = Expand { to: Shape(known(&[0, 1 << 40])) };
        assert!(error(empty, &[&floats(&[1, 1], &[1.0])]).contains("elements"));
    }

    #[test]
    fn missing_operands_are_refused() {
        assert!(error(Cast { to: DType::F32 }, &[]).contains("inputs, found 0"));
    }
}
