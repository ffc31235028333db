//! Lowering of the rules of a relevance graph, from the seed to the sinks.

use std::collections::{HashMap, HashSet};

use dlbc_ops::OpError;
use dlbc_ops::graph::{Fault, Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::op::role::Site;
use dlbc_ops::prim::{Binary, Builder, Prim};
use dlbc_ops::rule::{Argument, Flow, Formula, Pass, Policy, Rule, Sharing, Tracks};
use dlbc_ops::tensor::DType;
use dlbc_proto::Name;

use super::scan_relevance;
use super::track_flow::{TrackFlow, node_error};
use crate::composite::Quantity;
use crate::error::CompileError;
use crate::relevance::RelevanceGraph;

/// A rule node after its lowering.
pub(super) struct LoweredRule {
    /// The node of the relevance graph.
    pub rule: NodeId,
    /// The forward node whose rule it is.
    pub forward: NodeId,
    /// Quantity that the node received and passed on.
    pub carries: Carries,
    /// Relevance received, passed and absorbed, for each track.
    pub tracks: Vec<TrackFlow>,
}

/// Relevance of an input.
pub(super) struct Sink {
    /// Name of the input.
    pub name: String,
    /// Quantity in `tracks`.
    pub carries: Carries,
    /// Relevance on each track, of the input's shape.
    pub tracks: Vec<Value>,
}

/// Quantity on a wire of a composite that propagates derivatives and reports values times derivatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// A derivative. In composites that propagate one quantity alone, that quantity.
    Derivative,
    /// The derivative times the value.
    Relevance,
}

impl Carries {
    /// Returns the quantity that a rule takes and returns; `None` for a rule that passes on either.
    fn of_rule(sharing: Sharing) -> Option<Carries> {
        match sharing {
            Sharing::ByValue | Sharing::ByMagnitude | Sharing::Fixed | Sharing::Single => {
                Some(Carries::Relevance)
            }
            Sharing::Slope | Sharing::Derivative | Sharing::Stepwise => Some(Carries::Derivative),
            Sharing::Moves | Sharing::Ends => None,
        }
    }
}

/// Relevance of the explained value.
pub(super) struct Seed<'a> {
    /// Seed of each track, of the shape of the explained value.
    pub tracks: &'a [Value],
    /// Quantity in `tracks`.
    pub carries: Carries,
    /// Forward nodes that the seed reaches unchanged, as an argument for a larger value.
    pub argues_for_larger: &'a HashSet<NodeId>,
}

