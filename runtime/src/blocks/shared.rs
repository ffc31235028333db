//! Which blocks are the same program on other weights.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use dlbc_ops::graph::NodeId;
use dlbc_ops::prim::Prim;

use super::Block;

/// Constants of more bytes are compared by identity.
const LARGE: usize = 1 << 12;

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
