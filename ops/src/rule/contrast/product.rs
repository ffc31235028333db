//! Two tracks through a product: each factor by the other's magnitude, `R_a = R |b| ⊘ (|a| + |b|)`, 0 where a factor is 0.

use super::Tracks;
use crate::graph::Value;
use crate::op::role::Site;
use crate::prim::{Binary, Builder};
use crate::rule::{Flow, value_product};

pub(super) fn lower(b: &mut Builder, site: &Site, r: Tracks) -> [Flow; 2] {
    let live: Vec<Value> = (0..site.inputs.len()).filter(|k| site.live[*k]).map(|k| site.inputs[k]).collect();
    let magnitudes: Vec<Value> = live.iter().map(|v| b.abs(*v)).collect();
    // With two factors, each by the other; the same list the other way round.
    let others: Vec<Value> = magnitudes.iter().rev().copied().collect();
    let zero = b.scalar_like(0.0, site.y());
    let none = b.binary(Binary::Equal, site.y(), zero);
    r.both().map(|r| {
        let zero = b.scalar_like(0.0, r);
        let kept = b.select(none, r, zero);
        let given = b.select(none, zero, r);
        let mut flow = value_product::share(b, site, given, &others);
        flow.absorbed.push(b.total(kept));
        flow
    })
}
