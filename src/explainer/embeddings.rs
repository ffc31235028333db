//! Split of a model of token ids at its embeddings. Composites that perturb their inputs perturb the embeddings, since ids are
//! integers.

use dlbc_compiler::{Compiled, Options, Quantity};
use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::op::Op;
use dlbc_ops::op::role::RoleKind;
use dlbc_ops::program::{Info, Program};
use dlbc_proto::Model;
use dlbc_proto::onnx::ValueInfoProto;

use crate::error::{Error, Result};
use crate::wording::visible;

/// A model in two parts, split at its embeddings.
pub struct Split {
    /// Program that computes the embeddings of token ids.
    pub lookup: Program,
    /// Program that computes the model's outputs from the embeddings, with the derivatives with respect to the embeddings.
    pub rest: Program,
    /// Names of the embedding tensors, each with the input of token ids that indexes it.
    pub embeddings: Vec<(String, String)>,
}

/// Returns the first explained integer input of a program that perturbs its inputs; such a program must be split.
pub fn integer_input(info: &Info) -> Option<&str> {
    info.repeat.as_ref()?;
    info.inputs.iter().find(|i| i.explained && !i.ty.dtype.is_float()).map(|i| i.name.as_str())
}

/// Splits a model at its embeddings if its composite perturbs inputs and one of them holds token ids. Otherwise returns `None`.
///
/// # Errors
/// When the ids of an embedding are computed, an integer input has another use, or a part does not compile.
pub fn split(model: &mut Model, options: &Options, compiled: &Compiled) -> Result<Option<Split>> {
    if integer_input(&compiled.program.info).is_none() {
        return Ok(None);
    }
    let embeddings = embeddings(compiled)?;
    let mut stopped = Options { output: Some(compiled.program.info.explained.clone()), ..options.clone() };
    stopped.stop_at.extend(embeddings.iter().map(|(name, _)| name.clone()));
    let rest = dlbc_compiler::compile(model, &stopped)?.program;
    if let Some(input) = integer_input(&rest.info) {
        return Err(Error::unsupported(format!(
            "composite `{}` cannot perturb input `{}`: expected integers that only look up embeddings",
            rest.info.rules,
            visible(input)
        )));
    }
    let output =
        |(name, _): &(String, String)| ValueInfoProto { name: Some(name.clone()), ..Default::default() };
    let Some(graph) = model.proto.graph.as_mut() else { return Ok(None) };
    let outputs = std::mem::replace(&mut graph.output, embeddings.iter().map(output).collect());
    let lookup = dlbc_compiler::compile(model, &Options { output: None, ..options.clone() });
    if let Some(graph) = model.proto.graph.as_mut() {
        graph.output = outputs;
    }
    Ok(Some(Split { lookup: lookup?.program, rest, embeddings }))
}

/// Returns the names of the embeddings that have a derivative, each with the input of its ids.
fn embeddings(compiled: &Compiled) -> Result<Vec<(String, String)>> {
    debug_assert_eq!(compiled.relevance.quantity, Quantity::Gradient);
    let (graph, relevance) = (&compiled.model, &compiled.relevance);
    let mut embeddings = vec![];
    for (rule, forward) in &relevance.forward {
        let role = graph.op(*forward).role(&relevance.live[forward]).kind();
        if role != RoleKind::Embedding || relevance.graph.node(*rule).op.targets.is_empty() {
            continue;
        }
        let name = graph.node(*forward).name().to_string();
        let ids = graph.node_inputs(*forward).get(1).and_then(|v| input(graph, *v));
        let Some(ids) = ids else {
            return Err(Error::unsupported(format!(
                "composite `{}` cannot perturb embedding `{}`: expected ids that are an input, found computed ones",
                compiled.program.info.rules,
                visible(&name)
            )));
        };
        embeddings.push((name, ids));
    }
    Ok(embeddings)
}

/// Returns the name of the graph's input that a value equals up to casts.
fn input(graph: &Graph<Op>, value: Value) -> Option<String> {
    match graph.op(value.node) {
        Op::Input => Some(graph.value_name(value).to_string()),
        Op::Cast(_) => input(graph, *graph.node_inputs(value.node).first()?),
        _ => None,
    }
}
