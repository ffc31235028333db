//! Rotary position embedding: pairs of features are rotated by an angle of the position. Reads `RotaryEmbedding`.
//!
//! Shapes: x `[batch, heads, sequence, features]`, or `[batch, sequence, heads · features]`; cosines and sines
//! `[positions, features / 2]` with position ids `[batch, sequence]`, or `[batch, sequence, features / 2]` without.
//! Source: [su2021] RoFormer, ONNX `RotaryEmbedding` 23.

use super::attention::by_head;
use super::read::{Reader, Reading};
use super::{Add, Concat, Gather, Mul, Sub, Transpose};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{Dim, Shape};

/// Returns the reader of `RotaryEmbedding`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("RotaryEmbedding", 23, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, cosine, sine) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let shape = r.ty(x).shape;
    let heads = r.int("num_heads")?.filter(|heads| *heads > 0);
    let by_heads = by_head(r, x, heads, "num_heads")?;
    let ids = r.optional(3);
    let rotation = Rotation {
        cosine: angles(r, cosine, ids)?,
        sine: angles(r, sine, ids)?,
        interleaved: r.flag("interleaved", false)?,
        width: r.int("rotary_embedding_dim")?.filter(|width| *width > 0),
    };
    let mut y = rotation.apply(r, by_heads)?;
    if shape.rank() == 3 {
        y = r.add(Transpose { perm: vec![0, 2, 1, 3] }, &[y])?;
    }
    Ok(vec![r.reshape(y, shape)?])
}

/// Looks up the angles of each position, and adds the axis of the heads: `[batch, 1, sequence, features / 2]`.
fn angles(r: &mut Reading, table: Value, ids: Option<Value>) -> Result<Value, OpError> {
    let table = match ids {
        Some(ids) => r.add(Gather { axis: 0 }, &[table, ids])?,
        None => table,
    };
    match r.ty(table).shape.0.as_slice() {
        [batch, sequence, half] => {
            let to = vec![batch.clone(), Dim::known(1), sequence.clone(), half.clone()];
            r.reshape(table, Shape(to))
        }
        _ => Err(OpError::mismatch("rank of the cosines and sines", 3, r.ty(table))),
    }
}

/// A rotation of the first features of each head.
struct Rotation {
    /// Cosines, `[batch, 1, sequence, width / 2]`.
    cosine: Value,
    /// Sines, of the same shape.
    sine: Value,
    /// True if neighbours form a pair; false if feature `i` and `i + width / 2` do.
    interleaved: bool,
    /// Number of features that are rotated; `None` for all.
    width: Option<i64>,
}

impl Rotation {
    /// Rotates `x`, `[batch, heads, sequence, features]`.
    fn apply(&self, r: &mut Reading, x: Value) -> Result<Value, OpError> {
        let features = r.ty(x).dim(3).clone();
        let width = self.width.map_or_else(|| features.clone(), Dim::known);
        let rest = &features - &width;
        let (rotated, passed) = if rest.is(0) {
            (x, None)
        } else {
            let rotated = r.slice(x, 3, Dim::known(0), width.clone())?;
            (rotated, Some(r.slice(x, 3, width.clone(), rest)?))
        };
        let half = width.floor_div(&Dim::known(2));
        let shape = r.ty(rotated).shape;
        // Pairs stand along an axis of two: before the halves, or after the neighbours.
        let (pair_axis, split) = match self.interleaved {
            true => (4, vec![half.clone(), Dim::known(2)]),
            false => (3, vec![Dim::known(2), half.clone()]),
        };
        let pairs = r.reshape(rotated, Shape([&shape.0[..3], &split].concat()))?;
        let member = |r: &mut Reading, i: i64| -> Result<Value, OpError> {
            let member = r.slice(pairs, pair_axis, Dim::known(i), Dim::known(1))?;
            r.reshape(member, Shape([&shape.0[..3], std::slice::from_ref(&half)].concat()))
        };
        let (a, b) = (member(r, 0)?, member(r, 1)?);
        let (a_cos, b_sin) = (r.add(Mul, &[a, self.cosine])?, r.add(Mul, &[b, self.sine])?);
        let (a_sin, b_cos) = (r.add(Mul, &[a, self.sine])?, r.add(Mul, &[b, self.cosine])?);
        let (first, second) = (r.add(Sub, &[a_cos, b_sin])?, r.add(Add, &[a_sin, b_cos])?);
        let column = match self.interleaved {
            true => [&shape.0[..3], &[half.clone(), Dim::known(1)]].concat(),
            false => [&shape.0[..3], &[Dim::known(1), half.clone()]].concat(),
        };
        let (first, second) = (r.reshape(first, Shape(column.clone()))?, r.reshape(second, Shape(column))?);
        let joined = r.add(Concat { axis: pair_axis }, &[first, second])?;
        let joined = r.reshape(joined, shape)?;
        match passed {
            None => Ok(joined),
            Some(passed) => r.add(Concat { axis: 3 }, &[joined, passed]),
        }
    }
}
