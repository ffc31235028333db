//! Baseline of integrated gradients: the input that the model's own normalisation maps to 0.
//!
//! Each constant that is added to the data before the first layer with weights demands the value 0 of its sum. The demand is
//! solved for the inputs through sums, products and quotients with constants, casts and data movement. An element with several
//! demands gets their mean, an element without any gets 0.

use std::collections::{HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::role::{Role, Site};
use dlbc_ops::op::{Activation, Function, Op};
use dlbc_ops::prim::{Builder, Unary};
use dlbc_ops::program::{Output, Repeat};
use dlbc_ops::rule::{Policy, Rule};
use dlbc_ops::tensor::{DType, Shape};

use super::track_flow::node_error;
use crate::error::CompileError;
use crate::relevance::RelevanceGraph;

/// Values that constants demand of the elements of a tensor.
#[derive(Clone, Copy)]
struct Demand {
    /// Sum of the demanded values of each element, of the tensor's shape.
    sum: Value,
    /// Number of demands on each element, of the tensor's shape.
    count: Value,
}

/// Returns the explained inputs that the model itself normalises, while the rules count the constants of the normalisation
/// as contributions.
pub(super) fn unnormalised_inputs(graph: &Graph<Op>, relevance: &RelevanceGraph) -> Vec<String> {
    if matches!(relevance.repeat, Some(Repeat::IntegratedGradients { .. })) {
        return vec![];
    }
    let counts_constants = |rule: &Option<Rule>| rule.as_ref().is_some_and(Rule::counts_constants);
    let shifts = relevance.forward.iter().filter(|(_, forward)| relevance.shifts.contains(forward));
    let shifts = shifts.filter(|(rule, _)| counts_constants(&relevance.graph.node(**rule).op.rule));
    let mut stack: Vec<NodeId> = shifts.map(|(_, forward)| *forward).collect();
    let mut ancestors = HashSet::new();
    while let Some(id) = stack.pop() {
        if ancestors.insert(id) {
            stack.extend(graph.node_inputs(id).iter().map(|v| v.node));
        }
    }
    let is_normalised = |name: &&String| graph.find(name).is_some_and(|v| ancestors.contains(&v.node));
    relevance.sinks.iter().filter(is_normalised).cloned().collect()
}

/// Adds the output `baseline/NAME` for each explained input on which there is a demand.
pub(super) fn add_outputs(
    graph: &Graph<Op>,
    relevance: &RelevanceGraph,
    b: &mut Builder,
    values: &HashMap<Value, Value>,
) -> Result<(), CompileError> {
    let mut demands: HashMap<Value, Demand> = HashMap::new();
    for rule in relevance.graph.topological() {
        let Some(id) = relevance.forward.get(&rule).copied() else { continue };
        let y = Value { node: id, slot: 0 };
        b.set_origin(&graph.node(id).origin, &format!("baseline.{}", graph.node(id).name()));
        let demand = match demands.get(&y) {
            Some(demand) => *demand,
            None if relevance.shifts.contains(&id) => {
                let shape = b.ty(values[&y]).shape;
                Demand { sum: filled(b, 0.0, values[&y], &shape), count: filled(b, 1.0, values[&y], &shape) }
            }
            None => continue,
        };
        let operands = graph.node_inputs(id);
        let inputs: Vec<Value> = operands.iter().map(|v| values[v]).collect();
        let outputs = [values[&y]];
        let site = Site { inputs: &inputs, outputs: &outputs, live: &relevance.live[&id] };
        for (k, term) in solve(b, graph.op(id), &site, demand) {
            demands
                .entry(operands[k])
                .and_modify(|total| {
                    *total =
                        Demand { sum: b.plus(total.sum, term.sum), count: b.plus(total.count, term.count) };
                })
                .or_insert(term);
        }
        b.ok().map_err(|source| node_error(graph, id, source))?;
    }
    for name in &relevance.sinks {
        let Some(demand) = graph.find(name).and_then(|v| demands.get(&v)).copied() else { continue };
        let mean = b.guarded_div(demand.sum, demand.count);
        b.graph_mut().add_output(Output::Baseline(name.as_str().into()), mean);
    }
    Ok(())
}

/// Solves a node for its operands: returns the demand on each, by index, that satisfies the demand on the result. Empty for
/// operators that cannot be inverted.
fn solve(b: &mut Builder, op: &Op, site: &Site, demand: Demand) -> Vec<(usize, Demand)> {
    let k = site.data();
    let y = b.guarded_div(demand.sum, demand.count);
    let constants: Vec<Value> = (0..site.inputs.len()).filter(|i| *i != k).map(|i| site.inputs[i]).collect();
    let is_single = site.live.iter().filter(|live| **live).count() == 1;
    let x = match op {
        Op::Add(_) if is_single => constants.iter().fold(y, |x, c| b.minus(x, *c)),
        Op::Sub(_) if is_single && k == 0 => b.plus(y, constants[0]),
        Op::Sub(_) if is_single => b.minus(constants[0], y),
        Op::Mul(_) if is_single => b.guarded_div(y, constants[0]),
        Op::Div(_) if is_single && k == 0 => b.mul(y, constants[0]),
        Op::Cast(_) if b.ty(site.inputs[k]).dtype.is_float() => y,
        Op::Activation(Activation { f: Function::Unary(Unary::Neg) }) => b.scale(y, -1.0),
        Op::BatchNorm(_) => invert_affine(b, op, site, y),
        op => {
            let Role::Rearrange(route) = op.role(site.live) else { return vec![] };
            let (sums, counts) = (route.route(b, site, demand.sum), route.route(b, site, demand.count));
            let pairs = sums.into_iter().zip(counts).enumerate();
            let live = pairs.filter(|(k, _)| site.live[*k]);
            return live
                .filter_map(|(k, (sum, count))| Some((k, Demand { sum: sum?, count: count? })))
                .collect();
        }
    };
    let shape = b.ty(site.inputs[k]).shape;
    let weighted = b.mul(x, demand.count);
    vec![(k, Demand { sum: b.sum_to(weighted, &shape), count: b.sum_to(demand.count, &shape) })]
}

/// Inverts an operator that is affine in each element: returns the operand for which the result is `y`, computed from the
/// results for 0 and for 1.
fn invert_affine(b: &mut Builder, op: &Op, site: &Site, y: Value) -> Value {
    let x = site.inputs[site.data()];
    let shape = b.ty(x).shape;
    let result_for = |b: &mut Builder, value: f64| {
        let mut inputs = site.inputs.to_vec();
        inputs[site.data()] = filled(b, value, x, &shape);
        op.lower(b, &inputs)[0]
    };
    let (shift, shift_plus_factor) = (result_for(b, 0.0), result_for(b, 1.0));
    let factor = b.minus(shift_plus_factor, shift);
    let product = b.minus(y, shift);
    b.guarded_div(product, factor)
}

/// A float32 tensor of equal elements.
fn filled(b: &mut Builder, value: f64, like: Value, shape: &Shape) -> Value {
    let scalar = b.scalar_like(value, like);
    let scalar = b.cast(scalar, DType::F32);
    b.expand(scalar, shape)
}
