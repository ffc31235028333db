//! Values of a run that are stored in bfloat16, if products round their operands to that type anyway: those that only kernels read
//! which widen them, that is elementwise kernels, kernels along rows and products.

use std::collections::{HashMap, HashSet};

use dlbc_backend::Stages;
use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::prim::Prim;
use dlbc_ptx::kernel::gemm::ROWS;
use dlbc_ptx::kernel::pointwise::Kind;

use super::rows::Unit;

/// Minimum number of elements of a value that is stored in bfloat16.
const MIN_ELEMS: usize = 1 << 12;

/// Search for the values.
struct Search<'a> {
    graph: &'a Graph<Prim>,
    readers: HashMap<NodeId, Vec<NodeId>>,
    /// Nodes that are outputs of the program.
    outputs: HashSet<NodeId>,
    /// Attention scores.
    scores: &'a HashSet<NodeId>,
    /// Nodes that are lowered with their neighbours along rows.
    rows: HashSet<NodeId>,
}

/// Returns the nodes whose results are stored in bfloat16, where they are stored. `units` are those of both stages.
pub(super) fn find(
    graph: &Graph<Prim>,
    stages: &Stages,
    scores: &HashSet<NodeId>,
    units: &[Vec<Unit>; 2],
) -> HashSet<NodeId> {
    let nodes: HashSet<NodeId> = stages.forward.nodes.iter().chain(&stages.reverse.nodes).copied().collect();
    let mut readers: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for id in &nodes {
        for v in graph.node_inputs(*id) {
            readers.entry(v.node).or_default().push(*id);
        }
    }
    // Saved values follow the outputs.
    let outputs = &stages.forward.outputs[..stages.forward.outputs.len() - stages.saved.len()];
    let outputs = outputs.iter().chain(&stages.reverse.outputs).map(|v| v.node).collect();
    let in_rows = |unit: &Unit| match unit {
        Unit::Rows(ids) => ids.clone(),
        Unit::Node(_) => vec![],
    };
    let rows = units.iter().flatten().flat_map(in_rows).collect();
    let search = Search { graph, readers, outputs, scores, rows };
    nodes.into_iter().filter(|id| search.is_narrow(*id)).collect()
}

impl Search<'_> {
    fn dims(&self, id: NodeId) -> Vec<usize> {
        self.graph.node(id).types[0].shape.as_known().unwrap_or_default()
    }

    fn reads_scores(&self, id: NodeId) -> bool {
        self.graph.node_inputs(id).iter().any(|v| self.scores.contains(&v.node))
    }

    /// Returns whether a kernel can store the node's result in bfloat16 and all its readers can read that.
    fn is_narrow(&self, id: NodeId) -> bool {
        let stores = matches!(
            self.graph.op(id),
            Prim::Unary(_) | Prim::Binary(_) | Prim::Select | Prim::MatMul(_) | Prim::Reshape(_)
        );
        let elems: usize = self.dims(id).iter().product();
        let is_float = Kind::of(self.graph.node(id).types[0].dtype) == Kind::F;
        let fits = is_float && elems >= MIN_ELEMS && elems.is_multiple_of(2);
        stores && fits && !self.scores.contains(&id) && !self.reads_scores(id) && self.is_read_narrow(id)
    }

    /// Returns whether all readers of a node, through views, can read bfloat16.
    fn is_read_narrow(&self, id: NodeId) -> bool {
        let reads = |reader: &NodeId| match self.graph.op(*reader) {
            _ if self.scores.contains(reader) => false,
            Prim::Unary(_) | Prim::Binary(_) | Prim::Select => true,
            // Kernels for few rows stage them as float32.
            Prim::MatMul(_) => {
                let rows = self.dims(*reader).iter().rev().nth(1).copied().unwrap_or(0);
                rows > ROWS && !self.reads_scores(*reader)
            }
            Prim::Reduce(_) => self.rows.contains(reader),
            Prim::Reshape(_) | Prim::Transpose(_) | Prim::Slice(_) | Prim::Expand(_) => {
                self.is_read_narrow(*reader)
            }
            _ => false,
        };
        !self.outputs.contains(&id) && self.readers.get(&id).into_iter().flatten().all(reads)
    }
}
