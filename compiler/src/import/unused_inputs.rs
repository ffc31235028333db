//! Removal of inputs whose readers `stop_at` left out.

use std::collections::HashSet;
use std::sync::Arc;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::tensor::TensorType;

/// Removes the inputs that no node reads, except those whose shape alone defines a dimension symbol of the rest of the
/// graph.
pub(super) fn remove(graph: &mut Graph<Op>) {
    for id in graph.inputs().to_vec() {
        let v = Value { node: id, slot: 0 };
        let measured = graph.data_dependent_dims().iter().any(|(_, m)| *m == v);
        if graph.consumers(v).is_empty()
            && !graph.is_output(v)
            && !measured
            && !defines_needed_symbol(graph, id)
        {
            graph.remove(id);
        }
    }
}

/// Returns whether the rest of the graph uses a dimension symbol that only the shape of this input defines.
fn defines_needed_symbol(graph: &Graph<Op>, id: NodeId) -> bool {
    let candidates = symbols(&graph.node(id).types[0]);
    let others = || graph.nodes().filter(|other| *other != id);
    let mut defined = HashSet::new();
    for other in graph.inputs().iter().filter(|other| **other != id) {
        let dims = graph.node(*other).types[0].shape.0.iter();
        defined.extend(dims.filter_map(|dim| dim.as_multiple().map(|(_, symbol)| symbol.to_string())));
    }
    let needed: HashSet<Arc<str>> =
        others().flat_map(|other| graph.node(other).types.iter().flat_map(symbols)).collect();
    candidates.iter().any(|symbol| needed.contains(symbol) && !defined.contains(&**symbol))
}

fn symbols(ty: &TensorType) -> Vec<Arc<str>> {
    let mut symbols = vec![];
    ty.shape.0.iter().for_each(|dim| dim.symbols(&mut |s| symbols.push(s.clone())));
    symbols
}
