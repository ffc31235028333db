//! The vector-Jacobian product of a node, by differentiation of the primitives that it lowers to.
//!
//! What passes is a derivative; times the values (a composite's `times_input`) it is relevance. Options: the divisors are held
//! constant (a normalisation's statistics), the live factors share (a product counts once, not once for each). Source: reverse
//! differentiation; for the options [achtibat2024], whose rules are these in a graph without biases.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::Flow;
use crate::graph::Value;
use crate::op::role::Site;
use crate::prim::{Binary, Builder, Prim, adjoint};

/// The gradient of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gradient {
    /// What divides is held constant.
    pub detach: bool,
    /// Each of `n` live operands takes `1/n`.
    pub share: bool,
    /// This operand alone is differentiated by; the others are held constant.
    pub only: Option<usize>,
}

impl Gradient {
    pub(super) fn lower(self, b: &mut Builder, site: &Site, r: Value) -> Flow {
        let mut operands: Vec<Option<Value>> = vec![None; site.inputs.len()];
        let takes = |k: usize| site.live[k] && self.only.is_none_or(|only| only == k);
        let leaves: HashSet<Value> =
            (0..site.inputs.len()).filter(|k| takes(*k)).map(|k| site.inputs[k]).collect();
        let order = between(b, site.y(), &leaves);
        let depends: HashSet<Value> = order.iter().copied().chain(leaves.iter().copied()).collect();
        let mut arrived: HashMap<Value, Value> = HashMap::from([(site.y(), r)]);
        for v in order.iter().rev() {
            let Some(own) = arrived.get(v).copied() else { continue };
            let inputs = b.graph().node_inputs(v.node);
            let mut wanted: Vec<bool> = inputs.iter().map(|x| depends.contains(x)).collect();
            if self.detach && matches!(b.graph().op(v.node), Prim::Binary(Binary::Div)) {
                wanted[1] = false;
            }
            match adjoint(b, v.node, own, &wanted) {
                Ok(made) => {
                    for (x, share) in inputs.iter().zip(made) {
                        let Some(share) = share else { continue };
                        let sum = arrived.get(x).copied().map_or(share, |before| b.plus(before, share));
                        arrived.insert(*x, sum);
                    }
                }
                Err(e) => b.fail(e),
            }
        }
        let count = if self.share { leaves.len().max(1) } else { 1 };
        let mut given = HashSet::new();
        for (k, x) in site.inputs.iter().enumerate() {
            // An operand that is read twice takes its sum once.
            if !takes(k) || !given.insert(*x) {
                continue;
            }
            operands[k] = arrived.get(x).copied().map(|g| match count {
                1 => g,
                n => b.scale(g, 1.0 / n as f64),
            });
        }
        Flow { operands, absorbed: vec![] }
    }
}

/// The values between the leaves and `y` that depend on a leaf, in order; leaves excepted.
fn between(b: &Builder, y: Value, leaves: &HashSet<Value>) -> Vec<Value> {
    let graph = b.graph();
    let mut depends: HashMap<Value, bool> = HashMap::new();
    let mut order = vec![];
    let mut stack = vec![(y, false)];
    while let Some((v, done)) = stack.pop() {
        if done {
            let any =
                graph.node_inputs(v.node).iter().any(|x| leaves.contains(x) || depends.get(x) == Some(&true));
            depends.insert(v, any);
            if any {
                order.push(v);
            }
        } else if !leaves.contains(&v) && !depends.contains_key(&v) {
            depends.insert(v, false);
            stack.push((v, true));
            stack.extend(graph.node_inputs(v.node).into_iter().map(|x| (x, false)));
        }
    }
    order
}

impl fmt::Display for Gradient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.detach, self.share) {
            _ if self.only.is_some() => "gradient(values)",
            (false, false) => "gradient",
            (true, false) => "gradient(divisors constant)",
            (false, true) => "gradient(shared)",
            (true, true) => "gradient(divisors constant, shared)",
        })
    }
}
