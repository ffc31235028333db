//! Cutting a program into blocks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::{Output, SEED};
use dlbc_ops::tensor::Bindings;

use super::block::{Parts, Source, block, is_input};
use super::order::{Place, ordered, places};
use super::shared;
use crate::error::RuntimeError;
use crate::plan::simplify::{constant_of, simplify};
use crate::plan::steps::{ancestors, check, constants, measures};

/// Cuts a program towards the outputs `forward` and `reverse`, with the dimensions of its inputs bound. With `in_place`
/// weights are inputs of blocks.
pub(super) fn cut(
    program: &Graph<Prim>,
    bindings: &Bindings,
    forward: &[Output],
    reverse: &[Output],
    in_place: bool,
) -> Result<Parts, RuntimeError> {
    let graph = prepared(program, bindings, forward, reverse)?;
    let measures = measures(&graph);
    let roots = |names: &[Output]| -> Vec<NodeId> {
        graph.outputs().iter().filter(|(n, _)| names.contains(n)).map(|(_, v)| v.node).collect()
    };
    let measured: Vec<NodeId> = measures.values().map(|v| v.node).collect();
    let early = ancestors(&graph, &[roots(forward), measured.clone()].concat());
    let seed: Vec<NodeId> =
        graph.inputs().iter().copied().filter(|id| graph.node(*id).name() == SEED).collect();
    let seeded = descendants(&graph, &seed);
    let outputs: HashSet<NodeId> =
        graph.outputs().iter().map(|(_, v)| v.node).filter(|id| !is_input(&graph, *id)).collect();
    let order = ordered(&graph, &measures)?;
    let constant = constants(&graph);
    let places = places(&graph, &order, &constant, &early, &outputs, &measures);

    let mut nodes: BTreeMap<Place, Vec<NodeId>> = BTreeMap::new();
    for id in &order {
        if let Some(place) = places.get(id) {
            nodes.entry(*place).or_default().push(*id);
        }
    }
    // A value that crosses a border has a place in the run's list.
    let mut list: HashMap<NodeId, usize> = HashMap::new();
    for id in &order {
        let crosses = |v: &Value| {
            places.get(&v.node).is_some_and(|own| places.get(id).is_some_and(|p| p != own))
                && !constant.contains(&v.node)
        };
        for v in graph.node_inputs(*id).iter().filter(|v| crosses(v)) {
            let next = list.len();
            list.entry(v.node).or_insert(next);
        }
    }
    for id in &outputs {
        let next = list.len();
        list.entry(*id).or_insert(next);
    }
    let mut blocks = vec![];
    for ((.., set), ids) in &nodes {
        // Without measured dimensions a block shares no plan.
        let ids = match set {
            0 => ids.clone(),
            _ => shared::ordered(&graph, ids, |id| list.contains_key(&id)),
        };
        let mut block = block(&graph, &ids, &constant, &list, &seeded);
        if in_place && !block.symbols.is_empty() {
            block.takes_weights();
        }
        let here: HashSet<NodeId> = ids.iter().copied().collect();
        let known = measures.iter().filter(|(_, v)| here.contains(&v.node));
        block.measures = known.map(|(s, v)| (s.clone(), list[&v.node])).collect();
        blocks.push(block);
    }
    let early = nodes.keys().filter(|(late, ..)| !late).count();
    let source = |v: &Value| match list.get(&v.node) {
        Some(at) => Source::Made(*at),
        None => Source::Given(graph.node(v.node).name().to_string()),
    };
    let sources = |names: &[Output]| {
        let asked = graph.outputs().iter().filter(|(n, _)| names.contains(n));
        asked.map(|(n, v)| (n.clone(), source(v))).collect()
    };
    let outputs = [sources(forward), sources(reverse)];
    let given = measures.iter().filter(|(_, v)| is_input(&graph, v.node));
    let given = given.map(|(s, v)| (s.clone(), graph.node(v.node).name().to_string())).collect();
    let mut parts = Parts { blocks, early, given, outputs, values: list.len() };
    release(&mut parts);
    shared::classify(&mut parts.blocks);
    Ok(parts)
}

/// The program with what is known bound, without what nobody asked for.
fn prepared(
    program: &Graph<Prim>,
    bindings: &Bindings,
    forward: &[Output],
    reverse: &[Output],
) -> Result<Graph<Prim>, RuntimeError> {
    let mut graph = program.bind(bindings);
    let mut bound = Bindings::new();
    loop {
        simplify(&mut graph);
        let measures = measures(&graph);
        let known: Bindings = measures
            .iter()
            .filter(|(s, _)| !bound.contains_key(*s))
            .filter_map(|(s, v)| Some((s.clone(), constant_of(&graph, *v)?)))
            .collect();
        if known.is_empty() {
            break;
        }
        check(&graph, &measures, &known)?;
        graph = graph.bind(&known);
        bound.extend(known);
    }
    // Only the measurements that something asked for needs.
    let measures = measures(&graph);
    let mut wanted: Vec<(Output, Value)> =
        graph.outputs().iter().filter(|(n, _)| forward.contains(n) || reverse.contains(n)).cloned().collect();
    let mut needed = BTreeSet::new();
    let mut roots: Vec<NodeId> = wanted.iter().map(|(_, v)| v.node).collect();
    while !roots.is_empty() {
        let mut found = vec![];
        for id in ancestors(&graph, &roots) {
            graph.symbols(id, &mut |s| {
                if let Some(v) = measures.get(s)
                    && needed.insert(s.clone())
                {
                    found.push(v.node);
                }
            });
        }
        roots = found;
    }
    wanted.extend(needed.iter().map(|s: &Arc<str>| (Output::Dimension(s.clone()), measures[s])));
    graph.set_outputs(wanted);
    graph.remove_unused();
    Ok(graph)
}

fn descendants(graph: &Graph<Prim>, roots: &[NodeId]) -> HashSet<NodeId> {
    let mut found: HashSet<NodeId> = roots.iter().copied().collect();
    for id in graph.topological() {
        if graph.node_inputs(id).iter().any(|v| found.contains(&v.node)) {
            found.insert(id);
        }
    }
    found
}

/// Notes after which block each value is read no more.
fn release(parts: &mut Parts) {
    let kept = parts.outputs.iter().flatten().filter_map(|(_, source)| match source {
        Source::Made(at) => Some(*at),
        _ => None,
    });
    let mut seen: HashSet<usize> = kept.collect();
    for block in parts.blocks.iter_mut().rev() {
        let read = block.inputs.iter().filter_map(|(source, _)| match source {
            Source::Made(at) => Some(*at),
            _ => None,
        });
        let own = block.outputs.iter().map(|(at, _)| *at);
        let touched: Vec<usize> = read.chain(own).collect();
        block.done = touched.into_iter().filter(|at| seen.insert(*at)).collect();
    }
}
