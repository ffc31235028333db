//! Constants whose float32 values are stored in fewer bits: initialisers of the stored numbers and their scales, and the nodes that
//! widen them in an ONNX runtime. Metadata of the last node describe the constant to [`read`].

use std::collections::HashMap;
use std::sync::Arc;

use dlbc_ops::tensor::{Compact, DType, Numbers, Steps, Tensor};
use dlbc_proto::onnx::TensorProto;
use dlbc_proto::{Model, write as onnx};
use serde::{Deserialize, Serialize};

use crate::onnx_builder::OnnxBuilder;
use crate::onnx_builder::types::{code, initializer, read_tensor};
use crate::{ArtifactError, json};

/// Key of the metadata that describe a constant in fewer bits.
pub(crate) const KEY: &str = "dlbc.constant";

/// Description of a constant.
#[derive(Serialize, Deserialize)]
pub(crate) struct Description {
    dims: Vec<usize>,
    /// Initialiser of the numbers.
    numbers: String,
    /// Type of the numbers, or of the bytes in which smaller ones are packed.
    dtype: DType,
    bits: usize,
    steps: Option<StepsDescription>,
}

/// Description of scales and zero points.
#[derive(Serialize, Deserialize)]
struct StepsDescription {
    /// Initialiser of the scales.
    scales: String,
    /// Initialiser of the zero points.
    zeros: String,
    len: usize,
    inner: usize,
    block: usize,
    by_element: bool,
}

/// Adds the nodes that compute `result`, and the initialisers that they read. Returns the description of the constant.
///
/// # Errors
/// When the description cannot be written.
pub(crate) fn write(
    builder: &mut OnnxBuilder,
    initializers: &mut Vec<TensorProto>,
    result: &str,
    (dims, values): (&[usize], &Compact),
) -> Result<String, ArtifactError> {
    builder.set_prefix(result);
    let mut add = |builder: &mut OnnxBuilder, part: &str, t: &Tensor| {
        let name = builder.fresh(&format!("{result}/{part}"));
        initializers.push(initializer(&name, t));
        name
    };
    let (dtype, bits, signed) = match values.numbers() {
        Numbers::F16 => (DType::F16, 16, false),
        Numbers::Bf16 => (DType::Bf16, 16, false),
        Numbers::Whole { bits, signed } => (if signed { DType::I8 } else { DType::U8 }, bits, signed),
    };
    let stored = Arc::new(values.stored().to_vec());
    let packed = bits < 8;
    let (stored_type, stored_dims) =
        if packed { (DType::U8, vec![stored.len()]) } else { (dtype, dims.to_vec()) };
    let stored = Tensor::try_from_bytes(stored_type, stored_dims, stored);
    let stored = stored.map_err(|e| ArtifactError::Damaged(e.to_string()))?;
    let numbers = add(builder, "numbers", &stored);
    let to_float = |builder: &mut OnnxBuilder, x: &str| {
        let to = onnx::attr_int("to", i64::from(code(DType::F32).to_onnx()));
        builder.add("Cast", &[x], vec![to])
    };
    let elems: usize = dims.iter().product();
    let mut y = if packed { unpack(builder, &numbers, bits, elems) } else { numbers.clone() };
    y = to_float(builder, &y);
    if packed && signed {
        // Numbers from half of the range on are negative.
        let (half, range) = (1u32 << (bits - 1), 1u32 << bits);
        let half = builder.scalar(DType::F32, 1.0 / f64::from(half));
        let range = builder.scalar(DType::F32, f64::from(range));
        let share = builder.add("Mul", &[&y, &half], vec![]);
        let is_negative = builder.add("Floor", &[&share], vec![]);
        let excess = builder.add("Mul", &[&is_negative, &range], vec![]);
        y = builder.add("Sub", &[&y, &excess], vec![]);
    }
    let reshape = |builder: &mut OnnxBuilder, x: &str, dims: &[usize]| {
        let dims: Vec<i64> = dims.iter().map(|d| *d as i64).collect();
        let dims = builder.ints(&dims);
        builder.add("Reshape", &[x, &dims], vec![])
    };
    let mut description = Description { dims: dims.to_vec(), numbers, dtype, bits, steps: None };
    if let Some(steps) = values.steps() {
        let Steps { scales, zeros, len, inner, block, by_element } = steps;
        let rows = elems / (len * inner).max(1);
        let blocks = len.div_ceil(*block);
        let shape = if *by_element { [rows, blocks, *inner] } else { [1, blocks, 1] };
        y = reshape(builder, &y, &[rows, *len, *inner]);
        let mut operand = |builder: &mut OnnxBuilder, part: &str, values: &[f32]| {
            let shape = if values.len() == 1 { [1, 1, 1] } else { shape };
            let name = add(builder, part, &Tensor::from_f32(&shape, values));
            if *block == 1 || values.len() == 1 {
                return (name.clone(), name);
            }
            let block_of: Vec<i64> = (0..*len).map(|i| (i / block) as i64).collect();
            let block_of = builder.ints(&block_of);
            let spread = builder.add("Gather", &[&name, &block_of], vec![onnx::attr_int("axis", 1)]);
            (name, spread)
        };
        let (zero_name, zero) = operand(builder, "zeros", zeros);
        let (scale_name, scale) = operand(builder, "scales", scales);
        y = builder.add("Sub", &[&y, &zero], vec![]);
        y = builder.add("Mul", &[&y, &scale], vec![]);
        let (len, inner, block, by_element) = (*len, *inner, *block, *by_element);
        let (scales, zeros) = (scale_name, zero_name);
        description.steps = Some(StepsDescription { scales, zeros, len, inner, block, by_element });
    }
    if description.steps.is_some() || packed {
        y = reshape(builder, &y, dims);
    }
    builder.name_result(&y, result);
    json::to_string(&description)
}

