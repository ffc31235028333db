//! Which nodes are scores of an attention, `[…, m, n]` for `m` queries and `n` keys: products of rows, a softmax over the keys, and
//! what is elementwise between and behind them. They are not kept where all their readers can make them again tile by tile.

use std::collections::{HashMap, HashSet};

use dlbc_backend::Stages;
use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::prim::{self, Prim, Reduction, Transform};
use dlbc_ptx::kernel::attention::MAX_GROUPS;
use dlbc_ptx::kernel::pointwise::Kind;

/// Axes of scores: rows, columns, and a batch of at most four.
const RANKS: std::ops::RangeInclusive<usize> = 2..=6;
/// The depth of a product that is worth making again.
const MAX_DEPTH: usize = 512;
/// Products that one kernel keeps in registers.
const MAX_PRODUCTS: usize = 3;
/// Nodes of an expression.
const MAX_NODES: usize = 24;

struct Search<'a> {
    graph: &'a Graph<Prim>,
    readers: HashMap<NodeId, Vec<NodeId>>,
    results: HashSet<NodeId>,
    found: HashSet<NodeId>,
}

/// The nodes of both stages that need not be kept.
pub(super) fn find(graph: &Graph<Prim>, stages: &Stages) -> HashSet<NodeId> {
    let nodes: HashSet<NodeId> = stages.forward.nodes.iter().chain(&stages.reverse.nodes).copied().collect();
    let saved: HashSet<_> = stages.saved.iter().collect();
    let mut search =
        Search { graph, readers: HashMap::new(), results: HashSet::new(), found: HashSet::new() };
    for id in &nodes {
        for v in graph.node_inputs(*id) {
            search.readers.entry(v.node).or_default().push(*id);
        }
    }
    let wanted = stages.forward.outputs.iter().filter(|v| !saved.contains(v));
    search.results.extend(wanted.chain(&stages.reverse.outputs).map(|v| v.node));
    let order: Vec<NodeId> = graph.topological().into_iter().filter(|id| nodes.contains(id)).collect();
    search.grow(&order);
    search.prune(&order);
    search.found
}

