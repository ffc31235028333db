//! Conversion of tensors to the arithmetic of the graph, in which every float is float32.

use std::sync::Arc;

use dlbc_ops::OpError;
use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::op::read::Narrow;
use dlbc_ops::op::{Cast, Op};
use dlbc_ops::tensor::{Bytes, DType, Tensor};
use dlbc_proto::{DataType, Name};

use crate::error::CompileError;

/// Converts a constant; every float type becomes float32. `name` is the node or tensor for error messages.
///
/// # Errors
/// For an unsupported element type, and bytes that do not fill the shape.
pub fn convert(
    dtype: DataType,
    dims: &[u64],
    bytes: dlbc_proto::Bytes,
    name: &str,
) -> Result<Tensor, CompileError> {
    if let Some(narrow) = narrow(dtype) {
        return unpack(narrow, dims, bytes, name);
    }
    let error = |source| CompileError::Node { node: Name::new(name), op: Name::new("initializer"), source };
    let dtype = element_type(dtype).map_err(error)?;
    let dims: Option<Vec<usize>> = dims.iter().map(|d| usize::try_from(*d).ok()).collect();
    let data: Bytes = Arc::new(bytes);
    let tensor = dims.and_then(|dims| Tensor::from_bytes(dtype, dims, data));
    let tensor = tensor.ok_or_else(|| {
        error(OpError::invalid("bytes of the tensor", "as many as its shape takes", "another number"))
    })?;
    Ok(if dtype.is_float() { tensor.to_f32_tensor() } else { tensor })
}

/// Returns the narrow type of elements that tensors have no type for.
pub fn narrow(dtype: DataType) -> Option<Narrow> {
    Narrow::of_code(i64::from(dtype.to_onnx()))
}

/// Converts a constant of a type that tensors do not have, whose elements have a byte each.
fn unpack(
    narrow: Narrow,
    dims: &[u64],
    bytes: dlbc_proto::Bytes,
    name: &str,
) -> Result<Tensor, CompileError> {
    let holder = match narrow.holder() {
        DType::U8 => DataType::U8,
        DType::I8 => DataType::I8,
        _ => {
            let floats = bytes.iter().flat_map(|b| narrow.float(*b).unwrap_or_default().to_le_bytes());
            return convert(DataType::F32, dims, floats.collect::<Vec<u8>>().into(), name);
        }
    };
    convert(holder, dims, bytes, name)
}

fn element_type(dtype: DataType) -> Result<DType, OpError> {
    dlbc_ops::op::element_type(i64::from(dtype.to_onnx()))
}

/// Adds a cast to float32 to a value of another float type.
pub fn widen(graph: &mut Graph<Op>, v: Value) -> Value {
    let ty = graph.ty(v).clone();
    if !ty.dtype.is_float() || ty.dtype == DType::F32 {
        return v;
    }
    let name = format!("{}.f32", graph.value_name(v));
    let origin = graph.node(v.node).origin.clone();
    graph.add_value(Op::Cast(Cast { to: DType::F32 }), &name, ty.with_dtype(DType::F32), origin, &[v])
}
