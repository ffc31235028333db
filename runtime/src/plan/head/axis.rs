//! Axis of positions of a value, and the rules by which primitives pass it on.

use dlbc_ops::prim::{self, Prim};
use dlbc_ops::tensor::{Dim, Shape};

/// Axis of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Index of the axis.
    pub at: usize,
    /// True if the axis holds `batch · position` elements; otherwise the axis of the batch precedes it. Always false for a
    /// batch of 1.
    pub merged: bool,
}

/// Numbers of rows and of positions.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub batch: usize,
    pub positions: usize,
}

/// Operand of a node: its unrestricted dimensions, and its axis of positions if it has a restricted copy.
pub(super) struct Operand {
    pub dims: Vec<usize>,
    pub axis: Option<Axis>,
}

impl Extent {
    /// Returns whether dimensions have an axis of positions.
    pub fn has(self, dims: &[usize], axis: Axis) -> bool {
        let Extent { batch, positions } = self;
        match axis {
            Axis { at, merged: true } => dims.get(at) == Some(&(batch * positions)),
            Axis { at, merged: false } => {
                let follows_batch = || at > 0 && dims.get(at - 1) == Some(&batch);
                dims.get(at) == Some(&positions) && (batch == 1 || follows_batch())
            }
        }
    }

    /// Returns the axis of positions of a value that begins with `[batch, position]` or `[batch · position]`.
    pub fn leading(self, dims: &[usize]) -> Option<Axis> {
        let split = Axis { at: 1, merged: false };
        if dims.len() > 2 && dims[0] == self.batch && self.has(dims, split) {
            return Some(split);
        }
        let flat = Axis { at: 0, merged: self.batch != 1 };
        (dims.len() == 2 && self.has(dims, flat)).then_some(flat)
    }

    /// Returns dimensions with one position of each row.
    pub fn restricted_dims(self, dims: &[usize], axis: Axis) -> Vec<usize> {
        let mut dims = dims.to_vec();
        dims[axis.at] = if axis.merged { self.batch } else { 1 };
        dims
    }

    /// Returns restricted dimensions with all positions.
    pub fn unrestricted_dims(self, dims: &[usize], axis: Axis) -> Vec<usize> {
        let mut dims = dims.to_vec();
        dims[axis.at] = if axis.merged { self.batch * self.positions } else { self.positions };
        dims
    }

    /// Returns the axis that holds `batch · position` elements in [`Extent::flat_dims`].
    pub fn flat_axis(self, axis: Axis) -> usize {
        if axis.merged || self.batch == 1 { axis.at } else { axis.at - 1 }
    }

    /// Returns dimensions with the axes of batch and positions merged.
    pub fn flat_dims(self, dims: &[usize], axis: Axis) -> Vec<usize> {
        let mut flat = dims.to_vec();
        if self.flat_axis(axis) < axis.at {
            flat[axis.at - 1] *= flat.remove(axis.at);
        }
        flat
    }

    /// Returns restricted dimensions in which the axis of the batch, if longer than 1, precedes one of one position.
    pub fn split_dims(self, dims: &[usize], axis: Axis) -> Vec<usize> {
        let mut split = self.restricted_dims(dims, axis);
        if axis.merged {
            split.insert(axis.at + 1, 1);
        }
        split
    }
}

