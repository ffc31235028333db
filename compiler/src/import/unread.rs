//! Inputs that nothing reads, once what read them is left out.

use std::collections::HashSet;
use std::sync::Arc;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::tensor::TensorType;

/// Removes the inputs that no node reads. One whose dimensions the rest of the graph needs stays, unless another input has
/// them, too.
pub(super) fn remove(graph: &mut Graph<Op>) {
    for id in graph.inputs().to_vec() {
        let v = Value { node: id, slot: 0 };
        let measured = graph.data_dependent_dims().iter().any(|(_, m)| *m == v);
        if graph.consumers(v).is_empty() && !graph.is_output(v) && !measured && !gives_dimensions(graph, id) {
            graph.remove(id);
        }
    }
}

/// Returns whether the rest of the graph uses a dimension symbol that only this input's shape defines.
fn gives_dimensions(graph: &Graph<Op>, id: NodeId) -> bool {
    let own = symbols(&graph.node(id).types[0]);
    let others = || graph.nodes().filter(|other| *other != id);
    let mut said = HashSet::new();
    for other in graph.inputs().iter().filter(|other| **other != id) {
        let dims = graph.node(*other).types[0].shape.0.iter();
        said.extend(dims.filter_map(|dim| dim.as_multiple().map(|(_, symbol)| symbol.to_string())));
    }
    let needed: HashSet<Arc<str>> =
        others().flat_map(|other| graph.node(other).types.iter().flat_map(symbols)).collect();
    own.iter().any(|symbol| needed.contains(symbol) && !said.contains(&**symbol))
}

fn symbols(ty: &TensorType) -> Vec<Arc<str>> {
    let mut found = vec![];
    ty.shape.0.iter().for_each(|dim| dim.symbols(&mut |s| found.push(s.clone())));
    found
}