/// Lowers the rules of a relevance graph, calls `visit` after each, and returns the relevance of each sink.
///
/// In a composite that propagates derivatives and reports values times derivatives, a rule of relevance gets the value times
/// the derivative, and a rule of derivatives that gets relevance the quotient by the value, 0 where the value is 0. A slope and
/// a `Cast` pass relevance unchanged instead: the value of a saturated final Sigmoid is 0 in float32.
///
/// # Errors
/// When a formula does not fit the shapes of its node.
pub(super) fn lower_rules(
    graph: &Graph<Op>,
    relevance: &RelevanceGraph,
    b: &mut Builder,
    values: &HashMap<Value, Value>,
    seed: &Seed,
    visit: &mut dyn FnMut(&mut Builder, LoweredRule),
) -> Result<Vec<Sink>, CompileError> {
    let mut wires = Wires::new(relevance, seed);
    let pass = Rule::from(Pass {});
    for id in relevance.graph.topological() {
        let Some(forward) = relevance.forward.get(&id).copied() else { continue };
        let node = relevance.graph.node(id);
        let Some(rule) = &node.op.rule else { continue };
        b.set_origin(&node.origin, &format!("R.{}", graph.node(forward).name()));
        let incoming: Vec<Value> = relevance.graph.wires_in(id).into_iter().map(|(_, v)| v).collect();
        let y = values[&Value { node: forward, slot: 0 }];
        let live = &relevance.live[&forward];
        let all_relevance = incoming.iter().all(|wire| wires.carries_relevance(wire));
        let is_line = match rule.sharing(live) {
            Sharing::Slope => true,
            Sharing::Derivative => matches!(graph.op(forward), Op::Cast(_)),
            _ => false,
        };
        let rule = if all_relevance && is_line { &pass } else { rule };
        let required = Carries::of_rule(rule.sharing(live));
        let Received { carries, tracks: r } = wires.receive(b, &incoming, Some(y), required);
        if carries == Carries::Relevance {
            wires.relevance_nodes.insert(id);
        }
        let operands = graph.node_inputs(forward);
        let inputs: Vec<Value> = operands.iter().map(|v| values[v]).collect();
        let outputs = [y];
        let site = Site { inputs: &inputs, outputs: &outputs, live };
        let flows = match (graph.op(forward), relevance.steps.get(&forward), r.as_slice()) {
            (Op::Scan(scan), Some(step), r) => scan_relevance::lower(b, scan, step, &site, r)?,
            (op, _, r) => {
                let for_larger = seed.argues_for_larger.contains(&forward);
                let argument = if for_larger { Argument::Larger } else { Argument::Value };
                let formula = rule.formula(&op.role(live));
                let flows = formula.and_then(|formula| flows(b, &formula, &site, r, argument));
                flows.ok_or_else(|| missing_formula(graph, forward, rule))?
            }
        };
        b.ok().map_err(|source| node_error(graph, forward, source))?;
        let tracks =
            r.iter().zip(&flows).map(|(r, flow)| TrackFlow::new(b, *r, flow, &node.op.targets)).collect();
        // An operand that is read twice gets its share once, and a step function has no derivative.
        for (slot, k) in node.op.targets.iter().enumerate() {
            let shares = flows.iter().map(|flow| {
                flow.operands.get(*k).copied().flatten().unwrap_or_else(|| {
                    let zero = b.scalar_like(0.0, r[0]);
                    let shape = b.ty(inputs[*k]).shape;
                    b.expand(zero, &shape)
                })
            });
            let shares = shares.collect();
            wires.tracks.insert(Value { node: id, slot }, shares);
        }
        visit(b, LoweredRule { rule: id, forward, carries, tracks });
        b.ok().map_err(|source| node_error(graph, forward, source))?;
    }
    let mut sinks = vec![];
    for (i, sink) in relevance.sinks.iter().enumerate() {
        let incoming = relevance.graph.outputs().iter().filter(|(end, _)| end.index == i);
        let incoming: Vec<Value> = incoming.map(|(_, v)| *v).collect();
        b.set_origin(&dlbc_ops::graph::Origin::onnx(sink, "input"), &format!("R.{sink}"));
        let y = graph.find(sink).map(|v| values[&v]);
        let Received { carries, tracks } = wires.receive(b, &incoming, y, None);
        sinks.push(Sink { name: sink.clone(), carries, tracks });
    }
    Ok(sinks)
}

/// Sum of the relevance on the wires into a node.
struct Received {
    /// Quantity in `tracks`.
    carries: Carries,
    /// Sum for each track.
    tracks: Vec<Value>,
}

/// Wires of a relevance graph that are lowered.
struct Wires<'a> {
    relevance: &'a RelevanceGraph,
    /// Number of tracks.
    count: usize,
    /// Relevance on each wire, for each track.
    tracks: HashMap<Value, Vec<Value>>,
    /// Rule nodes whose wires carry relevance, in a composite whose other wires carry derivatives.
    relevance_nodes: HashSet<NodeId>,
}

