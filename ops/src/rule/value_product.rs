//! A product's factors by how far the product is from each: `R_a = R d_a ⊘ (d_a + d_b)`, `d_a = |ab - a|`, `d_b = |ab - b|`.
//!
//! A factor near 1 changes little and gets little. Broadcasts are summed back. Conserves exactly but where both distances
//! are 0, which is absorbed. Source: the products of recurrent cells in DLBacktrace version 1.

use super::Flow;
use crate::graph::Value;
use crate::op::role::Site;
use crate::prim::Builder;

pub(super) fn lower(b: &mut Builder, site: &Site, r: Value) -> Flow {
    let distances: Vec<Value> = live(site)
        .map(|k| {
            let gap = b.minus(site.y(), site.inputs[k]);
            b.abs(gap)
        })
        .collect();
    share(b, site, r, &distances)
}

/// The relevance shared among the live factors by `magnitudes`.
pub(super) fn share(b: &mut Builder, site: &Site, r: Value, magnitudes: &[Value]) -> Flow {
    let mut operands = vec![None; site.inputs.len()];
    let Some((first, others)) = magnitudes.split_first() else {
        return Flow { operands, absorbed: vec![b.total(r)] };
    };
    let z = others.iter().fold(*first, |z, m| b.plus(z, *m));
    let s = b.guarded_div(r, z);
    for (k, m) in live(site).zip(magnitudes) {
        let part = b.mul(s, *m);
        let shape = b.ty(site.inputs[k]).shape;
        operands[k] = Some(b.sum_to(part, &shape));
    }
    let passed = b.mul(s, z);
    let dropped = b.minus(r, passed);
    Flow { operands, absorbed: vec![b.total(dropped)] }
}

fn live<'a>(site: &'a Site) -> impl Iterator<Item = usize> + 'a {
    (0..site.inputs.len()).filter(|k| site.live[*k])
}
