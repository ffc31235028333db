//! Packing of operands to panels, the order in which kernels read them.

use dlbc_ops::prim::Transform;

use super::kernel::{Isa, prefetch};
use super::matrix::{CompactMatrix, Matrix};
use crate::parallel::with_scratch;
use crate::weights::{transformed, widen};

/// Number of lines to prefetch ahead.
const AHEAD: usize = 8;

/// Packs rows `first..first + rows` of `a`, terms `from..from + k`, as `[k][rows]`.
pub fn rows(a: Matrix<'_>, first: usize, rows: usize, from: usize, k: usize, to: &mut [f32]) {
    let to = &mut to[..k * rows];
    let start = first * a.row + from * a.column;
    if a.row == 1 && rows == 8 {
        let (to, _) = to.as_chunks_mut::<8>();
        for (i, to) in to.iter_mut().enumerate() {
            if let Some(line) = a.data[start + i * a.column..].first_chunk::<8>() {
                *to = *line;
            }
        }
    } else if a.row == 1 {
        for (i, to) in to.chunks_exact_mut(rows).enumerate() {
            to.copy_from_slice(&a.data[start + i * a.column..][..rows]);
        }
    } else if a.column == 1 && rows == 8 {
        Isa::best().transpose(&a.data[start..], a.row, k, to, 8);
    } else {
        for i in 0..rows {
            let line = a.data[start + i * a.row..].iter().step_by(a.column.max(1));
            to[i..].iter_mut().step_by(rows).zip(line).for_each(|(to, v)| *to = *v);
        }
    }
    transform(a.transform, to);
}

/// Applies an operand transform to packed values.
fn transform(transform: Transform, values: &mut [f32]) {
    match transform {
        Transform::Id => {}
        Transform::Abs => values.iter_mut().for_each(|v| *v = v.abs()),
        transform => values.iter_mut().for_each(|v| *v = transformed(transform, *v)),
    }
}

/// Packs columns `first..first + columns` of `b`, terms `from..from + k`, as panels `[k][width]`, one after another. `panels` has
/// the first column and the width of each; elements beyond the columns are 0.
pub fn columns(
    b: Matrix<'_>,
    (first, columns): (usize, usize),
    (from, k): (usize, usize),
    panels: impl Iterator<Item = (usize, usize)> + Clone,
    to: &mut [f32],
) {
    let start = from * b.row + first * b.column;
    if b.column == 1 {
        // Line by line over all panels, so that lines are read in memory order.
        for t in 0..k {
            let line = &b.data[start + t * b.row..][..columns];
            // The hardware prefetcher does not recognise lines that are far apart.
            if t + AHEAD < k {
                prefetch(&b.data[start + (t + AHEAD) * b.row..][..columns]);
            }
            spread(line, t, k, panels.clone(), to);
        }
        let width: usize = panels.map(|(_, width)| width).sum();
        transform(b.transform, &mut to[..k * width]);
        return;
    }
    let inside = |at: usize, width: usize| width.min(columns - at);
    for (at, width) in panels {
        let existing = inside(at, width);
        let to = &mut to[at * k..][..k * width];
        let mut packed = 0;
        if b.row == 1 {
            while packed + 8 <= existing {
                let lines = &b.data[start + (at + packed) * b.column..];
                Isa::best().transpose(lines, b.column, k, &mut to[packed..], width);
                packed += 8;
            }
        }
        for j in packed..width {
            if j < existing {
                let line = b.data[start + (at + j) * b.column..].iter().step_by(b.row.max(1));
                to[j..].iter_mut().step_by(width).zip(line).for_each(|(to, v)| *to = *v);
            } else {
                to[j..].iter_mut().step_by(width).for_each(|to| *to = 0.0);
            }
        }
        transform(b.transform, to);
    }
}

/// Packs columns like [`columns`], from a matrix in fewer bits.
pub fn compact_columns(
    b: CompactMatrix<'_>,
    (first, columns): (usize, usize),
    (from, k): (usize, usize),
    panels: impl Iterator<Item = (usize, usize)> + Clone,
    to: &mut [f32],
) {
    if !b.transposed {
        with_scratch(columns, |line| {
            for t in 0..k {
                widen(b.data, b.first + (from + t) * b.line + first, line);
                spread(line, t, k, panels.clone(), to);
            }
        });
        let width: usize = panels.map(|(_, width)| width).sum();
        transform(b.transform, &mut to[..k * width]);
        return;
    }
    with_scratch(8 * k, |lines| {
        for (at, width) in panels {
            let existing = width.min(columns - at);
            let to = &mut to[at * k..][..k * width];
            for group in (0..width).step_by(8) {
                let high = existing.saturating_sub(group).min(8);
                for (j, line) in lines.chunks_exact_mut(k).take(high).enumerate() {
                    widen(b.data, b.first + (first + at + group + j) * b.line + from, line);
                }
                lines[high * k..].fill(0.0);
                if group + 8 <= width {
                    Isa::best().transpose(lines, k, k, &mut to[group..], width);
                    continue;
                }
                for (j, line) in lines.chunks_exact(k).take(width - group).enumerate() {
                    to[group + j..].iter_mut().step_by(width).zip(line).for_each(|(to, v)| *to = *v);
                }
            }
            transform(b.transform, to);
        }
    });
}

/// Writes term `t` of `k`, a value per column, to the panels.
fn spread(line: &[f32], t: usize, k: usize, panels: impl Iterator<Item = (usize, usize)>, to: &mut [f32]) {
    for (at, width) in panels {
        let existing = width.min(line.len() - at);
        let to = &mut to[at * k + t * width..][..width];
        copy(&line[at..at + existing], &mut to[..existing]);
        to[existing..].fill(0.0);
    }
}

/// Copies by vectors of sixteen elements. For short slices that is cheaper than a call of `memcpy`.
pub fn copy(from: &[f32], to: &mut [f32]) {
    let ((to, rest_to), (from, rest)) = (to.as_chunks_mut::<16>(), from.as_chunks::<16>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    rest_to.copy_from_slice(rest);
}
