//! Float32 loops of frequent primitives.

use rayon::prelude::*;

use super::columns::Taps;
use super::exponential::exp;
use super::gemm::{Loop, widest};
use super::parallel::{chunks, with_scratch};

/// Computes `r / z`, 0 where `z` is 0.
#[inline(always)]
pub fn guarded_div(r: f32, z: f32) -> f32 {
    if z == 0.0 { 0.0 } else { r / z }
}

/// Applies `f` elementwise to operands that broadcast to `dims`.
pub fn broadcast(
    a: &[f32],
    a_dims: &[usize],
    b: &[f32],
    b_dims: &[usize],
    dims: &[usize],
    f: impl Fn(f32, f32) -> f32,
    y: &mut [f32],
) {
    let rank = dims.len();
    let strides = |operand: &[usize]| {
        let mut strides = vec![0usize; rank];
        let mut step = 1;
        for i in (0..operand.len()).rev() {
            strides[i + rank - operand.len()] = if operand[i] == 1 { 0 } else { step };
            step *= operand[i];
        }
        strides
    };
    let (sa, sb) = (strides(a_dims), strides(b_dims));
    let (inner, outer) = match dims.split_last() {
        Some((inner, outer)) => (*inner, outer),
        None => (1, dims),
    };
    let (last_a, last_b) = (sa.last().copied().unwrap_or(0), sb.last().copied().unwrap_or(0));
    let mut index = vec![0usize; outer.len()];
    for y in y.chunks_exact_mut(inner.max(1)) {
        let at = |s: &[usize]| index.iter().zip(s).map(|(i, s)| i * s).sum::<usize>();
        let (mut pa, mut pb) = (at(&sa), at(&sb));
        for y in y {
            *y = f(a[pa], b[pb]);
            pa += last_a;
            pb += last_b;
        }
        advance(&mut index, outer);
    }
}

/// Elements of a selection or a comparison per task.
const TASK: usize = 1 << 14;

/// Selects `a` where the condition is true, else `b`. Each operand has as many elements as `y`, or a single one.
pub fn select(condition: &[bool], a: &[f32], b: &[f32], y: &mut [f32]) {
    chunks(y, TASK, |task, y| {
        let (condition, a, b) =
            (part(condition, task, y.len()), part(a, task, y.len()), part(b, task, y.len()));
        select_elements(condition, a, b, y);
    });
}

/// Selects `a` where the condition is true, else `b`, for operands that broadcast to the dimensions `dims` of `y`; the shapes of
/// the condition, of `a` and of `b` have at most as many axes.
pub fn select_broadcast(
    condition: (&[bool], &[usize]),
    a: (&[f32], &[usize]),
    b: (&[f32], &[usize]),
    dims: &[usize],
    y: &mut [f32],
) {
    let Some((&width, lead)) = dims.split_last().filter(|_| !y.is_empty()) else { return };
    let rows = [condition.1, a.1, b.1].map(|shape| Rows::new(shape, dims.len()));
    chunks(y, width * (TASK / width).max(1), |task, y| {
        let first = task * (TASK / width).max(1);
        for (row, y) in y.chunks_exact_mut(width).enumerate() {
            let [c, a_row, b_row] = rows.each_ref().map(|r| r.elements(first + row, lead));
            select_elements(&condition.0[c], &a.0[a_row], &b.0[b_row], y);
        }
    });
}

/// Rows of an operand that broadcasts: its strides along the leading axes, 0 where it has a single element.
struct Rows {
    strides: Vec<usize>,
    width: usize,
}

impl Rows {
    fn new(shape: &[usize], rank: usize) -> Rows {
        let aligned = [vec![1; rank - shape.len()], shape.to_vec()].concat();
        let width = aligned[rank - 1];
        let mut strides = vec![0; rank - 1];
        let mut stride = width;
        for (axis, to) in strides.iter_mut().enumerate().rev() {
            *to = if aligned[axis] == 1 { 0 } else { stride };
            stride *= aligned[axis];
        }
        Rows { strides, width }
    }

    /// Returns the elements of the row of this number in a result whose leading dimensions are `lead`.
    fn elements(&self, row: usize, lead: &[usize]) -> std::ops::Range<usize> {
        let (mut rest, mut start) = (row, 0);
        for (dim, stride) in lead.iter().zip(&self.strides).rev() {
            start += rest % dim * stride;
            rest /= dim;
        }
        start..start + self.width
    }
}

