//! Attention rule: the relevance that flows through each weight follows its contribution `p |v|`.
//!
//! The values take the share `value` (½ by default); the rest passes on by `|q||k|ᵀ`, half to the query and half to the
//! key. The softmax passes relevance unchanged; scale, mask and causality act through the weights, so a masked key gets
//! exactly 0. With `value` 1 the values take all. Conserves except in rows without any contribution, which are
//! absorbed. Source: the bilinear rule of [achtibat2024], with magnitudes.
//!
//! On two tracks, the attention is a product of weights and values, and the scores are a product of queries and keys:
//! the values take `value` of each track, the rest passes the softmax unchanged and is divided equally between queries
//! and keys. This form stores the weights of all pairs.

use std::fmt;

use serde::Deserialize;

use super::bilinear::shares;
use super::{Argument, Flow, Formula, Policy, Receives, Sharing, Tracks};
use crate::graph::Value;
use crate::op::role::{AttentionMap, BilinearMap, Role, Site};
use crate::prim::{AttentionPart, Builder, Factor};

/// Shares of an attention's operands by its weights.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attention {
    /// Share of the values, in 0..=1; the rest is divided equally between queries and keys.
    pub value: f32,
}

impl Default for Attention {
    fn default() -> Attention {
        Attention { value: 0.5 }
    }
}

impl Policy for Attention {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let map = role.attention()?;
        Some(Formula::coupled(
            move |b, site, r| self.flow(b, map, site, r),
            move |b, site, r| self.tracks(b, map, site, r),
        ))
    }

    /// The mask receives no relevance; queries and keys receive none if the values take all.
    fn receives(&self) -> Receives {
        Receives::Only(if self.value >= 1.0 { vec![2] } else { vec![0, 1, 2] })
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::ByMagnitude
    }

    fn check(&self) -> Result<(), String> {
        match self.value {
            value if (0.0..=1.0).contains(&value) => Ok(()),
            value => Err(format!("invalid value: expected 0 to 1, found {value}")),
        }
    }
}

impl Attention {
    fn flow(self, b: &mut Builder, map: &dyn AttentionMap, site: &Site, r: Value) -> Flow {
        let mut operands = vec![None; site.inputs.len()];
        let parts = [AttentionPart::Query, AttentionPart::Key, AttentionPart::Value];
        for (k, part) in parts.into_iter().enumerate() {
            if self.value < 1.0 || part == AttentionPart::Value {
                operands[k] = Some(map.share(b, site, r, self.value, part));
            }
        }
        let dropped = map.share(b, site, r, self.value, AttentionPart::Dropped);
        Flow { operands, absorbed: vec![b.total(dropped)] }
    }

    fn tracks(self, b: &mut Builder, map: &dyn AttentionMap, site: &Site, r: Tracks) -> [Flow; 2] {
        let value = self.value;
        let weights = map.weights(b, site);
        let factors = [weights, site.inputs[2]];
        let mix = Site { inputs: &factors, outputs: site.outputs, live: &[true, true] };
        let shares_of_mix = shares(b, &BatchedMatMul, &mix, r);
        let rest = f64::from(1.0 - value);
        let mut flows = shares_of_mix.map(|(_, values, dropped)| {
            let mut operands = vec![None; site.inputs.len()];
            operands[2] = Some(b.scale(values, f64::from(value)));
            Flow { operands, absorbed: vec![b.total(dropped)] }
        });
        if value >= 1.0 {
            return flows;
        }
        let rank = b.ty(site.inputs[1]).rank();
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(rank - 2, rank - 1);
        let keys = b.transpose(site.inputs[1], &perm);
        let factors = [site.inputs[0], keys];
        let scores = [BatchedMatMul.product(b, factors[0], factors[1])];
        let score = Site { inputs: &factors, outputs: &scores, live: &[true, true] };
        let [supporting, opposing] = shares_of_mix.map(|(weights, _, _)| b.scale(weights, rest));
        let r = Tracks { supporting, opposing, argument: Argument::Value };
        for (flow, (queries, keys, dropped)) in flows.iter_mut().zip(shares(b, &BatchedMatMul, &score, r)) {
            flow.operands[0] = Some(b.scale(queries, 0.5));
            let keys = b.transpose(keys, &perm);
            flow.operands[1] = Some(b.scale(keys, 0.5));
            flow.absorbed.push(b.total(dropped));
        }
        flows
    }
}

/// Matrix product `x · y` over the last two axes; the other axes are equal.
struct BatchedMatMul;

impl BilinearMap for BatchedMatMul {
    fn product(&self, b: &mut Builder, x: Value, y: Value) -> Value {
        b.matmul(x, y)
    }

    fn left(&self, b: &mut Builder, _: &Site, s: Value, y: Value) -> Value {
        b.matmul(s, Factor::transposed(y))
    }

    fn right(&self, b: &mut Builder, _: &Site, s: Value, x: Value) -> Value {
        b.matmul(Factor::transposed(x), s)
    }
}

impl fmt::Display for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            0.5 => f.write_str("attention"),
            value => write!(f, "attention(value={value})"),
        }
    }
}
