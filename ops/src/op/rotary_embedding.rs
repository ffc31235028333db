//! Rotary position embedding: pairs of features are rotated by an angle of the position. Reads `RotaryEmbedding` of the standard
//! and of com.microsoft, which differ in the order of their operands.
//!
//! Shapes: x `[batch, heads, sequence, features]`, or `[batch, sequence, heads · features]`; cosines and sines
//! `[positions, features / 2]` with position ids `[batch, sequence]`, or `[batch, sequence, features / 2]` without. Position ids
//! of com.microsoft may be one number, the position of the first element.
//! Source: [su2021] RoFormer, ONNX `RotaryEmbedding` 23.

use super::heads::by_head;
use super::read::{MICROSOFT, Reader, Reading};
use super::{Add, Concat, Gather, Mul, Range, Sub, Transpose};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Dim, Shape};

/// Returns the readers of `RotaryEmbedding`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("RotaryEmbedding", 23, |r| {
            let (x, tables, ids) = (r.input(0)?, [r.input(1)?, r.input(2)?], r.optional(3));
            let heads = r.int("num_heads")?.filter(|heads| *heads > 0);
            read(r, x, tables, ids, heads)
        }),
        Reader::of(MICROSOFT, "RotaryEmbedding", read_microsoft),
    ]
}

/// Reads the operator of com.microsoft. Operands: x, position ids, cosines, sines. Heads without a number are as wide as the tables.
fn read_microsoft(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, ids, tables) = (r.input(0)?, r.input(1)?, [r.input(2)?, r.input(3)?]);
    if r.flag("is_packed_batching", false)? {
        return Err(OpError::unsupported("is_packed_batching", 0, 1));
    }
    // ONNX Runtime multiplies nothing by it.
    r.ignore(&["scale"]);
    let shape = r.ty(x).shape;
    let ids = match (r.ty(ids).shape.0.as_slice(), shape.rank()) {
        ([count], rank @ (3 | 4)) if count.is(1) => {
            let range = Range { start: Dim::known(0), step: 1, len: shape.0[rank - 2].clone() };
            let steps = r.add(range, &[])?;
            let first = r.cast(ids, DType::I64)?;
            let positions = r.add(Add, &[steps, first])?;
            r.reshape(positions, Shape(vec![Dim::known(1), shape.0[rank - 2].clone()]))?
        }
        _ => ids,
    };
    let heads = match (r.int("num_heads")?.filter(|heads| *heads > 0), r.ty(tables[0]).shape.0.last()) {
        (None, Some(half)) if shape.rank() == 3 => {
            shape.0[2].floor_div(&(half * &Dim::known(2))).as_known().filter(|heads| *heads > 0)
        }
        (heads, _) => heads,
    };
    read(r, x, tables, Some(ids), heads)
}

/// Reads the rotation of `x` by tables of cosines and sines.
fn read(
    r: &mut Reading,
    x: Value,
    [cosine, sine]: [Value; 2],
    ids: Option<Value>,
    heads: Option<i64>,
) -> Result<Vec<Value>, OpError> {
    let shape = r.ty(x).shape;
    let by_heads = by_head(r, x, heads, "num_heads")?;
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
pub fn angles(r: &mut Reading, table: Value, ids: Option<Value>) -> Result<Value, OpError> {
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
pub struct Rotation {
    /// Cosines, `[batch, 1, sequence, width / 2]`.
    pub cosine: Value,
    /// Sines, of the same shape.
    pub sine: Value,
    /// True if neighbours form a pair; false if feature `i` and `i + width / 2` do.
    pub interleaved: bool,
    /// Number of features that are rotated; `None` for all.
    pub width: Option<i64>,
}

impl Rotation {
    /// Rotates `x`, `[batch, heads, sequence, features]`.
    pub fn apply(&self, r: &mut Reading, x: Value) -> Result<Value, OpError> {
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
