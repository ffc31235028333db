//! Partition of a program into blocks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::{Output, SEED};
use dlbc_ops::tensor::Bindings;

use super::block::{NodeFacts, Partition, Source, build_block, is_input};
use super::order::{BlockKey, Phase, block_keys, ordered};
use super::shared;
use crate::error::RuntimeError;
use crate::plan::simplify::{constant_of, simplify};
use crate::plan::steps::{ancestors, check_sizes, constants, dimension_values};

/// The form of large weights in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weights {
    /// Inputs of the block, for a backend that borrows them; blocks that differ only in weights then share a plan.
    Inputs,
    /// Constants of the block.
    Constants,
}

/// Cuts a program into blocks that compute the outputs `forward` and `reverse`. `bindings` has the dimensions of its inputs.
///
/// # Errors
/// When a dimension is negative, or dimensions depend on one another in a cycle.
pub(super) fn cut(
    program: &Graph<Prim>,
    bindings: &Bindings,
    forward: &[Output],
    reverse: &[Output],
    weights: Weights,
) -> Result<Partition, RuntimeError> {
    let graph = simplified(program, bindings, forward, reverse)?;
    let sizes = dimension_values(&graph);
    let roots = |names: &[Output]| -> Vec<NodeId> {
        graph.outputs().iter().filter(|(n, _)| names.contains(n)).map(|(_, v)| v.node).collect()
    };
    let size_nodes: Vec<NodeId> = sizes.values().map(|v| v.node).collect();
    let forward_nodes = ancestors(&graph, &[roots(forward), size_nodes].concat());
    let seed: Vec<NodeId> =
        graph.inputs().iter().copied().filter(|id| graph.node(*id).name() == SEED).collect();
    let seeded = descendants(&graph, &seed);
    let outputs: HashSet<NodeId> =
        graph.outputs().iter().map(|(_, v)| v.node).filter(|id| !is_input(&graph, *id)).collect();
    let order = ordered(&graph, &sizes)?;
    let constant = constants(&graph);
    let keys = block_keys(&graph, &order, &constant, &forward_nodes, &outputs, &sizes);

    let mut nodes: BTreeMap<BlockKey, Vec<NodeId>> = BTreeMap::new();
    for id in &order {
        if let Some(key) = keys.get(id) {
            nodes.entry(*key).or_default().push(*id);
        }
    }
    // A value that another block reads has a slot.
    let mut slots: HashMap<NodeId, usize> = HashMap::new();
    for id in &order {
        let crosses = |v: &Value| {
            keys.get(&v.node).is_some_and(|key| keys.get(id).is_some_and(|reader| reader != key))
                && !constant.contains(&v.node)
        };
        for v in graph.node_inputs(*id).iter().filter(|v| crosses(v)) {
            let next = slots.len();
            slots.entry(v.node).or_insert(next);
        }
    }
    for id in &outputs {
        let next = slots.len();
        slots.entry(*id).or_insert(next);
    }
    let facts = NodeFacts { constant, seeded, slots };
    let slots = &facts.slots;
    let mut blocks = vec![];
    for (key, ids) in &nodes {
        // A block without data-dependent dimensions shares no plan, so its order does not matter.
        let ids = match key.symbol_set {
            0 => ids.clone(),
            _ => shared::ordered(&graph, ids, |id| slots.contains_key(&id)),
        };
        let mut block = build_block(&graph, &ids, &facts);
        if weights == Weights::Inputs && !block.symbols.is_empty() {
            block.lift_weights_to_inputs();
        }
        let members: HashSet<NodeId> = ids.iter().copied().collect();
        let computed = sizes.iter().filter(|(_, v)| members.contains(&v.node));
        block.dimensions = computed.map(|(s, v)| (s.clone(), slots[&v.node])).collect();
        blocks.push(block);
    }
    let forward_blocks = nodes.keys().filter(|key| key.phase == Phase::Forward).count();
    let source = |v: &Value| match slots.get(&v.node) {
        Some(slot) => Source::Slot(*slot),
        None => Source::Input(graph.node(v.node).name().to_string()),
    };
    let sources = |names: &[Output]| {
        let outputs = graph.outputs().iter().filter(|(n, _)| names.contains(n));
        outputs.map(|(n, v)| (n.clone(), source(v))).collect()
    };
    let dimensions = sizes.iter().filter(|(_, v)| is_input(&graph, v.node));
    let mut partition = Partition {
        blocks,
        forward_blocks,
        input_dimensions: dimensions
            .map(|(s, v)| (s.clone(), graph.node(v.node).name().to_string()))
            .collect(),
        forward_outputs: sources(forward),
        reverse_outputs: sources(reverse),
        slots: slots.len(),
    };
    assign_freed_slots(&mut partition);
    shared::classify(&mut partition.blocks);
    Ok(partition)
}

