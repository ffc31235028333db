//! Search for the groups of nodes that become one launch along rows.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::prim::{self, Prim, Reduction};
use dlbc_ptx::kernel::pointwise::Kind;

/// Lengths of rows that a warp or a block reduces in one pass.
const LENGTHS: std::ops::Range<usize> = 16..16384;
/// Maximum number of nodes of a group.
const MAX_NODES: usize = 48;

/// Nodes that are lowered at once.
pub(in crate::plan) enum Unit {
    /// A single node.
    Node(NodeId),
    /// Nodes that become one launch along rows, in topological order.
    Rows(Vec<NodeId>),
}

/// Rows that a node's elements or values belong to.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    /// Dimensions but the last one.
    rows: Vec<usize>,
    /// Length of a row; `None` for a value of each row.
    dim: Option<usize>,
}

/// Groups under construction.
struct Search<'a> {
    graph: &'a Graph<Prim>,
    scores: &'a HashSet<NodeId>,
    /// Position of each node of the stage in topological order.
    positions: HashMap<NodeId, usize>,
    /// Nodes that depend on constants alone.
    constant: HashSet<NodeId>,
    /// Index of each node's group.
    group_of: HashMap<NodeId, usize>,
    /// Positions of the nodes of each group, and their rows. Groups that joined others are empty.
    groups: Vec<(BTreeSet<usize>, Shape)>,
    /// Groups of several nodes.
    large: BTreeSet<usize>,
}

/// Divides the nodes of a stage, in topological order, into units. Each follows those that it reads.
pub(in crate::plan) fn units(graph: &Graph<Prim>, nodes: &[NodeId], scores: &HashSet<NodeId>) -> Vec<Unit> {
    let positions = nodes.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut search = Search {
        graph,
        scores,
        positions,
        constant: HashSet::new(),
        group_of: HashMap::new(),
        groups: vec![],
        large: BTreeSet::new(),
    };
    for id in nodes {
        search.add(nodes, *id);
    }
    search.prune(nodes);
    search.ordered(nodes)
}

