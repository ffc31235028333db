//! Reductions and softmax.

use ndarray::ArrayD;

use super::layout::{Number, around, array, float, pick, strides, values, whole, wrong_kind};
use crate::OpError;
use crate::prim::Reduction;
use crate::tensor::Array;

/// The reduction of `x` over `axes`; `dims` are the result's.
pub(super) fn reduce(kind: Reduction, axes: &[usize], x: &Array, dims: &[usize]) -> Result<Array, OpError> {
    match (kind, x) {
        (Reduction::ArgMax | Reduction::ArgMin, Array::F(x)) => arg(kind, axes, x, dims).map(Array::I),
        (Reduction::ArgMax | Reduction::ArgMin, Array::I(x)) => arg(kind, axes, x, dims).map(Array::I),
        (_, Array::F(x)) => numbers(kind, axes, x, dims).map(Array::F),
        (_, Array::I(x)) => numbers(kind, axes, x, dims).map(Array::I),
        (_, Array::B(_)) => Err(wrong_kind("a number type", x)),
    }
}

/// The elements that meet in each element of the result, one after another, and how many they are.
fn groups<T: Number>(x: &ArrayD<T>, axes: &[usize]) -> (Vec<T>, usize) {
    let (dims, strides) = (x.shape(), strides(x.shape()));
    let table = |axis: usize| whole(dims[axis], strides[axis]);
    let kept = (0..dims.len()).filter(|axis| !axes.contains(axis));
    let reduced = (0..dims.len()).filter(|axis| axes.contains(axis));
    let count = reduced.clone().map(|axis| dims[axis]).product();
    (pick(&values(x), &kept.chain(reduced).map(table).collect::<Vec<_>>(), &T::ZERO), count)
}

fn numbers<T: Number>(
    kind: Reduction,
    axes: &[usize],
    x: &ArrayD<T>,
    dims: &[usize],
) -> Result<ArrayD<T>, OpError> {
    let (start, f): (Option<T>, fn(T, T) -> T) = match kind {
        Reduction::Sum => (Some(T::ZERO), T::plus),
        Reduction::Prod => (Some(T::ONE), T::times),
        Reduction::Max | Reduction::ArgMax => (None, T::larger),
        Reduction::Min | Reduction::ArgMin => (None, T::smaller),
    };
    let (values, count) = groups(x, axes);
    if count == 0 {
        let start = start.ok_or_else(|| empty(kind))?;
        return array(dims, vec![start; dims.iter().product()]);
    }
    let fold = |group: &[T]| match start {
        Some(start) => group.iter().copied().fold(start, f),
        None => group[1..].iter().copied().fold(group[0], f),
    };
    array(dims, values.chunks_exact(count).map(fold).collect())
}

fn arg<T: Number>(
    kind: Reduction,
    axes: &[usize],
    x: &ArrayD<T>,
    dims: &[usize],
) -> Result<ArrayD<i64>, OpError> {
    let (values, count) = groups(x, axes);
    if count == 0 {
        return Err(empty(kind));
    }
    let better = |a: T, b: T| if kind == Reduction::ArgMin { a < b } else { a > b };
    let first = |group: &[T]| {
        (1..count).fold(0, |best, i| if better(group[i], group[best]) { i } else { best }) as i64
    };
    array(dims, values.chunks_exact(count).map(first).collect())
}

fn empty(kind: Reduction) -> OpError {
    OpError::Invalid(format!("{kind:?} of no elements"))
}

/// Softmax over one axis.
pub(super) fn softmax(axis: usize, x: &Array) -> Result<Array, OpError> {
    let x = float(x)?;
    let dims = x.shape();
    let (outer, dim, inner) = around(dims, axis);
    let mut y = values(x).into_owned();
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let at = |d: usize| (o * dim + d) * inner + i;
        let max = (0..dim).fold(f64::NEG_INFINITY, |max, d| max.max(y[at(d)]));
        (0..dim).for_each(|d| y[at(d)] = (y[at(d)] - max).exp());
        let sum: f64 = (0..dim).map(|d| y[at(d)]).sum();
        (0..dim).for_each(|d| y[at(d)] /= sum);
    }
    array(dims, y).map(Array::F)
}
