//! Which elements: those other than 0, the greatest, the boxes that suppression keeps.

use std::cmp::Ordering;

use super::layout::{around, array, elems, float, integer, strides, values};
use crate::OpError;
use crate::tensor::Array;

/// Columns of indices, then zeros.
pub(super) fn non_zero(x: &Array, dims: &[usize]) -> Result<Array, OpError> {
    let set: Vec<bool> = match x {
        Array::F(x) => x.iter().map(|v| *v != 0.0).collect(),
        Array::I(x) => x.iter().map(|v| *v != 0).collect(),
        Array::B(x) => x.iter().copied().collect(),
    };
    let columns = set.len();
    let mut made = vec![0i64; elems(dims)?];
    let steps = strides(x.dims());
    let places = set.iter().enumerate().filter(|(_, set)| **set).map(|(place, _)| place);
    for (column, place) in places.enumerate() {
        for (axis, (step, dim)) in steps.iter().zip(x.dims()).enumerate() {
            made[axis * columns + column] = (place / step % dim) as i64;
        }
    }
    array(dims, made).map(Array::I)
}

/// The greatest or smallest along an axis; a NaN counts as the greatest.
pub(super) fn top_k(axis: usize, largest: bool, x: &Array, dims: &[usize]) -> Result<Array, OpError> {
    let order: Box<dyn Fn(usize, usize) -> Ordering> = match x {
        Array::F(x) => {
            let x = values(x).into_owned();
            Box::new(move |a, b| by_value(x[a], x[b]))
        }
        Array::I(x) => {
            let x = values(x).into_owned();
            Box::new(move |a, b| x[a].cmp(&x[b]))
        }
        Array::B(_) => return Err(super::layout::wrong_kind("numbers", x)),
    };
    let (outer, n, inner) = around(x.dims(), axis);
    let k = dims[axis];
    let mut made = vec![0i64; elems(dims)?];
    for o in 0..outer {
        for i in 0..inner {
            let place = |j: usize| (o * n + j) * inner + i;
            let mut all: Vec<usize> = (0..n).collect();
            // A stable sort: of equal elements the first comes first.
            all.sort_by(|a, b| {
                let by = order(place(*a), place(*b));
                if largest { by.reverse() } else { by }
            });
            for (rank, j) in all.into_iter().take(k).enumerate() {
                made[(o * k + rank) * inner + i] = j as i64;
            }
        }
    }
    array(dims, made).map(Array::I)
}

/// Zeros of either sign are equal, and a NaN of either sign is the greatest.
fn by_value(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Greedy suppression by class. Operands: boxes, scores, the most boxes of a class, the overlap from which a box is dropped,
/// the score that a box must exceed.
pub(super) fn non_max_suppression(center: bool, x: [&Array; 5], dims: &[usize]) -> Result<Array, OpError> {
    let [batches, classes, spatial] = [x[1].dims()[0], x[1].dims()[1], x[1].dims()[2]];
    let (boxes, scores) = (values(float(x[0])?), values(float(x[1])?));
    let one = |a: &Array| Ok::<f64, OpError>(values(float(a)?).first().copied().unwrap_or(0.0));
    let most = values(integer(x[2])?).first().copied().unwrap_or(0);
    let (overlap, least) = (one(x[3])?, one(x[4])?);
    let most = usize::try_from(most).unwrap_or(0);
    let mut made = vec![-1i64; elems(dims)?];
    let mut row = 0;
    for n in 0..batches {
        let corners: Vec<[f64; 4]> =
            (0..spatial).map(|s| corners(center, &boxes[(n * spatial + s) * 4..][..4])).collect();
        for c in 0..classes {
            let scores = &scores[(n * classes + c) * spatial..][..spatial];
            let mut order: Vec<usize> = (0..spatial).filter(|s| scores[*s] > least).collect();
            order.sort_by(|a, b| by_value(scores[*b], scores[*a]));
            let mut kept: Vec<usize> = vec![];
            for s in order {
                if kept.len() >= most {
                    break;
                }
                if kept.iter().all(|k| intersection_over_union(&corners[*k], &corners[s]) <= overlap) {
                    kept.push(s);
                }
            }
            for s in kept {
                made[row * 3..row * 3 + 3].copy_from_slice(&[n as i64, c as i64, s as i64]);
                row += 1;
            }
        }
    }
    array(dims, made).map(Array::I)
}

/// The lower and upper bound of each axis.
fn corners(center: bool, b: &[f64]) -> [f64; 4] {
    if center {
        return [b[1] - b[3] / 2.0, b[0] - b[2] / 2.0, b[1] + b[3] / 2.0, b[0] + b[2] / 2.0];
    }
    [b[0].min(b[2]), b[1].min(b[3]), b[0].max(b[2]), b[1].max(b[3])]
}

fn intersection_over_union(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let side = |low: usize| (a[low + 2].min(b[low + 2]) - a[low].max(b[low])).max(0.0);
    let area = |c: &[f64; 4]| (c[2] - c[0]) * (c[3] - c[1]);
    let both = side(0) * side(1);
    if both <= 0.0 || area(a) <= 0.0 || area(b) <= 0.0 {
        return 0.0;
    }
    both / (area(a) + area(b) - both)
}
