//! A model of token ids taken apart at its embeddings. Ids cannot be moved a little; what is looked up by them can.

use dlbc_compiler::{Compiled, Options, Quantity};
use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::op::Op;
use dlbc_ops::op::role::RoleKind;
use dlbc_ops::program::{Info, Program};
use dlbc_proto::Model;
use dlbc_proto::onnx::ValueInfoProto;

use crate::error::{Error, Result};
use crate::wording::visible;

/// The two parts.
pub struct Split {
    /// From ids to embeddings.
    pub lookup: Program,
    /// From embeddings to the model's outputs, with the derivatives by the embeddings.
    pub rest: Program,
    /// Each embedding with the input of ids that it is looked up by.
    pub embeddings: Vec<(String, String)>,
}

/// Why a program must be taken apart before its inputs can be moved: the first of its explained inputs that has no float.
pub fn whole_input(info: &Info) -> Option<&str> {
    info.repeat.as_ref()?;
    info.inputs.iter().find(|i| i.explained && !i.ty.dtype.is_float()).map(|i| i.name.as_str())
}

/// Takes a model apart when its composite moves inputs of which one holds ids.
///
/// # Errors
/// When an embedding is not looked up by an input as it is, or a part does not compile.
pub fn split(model: &mut Model, options: &Options, compiled: &Compiled) -> Result<Option<Split>> {
    if whole_input(&compiled.program.info).is_none() {
        return Ok(None);
    }
    let embeddings = embeddings(compiled)?;
    let mut stopped = Options { output: Some(compiled.program.info.explained.clone()), ..options.clone() };
    stopped.stop_at.extend(embeddings.iter().map(|(name, _)| name.clone()));
    let rest = dlbc_compiler::compile(model, &stopped)?.program;
    if let Some(input) = whole_input(&rest.info) {
        return Err(Error::unsupported(format!(
            "composite `{}` cannot move input `{}`: expected integers that only look up embeddings",
            rest.info.rules,
            visible(input)
        )));
    }
    let shown =
        |(name, _): &(String, String)| ValueInfoProto { name: Some(name.clone()), ..Default::default() };
    let Some(graph) = model.proto.graph.as_mut() else { return Ok(None) };
    let outputs = std::mem::replace(&mut graph.output, embeddings.iter().map(shown).collect());
    let lookup = dlbc_compiler::compile(model, &Options { output: None, ..options.clone() });
    if let Some(graph) = model.proto.graph.as_mut() {
        graph.output = outputs;
    }
    Ok(Some(Split { lookup: lookup?.program, rest, embeddings }))
}

/// Each embedding that has a derivative, with the input of its ids.
fn embeddings(compiled: &Compiled) -> Result<Vec<(String, String)>> {
    debug_assert_eq!(compiled.relevance.quantity, Quantity::Gradient);
    let (graph, relevance) = (&compiled.model, &compiled.relevance);
    let mut found = vec![];
    for (rule, forward) in &relevance.forward {
        let role = graph.op(*forward).role(&relevance.live[forward]).kind();
        if role != RoleKind::Embedding || relevance.graph.node(*rule).op.targets.is_empty() {
            continue;
        }
        let name = graph.node(*forward).name().to_string();
        let ids = graph.node_inputs(*forward).get(1).and_then(|v| input(graph, *v));
        let Some(ids) = ids else {
            return Err(Error::unsupported(format!(
                "composite `{}` cannot move embedding `{}`: expected ids that are an input, found computed ones",
                compiled.program.info.rules,
                visible(&name)
            )));
        };
        found.push((name, ids));
    }
    Ok(found)
}

/// The graph's input that a value is, but for its type.
fn input(graph: &Graph<Op>, value: Value) -> Option<String> {
    match graph.op(value.node) {
        Op::Input => Some(graph.value_name(value).to_string()),
        Op::Cast(_) => input(graph, *graph.node_inputs(value.node).first()?),
        _ => None,
    }
}
