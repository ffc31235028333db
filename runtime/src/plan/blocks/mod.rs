//! Programs whose dimensions depend on values, as blocks that are planned each by itself.
//!
//! A block is the part of a program between two measurements that names the same measured dimensions: what one expert does
//! with its tokens, or all that stands between two layers of experts. So a plan depends on the sizes of its own block and on
//! no other's: another routing finds the plans of the counts that were seen before. Blocks that differ in their weights
//! alone, as experts do, share a plan: large weights are inputs of a block.
//!
//! Blocks are ordered by lateness (what the outputs need, then what the reverse alone needs) and by level, the number of
//! changes of measured dimensions before them, so that every block stands after those it reads.

mod order;
mod run;
mod shared;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use dlbc_ops::graph::{Graph, Node, NodeId, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::SEED;
use dlbc_ops::tensor::{Bindings, DType, Tensor};

use crate::error::RuntimeError;
use crate::plan::simplify::{constant_of, simplify};
use crate::plan::steps::{ancestors, check, constants, measures};
use order::{Place, ordered, places};

pub(crate) use run::{Blocks, State};

/// Where an input of a block comes from.
#[derive(Clone)]
enum Source {
    /// An input of the program, or its seed.
    Given(String),
    /// A value that a block before this one made, by its place in the run's list.
    Made(usize),
    /// A weight of the program.
    Weight(Tensor),
}

/// A part of the program.
struct Block {
    /// Symbolic in [`Block::symbols`] alone.
    graph: Graph<Prim>,
    /// The measured dimensions that it names, in the order in which they first appear.
    symbols: Vec<Arc<str>>,
    /// Of each input, where it comes from, and whether it depends on the seed.
    inputs: Vec<(Source, bool)>,
    /// Of each output, its place in the run's list, and whether it depends on the seed.
    outputs: Vec<(usize, bool)>,
    /// Symbols that are known after it, and where their values stand.
    measures: Vec<(Arc<str>, usize)>,
    /// Places in the run's list that no later block reads.
    done: Vec<usize>,
    /// Which blocks share its plans.
    class: usize,
}

impl Block {
    /// Makes its weights inputs.
    fn takes_weights(&mut self) {
        for id in weights(&self.graph) {
            if let Prim::Const(t) = self.graph.op(id).clone() {
                self.graph.make_input(id, Prim::Input);
                self.inputs.push((Source::Weight(t), false));
            }
        }
    }
}

/// A program cut into blocks.
struct Parts {
    /// In order; those of the forward first.
    blocks: Vec<Block>,
    /// How many belong to the forward.
    early: usize,
    /// Symbols that inputs of the program are.
    given: Vec<(Arc<str>, String)>,
    /// What each output of the forward is, and of the reverse.
    outputs: [Vec<(String, Source)>; 2],
    /// The length of the run's list of values.
    values: usize,
}

/// Cuts a program towards the outputs `forward` and `reverse`, with the dimensions of its inputs bound. With `in_place`
/// weights are inputs of blocks.
fn cut(
    program: &Graph<Prim>,
    bindings: &Bindings,
    forward: &[String],
    reverse: &[String],
    in_place: bool,
) -> Result<Parts, RuntimeError> {
    let graph = prepared(program, bindings, forward, reverse)?;
    let measures = measures(&graph);
    let roots = |names: &[String]| -> Vec<NodeId> {
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
    let sources = |names: &[String]| {
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
    forward: &[String],
    reverse: &[String],
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
    let mut wanted: Vec<(String, Value)> =
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
    let name = |s: &Arc<str>| format!("{}{s}", dlbc_ops::program::MEASURED);
    wanted.extend(needed.iter().map(|s| (name(s), measures[s])));
    graph.set_outputs(wanted);
    graph.remove_unused();
    Ok(graph)
}

fn is_input(graph: &Graph<Prim>, id: NodeId) -> bool {
    matches!(graph.op(id), Prim::Input)
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

/// The block of `ids`.
fn block(
    graph: &Graph<Prim>,
    ids: &[NodeId],
    constant: &HashSet<NodeId>,
    list: &HashMap<NodeId, usize>,
    seeded: &HashSet<NodeId>,
) -> Block {
    let here: HashSet<NodeId> = ids.iter().copied().collect();
    let mut own = Graph::default();
    let mut made: HashMap<NodeId, Value> = HashMap::new();
    let mut inputs = vec![];
    for id in ids {
        // Depth first: constants, and what is made of them, are copied before their reader.
        let mut stack = vec![*id];
        while let Some(id) = stack.last().copied() {
            if made.contains_key(&id) {
                stack.pop();
                continue;
            }
            let node = graph.node(id);
            let copied = here.contains(&id) || (constant.contains(&id) && !is_input(graph, id));
            if !copied {
                // To a block the seed is an input like others.
                let name = if node.name() == SEED { "seed" } else { node.name() };
                let v = own.add_input(Prim::Input, name, node.types[0].clone());
                let source = match list.get(&id) {
                    Some(at) => Source::Made(*at),
                    None => Source::Given(node.name().to_string()),
                };
                inputs.push((source, seeded.contains(&id)));
                made.insert(id, v);
                continue;
            }
            let operands: Vec<NodeId> = graph.node_inputs(id).into_iter().map(|v| v.node).collect();
            let missing: Vec<NodeId> = operands.iter().copied().filter(|o| !made.contains_key(o)).collect();
            if missing.is_empty() {
                let operands: Vec<Value> = operands.iter().map(|o| made[o]).collect();
                let node = own.add(Node::clone(node), &operands);
                made.insert(id, Value { node, slot: 0 });
                stack.pop();
            } else {
                stack.extend(missing.into_iter().rev());
            }
        }
    }
    let mut outputs = vec![];
    for id in ids.iter().filter(|id| list.contains_key(id)) {
        own.add_output(graph.node(*id).name(), made[id]);
        outputs.push((list[id], seeded.contains(id)));
    }
    let mut symbols: Vec<Arc<str>> = vec![];
    for id in own.nodes() {
        own.symbols(id, &mut |s| {
            if !symbols.contains(s) {
                symbols.push(s.clone());
            }
        });
    }
    Block { graph: own, symbols, inputs, outputs, measures: vec![], done: vec![], class: 0 }
}

/// Matrices of float32 that products alone read, as their second operand.
fn weights(graph: &Graph<Prim>) -> Vec<NodeId> {
    let matrix = |id: &NodeId| {
        let v = Value { node: *id, slot: 0 };
        let ty = graph.ty(v);
        let read =
            |(reader, slot): &(NodeId, usize)| *slot == 1 && matches!(graph.op(*reader), Prim::MatMul(_));
        matches!(graph.op(*id), Prim::Const(_))
            && ty.dtype == DType::F32
            && ty.rank() == 2
            && graph.consumers(v).iter().all(read)
            && !graph.is_output(v)
    };
    graph.nodes().filter(matrix).collect()
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
