//! `x · σ(x)` becomes one activation, SiLU; with `σ(αx)`, the QuickGELU and Swish forms, too.

use dlbc_ops::graph::{Graph, NodeId, Origin, Value};
use dlbc_ops::op::{Activation, Function, Op};
use dlbc_ops::prim::Unary;

use super::Context;
use super::recover_gelu::scaled;

/// Recovers every product of a value and its own sigmoid.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    let mut changed = false;
    for id in graph.topological() {
        if !graph.contains(id) {
            continue;
        }
        let inputs = graph.node_inputs(id);
        let (Op::Mul(_), &[a, b]) = (graph.op(id), inputs.as_slice()) else { continue };
        for (x, gate) in [(a, b), (b, a)] {
            let sigmoid = activation(graph, gate.node) == Some(Function::Unary(Unary::Sigmoid));
            if !sigmoid || graph.only_consumer(gate) != Some(id) {
                continue;
            }
            let argument = graph.node_inputs(gate.node)[0];
            let (alpha, parts) = match scaled(graph, argument) {
                _ if argument == x => (1.0, vec![gate.node, id]),
                Some((base, alpha)) if base == x && graph.only_consumer(argument) == Some(gate.node) => {
                    (alpha, vec![argument.node, gate.node, id])
                }
                _ => continue,
            };
            let f = Function::Silu { alpha: alpha as f32 };
            changed |= become_activation(graph, x, Activation { f }, &parts).is_some();
            break;
        }
    }
    changed
}

/// The function of an activation node.
pub(super) fn activation(graph: &Graph<Op>, id: NodeId) -> Option<Function> {
    match graph.op(id) {
        Op::Activation(a) => Some(a.f),
        _ => None,
    }
}

/// Replaces the last of `parts` by an activation of `x`; the activation has the name of that part and the origin of all.
pub(super) fn become_activation(
    graph: &mut Graph<Op>,
    x: Value,
    op: Activation,
    parts: &[NodeId],
) -> Option<()> {
    let result = Value { node: *parts.last()?, slot: 0 };
    let ty = graph.ty(result).clone();
    if ty != *graph.ty(x) {
        return None;
    }
    let origin = parts.iter().fold(Origin::default(), |o, id| o.join(&graph.node(*id).origin));
    let name = graph.value_name(result).to_string();
    let new = graph.add_value(op.into(), &name, ty, origin, &[x]);
    graph.replace(result, new);
    for id in parts.iter().rev() {
        graph.remove(*id);
    }
    graph.rename(new, &name);
    Some(())
}