/// Returns the primitive that computes a node's result for the explained positions, and the axis of positions of the result;
/// `None` if the result at a position depends on other positions, or on operands at positions without a restricted copy.
/// `dims` are the unrestricted dimensions of the result.
pub(super) fn restricted(
    prim: &Prim,
    extent: Extent,
    operands: &[Operand],
    dims: &[usize],
) -> Option<(Prim, Axis)> {
    let same = |axis: Axis| extent.has(dims, axis).then(|| (prim.clone(), axis));
    let first = operands.first()?;
    match prim {
        Prim::Unary(_) | Prim::Cast(_) => same(first.axis?),
        Prim::Binary(_) | Prim::Select => same(broadcast(operands, dims)?),
        Prim::MatMul(prim::MatMul { ta: false, .. }) => same(product(operands, dims)?),
        Prim::Softmax(prim::Softmax { axis }) if *axis != first.axis?.at => same(first.axis?),
        Prim::Slice(prim::Slice { axis, .. }) | Prim::SliceTranspose(prim::SliceTranspose { axis, .. }) => {
            let at = first.axis?.at;
            (*axis != at && axis + 1 != at).then(|| same(first.axis?)).flatten()
        }
        Prim::Reduce(prim::Reduce { axes, keep, .. }) => {
            let axis = first.axis?;
            let of_batch = extent.flat_axis(axis);
            if axes.contains(&axis.at) || axes.contains(&of_batch) {
                return None;
            }
            let removed = if *keep { 0 } else { axes.iter().filter(|a| **a < axis.at).count() };
            same(Axis { at: axis.at - removed, ..axis })
        }
        Prim::Transpose(prim::Transpose { perm }) => {
            let axis = first.axis?;
            let at = perm.iter().position(|from| *from == axis.at)?;
            let follows = at > 0 && perm[at - 1] + 1 == axis.at;
            (axis.merged || extent.batch == 1 || follows).then(|| same(Axis { at, ..axis })).flatten()
        }
        Prim::Reshape(_) => {
            let axis = reshaped(extent, first, dims)?;
            let to = shape(&extent.restricted_dims(dims, axis));
            Some((prim::Reshape { to }.into(), axis))
        }
        Prim::Expand(_) => {
            let axis = broadcast(operands, dims).filter(|axis| extent.has(dims, *axis))?;
            let to = shape(&extent.restricted_dims(dims, axis));
            Some((prim::Expand { to }.into(), axis))
        }
        _ => None,
    }
}

fn shape(dims: &[usize]) -> Shape {
    dims.iter().map(|d| Dim::known(*d as i64)).collect()
}

/// Returns the axis of positions of operands that broadcast to `dims`. Operands without a restricted copy must not vary along
/// it.
fn broadcast(operands: &[Operand], dims: &[usize]) -> Option<Axis> {
    let lifted = |o: &Operand| o.axis.map(|a| Axis { at: a.at + dims.len() - o.dims.len(), ..a });
    let axis = operands.iter().find_map(lifted)?;
    let fits = |o: &Operand| match lifted(o) {
        Some(other) => other == axis,
        None => (axis.at + o.dims.len()).checked_sub(dims.len()).is_none_or(|at| o.dims[at] == 1),
    };
    operands.iter().all(fits).then_some(axis)
}

/// Returns the axis of positions of a product whose left operand has them among its rows or its batch.
fn product(operands: &[Operand], dims: &[usize]) -> Option<Axis> {
    let [left, right] = operands else { return None };
    let (axis, rank) = (left.axis?, left.dims.len());
    if right.axis.is_some() || axis.at + 1 == rank {
        return None;
    }
    let at = axis.at + dims.len() - rank;
    let is_row = axis.at + 2 == rank;
    let varies = (at + right.dims.len()).checked_sub(dims.len()).is_some_and(|at| right.dims[at] != 1);
    (is_row || !varies).then_some(Axis { at, ..axis })
}

/// Returns the axis of positions after a change of shape that keeps, merges or splits the axes of batch and positions.
fn reshaped(extent: Extent, x: &Operand, dims: &[usize]) -> Option<Axis> {
    let axis = x.axis?;
    let elems_before = |dims: &[usize], at: usize| dims[..at].iter().product::<usize>();
    let before_batch = elems_before(&x.dims, extent.flat_axis(axis));
    let fits = |axis: &Axis| {
        let first = extent.flat_axis(*axis);
        extent.has(dims, *axis) && elems_before(dims, first) == before_batch
    };
    let split = (0..dims.len()).map(|at| Axis { at, merged: false });
    let merged = (0..dims.len()).filter(|_| extent.batch > 1).map(|at| Axis { at, merged: true });
    split.chain(merged).find(|axis| (axis.merged || extent.batch == 1 || axis.at > 0) && fits(axis))
}
