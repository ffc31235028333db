//! Panels: operands in the order in which the kernel reads them.

use dlbc_ops::prim::Transform;

use super::kernel::{Isa, prefetch};
use super::matrix::Matrix;
use crate::weights::part_of;

/// Lines that are asked for before they are read.
const AHEAD: usize = 8;

/// Rows `first..first + rows` of `a`, terms `from..from + k`, as `[k][rows]`.
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
        Isa::best().turn(&a.data[start..], a.row, k, to, 8);
    } else {
        for i in 0..rows {
            let line = a.data[start + i * a.row..].iter().step_by(a.column.max(1));
            to[i..].iter_mut().step_by(rows).zip(line).for_each(|(to, v)| *to = *v);
        }
    }
    take(a.part, to);
}

/// Takes the part of packed values.
fn take(part: Transform, to: &mut [f32]) {
    match part {
        Transform::Id => {}
        Transform::Abs => to.iter_mut().for_each(|v| *v = v.abs()),
        part => to.iter_mut().for_each(|v| *v = part_of(part, *v)),
    }
}

/// Columns `first..first + columns` of `b`, terms `from..from + k`, as panels `[k][width]` one after the other; `panels` gives
/// the first column and the width of each, and what reaches beyond the columns is 0.
pub fn columns(
    b: Matrix<'_>,
    (first, columns): (usize, usize),
    (from, k): (usize, usize),
    panels: impl Iterator<Item = (usize, usize)> + Clone,
    to: &mut [f32],
) {
    let start = from * b.row + first * b.column;
    if b.column == 1 {
        // Line by line, over all panels: the lines are read as they lie in memory.
        for t in 0..k {
            let line = &b.data[start + t * b.row..][..columns];
            // Lines far apart are no stream that the processor sees coming.
            if t + AHEAD < k {
                prefetch(&b.data[start + (t + AHEAD) * b.row..][..columns]);
            }
            spread(line, t, k, panels.clone(), to);
        }
        let width: usize = panels.map(|(_, width)| width).sum();
        take(b.part, &mut to[..k * width]);
        return;
    }
    let inside = |at: usize, width: usize| width.min(columns - at);
    for (at, width) in panels {
        let own = inside(at, width);
        let to = &mut to[at * k..][..k * width];
        let mut done = 0;
        if b.row == 1 {
            while done + 8 <= own {
                let lines = &b.data[start + (at + done) * b.column..];
                Isa::best().turn(lines, b.column, k, &mut to[done..], width);
                done += 8;
            }
        }
        for j in done..width {
            if j < own {
                let line = b.data[start + (at + j) * b.column..].iter().step_by(b.row.max(1));
                to[j..].iter_mut().step_by(width).zip(line).for_each(|(to, v)| *to = *v);
            } else {
                to[j..].iter_mut().step_by(width).for_each(|to| *to = 0.0);
            }
        }
        take(b.part, to);
    }
}

/// Puts term `t` of `k`, a value for each column, to its places in the panels.
fn spread(line: &[f32], t: usize, k: usize, panels: impl Iterator<Item = (usize, usize)>, to: &mut [f32]) {
    for (at, width) in panels {
        let own = width.min(line.len() - at);
        let to = &mut to[at * k + t * width..][..width];
        copy(&line[at..at + own], &mut to[..own]);
        to[own..].fill(0.0);
    }
}

/// A copy by vectors of sixteen: a call of the library's is dearer than such a few.
pub fn copy(from: &[f32], to: &mut [f32]) {
    let ((to, rest_to), (from, rest)) = (to.as_chunks_mut::<16>(), from.as_chunks::<16>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    rest_to.copy_from_slice(rest);
}
