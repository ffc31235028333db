//! Detection of attention scores, `[…, m, n]` for `m` queries and `n` keys: products of rows, a softmax over the keys, and the
//! elementwise nodes between and behind them. Scores are not stored if all their readers can recompute them tile by tile.

use std::collections::{HashMap, HashSet};

use dlbc_backend::Stages;
use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::prim::{self, Prim, Reduction, Transform};
use dlbc_ptx::kernel::attention::MAX_GROUPS;
use dlbc_ptx::kernel::pointwise::Kind;

/// Supported numbers of axes of scores: rows, columns, and at most four of the batch.
const RANKS: std::ops::RangeInclusive<usize> = 2..=6;
/// Maximum depth of a product that is worth recomputing.
const MAX_DEPTH: usize = 512;
/// Maximum number of products in one expression, whose tiles one kernel holds in registers.
const MAX_PRODUCTS: usize = 3;
/// Maximum number of nodes of an expression.
const MAX_NODES: usize = 24;

/// Search for scores.
struct Search<'a> {
    graph: &'a Graph<Prim>,
    readers: HashMap<NodeId, Vec<NodeId>>,
    /// Nodes that are outputs of the program.
    outputs: HashSet<NodeId>,
    /// Nodes that are scores, as far as the search knows.
    scores: HashSet<NodeId>,
}

/// Returns the nodes of both stages that are scores and need not be stored.
pub(super) fn find(graph: &Graph<Prim>, stages: &Stages) -> HashSet<NodeId> {
    let nodes: HashSet<NodeId> = stages.forward.nodes.iter().chain(&stages.reverse.nodes).copied().collect();
    let mut search =
        Search { graph, readers: HashMap::new(), outputs: HashSet::new(), scores: HashSet::new() };
    for id in &nodes {
        for v in graph.node_inputs(*id) {
            search.readers.entry(v.node).or_default().push(*id);
        }
    }
    // Saved values follow the outputs; a value may be both.
    let outputs = &stages.forward.outputs[..stages.forward.outputs.len() - stages.saved.len()];
    search.outputs.extend(outputs.iter().chain(&stages.reverse.outputs).map(|v| v.node));
    let order: Vec<NodeId> = graph.topological().into_iter().filter(|id| nodes.contains(id)).collect();
    search.grow(&order);
    search.prune(&order);
    search.scores
}