fn select_elements(condition: &[bool], a: &[f32], b: &[f32], y: &mut [f32]) {
    let pick = |c: bool, a: f32, b: f32| if c { a } else { b };
    match (condition, a, b) {
        ([c], a, b) => match if *c { a } else { b } {
            [v] => y.fill(*v),
            values => y.copy_from_slice(values),
        },
        (c, a, [b]) if a.len() == y.len() => {
            y.iter_mut().zip(c).zip(a).for_each(|((y, c), a)| *y = pick(*c, *a, *b));
        }
        (c, a, b) => {
            let each = y.iter_mut().zip(c).enumerate();
            each.for_each(|(i, (y, c))| *y = pick(*c, at(a, i), at(b, i)));
        }
    }
}

/// Compares `a` and `b` elementwise by `f`. Each operand has as many elements as `y`, or a single one.
pub fn compare(a: &[f32], b: &[f32], y: &mut [bool], f: impl Fn(f32, f32) -> bool + Sync) {
    y.par_chunks_mut(TASK).enumerate().for_each(|(task, y)| {
        let (a, b) = (part(a, task, y.len()), part(b, task, y.len()));
        if a.len() == b.len() && a.len() == y.len() {
            y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = f(*a, *b));
        } else {
            y.iter_mut().enumerate().for_each(|(i, y)| *y = f(at(a, i), at(b, i)));
        }
    });
}

/// Returns the elements of a task; a single element serves all tasks.
fn part<T>(x: &[T], task: usize, len: usize) -> &[T] {
    if x.len() == 1 { x } else { &x[task * TASK..][..len] }
}

fn at(x: &[f32], i: usize) -> f32 {
    x[if x.len() == 1 { 0 } else { i }]
}

/// Computes a softmax over an axis of `n` elements with stride `inner`.
pub fn softmax(x: &[f32], n: usize, inner: usize, y: &mut [f32]) {
    // Each task has whole groups of rows.
    let size = (n * inner).max(1);
    let task_size = size * (1usize << 12).div_ceil(size);
    chunks(y, task_size, |task, y| {
        let from = &x[task * task_size..][..y.len()];
        if inner == 1 {
            y.copy_from_slice(from);
            y.chunks_mut(n).for_each(softmax_row);
            return;
        }
        with_scratch(n, |row| {
            for (from, y) in from.chunks(size).zip(y.chunks_mut(size)) {
                for i in 0..inner {
                    row.iter_mut().zip(from[i..].iter().step_by(inner)).for_each(|(to, x)| *to = *x);
                    softmax_row(row);
                    y[i..].iter_mut().step_by(inner).zip(row.iter()).for_each(|(y, p)| *y = *p);
                }
            }
        });
    });
}

/// Computes the softmax of a row in place. The order of the sum depends on the length alone, not on the alignment.
pub fn softmax_row(p: &mut [f32]) {
    widest(Row(p));
}

struct Row<'a>(&'a mut [f32]);

impl Loop for Row<'_> {
    #[inline(always)]
    fn run(self) {
        softmax_in_place(self.0);
    }
}

#[inline(always)]
fn softmax_in_place(p: &mut [f32]) {
    let max = p.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    p.iter_mut().for_each(|s| *s -= max);
    exp(p);
    // Sixteen partial sums round less than one long sum.
    let mut lanes = [0.0f32; 16];
    for chunk in p.chunks(16) {
        lanes.iter_mut().zip(chunk).for_each(|(l, s)| *l += s);
    }
    let sum: f32 = lanes.iter().sum();
    p.iter_mut().for_each(|s| *s /= sum);
}

fn advance(index: &mut [usize], dims: &[usize]) {
    for i in (0..dims.len()).rev() {
        index[i] += 1;
        if index[i] < dims[i] {
            return;
        }
        index[i] = 0;
    }
}

/// Computes the maximum of each window: `x [n, c, plane]` → `y [n, c, positions]`.
pub fn window_max(taps: &Taps, x: &[f32], y: &mut [f32]) {
    chunks(y, taps.positions(), |i, y| {
        y.fill(f32::NEG_INFINITY);
        taps.maximum(&x[i * taps.plane()..][..taps.plane()], y);
    });
}

/// Computes the sum of each window: `x [n, c, plane]` → `y [n, c, positions]`.
pub fn window_sum(taps: &Taps, x: &[f32], y: &mut [f32]) {
    let ones = vec![1.0; taps.count()];
    chunks(y, taps.positions(), |i, y| {
        y.fill(0.0);
        taps.correlate(&ones, &x[i * taps.plane()..][..taps.plane()], y);
    });
}

/// Computes the adjoint of a window sum: `s [n, c, positions]` → `y [n, c, plane]`.
pub fn window_sum_transpose(taps: &Taps, s: &[f32], y: &mut [f32]) {
    let ones = vec![1.0; taps.count()];
    chunks(y, taps.plane(), |plane, y| {
        y.fill(0.0);
        taps.scatter(&ones, &s[plane * taps.positions()..][..taps.positions()], y);
    });
}

