//! Attention: shares by the true weights, or by magnitudes alone.
//!
//! **By weights** (A1): the flow through each weight follows its contribution `p |v|`; the values take `value` of it (½), the
//! rest goes on by `|q||k|ᵀ`, half to the query and half to the key. The softmax passes relevance unchanged; scale, mask and
//! causality act through the weights, so a masked key gets exactly nothing. With `value` 1 (A2) the values take all.
//! Conserves but for rows without any contribution, which are absorbed. Source: the bilinear rule of [achtibat2024] with
//! magnitudes.
//!
//! **By magnitudes**: each head's total `S` is spread over its operands as a whole: `½ S |v| ⊘ Σ|v|`, `¼ S |q| ⊘ Σ|q|`,
//! `¼ S |k| ⊘ Σ|k|`; the pattern of the weights does not matter. Source: the closed form of DLBacktrace version 2.

use std::fmt;

use super::Flow;
use crate::graph::Value;
use crate::op::role::{AttentionMap, Site};
use crate::prim::{AttentionPart, Builder, Reduction};

/// The rule of attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attention {
    /// By the true weights; the values take this share.
    Weights {
        /// In 0..=1; the rest is halved between queries and keys.
        value: f32,
    },
    /// By the operands' magnitudes within each head: half to the values, a quarter each to queries and keys.
    Magnitudes,
}

impl Attention {
    pub(super) fn lower(self, b: &mut Builder, map: &dyn AttentionMap, site: &Site, r: Value) -> Flow {
        let mut operands = vec![None; site.inputs.len()];
        let Attention::Weights { value } = self else {
            let mut absorbed = vec![];
            for (k, share) in [0.25, 0.25, 0.5].into_iter().enumerate() {
                let (given, dropped) = spread(b, site.inputs[k], r, share);
                operands[k] = Some(given);
                absorbed.push(dropped);
            }
            return Flow { operands, absorbed };
        };
        let parts = [AttentionPart::Query, AttentionPart::Key, AttentionPart::Value];
        for (k, of) in parts.into_iter().enumerate() {
            if value < 1.0 || of == AttentionPart::Value {
                operands[k] = Some(map.share(b, site, r, value, of));
            }
        }
        let dropped = map.share(b, site, r, value, AttentionPart::Dropped);
        Flow { operands, absorbed: vec![b.total(dropped)] }
    }
}

/// `share` of each head's total over the elements of `x`, by magnitude; and what an `x` of zeros drops.
fn spread(b: &mut Builder, x: Value, r: Value, share: f64) -> (Value, Value) {
    let rank = b.ty(r).rank();
    let plane = [rank - 2, rank - 1];
    let total = b.reduce(Reduction::Sum, r, &plane, true);
    let total = b.scale(total, share);
    let x = b.abs(x);
    let sum = b.reduce(Reduction::Sum, x, &plane, true);
    let s = b.guarded_div(total, sum);
    let passed = b.mul(s, sum);
    let dropped = b.minus(total, passed);
    (b.mul(x, s), b.total(dropped))
}

impl fmt::Display for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attention::Weights { value: 0.5 } => f.write_str("attention"),
            Attention::Weights { value } => write!(f, "attention(value={value})"),
            Attention::Magnitudes => f.write_str("attention-magnitudes"),
        }
    }
}
