//! Attributes of ONNX nodes: `AttributeProto` → [`Attr`].

use std::collections::BTreeMap;

use dlbc_ops::OpError;
use dlbc_ops::op::read::Attr;
use dlbc_proto::onnx::NodeProto;
use dlbc_proto::onnx::attribute_proto::AttributeType;
use dlbc_proto::{DataType, Model, Name};

use super::convert::convert;
use super::name::node_name;
use crate::error::CompileError;

/// Reads the attributes of a node, by name.
///
/// # Errors
/// For an attribute that is listed twice, and a tensor that cannot be read.
pub fn read(model: &Model, node: &NodeProto) -> Result<BTreeMap<String, Attr>, CompileError> {
    let mut attributes = BTreeMap::new();
    for a in &node.attribute {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = match a.r#type() {
            AttributeType::Int => Attr::Int(a.i()),
            AttributeType::Ints => Attr::Ints(a.ints.clone()),
            AttributeType::Float => Attr::Float(a.f()),
            AttributeType::Floats => Attr::Floats(a.floats.clone()),
            AttributeType::String => Attr::Str(text(a.s())),
            AttributeType::Strings => Attr::Strs(a.strings.iter().map(|s| text(s)).collect()),
            AttributeType::Tensor => match a.t.as_deref() {
                Some(t) => {
                    let data = model.tensor(t)?;
                    if data.dtype == DataType::String {
                        Attr::Strs(data.strings.iter().map(|s| text(s)).collect())
                    } else {
                        Attr::Tensor(convert(data.dtype, &data.dims, data.bytes, node_name(node))?)
                    }
                }
                None => Attr::Other("a tensor without content"),
            },
            AttributeType::SparseTensor => match a.sparse_tensor.as_deref() {
                Some(s) => {
                    let data = model.sparse(s)?;
                    Attr::Tensor(convert(data.dtype, &data.dims, data.bytes, node_name(node))?)
                }
                None => Attr::Other("a sparse tensor without content"),
            },
            AttributeType::Graph | AttributeType::Graphs => Attr::Other("a graph"),
            AttributeType::TypeProto | AttributeType::TypeProtos => Attr::Other("a type"),
            _ => Attr::Other("a value of unknown type"),
        };
        if attributes.insert(a.name().to_string(), value).is_some() {
            let source =
                OpError::invalid("attributes", "each once", format!("{} twice", Name::new(a.name())));
            return Err(CompileError::Node {
                node: Name::new(node_name(node)),
                op: Name::new(node.op_type()),
                source,
            });
        }
    }
    // A sparse constant reads as its dense form.
    if let Some(v) = attributes.remove("sparse_value") {
        attributes.insert("value".into(), v);
    }
    Ok(attributes)
}
