//! Largest and smallest elements along axes.
//!
//! tract starts a maximum with the smallest finite number, so that a row of -∞, as a mask may have, would not give -∞.

use rayon::prelude::*;

use crate::loops::{are_last, each_row};

/// Elements compared per task.
const TERMS: usize = 1 << 14;

/// Writes the extremum over `axes` of each remaining position; NaN if an element is NaN.
pub fn extremum(x: &[f32], dims: &[usize], axes: &[usize], max: bool, y: &mut [f32]) {
    if max {
        reduce(x, dims, axes, f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a }, y);
    } else {
        reduce(x, dims, axes, f32::INFINITY, |a, b| if b < a || b.is_nan() { b } else { a }, y);
    }
}

fn reduce(
    x: &[f32],
    dims: &[usize],
    axes: &[usize],
    start: f32,
    choose: impl Fn(f32, f32) -> f32 + Copy + Sync,
    y: &mut [f32],
) {
    let of_row = |row: &[f32]| {
        let mut lanes = [start; 8];
        let blocks = row.chunks_exact(8);
        let rest = blocks.remainder().iter().fold(start, |a, b| choose(a, *b));
        for block in blocks {
            lanes.iter_mut().zip(block).for_each(|(l, v)| *l = choose(*l, *v));
        }
        lanes.iter().fold(rest, |a, b| choose(a, *b))
    };
    if are_last(axes, dims.len()) {
        let row_len: usize = axes.iter().map(|a| dims[*a]).product();
        let rows = (TERMS / row_len.max(1)).max(1);
        y.par_chunks_mut(rows).enumerate().for_each(|(i, y)| {
            let each_row = y.iter_mut().enumerate();
            each_row.for_each(|(j, y)| *y = of_row(&x[(i * rows + j) * row_len..][..row_len]));
        });
        return;
    }
    y.fill(start);
    each_row(x, dims, axes, |at, row, remains| {
        if remains {
            y[at..at + row.len()].iter_mut().zip(row).for_each(|(y, x)| *y = choose(*y, *x));
        } else {
            y[at] = choose(y[at], of_row(row));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(x: &[f32], dims: &[usize], axes: &[usize], max: bool, count: usize) -> Vec<f32> {
        let mut y = vec![0.0; count];
        extremum(x, dims, axes, max, &mut y);
        y
    }

    #[test]
    fn rows_of_infinities_keep_them() {
        let x = [f32::NEG_INFINITY; 6];
        assert_eq!(of(&x, &[2, 3], &[1], true, 2), [f32::NEG_INFINITY; 2]);
        assert_eq!(of(&x.map(|v| -v), &[2, 3], &[0], false, 3), [f32::INFINITY; 3]);
    }

    #[test]
    fn every_choice_of_axes_agrees_with_the_definition() {
        let x: Vec<f32> = (0..2 * 3 * 10).map(|i| ((i * 37) % 61) as f32 - 30.0).collect();
        let at = |a: usize, b: usize, c: usize| x[(a * 3 + b) * 10 + c];
        let middle: Vec<f32> = (0..2)
            .flat_map(|a| (0..10).map(move |c| (0..3).map(|b| at(a, b, c)).fold(f32::MIN, f32::max)))
            .collect();
        assert_eq!(of(&x, &[2, 3, 10], &[1], true, 20), middle);
        let outer: Vec<f32> = (0..3)
            .map(|b| (0..2).flat_map(|a| (0..10).map(move |c| at(a, b, c))).fold(f32::MAX, f32::min))
            .collect();
        assert_eq!(of(&x, &[2, 3, 10], &[0, 2], false, 3), outer);
    }

    #[test]
    fn nan_wins() {
        assert!(of(&[1.0, f32::NAN, 2.0], &[3], &[0], true, 1)[0].is_nan());
        assert!(of(&[f32::NAN, 1.0], &[1, 2], &[1], false, 1)[0].is_nan());
    }
}
