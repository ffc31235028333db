//! The walk over the rules of a relevance graph, from the start to the sinks.

use std::collections::{HashMap, HashSet};

use dlbc_ops::OpError;
use dlbc_ops::graph::{Fault, Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::op::role::Site;
use dlbc_ops::prim::{Binary, Builder, Prim};
use dlbc_ops::rule::{Argument, Flow, Formula, Pass, Policy, Rule, Sharing, Tracks};
use dlbc_ops::tensor::DType;
use dlbc_proto::Name;

use super::account::{Account, account, located};
use super::steps;
use crate::composite::Quantity;
use crate::error::CompileError;
use crate::relevance::RelevanceGraph;

/// What a rule node did with its relevance.
pub(super) struct Row {
    /// The rule node.
    pub rule: NodeId,
    /// Its forward node.
    pub forward: NodeId,
    /// Quantity that it received and passed on.
    pub carries: Carries,
    /// What it did on each track.
    pub tracks: Vec<Account>,
}

/// The relevance of an input.
pub(super) struct Sink {
    pub name: String,
    pub carries: Carries,
    /// On each track.
    pub r: Vec<Value>,
}

/// Quantity on a wire of a composite that passes derivatives and whose result is values times them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// A derivative; in other composites, what that composite passes.
    Derivative,
    /// Relevance: the derivative times the value already.
    Relevance,
}

impl Carries {
    /// Returns the quantity that a rule takes and gives; `None` for one that moves whatever arrives.
    fn by(sharing: Sharing) -> Option<Carries> {
        match sharing {
            Sharing::ByValue | Sharing::ByMagnitude | Sharing::Fixed | Sharing::Single => {
                Some(Carries::Relevance)
            }
            Sharing::Slope | Sharing::Derivative | Sharing::Stepwise => Some(Carries::Derivative),
            Sharing::Moves | Sharing::Ends => None,
        }
    }
}

/// The relevance that a walk starts with.
pub(super) struct Start<'a> {
    /// The start of each track, of the shape of the explained value.
    pub values: &'a [Value],
    /// Kind of the start in a composite of derivatives times input.
    pub carries: Carries,
    /// The nodes that the start reaches as it is.
    pub first: &'a HashSet<NodeId>,
}

