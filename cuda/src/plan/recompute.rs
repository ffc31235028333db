//! Where memory does not hold all that the forward saves: the forward is cut into segments, only what passes from one to the
//! next is kept, and the reverse computes a segment's values again when it first reads them. By the same kernels from the
//! same operands: the results have the same bits.

use std::collections::{HashMap, HashSet};

use dlbc_backend::{Stage, Stages};
use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::SEED;

/// Stages of which the second makes again what the first does not keep.
pub(super) struct Cut {
    pub(super) stages: Stages,
    /// What the first stage computes and the second must not read from it.
    pub(super) dropped: Vec<NodeId>,
}

/// Cuts the forward into `segments`; below 2 nothing changes. `scores` are never in memory and so not kept.
pub(super) fn cut(graph: &Graph<Prim>, stages: &Stages, scores: &HashSet<NodeId>, segments: usize) -> Cut {
    if segments < 2 {
        return Cut { stages: stages.clone(), dropped: vec![] };
    }
    let computed = computed(graph, &stages.forward);
    let saved: HashSet<NodeId> = stages.saved.iter().map(|v| v.node).collect();
    let mut kept = kept(graph, &computed, &saved, segments);
    kept.retain(|id| !scores.contains(id));
    let dropped: Vec<NodeId> = computed.iter().filter(|id| !kept.contains(id)).copied().collect();
    let again: HashSet<NodeId> = dropped.iter().copied().collect();

    // What relevance flows through comes in its order; all else when it is first read.
    let mut order = Demand { graph, again: &again, done: HashSet::new(), nodes: vec![] };
    let own: HashSet<NodeId> = stages.reverse.nodes.iter().copied().collect();
    let mut flows: HashSet<NodeId> = HashSet::new();
    for id in &stages.reverse.nodes {
        let seed = matches!(graph.op(*id), Prim::Input) && graph.node(*id).name() == SEED;
        if seed || graph.node_inputs(*id).iter().any(|v| flows.contains(&v.node)) {
            flows.insert(*id);
            order.demand(*id, &own);
        }
    }
    for v in &stages.reverse.outputs {
        order.demand(v.node, &own);
    }
    let nodes = order.nodes;
    let mut read: HashSet<NodeId> =
        nodes.iter().flat_map(|id| graph.node_inputs(*id)).map(|v| v.node).collect();
    read.extend(stages.reverse.outputs.iter().map(|v| v.node));
    let stays = computed.iter().filter(|id| kept.contains(id) && read.contains(id));
    let saved: Vec<Value> = stays.map(|node| Value { node: *node, slot: 0 }).collect();
    let named = stages.forward.outputs.len() - stages.saved.len();
    let outputs = stages.forward.outputs[..named].iter().chain(&saved).copied().collect();
    let given = |v: &&Value| matches!(graph.op(v.node), Prim::Input);
    Cut {
        stages: Stages {
            forward: Stage {
                nodes: stages.forward.nodes.clone(),
                inputs: stages.forward.inputs.clone(),
                outputs,
            },
            reverse: Stage {
                nodes,
                inputs: stages.reverse.inputs.iter().filter(given).chain(&saved).copied().collect(),
                outputs: stages.reverse.outputs.clone(),
            },
            saved,
        },
        dropped,
    }
}

/// The nodes of a stage that depend on its inputs.
fn computed(graph: &Graph<Prim>, stage: &Stage) -> Vec<NodeId> {
    let mut varies: HashSet<NodeId> = HashSet::new();
    let mut found = vec![];
    for id in &stage.nodes {
        let input = matches!(graph.op(*id), Prim::Input);
        if input || graph.node_inputs(*id).iter().any(|v| varies.contains(&v.node)) {
            varies.insert(*id);
            if !input {
                found.push(*id);
            }
        }
    }
    found
}

/// What passes from one segment to the next, and what the last one saves.
fn kept(
    graph: &Graph<Prim>,
    computed: &[NodeId],
    saved: &HashSet<NodeId>,
    segments: usize,
) -> HashSet<NodeId> {
    let place: HashMap<NodeId, usize> = computed.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut last: Vec<usize> = (0..computed.len()).collect();
    for (i, id) in computed.iter().enumerate() {
        for v in graph.node_inputs(*id) {
            if let Some(made) = place.get(&v.node) {
                last[*made] = i;
            }
        }
    }
    let bytes = |i: usize| graph.node(computed[i]).types[0].bytes().unwrap_or(0);
    // Bytes that pass each place, and bytes saved before it.
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
            let wanted = (u128::from(all) * s as u128 / segments as u128) as u64;
            let at = before.partition_point(|b| *b < wanted);
            let near = at.saturating_sub(reach)..=(at + reach).min(computed.len());
            near.min_by_key(|i| (passing[*i], i.abs_diff(at))).unwrap_or(at)
        })
        .collect();
    let last_segment = boundaries.last().copied().unwrap_or(0);
    let passes = |i: usize| boundaries.iter().any(|b| i < *b && *b <= last[i]);
    let stays = |i: &usize| passes(*i) || (*i >= last_segment && saved.contains(&computed[*i]));
    (0..computed.len()).filter(stays).map(|i| computed[i]).collect()
}

/// Nodes in the order in which they are first needed.
struct Demand<'a> {
    graph: &'a Graph<Prim>,
    again: &'a HashSet<NodeId>,
    done: HashSet<NodeId>,
    nodes: Vec<NodeId>,
}

impl Demand<'_> {
    /// A node of the reverse (`own`) or one to compute again, after what it needs.
    fn demand(&mut self, root: NodeId, own: &HashSet<NodeId>) {
        let mut stack = vec![(root, false)];
        while let Some((id, ready)) = stack.pop() {
            if ready {
                self.nodes.push(id);
                continue;
            }
            let wanted = own.contains(&id) || self.again.contains(&id);
            if !wanted || !self.done.insert(id) {
                continue;
            }
            stack.push((id, true));
            stack.extend(self.graph.node_inputs(id).into_iter().rev().map(|v| (v.node, false)));
        }
    }
}
