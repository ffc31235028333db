//! `x · σ(x)` becomes one activation, SiLU; with `σ(αx)`, the QuickGELU and Swish forms, too.

use dlbc_ops::graph::Graph;
use dlbc_ops::op::{Activation, Function, Op};
use dlbc_ops::prim::Unary;

use super::pass::Context;
use super::pattern::{activation, become_activation, scaled};

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