/// Adds the nodes that unpack numbers of `bits` bits, low bits first, to a vector of `elems` bytes.
fn unpack(builder: &mut OnnxBuilder, bytes: &str, bits: usize, elems: usize) -> String {
    let byte = |builder: &mut OnnxBuilder, value: usize| builder.scalar(DType::U8, value as f64);
    let range = byte(builder, 1 << bits);
    let last = builder.ints(&[1]);
    let mut parts = vec![];
    for i in 0..8 / bits {
        let distance = byte(builder, i * bits);
        let right = vec![onnx::attr_string("direction", "RIGHT")];
        let shifted = builder.add("BitShift", &[bytes, &distance], right);
        let part = builder.add("Mod", &[&shifted, &range], vec![]);
        parts.push(builder.add("Unsqueeze", &[&part, &last], vec![]));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let all = builder.add("Concat", &parts, vec![onnx::attr_int("axis", 1)]);
    let (flat, start, end) = (builder.ints(&[-1]), builder.ints(&[0]), builder.ints(&[elems as i64]));
    let all = builder.add("Reshape", &[&all, &flat], vec![]);
    builder.add("Slice", &[&all, &start, &end], vec![])
}

/// Reads a constant by its description.
///
/// # Errors
/// When the initialisers do not match it.
pub(crate) fn read(
    model: &Model,
    initializers: &HashMap<&str, &TensorProto>,
    description: &str,
) -> Result<Tensor, String> {
    let description: Description = serde_json::from_str(description).map_err(|e| e.to_string())?;
    let tensor = |name: &str| {
        let proto = initializers.get(name).ok_or("constant: expected initialisers of its numbers")?;
        read_tensor(model, proto)
    };
    let mismatch = || String::from("constant: expected numbers and scales that fill its shape");
    let Description { dims, numbers, dtype, bits, steps } = description;
    let kind = match (Numbers::of(dtype), bits) {
        (Some(Numbers::Whole { signed, .. }), 2 | 4 | 8) => Numbers::Whole { bits, signed },
        (Some(half @ (Numbers::F16 | Numbers::Bf16)), 16) => half,
        _ => return Err("constant: expected numbers of 2, 4, 8 or 16 bits".into()),
    };
    let numbers = tensor(&numbers)?;
    if numbers.dtype() != if bits < 8 { DType::U8 } else { dtype } {
        return Err(mismatch());
    }
    let steps = match steps {
        None => None,
        Some(steps) => {
            let [scales, zeros] = [&steps.scales, &steps.zeros].map(|name| tensor(name).map(|t| t.to_f32()));
            let StepsDescription { len, inner, block, by_element, .. } = steps;
            Some(Steps { scales: scales?, zeros: zeros?, len, inner, block, by_element })
        }
    };
    let elems = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).ok_or_else(mismatch)?;
    let values = numbers.shared().and_then(|bytes| Compact::new(kind, elems, bytes, steps));
    values.and_then(|values| Tensor::compact(&dims, values)).ok_or_else(mismatch)
}
