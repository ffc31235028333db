//! Exchange of blocks of space and channels. Reads `DepthToSpace` and `SpaceToDepth` as reshapes and a transpose.

use super::read::{Reader, Reading};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{Dim, Shape};

/// Returns the readers of `DepthToSpace` and `SpaceToDepth`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("DepthToSpace", 1, |r| {
            let Blocks { x, dims: [n, c, h, w], size: k } = Blocks::read(r)?;
            let inner = c.floor_div(&(&k * &k));
            let (split, perm) = match r.string_or("mode", "DCR")?.as_str() {
                "DCR" => (
                    vec![n.clone(), k.clone(), k.clone(), inner.clone(), h.clone(), w.clone()],
                    [0, 3, 4, 1, 5, 2],
                ),
                "CRD" => (
                    vec![n.clone(), inner.clone(), k.clone(), k.clone(), h.clone(), w.clone()],
                    [0, 1, 4, 2, 5, 3],
                ),
                other => return Err(OpError::mismatch("mode", "DCR or CRD", other)),
            };
            rearrange(r, x, split, &perm, vec![n, inner, &h * &k, &w * &k])
        }),
        Reader::new("SpaceToDepth", 1, |r| {
            let Blocks { x, dims: [n, c, h, w], size: k } = Blocks::read(r)?;
            let (oh, ow) = (h.floor_div(&k), w.floor_div(&k));
            let split = vec![n.clone(), c.clone(), oh.clone(), k.clone(), ow.clone(), k.clone()];
            let perm = match r.string_or("mode", "DCR")?.as_str() {
                "DCR" => [0, 3, 5, 1, 2, 4],
                "CRD" => [0, 1, 3, 5, 2, 4],
                other => return Err(OpError::mismatch("mode", "DCR or CRD", other)),
            };
            rearrange(r, x, split, &perm, vec![n, &c * &(&k * &k), oh, ow])
        }),
    ]
}

/// Operand of a node of either kind, and its block size.
struct Blocks {
    x: Value,
    /// Dimensions of the operand: batch, channels, height, width.
    dims: [Dim; 4],
    /// Side length of a block, in elements.
    size: Dim,
}

impl Blocks {
    fn read(r: &Reading) -> Result<Blocks, OpError> {
        let x = r.input(0)?;
        let size = r.int_or("blocksize", 0)?;
        if !(1..1 << 20).contains(&size) {
            return Err(OpError::mismatch("blocksize", "a value in 1..2^20", size));
        }
        match r.ty(x).shape.0.as_slice() {
            [n, c, h, w] => {
                let dims = [n.clone(), c.clone(), h.clone(), w.clone()];
                Ok(Blocks { x, dims, size: Dim::known(size) })
            }
            _ => Err(OpError::mismatch("rank of the operand", 4, r.ty(x))),
        }
    }
}

/// Splits the axes of `x`, permutes them, and merges them into the shape `to`.
fn rearrange(
    r: &mut Reading,
    x: Value,
    split: Vec<Dim>,
    perm: &[usize],
    to: Vec<Dim>,
) -> Result<Vec<Value>, OpError> {
    let y = r.reshape(x, Shape(split))?;
    let y = r.add(super::Transpose { perm: perm.to_vec() }, &[y])?;
    Ok(vec![r.reshape(y, Shape(to))?])
}
