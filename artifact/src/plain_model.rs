//! A graph of primitives as a plain model.

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::Prim;
use dlbc_proto::onnx::ModelProto;

use crate::ArtifactError;
use crate::node_order::node_order;
use crate::write::Writer;

/// Writes a graph as a model of standard operators, with the graph's inputs and outputs.
///
/// # Errors
/// When a primitive has no ONNX spelling for its types.
pub fn write_plain_model(graph: &Graph<Prim>) -> Result<ModelProto, ArtifactError> {
    let declared: Vec<(String, Value)> = graph.outputs().iter().map(|(n, v)| (n.to_string(), *v)).collect();
    let mut writer = Writer::new(graph, &declared, false)?;
    for id in node_order(graph) {
        writer.add(id)?;
    }
    Ok(writer.finish("dlbc"))
}
