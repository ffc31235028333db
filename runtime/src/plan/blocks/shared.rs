//! Classes of blocks that are the same program on different weights, and so share plans.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::prim::Prim;
use dlbc_ops::tensor::Bindings;

use super::block::Block;

/// Size in bytes above which constants are compared by address instead of content.
const LARGE: usize = 1 << 12;

/// Rounds of colour refinement: the distance up to which the neighbours of a node distinguish it from other nodes.
const ROUNDS: usize = 16;
/// Size that replaces every data-dependent dimension when nodes are compared.
const ANY: i64 = 1_000_003;

/// Returns the nodes of a block in an order that depends on their structure only. The order in the program differs between
/// experts, since it depends on the readers of each expert. Source: colour refinement (the Weisfeiler-Lehman test).
pub(super) fn ordered(
    graph: &Graph<Prim>,
    ids: &[NodeId],
    is_output: impl Fn(NodeId) -> bool,
) -> Vec<NodeId> {
    let index: HashMap<NodeId, usize> = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut any = Bindings::new();
    for id in ids {
        graph.symbols(*id, &mut |s| {
            any.insert(s.clone(), ANY);
        });
    }
    let kind = |id: NodeId| {
        let node = graph.node(id);
        // A value of another block is an input here, whatever its operator.
        let op = match index.contains_key(&id) {
            true => format!("{:?}", node.op.substitute(&any)),
            false => String::new(),
        };
        hashed(&(op, node.types[0].dtype.to_string(), node.types[0].shape.substitute(&any)))
    };
    let operands: Vec<Vec<NodeId>> =
        ids.iter().map(|id| graph.node_inputs(*id).into_iter().map(|v| v.node).collect()).collect();
    let mut readers: Vec<Vec<(usize, usize)>> = vec![vec![]; ids.len()];
    for (reader, inputs) in operands.iter().enumerate() {
        for (slot, id) in inputs.iter().enumerate() {
            if let Some(i) = index.get(id) {
                readers[*i].push((reader, slot));
            }
        }
    }
    let mut kinds: HashMap<NodeId, u64> = HashMap::new();
    for id in ids.iter().chain(operands.iter().flatten()) {
        kinds.entry(*id).or_insert_with(|| kind(*id));
    }
    let mut colors: Vec<u64> = ids.iter().map(|id| hashed(&(kinds[id], is_output(*id)))).collect();
    for _ in 0..ROUNDS {
        let next = (0..ids.len()).map(|i| {
            let inputs = operands[i].iter().map(|id| index.get(id).map_or_else(|| kinds[id], |i| colors[*i]));
            let mut outputs: Vec<(u64, usize)> =
                readers[i].iter().map(|(r, slot)| (colors[*r], *slot)).collect();
            outputs.sort_unstable();
            hashed(&(colors[i], inputs.collect::<Vec<_>>(), outputs))
        });
        colors = next.collect();
    }
    let mut missing: Vec<usize> =
        operands.iter().map(|o| o.iter().filter(|id| index.contains_key(id)).count()).collect();
    let mut ready: BinaryHeap<Reverse<(u64, usize)>> =
        (0..ids.len()).filter(|i| missing[*i] == 0).map(|i| Reverse((colors[i], i))).collect();
    let mut order = vec![];
    while let Some(Reverse((_, i))) = ready.pop() {
        order.push(ids[i]);
        for (reader, _) in &readers[i] {
            missing[*reader] -= 1;
            if missing[*reader] == 0 {
                ready.push(Reverse((colors[*reader], *reader)));
            }
        }
    }
    order
}

fn hashed(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Assigns the same class to blocks that share plans. A block without data-dependent dimensions has a class to itself, since it
/// needs a single plan.
pub(super) fn classify(blocks: &mut [Block]) {
    let mut classes: HashMap<String, usize> = HashMap::new();
    for (i, block) in blocks.iter_mut().enumerate() {
        let text = match block.symbols.is_empty() {
            true => i.to_string(),
            false => signature(block),
        };
        let next = classes.len();
        block.class = *classes.entry(text).or_insert(next);
    }
}

/// Returns a text that is equal for blocks that are equal except for names and the values of weights.
fn signature(block: &Block) -> String {
    let graph = &block.graph;
    let index: HashMap<NodeId, usize> = graph.nodes().enumerate().map(|(i, id)| (id, i)).collect();
    let mut text = String::new();
    for id in graph.nodes() {
        let node = graph.node(id);
        let inputs: Vec<usize> = graph.node_inputs(id).iter().map(|v| index[&v.node]).collect();
        let line = match &node.op {
            Prim::Const(t) if t.as_compact().is_none() && t.memory_bytes() <= LARGE => {
                format!("{:?} {:?}", t.ty(), t.bytes())
            }
            Prim::Const(t) => format!("{:?} at {:?}", t.ty(), t.identity()),
            op => format!("{op:?}"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line} {inputs:?} {:?}", node.types);
    }
    let inputs = graph.inputs().iter().zip(&block.inputs);
    let inputs: Vec<(usize, bool)> = inputs.map(|(id, input)| (index[id], input.depends_on_seed)).collect();
    let outputs = graph.outputs().iter().zip(&block.outputs);
    let outputs: Vec<(usize, bool)> =
        outputs.map(|((_, v), output)| (index[&v.node], output.depends_on_seed)).collect();
    let _ = write!(text, "{inputs:?} {outputs:?}");
    with_numbered_symbols(&text, &block.symbols)
}

/// Replaces the names of symbols in a text by `#` and their index.
fn with_numbered_symbols(text: &str, symbols: &[Arc<str>]) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut replaced = String::with_capacity(text.len());
    for part in text.split_inclusive(|c| !word(c)) {
        let name = part.trim_end_matches(|c| !word(c));
        match symbols.iter().position(|s| &**s == name) {
            Some(i) => {
                let _ = write!(replaced, "#{i}{}", &part[name.len()..]);
            }
            None => replaced.push_str(part),
        }
    }
    replaced
}