impl Search<'_> {
    fn dims(&self, id: NodeId) -> Vec<usize> {
        self.graph.node(id).types[0].shape.as_known().unwrap_or_default()
    }

    fn inputs(&self, id: NodeId) -> Vec<NodeId> {
        self.graph.node_inputs(id).iter().map(|v| v.node).collect()
    }

    fn is_elementwise(&self, id: NodeId) -> bool {
        matches!(self.graph.op(id), Prim::Unary(_) | Prim::Binary(_) | Prim::Select | Prim::Cast(_))
    }

    /// Returns whether tiles can hold the node's elements and its operands'.
    fn fits(&self, id: NodeId) -> bool {
        let kind = |id: NodeId| Kind::of(self.graph.node(id).types[0].dtype);
        let dims = self.dims(id);
        RANKS.contains(&dims.len())
            && dims.iter().all(|d| *d > 0)
            && kind(id) != Kind::I
            && self.inputs(id).into_iter().all(|i| kind(i) != Kind::I)
    }

    /// Returns whether the node is a product of rows that is worth recomputing.
    fn is_product(&self, id: NodeId) -> bool {
        let Prim::MatMul(prim::MatMul { a, b, ta, .. }) = self.graph.op(id) else { return false };
        let left = self.dims(self.inputs(id)[0]);
        let depth = left.get((left.len() + usize::from(!ta)).wrapping_sub(2)).copied().unwrap_or(usize::MAX);
        *a != Transform::One && *b != Transform::One && depth <= MAX_DEPTH && self.fits(id)
    }

    /// Returns products of rows and elementwise functions of them.
    fn candidates(&self, order: &[NodeId]) -> HashSet<NodeId> {
        let end = |i: NodeId| self.dims(i).iter().rev().take(2).copied().collect::<Vec<_>>();
        let mut candidates = HashSet::new();
        for id in order {
            let is_operand = |i: NodeId| candidates.contains(&i) && end(i) == end(*id);
            let is_function = self.is_elementwise(*id) && self.inputs(*id).into_iter().any(is_operand);
            if self.is_product(*id) || (is_function && self.fits(*id)) {
                candidates.insert(*id);
            }
        }
        candidates
    }

    /// Adds the candidates that are connected to a softmax over keys.
    fn grow(&mut self, order: &[NodeId]) {
        let candidates = self.candidates(order);
        let mut open = vec![];
        for id in order {
            if let Prim::Softmax(prim::Softmax { axis }) = self.graph.op(*id) {
                let operand = self.inputs(*id)[0];
                if *axis + 1 == self.dims(*id).len() && candidates.contains(&operand) {
                    open.extend([*id, operand]);
                }
            }
        }
        while let Some(id) = open.pop() {
            if !self.scores.insert(id) {
                continue;
            }
            let is_row = self.is_row(id);
            if self.is_elementwise(id) && !is_row {
                let mut operands = self.inputs(id);
                operands.retain(|i| candidates.contains(i));
                open.extend(operands);
            }
            let size = |id: NodeId| self.dims(id).iter().rev().take(2).product::<usize>();
            for reader in self.readers.get(&id).into_iter().flatten() {
                let is_maximum = matches!(
                    self.graph.op(*reader),
                    Prim::Reduce(prim::Reduce { kind: Reduction::Max, keep: true, .. })
                );
                let is_function = self.is_elementwise(*reader)
                    && self.fits(*reader)
                    && (size(*reader) == size(id) || is_row);
                if is_function || (is_maximum && !is_row) {
                    open.push(*reader);
                }
            }
        }
    }

    /// Returns whether the node has one element per row: a row's maximum, or a function of it.
    fn is_row(&self, id: NodeId) -> bool {
        let is_maximum = |id: NodeId| matches!(self.graph.op(id), Prim::Reduce(_));
        self.dims(id).last() == Some(&1)
            && (is_maximum(id) || (self.is_elementwise(id) && self.inputs(id).into_iter().any(is_maximum)))
    }

    /// Removes nodes that some reader needs in memory, until none is left.
    fn prune(&mut self, order: &[NodeId]) {
        loop {
            let before = self.scores.len();
            // Visit readers before their operands, then the reverse, so that few rounds suffice.
            let expressions = self.expressions(order);
            for id in order.iter().rev() {
                if self.scores.contains(id) && !self.is_recomputable(*id, &expressions) {
                    self.scores.remove(id);
                }
            }
            let expressions = self.expressions(order);
            for id in order {
                if self.scores.contains(id) && !self.is_recomputable(*id, &expressions) {
                    self.scores.remove(id);
                }
            }
            if !self.remove_unconnected(order) && self.scores.len() == before {
                return;
            }
        }
    }

    /// Returns whether all readers of the node can recompute it.
    fn is_recomputable(&self, id: NodeId, expressions: &HashMap<NodeId, HashSet<NodeId>>) -> bool {
        let inputs = self.inputs(id);
        let inside = |id: &NodeId| self.scores.contains(id);
        let has_operands = match self.graph.op(id) {
            Prim::MatMul(_) => !inputs.iter().any(inside),
            Prim::Softmax(_) => inside(&inputs[0]),
            // The row maximum of a softmax's operand.
            Prim::Reduce(prim::Reduce { axes, .. }) => {
                let softmax = |r: &NodeId| inside(r) && matches!(self.graph.op(*r), Prim::Softmax(_));
                axes[..] == [self.dims(inputs[0]).len() - 1]
                    && inside(&inputs[0])
                    && self.readers.get(&inputs[0]).into_iter().flatten().any(softmax)
            }
            _ => inputs.iter().any(inside),
        };
        let nodes = &expressions[&id];
        let products = nodes.iter().filter(|n| matches!(self.graph.op(**n), Prim::MatMul(_))).count();
        let is_small = products <= MAX_PRODUCTS.min(MAX_GROUPS) && nodes.len() <= MAX_NODES;
        let readers = self.readers.get(&id).map(Vec::as_slice).unwrap_or_default();
        let accepts = |reader: &NodeId| {
            if inside(reader) {
                return true;
            }
            let operands = self.inputs(*reader);
            match self.graph.op(*reader) {
                Prim::MatMul(prim::MatMul { a, b, .. }) => {
                    let transform = if operands[0] == id { a } else { b };
                    operands[0] != operands[1]
                        && !operands.iter().all(inside)
                        && *transform == Transform::Id
                        && self.fits(*reader)
                }
                Prim::Reduce(prim::Reduce { kind: Reduction::Sum, axes, .. }) => {
                    axes.contains(&(self.dims(id).len() - 1))
                        && Kind::of(self.graph.node(id).types[0].dtype) == Kind::F
                }
                _ => false,
            }
        };
        has_operands
            && is_small
            && !self.outputs.contains(&id)
            && readers.iter().all(accepts)
            && (!self.is_row(id) || readers.iter().all(inside))
    }

    /// Returns the nodes of each score's expression. An expression that is too long is cut off just above the limit.
    fn expressions(&self, order: &[NodeId]) -> HashMap<NodeId, HashSet<NodeId>> {
        let mut expressions: HashMap<NodeId, HashSet<NodeId>> = HashMap::new();
        for id in order.iter().filter(|id| self.scores.contains(id)) {
            let mut nodes = HashSet::from([*id]);
            for input in self.inputs(*id) {
                let whole = !matches!(self.graph.op(*id), Prim::Reduce(_)) && nodes.len() <= MAX_NODES;
                if let Some(more) = expressions.get(&input).filter(|_| whole) {
                    nodes.extend(more);
                }
            }
            expressions.insert(*id, nodes);
        }
        expressions
    }

    /// Removes nodes that have lost their connection to a softmax. Returns whether it removed any.
    fn remove_unconnected(&mut self, order: &[NodeId]) -> bool {
        let mut connected: HashSet<NodeId> = HashSet::new();
        let mut open: Vec<NodeId> = order
            .iter()
            .filter(|id| self.scores.contains(id) && matches!(self.graph.op(**id), Prim::Softmax(_)))
            .copied()
            .collect();
        while let Some(id) = open.pop() {
            if connected.insert(id) {
                let readers = self.readers.get(&id).into_iter().flatten().copied();
                let neighbours = self.inputs(id).into_iter().chain(readers);
                open.extend(neighbours.filter(|i| self.scores.contains(i)));
            }
        }
        let before = self.scores.len();
        self.scores = connected;
        self.scores.len() < before
    }
}
