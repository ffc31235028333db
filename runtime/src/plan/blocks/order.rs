//! Where each node of a program stands: in which block, and after which others.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::Prim;

use super::block::is_input;
use crate::error::RuntimeError;

/// A block's place: late, level, set of symbols.
pub(super) type Place = (bool, usize, usize);

/// The nodes, each after those that it reads and those that its dimensions are measured by.
pub(super) fn ordered(
    graph: &Graph<Prim>,
    measures: &BTreeMap<Arc<str>, Value>,
) -> Result<Vec<NodeId>, RuntimeError> {
    let mut order = vec![];
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
            graph.symbols(id, &mut |s| symbols.extend(measures.get(s).map(|v| (s.clone(), v.node))));
            before.extend(symbols.iter().map(|(_, node)| *node));
            for node in before.into_iter().rev() {
                match state.get(&node) {
                    None => stack.push(node),
                    Some(true) => {}
                    Some(false) => {
                        // Still open: it waits for this node, by a dimension.
                        let names: Vec<&str> = symbols.iter().map(|(s, _)| &**s).collect();
                        return Err(RuntimeError::Circular { symbols: names.join(", ") });
                    }
                }
            }
        }
    }
    Ok(order)
}

/// The place of every node but inputs and what depends on constants alone (unless it is an output).
pub(super) fn places(
    graph: &Graph<Prim>,
    order: &[NodeId],
    constant: &HashSet<NodeId>,
    early: &HashSet<NodeId>,
    outputs: &HashSet<NodeId>,
    measures: &BTreeMap<Arc<str>, Value>,
) -> HashMap<NodeId, Place> {
    let mut sets: HashMap<BTreeSet<Arc<str>>, usize> = HashMap::from([(BTreeSet::new(), 0)]);
    let mut symbols: HashMap<NodeId, BTreeSet<Arc<str>>> = HashMap::new();
    let mut places: HashMap<NodeId, Place> = HashMap::new();
    for id in order {
        let mut own = BTreeSet::new();
        let mut add = |s: &Arc<str>| {
            if measures.contains_key(s) {
                own.insert(s.clone());
            }
        };
        graph.symbols(*id, &mut add);
        let inputs = graph.node_inputs(*id);
        for v in &inputs {
            graph.ty(*v).shape.0.iter().for_each(|d| d.symbols(&mut add));
        }
        // What is made of constants is made again where it is read.
        for v in inputs.iter().filter(|v| constant.contains(&v.node)) {
            own.extend(symbols.get(&v.node).into_iter().flatten().cloned());
        }
        if constant.contains(id) {
            symbols.insert(*id, own.clone());
        }
        if is_input(graph, *id) || (constant.contains(id) && !outputs.contains(id)) {
            continue;
        }
        let late = !early.contains(id);
        let next = sets.len();
        let measured = own.iter().filter_map(|s| measures.get(s)).filter_map(|v| places.get(&v.node));
        let mut level = measured.filter(|_| !late).map(|(_, level, _)| level + 1).max().unwrap_or(0);
        let set = *sets.entry(own).or_insert(next);
        for (other, before, of) in inputs.iter().filter_map(|v| places.get(&v.node)) {
            if *other == late {
                level = level.max(before + usize::from(*of != set));
            }
        }
        places.insert(*id, (late, level, set));
    }
    // What a later block of the same dimensions alone reads is made there: its product and the division by it stay together.
    for id in order.iter().rev() {
        let Some(own @ (late, level, set)) = places.get(id).copied() else { continue };
        let readers = graph.consumers(Value { node: *id, slot: 0 });
        let latest = readers.iter().filter_map(|(r, _)| places.get(r)).map(|r| match r {
            r if r.0 == late && r.2 == set => (r.1, true),
            r if r.0 == late => (r.1.saturating_sub(1), false),
            _ => (level, false),
        });
        if let Some((to, true)) = latest.min()
            && to > level
            && !outputs.contains(id)
        {
            places.insert(*id, (own.0, to, own.2));
        }
    }
    places
}
