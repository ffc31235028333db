//! Outputs of nodes that nothing uses: operators with optional outputs need not support them.

use std::collections::HashSet;

use dlbc_proto::Model;
use dlbc_proto::onnx::{GraphProto, NodeProto};

use super::function::Expanded;
use crate::options::Options;

/// Returns the tensors that nodes of the main graph compute and that no node, subgraph, output or option uses.
pub fn tensors(model: &Model, options: &Options, nodes: &[Expanded]) -> HashSet<String> {
    let mut unread: HashSet<&str> =
        nodes.iter().flat_map(|n| &n.node.output).map(String::as_str).filter(|o| !o.is_empty()).collect();
    for expanded in nodes {
        remove_inputs(&expanded.node, &mut unread);
    }
    let outputs = model.graph().output.iter().map(|o| o.name());
    let named = options.stop_at.iter().chain(&options.output).map(String::as_str);
    for name in outputs.chain(named) {
        unread.remove(name);
    }
    unread.into_iter().map(str::to_string).collect()
}

/// Removes what a node uses, and what the nodes of its subgraphs use.
fn remove_inputs(node: &NodeProto, unread: &mut HashSet<&str>) {
    for input in &node.input {
        unread.remove(input.as_str());
    }
    for attribute in &node.attribute {
        for graph in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
            remove_graph(graph, unread);
        }
    }
}

fn remove_graph(graph: &GraphProto, unread: &mut HashSet<&str>) {
    for node in &graph.node {
        remove_inputs(node, unread);
    }
    for output in &graph.output {
        unread.remove(output.name());
    }
}
