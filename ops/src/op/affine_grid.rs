//! Sampling grid of an affine map. Reads `AffineGrid` as a product of the grid's points with the map's matrices.
//!
//! Shapes: theta `[n, d, d + 1]`, y `[n, s₁, …, d]` with the position along each axis, last axis first.

use super::read::{Reader, Reading};
use super::{MatMul, Transpose};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{Dim, Shape, Tensor};

/// Returns the reader of `AffineGrid`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("AffineGrid", 20, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (theta, size) = (r.input(0)?, r.input(1)?);
    let size = r.ints_of(size, "size")?;
    let corners = r.flag("align_corners", false)?;
    let ty = r.ty(theta);
    let spatial: Option<Vec<usize>> = size.iter().skip(2).map(|d| usize::try_from(*d).ok()).collect();
    let spatial = spatial.filter(|s| !s.is_empty()).ok_or_else(|| {
        OpError::mismatch("size", "a batch, channels and at least one spatial axis", format!("{size:?}"))
    })?;
    let rank = spatial.len();
    if ty.rank() != 3 || !ty.dim(1).is(rank as i64) || !ty.dim(2).is(rank as i64 + 1) {
        return Err(OpError::mismatch("theta", format!("shape [n,{rank},{}]", rank + 1), ty));
    }
    let points = spatial.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let points = points.filter(|n| (*n as u64).saturating_mul(4 * (rank as u64 + 1)) <= r.max_tensor_bytes);
    let points = points.ok_or_else(|| OpError::Limit(format!("a grid of {spatial:?} points")))?;
    let mut grid = Vec::with_capacity(points * (rank + 1));
    for point in 0..points {
        let mut rest = point;
        // The last axis runs fastest and comes first.
        for d in spatial.iter().rev() {
            grid.push(position(rest % d, *d, corners));
            rest /= d;
        }
        grid.push(1.0);
    }
    let grid = r.add_constant(Tensor::from_f32(&[1, points, rank + 1], &grid));
    let matrices = r.add(Transpose { perm: vec![0, 2, 1] }, &[theta])?;
    let y = r.add(MatMul, &[grid, matrices])?;
    let to = spatial.iter().map(|d| Dim::known(*d as i64));
    let to = [ty.dim(0).clone()].into_iter().chain(to).chain([Dim::known(rank as i64)]);
    Ok(vec![r.reshape(y, Shape(to.collect()))?])
}

/// Returns the position of element `i` of `len`, from -1 to 1: of the centres if `corners`, else of the outer edges.
fn position(i: usize, len: usize, corners: bool) -> f32 {
    let (i, len) = (i as f32, len as f32);
    match corners {
        true if len <= 1.0 => 0.0,
        true => 2.0 * i / (len - 1.0) - 1.0,
        false => (2.0 * i + 1.0) / len - 1.0,
    }
}
