//! Normalisation of a residual sum, as ONNX Runtime's optimizer writes it. Reads `SimplifiedLayerNormalization` (which files have
//! in the standard's domain), and `SkipLayerNormalization` and `SkipSimplifiedLayerNormalization` of com.microsoft.
//!
//! Shapes: x and skip `[…, features]`; scale, bias of the norm and bias of the sum `[features]`. Results: the normalised sum, two
//! statistics of training, and the sum.

use super::layer_norm::statistics;
use super::read::{MICROSOFT, Reader, Reading, resolve};
use super::{Add, LayerNorm, Op};
use crate::OpError;
use crate::graph::Value;

/// Returns the readers of the norms.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("SimplifiedLayerNormalization", 1, |r| {
            r.ignore(&["stash_type"]);
            let (x, scale) = (r.input(0)?, r.input(1)?);
            let rank = r.ty(x).rank();
            let axes: Vec<usize> = (resolve(r.int_or("axis", -1)?, rank)?..rank).collect();
            let epsilon = r.float_or("epsilon", 1e-5)?;
            let y = r.add(LayerNorm { axes: axes.clone(), epsilon, centre: false }, &[x, scale])?;
            if r.outputs < 2 {
                return Ok(vec![y]);
            }
            let [_, inverse] = statistics(r, x, &axes, epsilon, false)?;
            Ok(vec![y, inverse])
        }),
        Reader::of(MICROSOFT, "SkipLayerNormalization", |r| read(r, true)),
        Reader::of(MICROSOFT, "SkipSimplifiedLayerNormalization", |r| read(r, false)),
    ]
}

/// Reads the norm of `x + skip`, or of `x + bias + skip`.
fn read(r: &mut Reading, centre: bool) -> Result<Vec<Value>, OpError> {
    let (x, skip, scale) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let shift = if centre { r.optional(3) } else { None };
    let bias = r.optional(if centre { 4 } else { 3 });
    let mut addends = [x, skip];
    if let Some(bias) = bias {
        // It is the bias of the layer whose result is one of the addends.
        let is_layer = |v: Value| matches!(r.graph.op(v.node), Op::Linear(_) | Op::MatMul(_));
        let biased = usize::from(!is_layer(x) && is_layer(skip));
        addends[biased] = r.add(Add, &[addends[biased], bias])?;
    }
    let sum = r.add(Add, &addends)?;
    let rank = r.ty(sum).rank();
    if rank == 0 {
        return Err(OpError::mismatch("rank of the operand", "at least 1", rank));
    }
    let operands: Vec<Value> = [sum, scale].into_iter().chain(shift).collect();
    let epsilon = r.float_or("epsilon", if centre { 1e-12 } else { 1e-5 })?;
    let y = r.add(LayerNorm { axes: vec![rank - 1], epsilon, centre }, &operands)?;
    if r.outputs < 2 {
        return Ok(vec![y]);
    }
    let [mean, inverse] = statistics(r, sum, &[rank - 1], epsilon, centre)?;
    Ok(vec![y, mean, inverse, sum])
}
