//! Strings of a model: of constants, of attributes and of inputs.

use dlbc_ops::op::read::Words;
use dlbc_ops::tensor::Tensor;
use dlbc_proto::onnx::type_proto::Value as TypeValue;
use dlbc_proto::onnx::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use dlbc_proto::{DataType, TensorData};

use crate::error::CompileError;

/// Attributes of class names, whose strings get the first numbers.
const CLASSES: &str = "classlabels_strings";

/// Attributes of other strings that a model compares with or looks up.
const OTHERS: [&str; 6] =
    ["cats_strings", "classes_strings", "default_string", "keys_strings", "pool_strings", "values_strings"];

/// Operators that move or compare elements, whatever they are, and those that turn strings into numbers.
const TAKE_STRINGS: &[&str] = &[
    "ArrayFeatureExtractor",
    "CategoryMapper",
    "Concat",
    "Equal",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "LabelEncoder",
    "OneHotEncoder",
    "Reshape",
    "Shape",
    "Size",
    "Slice",
    "Split",
    "Squeeze",
    "TfIdfVectorizer",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// Returns whether an operator takes strings.
pub fn takes_strings(op: &str) -> bool {
    TAKE_STRINGS.contains(&op)
}

/// Returns whether a model's input or output is declared as a tensor of strings.
pub fn is_string(info: &ValueInfoProto) -> bool {
    let ty = info.r#type.as_ref().and_then(|ty| ty.value.as_ref());
    matches!(ty, Some(TypeValue::TensorType(ty)) if ty.elem_type() == DataType::String.to_onnx())
}

/// Returns the numbers of a tensor of strings.
pub fn numbers(words: &Words, data: &TensorData) -> Result<Tensor, CompileError> {
    let numbers: Vec<i64> = data.strings.iter().map(|s| words.number(&String::from_utf8_lossy(s))).collect();
    let dims: Vec<usize> = data.dims.iter().map(|d| *d as usize).collect();
    Ok(Tensor::from_i64(&dims, &numbers))
}

/// Returns the strings that a model compares with or looks up, those of classes first.
pub fn strings(model: &ModelProto) -> Vec<String> {
    let (mut classes, mut others) = (vec![], vec![]);
    let mut graphs: Vec<&GraphProto> = model.graph.iter().collect();
    let mut nodes: Vec<&NodeProto> = model.functions.iter().flat_map(|f| &f.node).collect();
    loop {
        if let Some(graph) = graphs.pop() {
            graph.initializer.iter().for_each(|t| of_tensor(t, &mut others));
            nodes.extend(&graph.node);
        } else if let Some(node) = nodes.pop() {
            for attribute in &node.attribute {
                attribute.t.iter().for_each(|t| of_tensor(t, &mut others));
                graphs.extend(attribute.g.as_deref());
                graphs.extend(&attribute.graphs);
                let list = match attribute.name() {
                    CLASSES => &mut classes,
                    name if OTHERS.contains(&name) => &mut others,
                    _ => continue,
                };
                let strings = attribute.strings.iter().chain(&attribute.s);
                list.extend(strings.map(|s| String::from_utf8_lossy(s).into_owned()));
            }
        } else {
            break;
        }
    }
    classes.extend(others);
    classes
}

fn of_tensor(tensor: &TensorProto, strings: &mut Vec<String>) {
    strings.extend(tensor.string_data.iter().map(|s| String::from_utf8_lossy(s).into_owned()));
}
