//! Checkpointing, for programs whose saved values exceed the memory. The forward is cut into segments, only values that cross a
//! boundary are saved, and the reverse recomputes the values of a segment when it first reads them. It uses the same kernels on the
//! same operands, so the results have the same bits.

use std::collections::{HashMap, HashSet};

use dlbc_backend::{Stage, Stages};
use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::SEED;

/// Stages of which the reverse recomputes the values that the forward does not save.
pub(super) struct Cut {
    pub(super) stages: Stages,
    /// Nodes of the forward whose values are not saved.
    pub(super) dropped: Vec<NodeId>,
}

/// Cuts the forward into `segments`; fewer than 2 change nothing. `scores` are never in memory, so they are not saved.
pub(super) fn cut(graph: &Graph<Prim>, stages: &Stages, scores: &HashSet<NodeId>, segments: usize) -> Cut {
    if segments < 2 {
        return Cut { stages: stages.clone(), dropped: vec![] };
    }
    let computed = computed(graph, &stages.forward);
    let saved: HashSet<NodeId> = stages.saved.iter().map(|v| v.node).collect();
    let mut checkpoints = checkpoints(graph, &computed, &saved, segments);
    checkpoints.retain(|id| !scores.contains(id));
    let dropped: Vec<NodeId> = computed.iter().filter(|id| !checkpoints.contains(id)).copied().collect();
    let recomputed: HashSet<NodeId> = dropped.iter().copied().collect();

    // Nodes through which relevance flows keep their order; all others are computed when they are first read.
    let reverse: HashSet<NodeId> = stages.reverse.nodes.iter().copied().collect();
    let mut order = Demand { graph, reverse, recomputed, visited: HashSet::new(), nodes: vec![] };
    let mut flows: HashSet<NodeId> = HashSet::new();
    for id in &stages.reverse.nodes {
        let seed = matches!(graph.op(*id), Prim::Input) && graph.node(*id).name() == SEED;
        if seed || graph.node_inputs(*id).iter().any(|v| flows.contains(&v.node)) {
            flows.insert(*id);
            order.demand(*id);
        }
    }
    for v in &stages.reverse.outputs {
        order.demand(v.node);
    }
    let nodes = order.nodes;
    let mut read: HashSet<NodeId> =
        nodes.iter().flat_map(|id| graph.node_inputs(*id)).map(|v| v.node).collect();
    read.extend(stages.reverse.outputs.iter().map(|v| v.node));
    let needed = computed.iter().filter(|id| checkpoints.contains(id) && read.contains(id));
    let saved: Vec<Value> = needed.map(|node| Value { node: *node, slot: 0 }).collect();
    let output_count = stages.forward.outputs.len() - stages.saved.len();
    let outputs = stages.forward.outputs[..output_count].iter().chain(&saved).copied().collect();
    let is_input = |v: &&Value| matches!(graph.op(v.node), Prim::Input);
    Cut {
        stages: Stages {
            forward: Stage {
                nodes: stages.forward.nodes.clone(),
                inputs: stages.forward.inputs.clone(),
                outputs,
            },
            reverse: Stage {
                nodes,
                inputs: stages.reverse.inputs.iter().filter(is_input).chain(&saved).copied().collect(),
                outputs: stages.reverse.outputs.clone(),
            },
            saved,
        },
        dropped,
    }
}

/// Returns the nodes of a stage that depend on its inputs, in order.
fn computed(graph: &Graph<Prim>, stage: &Stage) -> Vec<NodeId> {
    let mut varies: HashSet<NodeId> = HashSet::new();
    let mut nodes = vec![];
    for id in &stage.nodes {
        let input = matches!(graph.op(*id), Prim::Input);
        if input || graph.node_inputs(*id).iter().any(|v| varies.contains(&v.node)) {
            varies.insert(*id);
            if !input {
                nodes.push(*id);
            }
        }
    }
    nodes
}

/// Chooses the nodes to save: those that a later segment reads, and the saved nodes of the last segment.
fn checkpoints(
    graph: &Graph<Prim>,
    computed: &[NodeId],
    saved: &HashSet<NodeId>,
    segments: usize,
) -> HashSet<NodeId> {
    let position: HashMap<NodeId, usize> = computed.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut last: Vec<usize> = (0..computed.len()).collect();
    for (i, id) in computed.iter().enumerate() {
        for v in graph.node_inputs(*id) {
            if let Some(operand) = position.get(&v.node) {
                last[*operand] = i;
            }
        }
    }
    let bytes = |i: usize| graph.node(computed[i]).types[0].bytes().unwrap_or(0);
    // Bytes of the values that live across each position, and bytes saved before it.
    let mut passing = vec![0i128; computed.len() + 1];
    let mut before = vec![0u64; computed.len() + 1];
    for i in 0..computed.len() {
        passing[i + 1] += i128::from(bytes(i));
        passing[last[i] + 1] -= i128::from(bytes(i));
        before[i + 1] = before[i] + if saved.contains(&computed[i]) { bytes(i) } else { 0 };
    }
    for i in 0..computed.len() {
        passing[i + 1] += passing[i];
    }
    let all = before.last().copied().unwrap_or(0);
    let reach = computed.len() / (4 * segments);
    let boundaries: Vec<usize> = (1..segments)
        .map(|s| {
            let share = (u128::from(all) * s as u128 / segments as u128) as u64;
            let even = before.partition_point(|b| *b < share);
            let nearby = even.saturating_sub(reach)..=(even + reach).min(computed.len());
            nearby.min_by_key(|i| (passing[*i], i.abs_diff(even))).unwrap_or(even)
        })
        .collect();
    let last_segment = boundaries.last().copied().unwrap_or(0);
    let crosses = |i: usize| boundaries.iter().any(|b| i < *b && *b <= last[i]);
    let is_checkpoint = |i: &usize| crosses(*i) || (*i >= last_segment && saved.contains(&computed[*i]));
    (0..computed.len()).filter(is_checkpoint).map(|i| computed[i]).collect()
}

/// Builder of the reverse's order: each node follows the nodes that it reads.
struct Demand<'a> {
    graph: &'a Graph<Prim>,
    /// Nodes of the reverse.
    reverse: HashSet<NodeId>,
    /// Nodes of the forward that the reverse recomputes.
    recomputed: HashSet<NodeId>,
    visited: HashSet<NodeId>,
    nodes: Vec<NodeId>,
}

impl Demand<'_> {
    /// Appends a node, after the nodes that it reads.
    fn demand(&mut self, root: NodeId) {
        let mut stack = vec![(root, false)];
        while let Some((id, ready)) = stack.pop() {
            if ready {
                self.nodes.push(id);
                continue;
            }
            let is_computed = self.reverse.contains(&id) || self.recomputed.contains(&id);
            if !is_computed || !self.visited.insert(id) {
                continue;
            }
            stack.push((id, true));
            stack.extend(self.graph.node_inputs(id).into_iter().rev().map(|v| (v.node, false)));
        }
    }
}
