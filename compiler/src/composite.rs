//! Composites: which rule for which node.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::role::{Role, RoleKind};
use dlbc_ops::op::{Function, Op};
use dlbc_ops::prim::Unary;
use dlbc_ops::rule::{Attention, Bias, Constants, Contribution, Product, Proportional, Rule, Sum};

use crate::error::CompileError;

/// How products of two live factors share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductPolicy {
    /// A gate (the result of a sigmoid or a softmax) gives all to the value that it gates; else half each.
    GatesGive,
    /// Half each.
    Halves,
}

/// The choice of rules for a model. Total over roles: a role without a rule cannot be written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Composite {
    /// The name.
    pub name: &'static str,
    /// Layers with weights.
    pub linear: Proportional,
    /// Means and sums over positions.
    pub pool: Proportional,
    /// Sums of operands.
    pub sum: Sum,
    /// Attention; without a rule for it the pieces have theirs.
    pub attention: Option<Attention>,
    /// Products of two live factors.
    pub product: ProductPolicy,
    /// Fold batch normalisation into the layer before it.
    pub fold_batch_norm: bool,
}

const MAGNITUDE: Proportional = Proportional { bias: Bias::Ledger, by: Contribution::Magnitude };

/// The composites.
pub const COMPOSITES: &[Composite] = &[
    // Contribution-proportional relevance, the default.
    Composite {
        name: "dlb",
        linear: MAGNITUDE,
        pool: MAGNITUDE,
        sum: Sum { by: Contribution::Magnitude, constants: Constants::Data },
        attention: Some(Attention::Weights { value: 0.5 }),
        product: ProductPolicy::GatesGive,
        fold_batch_norm: true,
    },
    // The closed forms of DLBacktrace version 2.
    Composite {
        name: "dlb-v2",
        linear: MAGNITUDE,
        pool: Proportional { bias: Bias::Ledger, by: Contribution::Uniform },
        sum: Sum { by: Contribution::Uniform, constants: Constants::Ledger },
        attention: Some(Attention::Magnitudes),
        product: ProductPolicy::Halves,
        fold_batch_norm: false,
    },
];

impl Composite {
    /// The composite of a name.
    ///
    /// # Errors
    /// When there is none, with the names that there are.
    pub fn named(name: &str) -> Result<&'static Composite, CompileError> {
        COMPOSITES.iter().find(|c| c.name == name).ok_or_else(|| CompileError::UnknownRules {
            name: name.into(),
            known: COMPOSITES.iter().map(|c| c.name).collect(),
        })
    }

    /// The rule of a node; `None` where relevance ends.
    pub fn rule(&self, graph: &Graph<Op>, node: NodeId, role: &Role, live: &[bool]) -> Option<Rule> {
        Some(match role.kind() {
            RoleKind::Linear => Rule::Proportional(self.linear),
            RoleKind::Pool => Rule::Proportional(self.pool),
            RoleKind::Bilinear => Rule::Bilinear,
            RoleKind::Attention => Rule::Attention(self.attention?),
            RoleKind::Sum => Rule::Sum(self.sum),
            RoleKind::Product => Rule::Product(Product { shares: self.shares(graph, node, live) }),
            RoleKind::Scaled | RoleKind::Elementwise | RoleKind::Normalize => Rule::Pass,
            RoleKind::Select | RoleKind::Rearrange => Rule::Route,
            RoleKind::Embedding => Rule::Token,
            RoleKind::Recurrence => Rule::Stepwise,
            RoleKind::NoRelevance => return None,
        })
    }

    fn shares(&self, graph: &Graph<Op>, node: NodeId, live: &[bool]) -> Vec<f32> {
        let inputs = graph.node_inputs(node);
        let gates: Vec<bool> = inputs.iter().map(|v| is_gate(graph, *v)).collect();
        let values: Vec<bool> = (0..live.len())
            .map(|k| live[k] && !(self.product == ProductPolicy::GatesGive && gates[k]))
            .collect();
        // Without a plain value (a gate times a gate, a gate times a constant), the live factors share.
        let takers = if values.contains(&true) { values } else { live.to_vec() };
        let count = takers.iter().filter(|t| **t).count() as f32;
        takers.iter().map(|t| if *t { 1.0 / count } else { 0.0 }).collect()
    }
}

/// Whether a value is a sigmoid-like activation, possibly moved or broadcast.
fn is_gate(graph: &Graph<Op>, v: Value) -> bool {
    const DEPTH: usize = 8;
    let mut v = v;
    for _ in 0..DEPTH {
        match graph.op(v.node) {
            Op::Activation(a) => {
                return match a.f {
                    Function::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }) => true,
                    Function::Unary(Unary::Clip { min, max }) => min == Some(0.0) && max == Some(1.0),
                    _ => false,
                };
            }
            Op::Softmax(s) => return !s.log,
            // What a gate leaves is a gate.
            Op::Sub(_) => {
                let inputs = graph.node_inputs(v.node);
                let (Some(a), Some(b)) = (inputs.first(), inputs.get(1)) else { return false };
                let one = graph.constant(*a).is_some_and(|t| t.to_f64().iter().all(|x| *x == 1.0));
                if !one {
                    return false;
                }
                v = *b;
            }
            Op::Reshape(_) | Op::Transpose(_) | Op::Expand(_) | Op::Slice(_) => {
                let Some(x) = graph.node_inputs(v.node).first().copied() else { return false };
                v = x;
            }
            // A hard sigmoid as some exporters write it: a clip, divided by its bound.
            Op::Div(_) | Op::Mul(_) => {
                let inputs = graph.node_inputs(v.node);
                let (Some(a), Some(b)) = (inputs.first(), inputs.get(1)) else { return false };
                let (x, c) = if graph.constant(*b).is_some() { (*a, *b) } else { (*b, *a) };
                let Some(c) = graph.constant(c).filter(|t| t.elems() == 1).map(|t| t.to_f64()[0]) else {
                    return false;
                };
                let bound = if matches!(graph.op(v.node), Op::Div(_)) { c } else { 1.0 / c };
                return match graph.op(x.node) {
                    Op::Activation(a) => match a.f {
                        Function::Unary(Unary::Clip { min: Some(0.0), max: Some(max) }) => {
                            (f64::from(max) - bound).abs() < 1e-3 * bound.abs()
                        }
                        _ => false,
                    },
                    _ => false,
                };
            }
            _ => return false,
        }
    }
    false
}
