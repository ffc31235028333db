//! The input that a model's own normalisation maps to 0: the baseline of integrated gradients.
//!
//! From each constant that is added before the first layer with weights, 0 is followed back to the inputs: through sums,
//! products and quotients with constants, casts and data movement. An element that several constants ask for gets the mean
//! of what they ask, one that none asks for 0.

use std::collections::{HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::role::{Role, Site};
use dlbc_ops::op::{Activation, Function, Op};
use dlbc_ops::prim::{Builder, Unary};
use dlbc_ops::program::{Output, Repeat};
use dlbc_ops::rule::{Policy, Rule};
use dlbc_ops::tensor::{DType, Shape};

use super::account::located;
use crate::error::CompileError;
use crate::relevance::RelevanceGraph;

/// Wanted values by element: their sum over those that want one, and how many do.
#[derive(Clone, Copy)]
struct Wanted {
    sum: Value,
    count: Value,
}

/// The explained inputs that the model normalises while the rules do not take the constants as a reference.
pub(super) fn raw(graph: &Graph<Op>, relevance: &RelevanceGraph) -> Vec<String> {
    if matches!(relevance.repeat, Some(Repeat::IntegratedGradients { .. })) {
        return vec![];
    }
    let contributes = |rule: &Option<Rule>| rule.as_ref().is_some_and(Rule::counts_constants);
    let shifts = relevance.forward.iter().filter(|(_, forward)| relevance.shifts.contains(forward));
    let shifts = shifts.filter(|(rule, _)| contributes(&relevance.graph.node(**rule).op.rule));
    let mut stack: Vec<NodeId> = shifts.map(|(_, forward)| *forward).collect();
    let mut reached = HashSet::new();
    while let Some(id) = stack.pop() {
        if reached.insert(id) {
            stack.extend(graph.node_inputs(id).iter().map(|v| v.node));
        }
    }
    let reaches = |name: &&String| graph.find(name).is_some_and(|v| reached.contains(&v.node));
    relevance.sinks.iter().filter(reaches).cloned().collect()
}

/// Adds `baseline/NAME` for each explained input that has one.
pub(super) fn outputs(
    graph: &Graph<Op>,
    relevance: &RelevanceGraph,
    b: &mut Builder,
    values: &HashMap<Value, Value>,
) -> Result<(), CompileError> {
    let mut wanted: HashMap<Value, Wanted> = HashMap::new();
    for rule in relevance.graph.topological() {
        let Some(id) = relevance.forward.get(&rule).copied() else { continue };
        let y = Value { node: id, slot: 0 };
        b.set_origin(&graph.node(id).origin, &format!("baseline.{}", graph.node(id).name()));
        let own = match wanted.get(&y) {
            Some(own) => *own,
            None if relevance.shifts.contains(&id) => {
                let shape = b.ty(values[&y]).shape;
                Wanted { sum: filled(b, 0.0, values[&y], &shape), count: filled(b, 1.0, values[&y], &shape) }
            }
            None => continue,
        };
        let operands = graph.node_inputs(id);
        let inputs: Vec<Value> = operands.iter().map(|v| values[v]).collect();
        let outputs = [values[&y]];
        let site = Site { inputs: &inputs, outputs: &outputs, live: &relevance.live[&id] };
        for (k, found) in back(b, graph.op(id), &site, own) {
            wanted
                .entry(operands[k])
                .and_modify(|all| {
                    *all = Wanted { sum: b.plus(all.sum, found.sum), count: b.plus(all.count, found.count) };
                })
                .or_insert(found);
        }
        b.ok().map_err(|source| located(graph, id, source))?;
    }
    for name in &relevance.sinks {
        let Some(own) = graph.find(name).and_then(|v| wanted.get(&v)).copied() else { continue };
        let mean = b.guarded_div(own.sum, own.count);
        b.graph_mut().add_output(Output::Baseline(name.as_str().into()), mean);
    }
    Ok(())
}

/// Solves a node for its operands: the operand values, by place, for which it gives the wanted one. Empty for operators
/// that cannot be inverted.
fn back(b: &mut Builder, op: &Op, site: &Site, own: Wanted) -> Vec<(usize, Wanted)> {
    let k = site.data();
    let y = b.guarded_div(own.sum, own.count);
    let constants: Vec<Value> = (0..site.inputs.len()).filter(|i| *i != k).map(|i| site.inputs[i]).collect();
    let alone = site.live.iter().filter(|live| **live).count() == 1;
    let x = match op {
        Op::Add(_) if alone => constants.iter().fold(y, |x, c| b.minus(x, *c)),
        Op::Sub(_) if alone && k == 0 => b.plus(y, constants[0]),
        Op::Sub(_) if alone => b.minus(constants[0], y),
        Op::Mul(_) if alone => b.guarded_div(y, constants[0]),
        Op::Div(_) if alone && k == 0 => b.mul(y, constants[0]),
        Op::Cast(_) if b.ty(site.inputs[k]).dtype.is_float() => y,
        Op::Activation(Activation { f: Function::Unary(Unary::Neg) }) => b.scale(y, -1.0),
        Op::BatchNorm(_) => unmapped(b, op, site, y),
        op => {
            let Role::Rearrange(route) = op.role(site.live) else { return vec![] };
            let (sums, counts) = (route.route(b, site, own.sum), route.route(b, site, own.count));
            let pairs = sums.into_iter().zip(counts).enumerate();
            let live = pairs.filter(|(k, _)| site.live[*k]);
            return live
                .filter_map(|(k, (sum, count))| Some((k, Wanted { sum: sum?, count: count? })))
                .collect();
        }
    };
    let shape = b.ty(site.inputs[k]).shape;
    let weighted = b.mul(x, own.count);
    vec![(k, Wanted { sum: b.sum_to(weighted, &shape), count: b.sum_to(own.count, &shape) })]
}

/// The operand for which a map that is affine element by element gives `y`, from its results at 0 and at 1.
fn unmapped(b: &mut Builder, op: &Op, site: &Site, y: Value) -> Value {
    let x = site.inputs[site.data()];
    let shape = b.ty(x).shape;
    let at = |b: &mut Builder, value: f64| {
        let mut inputs = site.inputs.to_vec();
        inputs[site.data()] = filled(b, value, x, &shape);
        op.lower(b, &inputs)[0]
    };
    let (shift, end) = (at(b, 0.0), at(b, 1.0));
    let factor = b.minus(end, shift);
    let rest = b.minus(y, shift);
    b.guarded_div(rest, factor)
}

fn filled(b: &mut Builder, value: f64, like: Value, shape: &Shape) -> Value {
    let scalar = b.scalar_like(value, like);
    let scalar = b.cast(scalar, DType::F32);
    b.expand(scalar, shape)
}
