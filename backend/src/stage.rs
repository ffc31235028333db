//! Split of a program into two stages: the nodes that the forward outputs need, and the other nodes.

use std::collections::{BTreeSet, HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::Output;

use crate::error::BackendError;

/// A stage of a program.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Nodes in topological order, including constants and nodes that depend on constants alone.
    pub nodes: Vec<NodeId>,
    /// Values from outside the stage: program inputs and, for the reverse, saved values.
    pub inputs: Vec<Value>,
    /// Results of the stage: requested outputs and then, for the forward, saved values.
    pub outputs: Vec<Value>,
}

/// The stages of a program.
#[derive(Clone, Debug)]
pub struct Stages {
    /// The forward.
    pub forward: Stage,
    /// The reverse.
    pub reverse: Stage,
    /// Forward values that the reverse reads.
    pub saved: Vec<Value>,
}

/// Splits a program into the nodes for the `forward` outputs and the further nodes for the `reverse` outputs.
///
/// # Errors
/// For an output that the program does not have.
pub fn split_stages(
    graph: &Graph<Prim>,
    forward: &[Output],
    reverse: &[Output],
) -> Result<Stages, BackendError> {
    let find = |name: &Output| graph.output(name).ok_or_else(|| BackendError::UnknownOutput(name.clone()));
    let forward: Vec<Value> = forward.iter().map(find).collect::<Result<_, _>>()?;
    let reverse: Vec<Value> = reverse.iter().map(find).collect::<Result<_, _>>()?;
    let order = graph.topological();

    // Nodes that depend on constants alone belong to each stage that reads them, since engines fold them.
    let mut constant: HashSet<NodeId> = HashSet::new();
    for id in &order {
        let inputs = graph.node_inputs(*id);
        let is_constant =
            !matches!(graph.op(*id), Prim::Input) && inputs.iter().all(|v| constant.contains(&v.node));
        if is_constant {
            constant.insert(*id);
        }
    }
    let first = ancestors(graph, &forward, &HashSet::new());
    let computed: HashSet<NodeId> = first
        .iter()
        .filter(|id| !constant.contains(id) && !matches!(graph.op(**id), Prim::Input))
        .copied()
        .collect();
    let second = ancestors(graph, &reverse, &computed);
    let mut saved = BTreeSet::new();
    for id in &second {
        if !computed.contains(id) {
            saved.extend(graph.node_inputs(*id).into_iter().filter(|v| computed.contains(&v.node)));
        }
    }
    saved.extend(reverse.iter().filter(|v| computed.contains(&v.node)));
    let saved: Vec<Value> = saved.into_iter().collect();
    let inputs = |nodes: &HashSet<NodeId>| -> Vec<Value> {
        let used = graph.inputs().iter().filter(|id| nodes.contains(id));
        used.map(|id| Value { node: *id, slot: 0 }).collect()
    };
    let stage = |nodes: &HashSet<NodeId>, extra: &[Value], outputs: Vec<Value>| Stage {
        nodes: order
            .iter()
            .filter(|id| nodes.contains(id) && !extra.iter().any(|v| v.node == **id))
            .copied()
            .collect(),
        inputs: inputs(nodes).into_iter().chain(extra.iter().copied()).collect(),
        outputs,
    };
    Ok(Stages {
        forward: stage(&first, &[], [forward, saved.clone()].concat()),
        reverse: stage(&second.difference(&computed).copied().collect(), &saved, reverse),
        saved,
    })
}

/// Returns the nodes that `roots` depend on. Nodes in `stop` are included, but not what they depend on.
fn ancestors(graph: &Graph<Prim>, roots: &[Value], stop: &HashSet<NodeId>) -> HashSet<NodeId> {
    let mut seen = HashSet::new();
    let mut stack: Vec<NodeId> = roots.iter().map(|v| v.node).collect();
    while let Some(id) = stack.pop() {
        if seen.insert(id) && !stop.contains(&id) {
            stack.extend(graph.node_inputs(id).into_iter().map(|v| v.node));
        }
    }
    seen
}

/// Counts the reads of each node's result in a stage; an output of the stage counts as a read.
pub fn count_reads(graph: &Graph<Prim>, stage: &Stage) -> HashMap<NodeId, usize> {
    let mut reads: HashMap<NodeId, usize> = HashMap::new();
    for id in &stage.nodes {
        for v in graph.node_inputs(*id) {
            *reads.entry(v.node).or_default() += 1;
        }
    }
    for v in &stage.outputs {
        *reads.entry(v.node).or_default() += 1;
    }
    reads
}
