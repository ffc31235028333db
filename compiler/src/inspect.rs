//! Table of a model's nodes with operator, rule and shape, and the list of unsupported operators.

use dlbc_ops::graph::{Graph, PrintOp, Value};
use dlbc_ops::op::Op;
use dlbc_proto::Model;
use serde::Serialize;

use crate::error::{CompileError, Unsupported};
use crate::options::{Options, TREESHAP};
use crate::relevance::RelevanceGraph;
use crate::{canonical, import, relevance, trees};

/// Nodes of a model with their rules, or the operators that are not supported.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inspection {
    /// Name of the composite whose rules are listed.
    pub rules: String,
    /// Name and type of each input.
    pub inputs: Vec<(String, String)>,
    /// Name and type of each output.
    pub outputs: Vec<(String, String)>,
    /// One row per node after canonicalisation, inputs and constants excepted.
    pub rows: Vec<NodeRow>,
    /// Unsupported operators; if there are any, all other lists are empty.
    pub unsupported: Vec<Unsupported>,
    /// Reason why the model has no relevance graph although every operator is supported.
    pub note: Option<String>,
}

/// A node of the canonical graph.
#[derive(Clone, Debug, Serialize)]
pub struct NodeRow {
    /// Name of the node's first result.
    pub node: String,
    /// ONNX operators that the node stands for.
    pub onnx_op: String,
    /// Operator after canonicalisation, with its attributes.
    pub op: String,
    /// Relevance rule; `None` where no relevance passes.
    pub rule: Option<String>,
    /// Element type and shape of the first result.
    pub shape: String,
    /// Name of the recurrence whose step contains this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_of: Option<String>,
}

/// Lists the nodes of a model with their rules. Unsupported operators are part of the result, not an error.
///
/// # Errors
/// For an invalid model, an option that names nothing in the model, and a mistake in the composite.
pub fn inspect(model: &Model, options: &Options) -> Result<Inspection, CompileError> {
    let explains_trees = options.explains_trees();
    let composite = if explains_trees { Options::default().composite()? } else { options.composite()? };
    let rules = if explains_trees { TREESHAP.into() } else { composite.name.clone() };
    let mut inspection = Inspection { rules, ..Inspection::default() };
    let mut graph = match import::import(model, options) {
        Ok(graph) => graph,
        Err(CompileError::Unsupported(items)) => {
            inspection.unsupported = items;
            return Ok(inspection);
        }
        Err(e) => return Err(e),
    };
    let context = canonical::Context { options, composite: &composite };
    canonical::canonicalise(&mut graph, &context, |_, _| {})?;
    let ensembles = if explains_trees { trees::describe(&graph, options)?.nodes } else { vec![] };
    let relevance = match explains_trees {
        true => None,
        false => match relevance::derive_relevance(&graph, &composite, options) {
            Ok(r) => Some(r),
            Err(e @ CompileError::NothingToExplain(_)) => {
                inspection.note = Some(e.to_string());
                None
            }
            Err(e) => return Err(e),
        },
    };
    for id in graph.inputs() {
        inspection.inputs.push((graph.node(*id).name().into(), graph.node(*id).types[0].to_string()));
    }
    for (name, v) in graph.outputs() {
        inspection.outputs.push((name.clone(), graph.ty(*v).to_string()));
    }
    append_rows(&graph, relevance.as_ref(), None, &mut inspection.rows);
    for id in ensembles {
        let name = graph.value_name(Value { node: id, slot: 0 });
        let row = inspection.rows.iter_mut().find(|row| row.node == name && row.step_of.is_none());
        row.into_iter().for_each(|row| row.rule = Some(TREESHAP.into()));
    }
    Ok(inspection)
}

/// Appends the rows of a graph to `table`; the rows of a recurrence's step follow the recurrence.
fn append_rows(
    graph: &Graph<Op>,
    relevance: Option<&RelevanceGraph>,
    step_of: Option<&str>,
    table: &mut Vec<NodeRow>,
) {
    for id in graph.topological() {
        let node = graph.node(id);
        if matches!(node.op, Op::Input | Op::Const(_)) {
            continue;
        }
        let rule_node =
            relevance.and_then(|r| r.forward.iter().find(|(_, f)| **f == id).map(|(n, _)| r.graph.node(*n)));
        let name = graph.value_name(Value { node: id, slot: 0 });
        table.push(NodeRow {
            node: name.into(),
            onnx_op: node.origin.ops(),
            op: format!("{}{}", node.op.name(), node.op.attributes()),
            rule: rule_node.and_then(|n| n.op.rule.as_ref()).map(ToString::to_string),
            shape: node.types[0].to_string(),
            step_of: step_of.map(Into::into),
        });
        if let Op::Scan(scan) = &node.op {
            append_rows(scan.body.graph(), relevance.and_then(|r| r.steps.get(&id)), Some(name), table);
        }
    }
}
