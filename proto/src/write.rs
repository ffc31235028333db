//! Constructors for the messages of a model.

use bytes::Bytes;

use crate::{
    DataType,
    onnx::{
        AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
        StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
        attribute_proto::AttributeType, tensor_shape_proto, type_proto,
    },
};

/// `ir_version` of a [`model`]: the oldest with functions and overloads that runtimes agree on.
pub const IR_VERSION: i64 = 8;

/// Dimension in a declared shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// Known number of elements.
    Value(u64),
    /// Name of a number of elements that is known when the model runs.
    Symbol(String),
    /// Unknown number of elements.
    Unknown,
}

impl From<u64> for Dim {
    fn from(value: u64) -> Self {
        Dim::Value(value)
    }
}

impl From<&str> for Dim {
    fn from(symbol: &str) -> Self {
        Dim::Symbol(symbol.to_owned())
    }
}

/// Creates a tensor of fixed-size elements from row-major, little-endian bytes.
pub fn tensor(name: &str, dtype: DataType, dims: &[u64], bytes: impl Into<Bytes>) -> TensorProto {
    TensorProto { raw_data: Some(bytes.into()), ..empty_tensor(name, dtype, dims) }
}

/// Creates a tensor of strings.
pub fn string_tensor(name: &str, dims: &[u64], strings: Vec<Vec<u8>>) -> TensorProto {
    TensorProto { string_data: strings, ..empty_tensor(name, DataType::String, dims) }
}

fn empty_tensor(name: &str, dtype: DataType, dims: &[u64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(dtype.to_onnx()),
        dims: dims.iter().map(|&dim| signed(dim)).collect(),
        ..TensorProto::default()
    }
}

/// Converts a size to the integer type of the format; sizes beyond it cannot be allocated.
fn signed(dim: u64) -> i64 {
    i64::try_from(dim).unwrap_or(i64::MAX)
}

/// Creates an attribute that holds a float.
pub fn attr_float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

/// Creates an attribute that holds a list of floats.
pub fn attr_floats(name: &str, values: impl Into<Vec<f32>>) -> AttributeProto {
    AttributeProto { floats: values.into(), ..attribute(name, AttributeType::Floats) }
}

/// Creates an attribute that holds an integer.
pub fn attr_int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

/// Creates an attribute that holds a list of integers.
pub fn attr_ints(name: &str, values: impl Into<Vec<i64>>) -> AttributeProto {
    AttributeProto { ints: values.into(), ..attribute(name, AttributeType::Ints) }
}

/// Creates an attribute that holds a string.
pub fn attr_string(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec()), ..attribute(name, AttributeType::String) }
}

/// Creates an attribute that holds a list of strings.
pub fn attr_strings(name: &str, values: &[&str]) -> AttributeProto {
    let strings = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    AttributeProto { strings, ..attribute(name, AttributeType::Strings) }
}

/// Creates an attribute that holds a tensor.
pub fn attr_tensor(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(Box::new(value)), ..attribute(name, AttributeType::Tensor) }
}

/// Creates an attribute that holds a graph.
pub fn attr_graph(name: &str, value: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(Box::new(value)), ..attribute(name, AttributeType::Graph) }
}

/// Creates an attribute of a node in a function body whose value is that of the function's attribute `from`.
pub fn attr_ref(name: &str, from: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { ref_attr_name: Some(from.to_owned()), ..attribute(name, kind) }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(kind as i32), ..AttributeProto::default() }
}

/// Creates a node of a standard operator. An empty name in `inputs` or `outputs` omits that input or output.
pub fn node(
    op_type: &str,
    name: &str,
    inputs: &[&str],
    outputs: &[&str],
    attributes: Vec<AttributeProto>,
) -> NodeProto {
    node_in("", op_type, name, inputs, outputs, attributes)
}

/// Creates a node of an operator or function of `domain`.
pub fn node_in(
    domain: &str,
    op_type: &str,
    name: &str,
    inputs: &[&str],
    outputs: &[&str],
    attributes: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.to_owned()),
        domain: (!domain.is_empty()).then(|| domain.to_owned()),
        name: Some(name.to_owned()),
        input: owned(inputs),
        output: owned(outputs),
        attribute: attributes,
        ..NodeProto::default()
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Creates a value with the type of a tensor.
pub fn value_info(name: &str, dtype: DataType, dims: &[Dim]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let axis = |dim: &Dim| match dim {
        Dim::Value(value) => Some(Value::DimValue(signed(*value))),
        Dim::Symbol(symbol) => Some(Value::DimParam(symbol.clone())),
        Dim::Unknown => None,
    };
    let dim = dims.iter().map(|dim| Dimension { value: axis(dim), denotation: None }).collect();
    let tensor =
        type_proto::Tensor { elem_type: Some(dtype.to_onnx()), shape: Some(TensorShapeProto { dim }) };
    let value = Some(type_proto::Value::TensorType(tensor));
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { value, denotation: None }),
        ..ValueInfoProto::default()
    }
}

/// Creates a value with the type of an optional tensor.
pub fn optional_value_info(name: &str, dtype: DataType, dims: &[Dim]) -> ValueInfoProto {
    let tensor = value_info(name, dtype, dims);
    let optional = type_proto::Optional { elem_type: tensor.r#type.map(Box::new) };
    let value = Some(type_proto::Value::OptionalType(Box::new(optional)));
    ValueInfoProto { r#type: Some(TypeProto { value, denotation: None }), ..tensor }
}

/// Creates a graph.
pub fn graph(
    name: &str,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
) -> GraphProto {
    GraphProto {
        name: Some(name.to_owned()),
        node: nodes,
        initializer: initializers,
        input: inputs,
        output: outputs,
        ..GraphProto::default()
    }
}

/// Creates a function of `domain`, with the operator sets that its body uses.
pub fn function(
    domain: &str,
    name: &str,
    inputs: &[&str],
    outputs: &[&str],
    nodes: Vec<NodeProto>,
    opsets: Vec<OperatorSetIdProto>,
) -> FunctionProto {
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some(domain.to_owned()),
        input: owned(inputs),
        output: owned(outputs),
        node: nodes,
        opset_import: opsets,
        ..FunctionProto::default()
    }
}

/// Creates an import of an operator set; the standard domain has an empty name.
pub fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) }
}

/// Creates an entry of `metadata_props`.
pub fn metadata(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.to_owned()), value: Some(value.to_owned()) }
}

/// Creates a model of [`IR_VERSION`].
pub fn model(graph: GraphProto, opsets: Vec<OperatorSetIdProto>) -> ModelProto {
    ModelProto {
        ir_version: Some(IR_VERSION),
        graph: Some(graph),
        opset_import: opsets,
        ..ModelProto::default()
    }
}