/// Distributes `r` over the elements of each window where `x` equals the maximum `m`: in equal shares, or with `first` all to the
/// first one.
pub fn max_share(taps: &Taps, first: bool, x: &[f32], m: &[f32], r: &[f32], y: &mut [f32]) {
    let (positions, plane) = (taps.positions(), taps.plane());
    chunks(y, plane, |i, y| {
        let (x, m, r) = (&x[i * plane..][..plane], &m[i * positions..][..positions], &r[i * positions..]);
        y.fill(0.0);
        with_scratch(2 * positions, |scratch| {
            let (ties, share) = scratch.split_at_mut(positions);
            ties.fill(0.0);
            if first {
                return taps.scatter_first(x, m, r, ties, y);
            }
            taps.count_equal(x, m, ties);
            let each = share.iter_mut().zip(r).zip(&*ties);
            each.for_each(|((s, r), t)| *s = if *t == 0.0 { 0.0 } else { r / t });
            taps.scatter_equal(x, m, share, y);
        });
    });
}

/// Writes `x` to the slice `start, start + step, …` of an axis of zeros. The axis has `from` rows of `inner` elements in `x` and
/// `to` in `y`.
pub fn slice_transpose(
    x: &[f32],
    inner: usize,
    from: usize,
    to: usize,
    start: i64,
    step: i64,
    y: &mut [f32],
) {
    chunks(y, (to * inner).max(1), |outer, y| {
        y.fill(0.0);
        for i in 0..from {
            let offset = (start + i as i64 * step) as usize * inner;
            y[offset..offset + inner].copy_from_slice(&x[(outer * from + i) * inner..][..inner]);
        }
    });
}

/// Terms of a sum per task.
const TERMS: usize = 1 << 14;

/// Sums over `axes` in float64. The ledger is computed by these sums, and float32 would lose five digits of a million terms.
pub fn sum(x: &[f32], dims: &[usize], axes: &[usize], y: &mut [f32]) {
    if are_last(axes, dims.len()) {
        let row_len: usize = axes.iter().map(|a| dims[*a]).product();
        if y.len() == 1 {
            let mut parts = vec![0.0f64; row_len.div_ceil(TERMS)];
            let part = |(i, p): (usize, &mut f64)| *p = total(&x[i * TERMS..row_len.min((i + 1) * TERMS)]);
            parts.par_iter_mut().enumerate().for_each(part);
            y[0] = parts.iter().sum::<f64>() as f32;
            return;
        }
        let rows = (TERMS / row_len.max(1)).max(1);
        y.par_chunks_mut(rows).enumerate().for_each(|(i, y)| {
            let each_row = y.iter_mut().enumerate();
            each_row.for_each(|(j, y)| *y = total(&x[(i * rows + j) * row_len..][..row_len]) as f32);
        });
        return;
    }
    let mut sums = vec![0.0f64; y.len()];
    each_row(x, dims, axes, |at, row, remains| {
        if remains {
            sums[at..at + row.len()].iter_mut().zip(row).for_each(|(s, x)| *s += f64::from(*x));
        } else {
            sums[at] += total(row);
        }
    });
    y.iter_mut().zip(sums).for_each(|(y, s)| *y = s as f32);
}

/// Returns whether reduced axes, ascending, are the last ones.
pub fn are_last(axes: &[usize], rank: usize) -> bool {
    axes.iter().rev().enumerate().all(|(i, a)| *a + 1 + i == rank)
}

/// Runs through an operand row by row. `visit` gets the place of the row's first element in the result of a reduction over `axes`,
/// the row, and whether the row's axis remains, so that the next elements have the next places.
pub fn each_row(x: &[f32], dims: &[usize], axes: &[usize], mut visit: impl FnMut(usize, &[f32], bool)) {
    // A remaining axis has a stride in the result, a reduced one has stride 0.
    let mut steps = vec![0usize; dims.len()];
    let mut step = 1;
    for i in (0..dims.len()).rev().filter(|i| !axes.contains(i)) {
        steps[i] = step;
        step *= dims[i];
    }
    let (inner, outer) = dims.split_last().map_or((1, dims), |(i, o)| (*i, o));
    let mut index = vec![0usize; outer.len()];
    for row in x.chunks_exact(inner.max(1)) {
        let at: usize = index.iter().zip(&steps).map(|(i, s)| i * s).sum();
        visit(at, row, steps.last() == Some(&1));
        advance(&mut index, outer);
    }
}

/// Sums in float64, in eight lanes.
fn total(x: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let blocks = x.chunks_exact(8);
    let rest: f64 = blocks.remainder().iter().map(|v| f64::from(*v)).sum();
    for block in blocks {
        lanes.iter_mut().zip(block).for_each(|(l, v)| *l += f64::from(*v));
    }
    lanes.iter().sum::<f64>() + rest
}
