//! Data model of a program in blocks, and the construction of a block from nodes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dlbc_ops::graph::{Graph, Node, NodeId, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::{Output, SEED};
use dlbc_ops::tensor::{DType, Tensor};

/// The source of a block's input or of a program's output.
#[derive(Clone)]
pub(super) enum Source {
    /// Input of the program by name; the seed is one of them.
    Input(String),
    /// Value slot that an earlier block fills.
    Slot(usize),
    /// Weight of the program.
    Weight(Tensor),
}

/// An input of a block.
pub(super) struct BlockInput {
    /// Origin of the tensor.
    pub source: Source,
    /// True for a value that depends on the seed, and so has the leading axis of targets in a batched reverse.
    pub depends_on_seed: bool,
}

/// An output of a block.
pub(super) struct BlockOutput {
    /// Value slot that the output fills.
    pub slot: usize,
    /// True for a value that depends on the seed, and so has the leading axis of targets in a batched reverse.
    pub depends_on_seed: bool,
}

/// Nodes of a program with the same data-dependent dimensions, as a program of their own.
pub(super) struct Block {
    /// Nodes of the block. Its dimensions are numbers or contain [`Block::symbols`].
    pub graph: Graph<Prim>,
    /// Data-dependent dimensions of the nodes, in the order in which they first appear.
    pub symbols: Vec<Arc<str>>,
    /// Inputs, in the order of the graph's inputs before simplification.
    pub inputs: Vec<BlockInput>,
    /// Outputs, in the order of the graph's outputs.
    pub outputs: Vec<BlockOutput>,
    /// Data-dependent dimensions that the block computes, and the value slots of their sizes.
    pub dimensions: Vec<(Arc<str>, usize)>,
    /// Value slots that no later block reads.
    pub freed_slots: Vec<usize>,
    /// Index of the class of blocks that share plans.
    pub class: usize,
}

impl Block {
    /// Turns the block's weights into inputs, so that blocks that differ only in weights share one plan.
    pub fn lift_weights_to_inputs(&mut self) {
        for id in weight_matrices(&self.graph) {
            if let Prim::Const(t) = self.graph.op(id).clone() {
                self.graph.make_input(id, Prim::Input);
                self.inputs.push(BlockInput { source: Source::Weight(t), depends_on_seed: false });
            }
        }
    }
}

/// A program cut into blocks.
pub(super) struct Partition {
    /// Blocks in the order of execution, those of the forward first.
    pub blocks: Vec<Block>,
    /// Number of blocks of the forward.
    pub forward_blocks: usize,
    /// Data-dependent dimensions whose sizes are inputs of the program, with the names of the inputs.
    pub input_dimensions: Vec<(Arc<str>, String)>,
    /// Outputs of the forward with their sources.
    pub forward_outputs: Vec<(Output, Source)>,
    /// Outputs of the reverse with their sources.
    pub reverse_outputs: Vec<(Output, Source)>,
    /// Number of value slots of a run.
    pub slots: usize,
}

/// Properties of a program's nodes that decide how blocks are built.
pub(super) struct NodeFacts {
    /// Nodes that depend on constants only.
    pub constant: HashSet<NodeId>,
    /// Nodes that depend on the seed, and the seed.
    pub seeded: HashSet<NodeId>,
    /// Value slots of the nodes that other blocks read or that are outputs of the program.
    pub slots: HashMap<NodeId, usize>,
}

/// Builds the block of the nodes `ids`. Constants that they read are copied into the block; other operands become inputs.
pub(super) fn build_block(graph: &Graph<Prim>, ids: &[NodeId], facts: &NodeFacts) -> Block {
    let NodeFacts { constant, seeded, slots } = facts;
    let members: HashSet<NodeId> = ids.iter().copied().collect();
    let mut block = Graph::default();
    let mut copies: HashMap<NodeId, Value> = HashMap::new();
    let mut inputs = vec![];
    for id in ids {
        // Depth first: constants, and values computed from them, are copied before their reader.
        let mut stack = vec![*id];
        while let Some(id) = stack.last().copied() {
            if copies.contains_key(&id) {
                stack.pop();
                continue;
            }
            let node = graph.node(id);
            let is_copied = members.contains(&id) || (constant.contains(&id) && !is_input(graph, id));
            if !is_copied {
                // In a block the seed is an input like others.
                let name = if node.name() == SEED { "seed" } else { node.name() };
                let v = block.add_input(Prim::Input, name, node.types[0].clone());
                let source = match slots.get(&id) {
                    Some(slot) => Source::Slot(*slot),
                    None => Source::Input(node.name().to_string()),
                };
                inputs.push(BlockInput { source, depends_on_seed: seeded.contains(&id) });
                copies.insert(id, v);
                continue;
            }
            let operands: Vec<NodeId> = graph.node_inputs(id).into_iter().map(|v| v.node).collect();
            let missing: Vec<NodeId> = operands.iter().copied().filter(|o| !copies.contains_key(o)).collect();
            if missing.is_empty() {
                let operands: Vec<Value> = operands.iter().map(|o| copies[o]).collect();
                let node = block.add(Node::clone(node), &operands);
                copies.insert(id, Value { node, slot: 0 });
                stack.pop();
            } else {
                stack.extend(missing.into_iter().rev());
            }
        }
    }
    let mut outputs = vec![];
    for id in ids.iter().filter(|id| slots.contains_key(id)) {
        block.add_output(Output::value(graph.node(*id).name()), copies[id]);
        outputs.push(BlockOutput { slot: slots[id], depends_on_seed: seeded.contains(id) });
    }
    let mut symbols: Vec<Arc<str>> = vec![];
    for id in block.nodes() {
        block.symbols(id, &mut |s| {
            if !symbols.contains(s) {
                symbols.push(s.clone());
            }
        });
    }
    Block { graph: block, symbols, inputs, outputs, dimensions: vec![], freed_slots: vec![], class: 0 }
}

/// Returns whether a node is an input of the program.
pub(super) fn is_input(graph: &Graph<Prim>, id: NodeId) -> bool {
    matches!(graph.op(id), Prim::Input)
}

/// Returns the constant float32 matrices that only matrix products read, as their second operand.
fn weight_matrices(graph: &Graph<Prim>) -> Vec<NodeId> {
    let is_weight = |id: &NodeId| {
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
    graph.nodes().filter(is_weight).collect()
}