/// Lowers the rules of a relevance graph from the start on, telling `note` of each. Returns the relevance of each sink on each
/// track.
///
/// In a composite of derivatives times input, a rule of relevance gets the value times the derivative, and a rule of
/// derivatives that gets relevance the quotient by the value, 0 where that is 0. A slope passes relevance as it is: so does a
/// final Sigmoid whose value is 0 in float32.
pub(super) fn walk(
    graph: &Graph<Op>,
    relevance: &RelevanceGraph,
    b: &mut Builder,
    values: &HashMap<Value, Value>,
    from: &Start,
    note: &mut dyn FnMut(&mut Builder, Row),
) -> Result<Vec<Sink>, CompileError> {
    let start = Value { node: relevance.seed, slot: 0 };
    let mut lowered: HashMap<Value, Vec<Value>> = HashMap::from([(start, from.values.to_vec())]);
    // Rule nodes whose wires carry relevance where others carry derivatives.
    let mut given: HashSet<NodeId> = HashSet::new();
    if relevance.quantity == Quantity::GradientTimesInput && from.carries == Carries::Relevance {
        given.insert(relevance.seed);
    }
    // What arrives over several wires adds up, track by track.
    let arrived = |b: &mut Builder,
                   lowered: &HashMap<Value, Vec<Value>>,
                   given: &HashSet<NodeId>,
                   (wires, y): (&[Value], Option<Value>),
                   wanted: Option<Carries>|
     -> (Carries, Vec<Value>) {
        let (of_relevance, others): (Vec<Value>, Vec<Value>) =
            wires.iter().partition(|w| given.contains(&w.node));
        let carries = match wanted {
            _ if relevance.quantity != Quantity::GradientTimesInput => Carries::Derivative,
            Some(carries) => carries,
            None if of_relevance.is_empty() => Carries::Derivative,
            None => Carries::Relevance,
        };
        let r = (0..from.values.len()).map(|track| {
            let parts = [(Carries::Relevance, &of_relevance), (Carries::Derivative, &others)];
            let parts = parts.into_iter().filter(|(_, wires)| !wires.is_empty());
            let parts: Vec<Value> = parts
                .map(|(kind, wires)| {
                    let r = sum(b, wires.iter().map(|w| lowered[w][track]));
                    match (kind, carries, y) {
                        (Carries::Derivative, Carries::Relevance, Some(y)) => times(b, y, r),
                        (Carries::Relevance, Carries::Derivative, Some(y)) => {
                            let y = b.cast(y, DType::F32);
                            b.guarded_div(r, y)
                        }
                        _ => r,
                    }
                })
                .collect();
            sum(b, parts.into_iter())
        });
        (carries, r.collect())
    };
    let pass = Rule::from(Pass {});
    for id in relevance.graph.topological() {
        let Some(forward) = relevance.forward.get(&id).copied() else { continue };
        let node = relevance.graph.node(id);
        let Some(rule) = &node.op.rule else { continue };
        b.set_origin(&node.origin, &format!("R.{}", graph.node(forward).name()));
        let wires: Vec<Value> = relevance.graph.wires_in(id).into_iter().map(|(_, v)| v).collect();
        let y = values[&Value { node: forward, slot: 0 }];
        let live = &relevance.live[&forward];
        let as_relevance = wires.iter().all(|w| given.contains(&w.node));
        let rule = if as_relevance && rule.sharing(live) == Sharing::Slope { &pass } else { rule };
        let wanted = Carries::by(rule.sharing(live));
        let (carries, r) = arrived(b, &lowered, &given, (&wires, Some(y)), wanted);
        if carries == Carries::Relevance {
            given.insert(id);
        }
        let operands = graph.node_inputs(forward);
        let inputs: Vec<Value> = operands.iter().map(|v| values[v]).collect();
        let outputs = [y];
        let site = Site { inputs: &inputs, outputs: &outputs, live };
        let flows = match (graph.op(forward), relevance.steps.get(&forward), r.as_slice()) {
            (Op::Scan(scan), Some(step), r) => steps::lower(b, scan, step, &site, r)?,
            (op, _, r) => {
                let argument = if from.first.contains(&forward) { Argument::Larger } else { Argument::Value };
                let formula = rule.formula(&op.role(live));
                let flows = formula.and_then(|formula| flows(b, &formula, &site, r, argument));
                flows.ok_or_else(|| misfit(graph, forward, rule))?
            }
        };
        b.ok().map_err(|source| located(graph, forward, source))?;
        let tracks = r.iter().zip(&flows).map(|(r, flow)| account(b, *r, flow, &node.op.targets)).collect();
        // An operand that is read twice takes its share once, and a step function has no derivative.
        for (slot, k) in node.op.targets.iter().enumerate() {
            let shares = flows.iter().map(|flow| {
                flow.operands.get(*k).copied().flatten().unwrap_or_else(|| {
                    let zero = b.scalar_like(0.0, r[0]);
                    let shape = b.ty(inputs[*k]).shape;
                    b.expand(zero, &shape)
                })
            });
            let shares = shares.collect();
            lowered.insert(Value { node: id, slot }, shares);
        }
        note(b, Row { rule: id, forward, carries, tracks });
        b.ok().map_err(|source| located(graph, forward, source))?;
    }
    let mut sinks = vec![];
    for (i, sink) in relevance.sinks.iter().enumerate() {
        let wires = relevance.graph.outputs().iter().filter(|(end, _)| end.index == i);
        let wires: Vec<Value> = wires.map(|(_, v)| *v).collect();
        b.set_origin(&dlbc_ops::graph::Origin::onnx(sink, "input"), &format!("R.{sink}"));
        let y = graph.find(sink).map(|v| values[&v]);
        let (carries, r) = arrived(b, &lowered, &given, (&wires, y), None);
        sinks.push(Sink { name: sink.clone(), carries, r });
    }
    Ok(sinks)
}

/// The flow of a formula on each track; `None` where it has none on so many.
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

/// The error for a rule without a formula for its node: composites check that rules fit.
fn misfit(graph: &Graph<Op>, forward: NodeId, rule: &Rule) -> CompileError {
    let node = Name::new(graph.node(forward).name());
    let message = format!("rule {rule} has no formula for node {node} ({})", graph.op(forward).title());
    CompileError::BrokenGraph { pass: "lower", faults: vec![Fault { invariant: 7, message }] }
}

/// The sum of the relevance that arrives over several wires.
pub(super) fn sum(b: &mut Builder, mut wires: impl Iterator<Item = Value>) -> Value {
    let Some(first) = wires.next() else {
        b.fail(OpError::Invalid("a rule without relevance".into()));
        return b.add(Prim::Const(dlbc_ops::tensor::Tensor::scalar(0.0)), &[]);
    };
    wires.fold(first, |sum, v| b.plus(sum, v))
}

/// Values times their derivatives. Token ids have no derivative: what they are given is relevance already.
pub(super) fn times(b: &mut Builder, x: Value, r: Value) -> Value {
    let dtype = b.ty(x).dtype;
    if dtype.is_integer() && dtype != DType::U8 {
        return r;
    }
    let x = b.cast(x, DType::F32);
    let product = b.mul(x, r);
    // What is masked with -∞ has no derivative and no relevance.
    let zero = b.scalar_like(0.0, r);
    let none = b.binary(Binary::Equal, r, zero);
    b.add(Prim::Select, &[none, zero, product])
}
