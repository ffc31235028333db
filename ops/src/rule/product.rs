//! Product rule with fixed shares: `R_k = shares_k · R`, summed over the axes of broadcasts. Conserves exactly.
//!
//! The shares follow from the factors of the node: a constant takes nothing, the value that a gate scales takes all,
//! and two plain factors take half each. Source: the product rules of [arras2017] (gates) and DLBacktrace version 2
//! (halves).

use std::fmt;

use serde::Deserialize;

use super::{Flow, Formula, Gates, NodeFacts, Policy, Receives, Rule, Sharing};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::Builder;

/// Product rule with fixed shares.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Product {
    /// Treatment of gates.
    pub gates: Gates,
    /// Share of each factor of the node; the shares sum to 1.
    #[serde(skip)]
    pub shares: Vec<f32>,
}

impl Default for Product {
    fn default() -> Product {
        Product { gates: Gates::Give, shares: vec![] }
    }
}

impl Policy for Product {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        matches!(role, Role::Product).then(|| Formula::each_track(|b, site, r| self.flow(b, site, r)))
    }

    fn receives(&self) -> Receives {
        Receives::Only((0..self.shares.len()).filter(|k| self.shares[*k] != 0.0).collect())
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::Fixed
    }

    fn for_node(&self, node: &dyn NodeFacts) -> Rule {
        let live = node.live();
        let values = self.gates.values(node);
        // Without a plain value (two gates, or a gate and a constant) the live factors share.
        let recipients = if values.contains(&true) { values } else { live.to_vec() };
        let count = recipients.iter().filter(|takes| **takes).count() as f32;
        let shares = recipients.iter().map(|takes| if *takes { 1.0 / count } else { 0.0 }).collect();
        Product { gates: self.gates, shares }.into()
    }
}

impl Gates {
    /// Returns, for each operand of a node, whether it is live and a plain value. With [`Gates::Share`], gates are
    /// plain values.
    pub(super) fn values(self, node: &dyn NodeFacts) -> Vec<bool> {
        let live = node.live().iter().enumerate();
        live.map(|(k, live)| *live && !(self == Gates::Give && node.is_gate(k))).collect()
    }
}

impl Product {
    fn flow(&self, b: &mut Builder, site: &Site, r: Value) -> Flow {
        let mut operands = vec![None; site.inputs.len()];
        for (k, share) in self.shares.iter().enumerate().filter(|(_, s)| **s != 0.0) {
            let part = if *share == 1.0 { r } else { b.scale(r, f64::from(*share)) };
            let shape = b.ty(site.inputs[k]).shape;
            operands[k] = Some(b.sum_to(part, &shape));
        }
        Flow { operands, absorbed: vec![] }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "product{:?}", self.shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Mul;
    use crate::rule::tests::{Layer, assert_close, at, fill, random};

    #[test]
    fn a_product_takes_fixed_shares_and_undoes_broadcasting() {
        let (x, y) = (random(&[2, 3], 1), random(&[3], 2));
        let r = random(&[2, 3], 3);
        let layer = |shares: &[f32]| {
            let rule = Product { gates: Gates::Share, shares: shares.to_vec() };
            Layer::new(Mul, &[&x, &y], &[true, true], rule).explain(&r)
        };
        let by_column = |f: f64| fill(&[3], |n| (0..2).map(|i| f * at(&r, &[i, n[0]])).sum());
        let halves = layer(&[0.5, 0.5]);
        assert_close(halves.operand(0), &fill(&[2, 3], |n| at(&r, n) / 2.0), "half");
        assert_close(halves.operand(1), &by_column(0.5), "half, summed");
        let gate = layer(&[0.0, 1.0]);
        assert!(gate.operands[0].is_none());
        assert_close(gate.operand(1), &by_column(1.0), "all");
    }
}