impl Search<'_> {
    fn inputs(&self, id: NodeId) -> Vec<NodeId> {
        self.graph.node_inputs(id).iter().map(|v| v.node).collect()
    }

    fn dims(&self, id: NodeId) -> Vec<usize> {
        self.graph.node(id).types[0].shape.as_known().unwrap_or_default()
    }

    /// Returns the rows of a node that can be part of a group.
    fn shape(&self, id: NodeId) -> Option<Shape> {
        let kind = |id: NodeId| Kind::of(self.graph.node(id).types[0].dtype);
        let inputs = self.inputs(id);
        let whole =
            kind(id) == Kind::I || inputs.iter().any(|i| kind(*i) == Kind::I || self.scores.contains(i));
        if whole || self.scores.contains(&id) {
            return None;
        }
        match self.graph.op(id) {
            Prim::Reduce(prim::Reduce {
                kind: Reduction::Sum | Reduction::Max | Reduction::Min,
                axes,
                ..
            }) => {
                let dims = self.dims(inputs[0]);
                let (dim, rows) = dims.split_last()?;
                let fits = axes[..] == [rows.len()] && LENGTHS.contains(dim) && kind(inputs[0]) == Kind::F;
                fits.then(|| Shape { rows: rows.to_vec(), dim: None })
            }
            // The axes of a reduction that drops an axis do not align with those of its operand.
            _ if inputs
                .iter()
                .any(|i| matches!(self.graph.op(*i), Prim::Reduce(prim::Reduce { keep: false, .. }))) =>
            {
                None
            }
            Prim::Unary(_) | Prim::Binary(_) | Prim::Select => {
                let dims = self.dims(id);
                let (dim, rows) = dims.split_last()?;
                let dim = match *dim {
                    1 => None,
                    dim if LENGTHS.contains(&dim) => Some(dim),
                    _ => return None,
                };
                Some(Shape { rows: rows.to_vec(), dim })
            }
            _ => None,
        }
    }

    fn is_reduction(&self, id: NodeId) -> bool {
        matches!(self.graph.op(id), Prim::Reduce(_))
    }

    /// Adds a node to the group of its operands, as far as no path leaves the group and enters it again.
    fn add(&mut self, nodes: &[NodeId], id: NodeId) {
        let inputs = self.inputs(id);
        let is_input = matches!(self.graph.op(id), Prim::Input);
        if !is_input && inputs.iter().all(|i| self.constant.contains(i)) {
            self.constant.insert(id);
            return;
        }
        let Some(mut shape) = self.shape(id) else { return };
        if self.is_reduction(id) {
            shape.dim = self.dims(inputs[0]).last().copied();
        }
        let position = self.positions[&id];
        let (mut members, mut joined) = (BTreeSet::from([position]), vec![]);
        let candidates: BTreeSet<usize> =
            inputs.iter().filter_map(|i| self.group_of.get(i).copied()).collect();
        for group in candidates {
            let (other, other_shape) = &self.groups[group];
            let same_length = match (shape.dim, other_shape.dim) {
                (Some(a), Some(b)) => a == b,
                _ => true,
            };
            let union: BTreeSet<usize> = members.union(other).copied().collect();
            let fits = same_length && shape.rows == other_shape.rows && union.len() <= MAX_NODES;
            if fits && self.is_convex(nodes, &union) {
                shape.dim = shape.dim.or(other_shape.dim);
                members = union;
                joined.push(group);
            }
        }
        for group in joined {
            self.groups[group].0.clear();
            self.large.remove(&group);
        }
        if members.len() > 1 {
            self.large.insert(self.groups.len());
        }
        for member in &members {
            self.group_of.insert(nodes[*member], self.groups.len());
        }
        self.groups.push((members, shape));
    }

    /// Returns whether no node outside of a set both depends on it and is read by it, through whatever groups there are.
    fn is_convex(&self, nodes: &[NodeId], members: &BTreeSet<usize>) -> bool {
        let horizon = self.horizon(members);
        let mut seen: HashSet<usize> = HashSet::new();
        let operands = |position: usize| self.inputs(nodes[position]);
        let mut open: Vec<NodeId> = members.iter().flat_map(|m| operands(*m)).collect();
        while let Some(id) = open.pop() {
            let Some(position) = self.positions.get(&id).copied() else { continue };
            if position < horizon || members.contains(&position) || !seen.insert(position) {
                continue;
            }
            // Of a group, all nodes are computed at once.
            let group = self.group_of.get(&id).map(|g| &self.groups[*g].0);
            let all: Vec<usize> =
                group.filter(|g| g.len() > 1).map_or(vec![position], |g| g.iter().copied().collect());
            for other in all {
                seen.insert(other);
                for input in operands(other) {
                    if self.positions.get(&input).is_some_and(|p| members.contains(p)) {
                        return false;
                    }
                    open.push(input);
                }
            }
        }
        true
    }

    /// Returns the position before which no node can depend on the members: that of the first, or of a group that lies on both
    /// sides of it.
    fn horizon(&self, members: &BTreeSet<usize>) -> usize {
        let mut horizon = members.first().copied().unwrap_or(0);
        loop {
            let spans = self.large.iter().map(|g| &self.groups[*g].0);
            let earlier = spans
                .filter_map(|g| Some((g.first().copied()?, g.last().copied()?)))
                .filter(|(first, last)| *first < horizon && *last >= horizon)
                .map(|(first, _)| first)
                .min();
            match earlier {
                Some(first) => horizon = first,
                None => return horizon,
            }
        }
    }

    /// Removes from each group what neither a reduction nor anything it shares with a reduction needs, and groups without a
    /// reduction.
    fn prune(&mut self, nodes: &[NodeId]) {
        for (members, _) in &mut self.groups {
            let reductions = members.iter().filter(|m| matches!(self.graph.op(nodes[**m]), Prim::Reduce(_)));
            let mut connected: BTreeSet<usize> = reductions.copied().collect();
            let operands = |m: usize| -> Vec<usize> {
                let inputs = self.graph.node_inputs(nodes[m]);
                inputs.iter().filter_map(|v| self.positions.get(&v.node).copied()).collect()
            };
            for m in members.iter().rev() {
                if connected.contains(m) {
                    connected.extend(operands(*m).into_iter().filter(|o| members.contains(o)));
                }
            }
            for m in members.iter() {
                if operands(*m).iter().any(|o| connected.contains(o)) {
                    connected.insert(*m);
                }
            }
            for m in members.difference(&connected) {
                self.group_of.remove(&nodes[*m]);
            }
            *members = connected;
            if members.len() < 2 {
                for m in members.iter() {
                    self.group_of.remove(&nodes[*m]);
                }
                members.clear();
            }
        }
    }

    /// Returns the units in an order in which each follows those that it reads.
    fn ordered(&self, nodes: &[NodeId]) -> Vec<Unit> {
        // A unit is named by its first position.
        let unit_of = |id: &NodeId| match self.group_of.get(id) {
            Some(group) => self.groups[*group].0.first().copied(),
            None => self.positions.get(id).copied(),
        };
        let mut waits: HashMap<usize, usize> = HashMap::new();
        let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut ready: BinaryHeap<Reverse<usize>> = BinaryHeap::new();
        let members = |first: usize| -> Vec<usize> {
            match self.group_of.get(&nodes[first]) {
                Some(group) => self.groups[*group].0.iter().copied().collect(),
                None => vec![first],
            }
        };
        let firsts: BTreeSet<usize> = nodes.iter().filter_map(unit_of).collect();
        for first in firsts {
            let inputs = members(first).into_iter().flat_map(|m| self.inputs(nodes[m]));
            let before: BTreeSet<usize> =
                inputs.filter_map(|i| unit_of(&i)).filter(|u| *u != first).collect();
            waits.insert(first, before.len());
            if before.is_empty() {
                ready.push(Reverse(first));
            }
            before.into_iter().for_each(|u| readers.entry(u).or_default().push(first));
        }
        let mut units = vec![];
        while let Some(Reverse(first)) = ready.pop() {
            let ids: Vec<NodeId> = members(first).into_iter().map(|m| nodes[m]).collect();
            units.push(match ids.as_slice() {
                [id] => Unit::Node(*id),
                _ => Unit::Rows(ids),
            });
            for reader in readers.remove(&first).unwrap_or_default() {
                if let Some(count) = waits.get_mut(&reader) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(Reverse(reader));
                    }
                }
            }
        }
        units
    }
}