impl<'a> Wires<'a> {
    /// The wires that leave the seed.
    fn new(relevance: &'a RelevanceGraph, seed: &Seed) -> Wires<'a> {
        let wire = Value { node: relevance.seed, slot: 0 };
        let mut relevance_nodes = HashSet::new();
        if relevance.quantity == Quantity::GradientTimesInput && seed.carries == Carries::Relevance {
            relevance_nodes.insert(relevance.seed);
        }
        let tracks = HashMap::from([(wire, seed.tracks.to_vec())]);
        Wires { relevance, count: seed.tracks.len(), tracks, relevance_nodes }
    }

    fn carries_relevance(&self, wire: &Value) -> bool {
        self.relevance_nodes.contains(&wire.node)
    }

    /// Sums the relevance on several wires, track by track. Derivatives become relevance by a product with the value `y`, and
    /// relevance becomes a derivative by the quotient; the result has the `required` quantity, or that of the wires.
    fn receive(
        &self,
        b: &mut Builder,
        incoming: &[Value],
        y: Option<Value>,
        required: Option<Carries>,
    ) -> Received {
        let (of_relevance, of_derivatives): (Vec<Value>, Vec<Value>) =
            incoming.iter().partition(|wire| self.carries_relevance(wire));
        let carries = match required {
            _ if self.relevance.quantity != Quantity::GradientTimesInput => Carries::Derivative,
            Some(carries) => carries,
            None if of_relevance.is_empty() => Carries::Derivative,
            None => Carries::Relevance,
        };
        let tracks = (0..self.count).map(|track| {
            let groups = [(Carries::Relevance, &of_relevance), (Carries::Derivative, &of_derivatives)];
            let groups = groups.into_iter().filter(|(_, wires)| !wires.is_empty());
            let sums: Vec<Value> = groups
                .map(|(quantity, wires)| {
                    let r = sum(b, wires.iter().map(|wire| self.tracks[wire][track]));
                    match (quantity, carries, y) {
                        (Carries::Derivative, Carries::Relevance, Some(y)) => times_derivative(b, y, r),
                        (Carries::Relevance, Carries::Derivative, Some(y)) => {
                            let y = b.cast(y, DType::F32);
                            b.guarded_div(r, y)
                        }
                        _ => r,
                    }
                })
                .collect();
            sum(b, sums.into_iter())
        });
        Received { carries, tracks: tracks.collect() }
    }
}

/// Applies a formula to each track, or to both at once; `None` if the formula has no form for two tracks.
fn flows(
    b: &mut Builder,
    formula: &Formula,
    site: &Site,
    r: &[Value],
    argument: Argument,
) -> Option<Vec<Flow>> {
    match r {
        [supporting, opposing] => {
            let tracks = Tracks { supporting: *supporting, opposing: *opposing, argument };
            formula.flows(b, site, tracks).map(Vec::from)
        }
        r => r.iter().map(|r| formula.flow(b, site, *r)).collect(),
    }
}

/// The error for a rule without a formula for its node; composites check before that rules fit.
fn missing_formula(graph: &Graph<Op>, forward: NodeId, rule: &Rule) -> CompileError {
    let node = Name::new(graph.node(forward).name());
    let message =
        format!("node {node} ({}): expected a rule with a formula, found {rule}", graph.op(forward).title());
    CompileError::BrokenGraph { pass: "lower", faults: vec![Fault { invariant: 7, message }] }
}

/// Sums the relevance on several wires.
fn sum(b: &mut Builder, mut wires: impl Iterator<Item = Value>) -> Value {
    let Some(first) = wires.next() else {
        b.fail(OpError::invalid("relevance of a rule", "at least one value", "none"));
        return b.add(Prim::Const(dlbc_ops::tensor::Tensor::scalar(0.0)), &[]);
    };
    wires.fold(first, |sum, v| b.plus(sum, v))
}

/// Multiplies values by their derivatives. Token ids have no derivative: their `r` is relevance already.
pub(super) fn times_derivative(b: &mut Builder, x: Value, r: Value) -> Value {
    let dtype = b.ty(x).dtype;
    if dtype.is_integer() && dtype != DType::U8 {
        return r;
    }
    let x = b.cast(x, DType::F32);
    let product = b.mul(x, r);
    // A value masked with -∞ has no derivative and no relevance.
    let zero = b.scalar_like(0.0, r);
    let is_zero = b.binary(Binary::Equal, r, zero);
    b.add(Prim::Select, &[is_zero, zero, product])
}
