//! Which blocks are the same program on other weights.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::prim::Prim;
use dlbc_ops::tensor::Bindings;

use super::block::Block;

/// Constants of more bytes are compared by identity.
const LARGE: usize = 1 << 12;

/// How far around a node its neighbours tell it from others.
const ROUNDS: usize = 16;
/// What stands for a measured dimension where nodes are compared.
const ANY: i64 = 1_000_003;

/// The nodes of a block in an order that their structure decides, not their place in the program: what experts do is written in
/// the order in which somebody else needs it.
pub(super) fn ordered(
    graph: &Graph<Prim>,
    ids: &[NodeId],
    is_output: impl Fn(NodeId) -> bool,
) -> Vec<NodeId> {
    let place: HashMap<NodeId, usize> = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut any = Bindings::new();
    for id in ids {
        graph.symbols(*id, &mut |s| {
            any.insert(s.clone(), ANY);
        });
    }
    let kind = |id: NodeId| {
        let node = graph.node(id);
        // What comes from elsewhere is an input, whatever makes it there.
        let op = match place.contains_key(&id) {
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
            if let Some(i) = place.get(id) {
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
            let below = operands[i].iter().map(|id| place.get(id).map_or_else(|| kinds[id], |i| colors[*i]));
            let mut above: Vec<(u64, usize)> =
                readers[i].iter().map(|(r, slot)| (colors[*r], *slot)).collect();
            above.sort_unstable();
            hashed(&(colors[i], below.collect::<Vec<_>>(), above))
        });
        colors = next.collect();
    }
    let mut missing: Vec<usize> =
        operands.iter().map(|o| o.iter().filter(|id| place.contains_key(id)).count()).collect();
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

fn hashed(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Gives blocks that share plans the same class. A block without measured dimensions has one of its own: it has one plan.
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

/// A block as text without names: equal texts are equal programs, but for the values of their weights.
fn signature(block: &Block) -> String {
    let graph = &block.graph;
    let place: HashMap<NodeId, usize> = graph.nodes().enumerate().map(|(i, id)| (id, i)).collect();
    let mut text = String::new();
    for id in graph.nodes() {
        let node = graph.node(id);
        let inputs: Vec<usize> = graph.node_inputs(id).iter().map(|v| place[&v.node]).collect();
        let line = match &node.op {
            Prim::Const(t) if t.bytes().len() <= LARGE => format!("{:?} {:?}", t.ty(), t.bytes()),
            Prim::Const(t) => format!("{:?} at {:p}", t.ty(), t.bytes()),
            op => format!("{op:?}"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line} {inputs:?} {:?}", node.types);
    }
    let inputs: Vec<(usize, bool)> =
        graph.inputs().iter().zip(&block.inputs).map(|(id, (_, wide))| (place[id], *wide)).collect();
    let outputs: Vec<(usize, bool)> = graph
        .outputs()
        .iter()
        .zip(&block.outputs)
        .map(|((_, v), (_, wide))| (place[&v.node], *wide))
        .collect();
    let _ = write!(text, "{inputs:?} {outputs:?}");
    renamed(&text, &block.symbols)
}

/// Symbols by their place instead of their name.
fn renamed(text: &str, symbols: &[Arc<str>]) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut made = String::with_capacity(text.len());
    for part in text.split_inclusive(|c| !word(c)) {
        let name = part.trim_end_matches(|c| !word(c));
        match symbols.iter().position(|s| &**s == name) {
            Some(i) => {
                let _ = write!(made, "#{i}{}", &part[name.len()..]);
            }
            None => made.push_str(part),
        }
    }
    made
}