/// Binds the sizes that constants determine, simplifies, and removes everything that the outputs do not need.
fn simplified(
    program: &Graph<Prim>,
    bindings: &Bindings,
    forward: &[Output],
    reverse: &[Output],
) -> Result<Graph<Prim>, RuntimeError> {
    let mut graph = program.bind(bindings);
    let mut bound = Bindings::new();
    loop {
        simplify(&mut graph);
        let sizes = dimension_values(&graph);
        let known: Bindings = sizes
            .iter()
            .filter(|(s, _)| !bound.contains_key(*s))
            .filter_map(|(s, v)| Some((s.clone(), constant_of(&graph, *v)?)))
            .collect();
        if known.is_empty() {
            break;
        }
        check_sizes(&graph, &sizes, &known)?;
        graph = graph.bind(&known);
        bound.extend(known);
    }
    // Only the dimensions that the outputs need.
    let sizes = dimension_values(&graph);
    let mut outputs: Vec<(Output, Value)> =
        graph.outputs().iter().filter(|(n, _)| forward.contains(n) || reverse.contains(n)).cloned().collect();
    let mut needed = BTreeSet::new();
    let mut roots: Vec<NodeId> = outputs.iter().map(|(_, v)| v.node).collect();
    while !roots.is_empty() {
        let mut size_nodes = vec![];
        for id in ancestors(&graph, &roots) {
            graph.symbols(id, &mut |s| {
                if let Some(v) = sizes.get(s)
                    && needed.insert(s.clone())
                {
                    size_nodes.push(v.node);
                }
            });
        }
        roots = size_nodes;
    }
    outputs.extend(needed.iter().map(|s: &Arc<str>| (Output::Dimension(s.clone()), sizes[s])));
    graph.set_outputs(outputs);
    graph.remove_unused();
    Ok(graph)
}

/// Returns `roots` and the nodes that depend on them.
fn descendants(graph: &Graph<Prim>, roots: &[NodeId]) -> HashSet<NodeId> {
    let mut dependent: HashSet<NodeId> = roots.iter().copied().collect();
    for id in graph.topological() {
        if graph.node_inputs(id).iter().any(|v| dependent.contains(&v.node)) {
            dependent.insert(id);
        }
    }
    dependent
}

/// Assigns each value slot to the last block that uses it, which frees it. Slots of outputs are never freed.
fn assign_freed_slots(partition: &mut Partition) {
    let slot = |source: &Source| match source {
        Source::Slot(slot) => Some(*slot),
        Source::Input(_) | Source::Weight(_) => None,
    };
    let outputs = partition.forward_outputs.iter().chain(&partition.reverse_outputs);
    let mut used_later: HashSet<usize> = outputs.filter_map(|(_, source)| slot(source)).collect();
    for block in partition.blocks.iter_mut().rev() {
        let inputs = block.inputs.iter().filter_map(|input| slot(&input.source));
        let outputs = block.outputs.iter().map(|output| output.slot);
        let used: Vec<usize> = inputs.chain(outputs).collect();
        block.freed_slots = used.into_iter().filter(|slot| used_later.insert(*slot)).collect();
    }
}
