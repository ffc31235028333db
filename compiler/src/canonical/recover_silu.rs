//! Recovers SiLU from `x · σ(x)`, and the QuickGELU and Swish forms from `x · σ(αx)`.

use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::op::{Activation, Function, Op};
use dlbc_ops::prim::Unary;

use super::pass::Context;
use super::pattern::{each, replace_by_activation, scaled, unary};

/// Recovers every product of a value and its sigmoid.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, recover)
}

fn recover(graph: &mut Graph<Op>, product: NodeId) -> Option<()> {
    let inputs = graph.node_inputs(product);
    let (Op::Mul(_), &[a, b]) = (graph.op(product), inputs.as_slice()) else { return None };
    let (x, alpha, pieces) = [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
        if unary(graph, gate.node) != Some(Unary::Sigmoid) || graph.only_consumer(gate) != Some(product) {
            return None;
        }
        let argument = graph.node_inputs(gate.node)[0];
        match scaled(graph, argument) {
            _ if argument == x => Some((x, 1.0, vec![gate.node, product])),
            Some((base, alpha)) if base == x && graph.only_consumer(argument) == Some(gate.node) => {
                Some((x, alpha, vec![argument.node, gate.node, product]))
            }
            _ => None,
        }
    })?;
    let f = Function::Silu { alpha: alpha as f32 };
    replace_by_activation(graph, x, Activation { f }, &pieces)
}
