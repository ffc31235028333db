//! Product rule by distance: `R_a = R d_a ⊘ (d_a + d_b)`, `d_a = |ab - a|`, `d_b = |ab - b|`.
//!
//! On two tracks each factor takes the other's magnitude, `R_a = R |b| ⊘ (|a| + |b|)`; nothing passes where a factor is
//! 0.
//!
//! A factor near 1 changes the other little and takes little. Relevance is summed over the axes of broadcasts.
//! Conserves exactly except where both distances are 0, which is absorbed. Source: the products of recurrent cells in
//! DLBacktrace version 1.

use std::fmt;

use serde::Deserialize;

use super::{Flow, Formula, Policy, Receives, Sharing, Tracks};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::{Binary, Builder};

/// Shares of a product's factors by their distance from the product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductByValue {}

impl Policy for ProductByValue {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        matches!(role, Role::Product).then(|| Formula::coupled(flow, tracks))
    }

    fn receives(&self) -> Receives {
        Receives::All
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::ByMagnitude
    }
}

fn flow(b: &mut Builder, site: &Site, r: Value) -> Flow {
    let distances: Vec<Value> = live(site)
        .map(|k| {
            let gap = b.minus(site.y(), site.inputs[k]);
            b.abs(gap)
        })
        .collect();
    share(b, site, r, &distances)
}

fn tracks(b: &mut Builder, site: &Site, r: Tracks) -> [Flow; 2] {
    let factors: Vec<Value> = live(site).map(|k| site.inputs[k]).collect();
    let magnitudes: Vec<Value> = factors.iter().map(|v| b.abs(*v)).collect();
    // Each of two factors takes by the other: the list in reverse order.
    let others: Vec<Value> = magnitudes.iter().rev().copied().collect();
    let zero = b.scalar_like(0.0, site.y());
    let is_zero = b.binary(Binary::Equal, site.y(), zero);
    r.both().map(|r| {
        let zero = b.scalar_like(0.0, r);
        let absorbed = b.select(is_zero, r, zero);
        let r = b.select(is_zero, zero, r);
        let mut flow = share(b, site, r, &others);
        flow.absorbed.push(b.total(absorbed));
        flow
    })
}

/// Divides the relevance among the live factors by `magnitudes`.
fn share(b: &mut Builder, site: &Site, r: Value, magnitudes: &[Value]) -> Flow {
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

impl fmt::Display for ProductByValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("product-by-value")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Mul;
    use crate::rule::tests::{Layer, assert_close, close, floats};

    #[test]
    fn a_factor_near_one_gets_little() {
        let (a, b) = (floats(&[1, 3], &[1.0, 0.5, 0.0]), floats(&[1, 3], &[4.0, 0.25, 0.0]));
        let layer = Layer::new(Mul, &[&a, &b], &[true, true], ProductByValue {});
        let r = floats(&[1, 3], &[2.0, 1.0, 3.0]);
        let actual = layer.explain(&r);
        // |ab - a|: 3, 0.375, 0; |ab - b|: 0, 0.125, 0.
        assert_close(actual.operand(0), &floats(&[1, 3], &[2.0, 0.75, 0.0]), "left");
        assert_close(actual.operand(1), &floats(&[1, 3], &[0.0, 0.25, 0.0]), "right");
        close(actual.absorbed, 3.0, "both distances are 0");
    }
}
