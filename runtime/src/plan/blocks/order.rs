//! Assignment of a program's nodes to blocks, and the order of nodes and blocks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::Prim;

use super::block::is_input;
use crate::error::RuntimeError;

/// The part of a run to which a block belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The forward outputs or a data-dependent dimension need the block.
    Forward,
    /// Only the reverse outputs need the block.
    Reverse,
}

/// The identity of a block. Blocks run in ascending order of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlockKey {
    /// Part of the run.
    pub phase: Phase,
    /// Number of changes of data-dependent dimensions on the way to the block, from 0 in each phase.
    pub level: usize,
    /// Index of the set of data-dependent dimensions; 0 is the empty set.
    pub symbol_set: usize,
}

/// Returns the nodes in an order in which each comes after its operands and after the nodes that compute its dimensions.
///
/// # Errors
/// When dimensions depend on one another in a cycle.
pub(super) fn ordered(
    graph: &Graph<Prim>,
    sizes: &BTreeMap<Arc<str>, Value>,
) -> Result<Vec<NodeId>, RuntimeError> {
    let mut order = vec![];
    // False for a node that waits for others, true for one that is in the order.
    let mut state: HashMap<NodeId, bool> = HashMap::new();
    for root in graph.topological() {
        let mut stack = vec![root];
        while let Some(id) = stack.last().copied() {
            match state.get(&id) {
                Some(true) => {
                    stack.pop();
                    continue;
                }
                Some(false) => {
                    state.insert(id, true);
                    order.push(id);
                    stack.pop();
                    continue;
                }
                None => {}
            }
            state.insert(id, false);
            let mut before: Vec<NodeId> = graph.node_inputs(id).into_iter().map(|v| v.node).collect();
            let mut symbols = vec![];
            graph.symbols(id, &mut |s| symbols.extend(sizes.get(s).map(|v| (s.clone(), v.node))));
            before.extend(symbols.iter().map(|(_, node)| *node));
            for node in before.into_iter().rev() {
                match state.get(&node) {
                    None => stack.push(node),
                    Some(true) => {}
                    Some(false) => {
                        // The node waits for this one, so a dimension closes a cycle.
                        let names: Vec<&str> = symbols.iter().map(|(s, _)| &**s).collect();
                        return Err(RuntimeError::Circular { symbols: names.join(", ") });
                    }
                }
            }
        }
    }
    Ok(order)
}

/// Assigns a block to every node except inputs and nodes that depend on constants only. Those that are outputs have one, too.
pub(super) fn block_keys(
    graph: &Graph<Prim>,
    order: &[NodeId],
    constant: &HashSet<NodeId>,
    forward_nodes: &HashSet<NodeId>,
    outputs: &HashSet<NodeId>,
    sizes: &BTreeMap<Arc<str>, Value>,
) -> HashMap<NodeId, BlockKey> {
    let mut sets: HashMap<BTreeSet<Arc<str>>, usize> = HashMap::from([(BTreeSet::new(), 0)]);
    let mut symbols: HashMap<NodeId, BTreeSet<Arc<str>>> = HashMap::new();
    let mut keys: HashMap<NodeId, BlockKey> = HashMap::new();
    for id in order {
        let mut node_symbols = BTreeSet::new();
        let mut add = |s: &Arc<str>| {
            if sizes.contains_key(s) {
                node_symbols.insert(s.clone());
            }
        };
        graph.symbols(*id, &mut add);
        let inputs = graph.node_inputs(*id);
        for v in &inputs {
            graph.ty(*v).shape.0.iter().for_each(|d| d.symbols(&mut add));
        }
        // A value computed from constants is computed again in each block that reads it.
        for v in inputs.iter().filter(|v| constant.contains(&v.node)) {
            node_symbols.extend(symbols.get(&v.node).into_iter().flatten().cloned());
        }
        if constant.contains(id) {
            symbols.insert(*id, node_symbols.clone());
        }
        if is_input(graph, *id) || (constant.contains(id) && !outputs.contains(id)) {
            continue;
        }
        let phase = if forward_nodes.contains(id) { Phase::Forward } else { Phase::Reverse };
        let next = sets.len();
        let sizes = node_symbols.iter().filter_map(|s| sizes.get(s)).filter_map(|v| keys.get(&v.node));
        let mut level = sizes.filter(|_| phase == Phase::Forward).map(|key| key.level + 1).max().unwrap_or(0);
        let symbol_set = *sets.entry(node_symbols).or_insert(next);
        for operand in inputs.iter().filter_map(|v| keys.get(&v.node)) {
            if operand.phase == phase {
                level = level.max(operand.level + usize::from(operand.symbol_set != symbol_set));
            }
        }
        keys.insert(*id, BlockKey { phase, level, symbol_set });
    }
    // A node that only a later block of the same dimensions reads moves there, so that a product and the division by it stay
    // together.
    for id in order.iter().rev() {
        let Some(key) = keys.get(id).copied() else { continue };
        let readers = graph.consumers(Value { node: *id, slot: 0 });
        let latest = readers.iter().filter_map(|(r, _)| keys.get(r)).map(|reader| match reader {
            r if r.phase == key.phase && r.symbol_set == key.symbol_set => (r.level, true),
            r if r.phase == key.phase => (r.level.saturating_sub(1), false),
            _ => (key.level, false),
        });
        if let Some((level, true)) = latest.min()
            && level > key.level
            && !outputs.contains(id)
        {
            keys.insert(*id, BlockKey { level, ..key });
        }
    }
    keys
}
