//! What a model is to dlbc: every node, its operator, rule and shape; and all that is not supported.

use dlbc_ops::graph::{Graph, PrintOp, Value};
use dlbc_ops::op::Op;
use dlbc_proto::Model;
use serde::Serialize;

use crate::error::{CompileError, Unsupported};
use crate::options::Options;
use crate::relevance::RelevanceGraph;
use crate::{canonical, import, relevance};

/// A table of a model.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inspection {
    /// The composite whose rules are shown.
    pub rules: String,
    /// The model's inputs: name and type.
    pub inputs: Vec<(String, String)>,
    /// The model's outputs: name and type.
    pub outputs: Vec<(String, String)>,
    /// A row a node.
    pub rows: Vec<NodeRow>,
    /// What is not supported; the rows are empty then.
    pub unsupported: Vec<Unsupported>,
    /// Why no relevance graph could be made although every operator is supported.
    pub note: Option<String>,
}

/// A node.
#[derive(Clone, Debug, Serialize)]
pub struct NodeRow {
    /// The tensor that it makes.
    pub node: String,
    /// The ONNX operators that it stands for.
    pub onnx_op: String,
    /// The operator after canonicalisation, with its attributes.
    pub op: String,
    /// The rule; `None` where no relevance passes.
    pub rule: Option<String>,
    /// The result's type.
    pub shape: String,
    /// The recurrence whose step this is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_of: Option<String>,
}

/// Inspects a model. Unsupported operators are part of the answer, not an error.
///
/// # Errors
/// For an invalid model.
pub fn inspect(model: &Model, options: &Options) -> Result<Inspection, CompileError> {
    let composite = options.composite()?;
    let mut inspection = Inspection { rules: composite.name.clone(), ..Inspection::default() };
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
    let relevance = match relevance::derive_relevance(&graph, &composite, options) {
        Ok(r) => Some(r),
        Err(e @ CompileError::NothingToExplain(_)) => {
            inspection.note = Some(e.to_string());
            None
        }
        Err(e) => return Err(e),
    };
    for id in graph.inputs() {
        inspection.inputs.push((graph.node(*id).name().into(), graph.node(*id).types[0].to_string()));
    }
    for (name, v) in graph.outputs() {
        inspection.outputs.push((name.clone(), graph.ty(*v).to_string()));
    }
    rows(&graph, relevance.as_ref(), None, &mut inspection.rows);
    Ok(inspection)
}

/// The rows of a graph; those of a recurrence's step follow its own.
fn rows(
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
            rows(scan.body.graph(), relevance.and_then(|r| r.steps.get(&id)), Some(name), table);
        }
    }
}
