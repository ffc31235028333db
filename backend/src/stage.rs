//! Splits a program into its two stages: what the forward outputs need, and the rest.

use std::collections::{BTreeSet, HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::Output;

use crate::error::BackendError;

/// One stage of a program.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its nodes in order, constants and what is made of constants alone included.
    pub nodes: Vec<NodeId>,
    /// Values that come from outside: program inputs and, in the second stage, saved values.
    pub inputs: Vec<Value>,
    /// Values that it computes: the wanted outputs, then (first stage) the saved values.
    pub outputs: Vec<Value>,
}

/// Both stages.
#[derive(Clone, Debug)]
pub struct Stages {
    /// The forward.
    pub forward: Stage,
    /// The reverse.
    pub reverse: Stage,
    /// The values that the forward saves for the reverse.
    pub saved: Vec<Value>,
}

/// Splits `graph`.
///
/// # Errors
/// When an output does not exist.
pub fn split_stages(
    graph: &Graph<Prim>,
    forward: &[Output],
    reverse: &[Output],
) -> Result<Stages, BackendError> {
    let find = |name: &Output| graph.output(name).ok_or_else(|| BackendError::UnknownOutput(name.clone()));
    let forward: Vec<Value> = forward.iter().map(find).collect::<Result<_, _>>()?;
    let reverse: Vec<Value> = reverse.iter().map(find).collect::<Result<_, _>>()?;
    let order = graph.topological();

    // What depends on constants alone is made again in each stage that reads it: it folds.
    let mut constant: HashSet<NodeId> = HashSet::new();
    for id in &order {
        let inputs = graph.node_inputs(*id);
        let made = !matches!(graph.op(*id), Prim::Input) && inputs.iter().all(|v| constant.contains(&v.node));
        if made {
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

/// The nodes that `roots` need; what is in `stop` is included and not followed.
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

/// Number of reads of each value within a stage, its outputs counted.
pub fn count_reads(graph: &Graph<Prim>, stage: &Stage) -> HashMap<NodeId, usize> {
    let mut uses: HashMap<NodeId, usize> = HashMap::new();
    for id in &stage.nodes {
        for v in graph.node_inputs(*id) {
            *uses.entry(v.node).or_default() += 1;
        }
    }
    for v in &stage.outputs {
        *uses.entry(v.node).or_default() += 1;
    }
    uses
}
