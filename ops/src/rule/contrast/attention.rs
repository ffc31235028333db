//! Two tracks through an attention: its result as the product of weights and values, its scores as that of queries and keys.
//!
//! The values take `value` of each track; the rest passes the softmax unchanged and is halved between queries and keys. The
//! weights of all pairs are kept.

use super::bilinear::shares;
use super::{Argument, Tracks};
use crate::graph::Value;
use crate::op::role::{AttentionMap, BilinearMap, Site};
use crate::prim::{Builder, Part};
use crate::rule::Flow;

/// `x · y` over the last two axes; the others are equal.
struct Heads;

impl BilinearMap for Heads {
    fn product(&self, b: &mut Builder, x: Value, y: Value) -> Value {
        b.matmul((x, Part::Id, false), (y, Part::Id, false))
    }

    fn left(&self, b: &mut Builder, _: &Site, s: Value, y: Value) -> Value {
        b.matmul((s, Part::Id, false), (y, Part::Id, true))
    }

    fn right(&self, b: &mut Builder, _: &Site, s: Value, x: Value) -> Value {
        b.matmul((x, Part::Id, true), (s, Part::Id, false))
    }
}

pub(super) fn lower(
    b: &mut Builder,
    map: &dyn AttentionMap,
    site: &Site,
    value: f32,
    r: Tracks,
) -> [Flow; 2] {
    let weights = map.weights(b, site);
    let mixed = [weights, site.inputs[2]];
    let mix = Site { inputs: &mixed, outputs: site.outputs, live: &[true, true] };
    let through = shares(b, &Heads, &mix, r);
    let rest = f64::from(1.0 - value);
    let mut flows = through.map(|(_, values, dropped)| {
        let mut operands = vec![None; site.inputs.len()];
        operands[2] = Some(b.scale(values, f64::from(value)));
        Flow { operands, absorbed: vec![b.total(dropped)] }
    });
    if value >= 1.0 {
        return flows;
    }
    let rank = b.ty(site.inputs[1]).rank();
    let mut swap: Vec<usize> = (0..rank).collect();
    swap.swap(rank - 2, rank - 1);
    let keys = b.transpose(site.inputs[1], &swap);
    let scored = [site.inputs[0], keys];
    let scores = [Heads.product(b, scored[0], scored[1])];
    let score = Site { inputs: &scored, outputs: &scores, live: &[true, true] };
    let [supporting, opposing] = through.map(|(weights, _, _)| b.scale(weights, rest));
    let onto = Tracks { supporting, opposing, argument: Argument::Value };
    for (flow, (queries, keys, dropped)) in flows.iter_mut().zip(shares(b, &Heads, &score, onto)) {
        flow.operands[0] = Some(b.scale(queries, 0.5));
        let keys = b.transpose(keys, &swap);
        flow.operands[1] = Some(b.scale(keys, 0.5));
        flow.absorbed.push(b.total(dropped));
    }
    flows
}
