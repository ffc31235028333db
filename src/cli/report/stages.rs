//! Stages of a compilation as text.

use std::collections::HashMap;
use std::fmt::{Display, Write};

use dlbc_compiler::{Compiled, Inspection};
use dlbc_ops::graph::{NodeId, PrintOp};
use serde::Serialize;

use dlbc::wording::{json_text, visible, visible_lines};

/// Formats a graph as text.
pub fn text(graph: &impl Display) -> String {
    let mut text = visible_lines(&graph.to_string()).into_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Formats the model with its rules as Graphviz text: one box for each node, coloured if the node has a rule.
pub fn dot(compiled: &Compiled) -> String {
    let graph = &compiled.model;
    let relevance = &compiled.relevance;
    let rules: HashMap<NodeId, String> = (relevance.forward.iter())
        .filter_map(|(rule, node)| Some((*node, relevance.graph.op(*rule).rule.as_ref()?.to_string())))
        .collect();
    let mut out = String::from(
        "digraph model {\n  rankdir=TB;\n  node [shape=box, fontname=\"sans-serif\", fontsize=11];\n",
    );
    for id in graph.topological() {
        let node = graph.node(id);
        if node.op.is_const() {
            continue;
        }
        let name = quoted(node.name());
        if graph.inputs().contains(&id) {
            let _ = writeln!(out, "  n{} [label=\"{name}\\n{}\", shape=ellipse];", id.index(), node.types[0]);
            continue;
        }
        let (rule, style) = match rules.get(&id) {
            Some(rule) => (format!("\\n{}", quoted(rule)), ", style=filled, fillcolor=\"#fdc7ad\""),
            None => (String::new(), ""),
        };
        let op = quoted(&node.op.name());
        let _ = writeln!(out, "  n{} [label=\"{op}\\n{name}{rule}\"{style}];", id.index());
        for value in graph.node_inputs(id) {
            if !graph.op(value.node).is_const() {
                let _ = writeln!(
                    out,
                    "  n{} -> n{} [label=\"{}\"];",
                    value.node.index(),
                    id.index(),
                    graph.ty(value).shape
                );
            }
        }
    }
    for (i, (name, value)) in graph.outputs().iter().enumerate() {
        let _ = writeln!(out, "  o{i} [label=\"{}\", shape=ellipse];", quoted(&name.to_string()));
        let _ = writeln!(out, "  n{} -> o{i} [label=\"{}\"];", value.node.index(), graph.ty(*value).shape);
    }
    out.push_str("}\n");
    out
}

/// Escapes a name for a quoted string of Graphviz.
fn quoted(name: &str) -> String {
    visible(name).replace('\\', "\\\\").replace('"', "\\\"")
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    inspection: &'a Inspection,
    phases: Vec<(&'a str, usize, f64)>,
    program: &'a dlbc_ops::program::Info,
    relevance: String,
    lowered: String,
}

/// Formats all stages as one JSON object.
///
/// # Errors
/// Never for these types.
pub fn json(inspection: &Inspection, compiled: &Compiled) -> anyhow::Result<String> {
    let document = Document {
        inspection,
        phases: compiled.phases.iter().map(|p| (p.name, p.nodes, p.seconds)).collect(),
        program: &compiled.program.info,
        relevance: compiled.relevance.to_string(),
        lowered: compiled.program.graph.to_string(),
    };
    Ok(json_text(&document)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotation_marks() {
        assert_eq!(quoted("a\"]; x [\\n\u{1b}"), "a\\\"]; x [\\\\n\\\\u{1b}");
    }
}
