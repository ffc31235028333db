//! A block of a program, and a program cut into blocks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dlbc_ops::graph::{Graph, Node, NodeId, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::{Output, SEED};
use dlbc_ops::tensor::{DType, Tensor};

/// Where an input of a block comes from.
#[derive(Clone)]
pub(super) enum Source {
    /// An input of the program, or its seed.
    Given(String),
    /// A value that a block before this one made, by its place in the run's list.
    Made(usize),
    /// A weight of the program.
    Weight(Tensor),
}

/// A part of the program.
pub(super) struct Block {
    /// Symbolic in [`Block::symbols`] alone.
    pub graph: Graph<Prim>,
    /// The measured dimensions that it names, in the order in which they first appear.
    pub symbols: Vec<Arc<str>>,
    /// Of each input, where it comes from, and whether it depends on the seed.
    pub inputs: Vec<(Source, bool)>,
    /// Of each output, its place in the run's list, and whether it depends on the seed.
    pub outputs: Vec<(usize, bool)>,
    /// Symbols that are known after it, and where their values stand.
    pub measures: Vec<(Arc<str>, usize)>,
    /// Places in the run's list that no later block reads.
    pub done: Vec<usize>,
    /// Which blocks share its plans.
    pub class: usize,
}

impl Block {
    /// Makes its weights inputs.
    pub fn takes_weights(&mut self) {
        for id in weights(&self.graph) {
            if let Prim::Const(t) = self.graph.op(id).clone() {
                self.graph.make_input(id, Prim::Input);
                self.inputs.push((Source::Weight(t), false));
            }
        }
    }
}

/// A program cut into blocks.
pub(super) struct Parts {
    /// In order; those of the forward first.
    pub blocks: Vec<Block>,
    /// How many belong to the forward.
    pub early: usize,
    /// Symbols that inputs of the program are.
    pub given: Vec<(Arc<str>, String)>,
    /// What each output of the forward is, and of the reverse.
    pub outputs: [Vec<(Output, Source)>; 2],
    /// The length of the run's list of values.
    pub values: usize,
}

/// The block of `ids`.
pub(super) fn block(
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
        own.add_output(Output::value(graph.node(*id).name()), made[id]);
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

pub(super) fn is_input(graph: &Graph<Prim>, id: NodeId) -> bool {
    matches!(graph.op(id), Prim::Input)
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