impl Search<'_> {
    fn dims(&self, id: NodeId) -> Vec<usize> {
        self.graph.node(id).types[0].shape.as_known().unwrap_or_default()
    }

    fn inputs(&self, id: NodeId) -> Vec<NodeId> {
        self.graph.node_inputs(id).iter().map(|v| v.node).collect()
    }

    fn elementwise(&self, id: NodeId) -> bool {
        matches!(self.graph.op(id), Prim::Unary(_) | Prim::Binary(_) | Prim::Select | Prim::Cast(_))
    }

    /// Whether a node's elements can be numbers of a tile.
    fn fits(&self, id: NodeId) -> bool {
        let kind = |id: NodeId| Kind::of(self.graph.node(id).types[0].dtype);
        let dims = self.dims(id);
        RANKS.contains(&dims.len())
            && dims.iter().all(|d| *d > 0)
            && kind(id) != Kind::I
            && self.inputs(id).into_iter().all(|i| kind(i) != Kind::I)
    }

    /// A product of rows.
    fn product(&self, id: NodeId) -> bool {
        let Prim::MatMul(prim::MatMul { a, b, ta, .. }) = self.graph.op(id) else { return false };
        let left = self.dims(self.inputs(id)[0]);
        let depth = left.get((left.len() + usize::from(!ta)).wrapping_sub(2)).copied().unwrap_or(usize::MAX);
        *a != Transform::One && *b != Transform::One && depth <= MAX_DEPTH && self.fits(id)
    }

    /// Products of rows, and what is elementwise and made of one.
    fn scored(&self, order: &[NodeId]) -> HashSet<NodeId> {
        let end = |i: NodeId| self.dims(i).iter().rev().take(2).copied().collect::<Vec<_>>();
        let mut scored = HashSet::new();
        for id in order {
            let of_scores = |i: NodeId| scored.contains(&i) && end(i) == end(*id);
            let made = self.elementwise(*id) && self.inputs(*id).into_iter().any(of_scores);
            if self.product(*id) || (made && self.fits(*id)) {
                scored.insert(*id);
            }
        }
        scored
    }

    /// All that hangs together with a softmax over keys.
    fn grow(&mut self, order: &[NodeId]) {
        let scored = self.scored(order);
        let mut open = vec![];
        for id in order {
            if let Prim::Softmax(prim::Softmax { axis }) = self.graph.op(*id) {
                let operand = self.inputs(*id)[0];
                if *axis + 1 == self.dims(*id).len() && scored.contains(&operand) {
                    open.extend([*id, operand]);
                }
            }
        }
        while let Some(id) = open.pop() {
            if !self.found.insert(id) {
                continue;
            }
            let row = self.row(id);
            if self.elementwise(id) && !row {
                let mut operands = self.inputs(id);
                operands.retain(|i| scored.contains(i));
                open.extend(operands);
            }
            let size = |id: NodeId| self.dims(id).iter().rev().take(2).product::<usize>();
            for reader in self.readers.get(&id).into_iter().flatten() {
                let highest = matches!(
                    self.graph.op(*reader),
                    Prim::Reduce(prim::Reduce { kind: Reduction::Max, keep: true, .. })
                );
                let same =
                    self.elementwise(*reader) && self.fits(*reader) && (size(*reader) == size(id) || row);
                if same || (highest && !row) {
                    open.push(*reader);
                }
            }
        }
    }

    /// One number a row.
    fn row(&self, id: NodeId) -> bool {
        let maximum = |id: NodeId| matches!(self.graph.op(id), Prim::Reduce(_));
        self.dims(id).last() == Some(&1)
            && (maximum(id) || (self.elementwise(id) && self.inputs(id).into_iter().any(maximum)))
    }

    /// Takes out what some reader needs in memory, until nothing more has to go.
    fn prune(&mut self, order: &[NodeId]) {
        loop {
            let before = self.found.len();
            // Readers before what they read, then the other way, so that few rounds suffice.
            let known = self.expressions(order);
            for id in order.iter().rev() {
                if self.found.contains(id) && !self.stays(*id, &known) {
                    self.found.remove(id);
                }
            }
            let known = self.expressions(order);
            for id in order {
                if self.found.contains(id) && !self.stays(*id, &known) {
                    self.found.remove(id);
                }
            }
            if !self.without_softmax(order) && self.found.len() == before {
                return;
            }
        }
    }

    fn stays(&self, id: NodeId, known: &HashMap<NodeId, HashSet<NodeId>>) -> bool {
        let inputs = self.inputs(id);
        let inside = |id: &NodeId| self.found.contains(id);
        let made = match self.graph.op(id) {
            Prim::MatMul(_) => !inputs.iter().any(inside),
            Prim::Softmax(_) => inside(&inputs[0]),
            // The maximum of what a softmax is of: its own.
            Prim::Reduce(prim::Reduce { axes, .. }) => {
                let softmax = |r: &NodeId| inside(r) && matches!(self.graph.op(*r), Prim::Softmax(_));
                axes[..] == [self.dims(inputs[0]).len() - 1]
                    && inside(&inputs[0])
                    && self.readers.get(&inputs[0]).into_iter().flatten().any(softmax)
            }
            _ => inputs.iter().any(inside),
        };
        let nodes = &known[&id];
        let products = nodes.iter().filter(|n| matches!(self.graph.op(**n), Prim::MatMul(_))).count();
        let small = products <= MAX_PRODUCTS.min(MAX_GROUPS) && nodes.len() <= MAX_NODES;
        let readers = self.readers.get(&id).map(Vec::as_slice).unwrap_or_default();
        let read = |reader: &NodeId| {
            if inside(reader) {
                return true;
            }
            let operands = self.inputs(*reader);
            match self.graph.op(*reader) {
                Prim::MatMul(prim::MatMul { a, b, .. }) => {
                    let part = if operands[0] == id { a } else { b };
                    operands[0] != operands[1]
                        && !operands.iter().all(inside)
                        && *part == Transform::Id
                        && self.fits(*reader)
                }
                Prim::Reduce(prim::Reduce { kind: Reduction::Sum, axes, .. }) => {
                    axes.contains(&(self.dims(id).len() - 1))
                        && Kind::of(self.graph.node(id).types[0].dtype) == Kind::F
                }
                _ => false,
            }
        };
        made && small
            && !self.results.contains(&id)
            && readers.iter().all(read)
            && (!self.row(id) || readers.iter().all(inside))
    }

    /// The nodes of each expression; of one that is too long, as many as it takes to see that.
    fn expressions(&self, order: &[NodeId]) -> HashMap<NodeId, HashSet<NodeId>> {
        let mut known: HashMap<NodeId, HashSet<NodeId>> = HashMap::new();
        for id in order.iter().filter(|id| self.found.contains(id)) {
            let mut nodes = HashSet::from([*id]);
            for input in self.inputs(*id) {
                let whole = !matches!(self.graph.op(*id), Prim::Reduce(_)) && nodes.len() <= MAX_NODES;
                if let Some(more) = known.get(&input).filter(|_| whole) {
                    nodes.extend(more);
                }
            }
            known.insert(*id, nodes);
        }
        known
    }

    /// Takes out what no longer hangs together with a softmax; whether there was such.
    fn without_softmax(&mut self, order: &[NodeId]) -> bool {
        let mut kept: HashSet<NodeId> = HashSet::new();
        let mut open: Vec<NodeId> = order
            .iter()
            .filter(|id| self.found.contains(id) && matches!(self.graph.op(**id), Prim::Softmax(_)))
            .copied()
            .collect();
        while let Some(id) = open.pop() {
            if kept.insert(id) {
                let beside = self.readers.get(&id).into_iter().flatten().copied();
                let near = self.inputs(id).into_iter().chain(beside);
                open.extend(near.filter(|i| self.found.contains(i)));
            }
        }
        let before = self.found.len();
        self.found = kept;
        self.found.len() < before
    }
}
