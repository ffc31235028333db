//! A graph of primitives as a model of standard operators.

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::Prim;
use dlbc_proto::onnx::ModelProto;

use crate::ArtifactError;
use crate::node_order::node_order;
use crate::write::{Composed, Writer};

/// Writes a graph as a model of standard operators with the same inputs and outputs.
///
/// # Errors
/// When a primitive has no ONNX form for its types.
pub fn write_plain_model(graph: &Graph<Prim>) -> Result<ModelProto, ArtifactError> {
    let declared: Vec<(String, Value)> = graph.outputs().iter().map(|(n, v)| (n.to_string(), *v)).collect();
    let mut writer = Writer::new(graph, &declared, Composed::Inlined)?;
    for id in node_order(graph) {
        writer.add(id)?;
    }
    Ok(writer.finish("dlbc"))
}
