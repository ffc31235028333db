//! Exchange of blocks of space and channels. Reads `DepthToSpace` and `SpaceToDepth` as reshapes and a transpose.

use super::read::{Reader, Reading};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{Dim, Shape};

/// Returns the readers of `DepthToSpace` and `SpaceToDepth`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("DepthToSpace", 1, |r| {
            let (x, [n, c, h, w], k) = operand(r)?;
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
            moved(r, x, split, &perm, vec![n, inner, &h * &k, &w * &k])
        }),
        Reader::new("SpaceToDepth", 1, |r| {
            let (x, [n, c, h, w], k) = operand(r)?;
            let (oh, ow) = (h.floor_div(&k), w.floor_div(&k));
            let split = vec![n.clone(), c.clone(), oh.clone(), k.clone(), ow.clone(), k.clone()];
            moved(r, x, split, &[0, 3, 5, 1, 2, 4], vec![n, &c * &(&k * &k), oh, ow])
        }),
    ]
}

fn operand(r: &Reading) -> Result<(Value, [Dim; 4], Dim), OpError> {
    let x = r.input(0)?;
    let block = r.int_or("blocksize", 0)?;
    if !(1..1 << 20).contains(&block) {
        return Err(OpError::mismatch("blocksize", "a value in 1..2^20", block));
    }
    match r.ty(x).shape.0.as_slice() {
        [n, c, h, w] => Ok((x, [n.clone(), c.clone(), h.clone(), w.clone()], Dim::known(block))),
        _ => Err(OpError::mismatch("rank of the operand", 4, r.ty(x))),
    }
}

fn moved(
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
