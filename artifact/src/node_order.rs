//! Order of the nodes in a file.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::prim::Prim;

use crate::onnx_builder::sources::data_dependent_dims;

/// Sorts nodes so that each follows its operands and the nodes that compute its data-dependent dimensions; ties go by id.
pub(crate) fn node_order(graph: &Graph<Prim>) -> Vec<NodeId> {
    let producers: HashMap<&str, NodeId> =
        data_dependent_dims(graph).map(|(symbol, v)| (symbol, v.node)).collect();
    if producers.is_empty() {
        return graph.topological();
    }
    let mut missing: HashMap<NodeId, usize> = HashMap::new();
    let mut readers: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for id in graph.nodes() {
        let mut needs: HashSet<NodeId> = graph.node_inputs(id).into_iter().map(|v| v.node).collect();
        if !matches!(graph.op(id), Prim::Input) {
            graph.symbols(id, &mut |symbol| needs.extend(producers.get(&**symbol)));
        }
        needs.remove(&id);
        missing.insert(id, needs.len());
        for need in needs {
            readers.entry(need).or_default().push(id);
        }
    }
    let mut ready: BinaryHeap<Reverse<NodeId>> =
        missing.iter().filter(|(_, n)| **n == 0).map(|(id, _)| Reverse(*id)).collect();
    let mut sorted = vec![];
    while let Some(Reverse(id)) = ready.pop() {
        sorted.push(id);
        for reader in readers.remove(&id).unwrap_or_default() {
            if let Some(n) = missing.get_mut(&reader) {
                *n -= 1;
                if *n == 0 {
                    ready.push(Reverse(reader));
                }
            }
        }
    }
    sorted
}
