//! The vector-Jacobian product of a node, by differentiation of the primitives that it lowers to.
//!
//! What passes is a derivative; times the values (a composite's `times_input`) it is relevance. Options: the divisors are held
//! constant (a normalisation's statistics), the live factors share (a product counts once, not once for each), gates are held
//! constant (of products that sum, such as a softmax's result times the values that it weighs). Source: reverse
//! differentiation; for the options [achtibat2024], whose rules are these in a graph without biases.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;

use super::words::words;
use super::{Flow, Formula, Gates, NodeFacts, Policy, Receives, Rule, Sharing};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::{Binary, Builder, Prim, adjoint};

words! {
    /// What a divisor is to its derivative.
    Divisors of "divisors" {
        /// An operand.
        Differentiated = "differentiated",
        /// A constant.
        Constant = "constant",
    }
}

words! {
    /// What each of several live operands takes.
    Factors of "factors" {
        /// Its derivative.
        All = "all",
        /// Of `n`, `1/n` of its derivative.
        Share = "share",
    }
}

/// The gradient of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gradient {
    /// What a divisor is.
    pub divisors: Divisors,
    /// What each of several live operands takes.
    pub factors: Factors,
    /// What gates do; with [`Gates::Give`], a single operand that is none takes all.
    pub gates: Gates,
    /// This operand alone is differentiated by; the others are held constant.
    #[serde(skip)]
    pub only: Option<usize>,
}

impl Default for Gradient {
    fn default() -> Gradient {
        Gradient {
            divisors: Divisors::Differentiated,
            factors: Factors::All,
            gates: Gates::Share,
            only: None,
        }
    }
}

impl Policy for Gradient {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let differentiates = match role {
            Role::Embedding | Role::Recurrence | Role::Attention(_) => false,
            Role::Linear(_)
            | Role::Pool(_)
            | Role::Bilinear(_)
            | Role::Sum { .. }
            | Role::Product
            | Role::Scaled
            | Role::Elementwise
            | Role::Normalize
            | Role::Select(_)
            | Role::Rearrange(_)
            | Role::NoRelevance => true,
        };
        differentiates.then(|| Formula::one_track(|b, site, r| self.flow(b, site, r)))
    }

    fn receives(&self) -> Receives {
        Receives::All
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::Derivative
    }

    fn at(&self, node: &dyn NodeFacts) -> Rule {
        let values = match self.gates {
            Gates::Give => self.gates.values(node),
            Gates::Share => vec![],
        };
        let mut positions = (0..values.len()).filter(|k| values[*k]);
        let only = positions.next().filter(|_| positions.next().is_none());
        Gradient { only, ..*self }.into()
    }

    fn counts_constants(&self) -> bool {
        true
    }
}

impl Gradient {
    fn flow(&self, b: &mut Builder, site: &Site, r: Value) -> Flow {
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
            if self.divisors == Divisors::Constant
                && matches!(b.graph().op(v.node), Prim::Binary(Binary::Div))
            {
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
        let count = if self.factors == Factors::Share { leaves.len().max(1) } else { 1 };
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
        f.write_str(match (self.divisors, self.factors) {
            _ if self.only.is_some() => "gradient(values)",
            (Divisors::Differentiated, Factors::All) => "gradient",
            (Divisors::Constant, Factors::All) => "gradient(divisors constant)",
            (Divisors::Differentiated, Factors::Share) => "gradient(shared)",
            (Divisors::Constant, Factors::Share) => "gradient(divisors constant, shared)",
        })
    }
}
