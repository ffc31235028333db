//! ONNX form of tensors, element types and value types.

use std::sync::Arc;

use dlbc_ops::tensor::{DType, Tensor, TensorType};
use dlbc_proto::onnx::{AttributeProto, TensorProto, ValueInfoProto};
use dlbc_proto::{Bytes, DataType, Model, write};

/// Converts a tensor; its bytes are shared, not copied.
pub(crate) fn initializer(name: &str, t: &Tensor) -> TensorProto {
    struct Shared(Tensor);
    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            self.0.bytes()
        }
    }
    let dims: Vec<u64> = t.dims().iter().map(|d| *d as u64).collect();
    write::tensor(name, code(t.dtype()), &dims, Bytes::from_owner(Shared(t.clone())))
}

/// Converts an element type.
pub(crate) fn code(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::F32,
        DType::F64 => DataType::F64,
        DType::F16 => DataType::F16,
        DType::Bf16 => DataType::Bf16,
        DType::I8 => DataType::I8,
        DType::I16 => DataType::I16,
        DType::I32 => DataType::I32,
        DType::I64 => DataType::I64,
        DType::U8 => DataType::U8,
        DType::U16 => DataType::U16,
        DType::U32 => DataType::U32,
        DType::U64 => DataType::U64,
        DType::Bool => DataType::Bool,
    }
}

/// Reads a tensor of a file.
///
/// # Errors
/// For strings, and for bytes that do not fill the shape.
pub(crate) fn read_tensor(model: &Model, proto: &TensorProto) -> Result<Tensor, String> {
    let data = model.tensor(proto).map_err(|e| e.to_string())?;
    let dims = data.dims.iter().map(|d| usize::try_from(*d).ok()).collect::<Option<Vec<usize>>>();
    let dtype = element_type(data.dtype)
        .ok_or_else(|| format!("constant: expected numbers or bool, found {}", data.dtype))?;
    let tensor = dims.and_then(|dims| Tensor::from_bytes(dtype, dims, Arc::new(data.bytes)));
    tensor.ok_or_else(|| "constant: expected bytes that fill its shape".into())
}

/// Converts an element type; `None` if tensors cannot have it.
fn element_type(dtype: DataType) -> Option<DType> {
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let signed = [DType::I8, DType::I16, DType::I32, DType::I64];
    let unsigned = [DType::U8, DType::U16, DType::U32, DType::U64];
    let all = floats.into_iter().chain(signed).chain(unsigned).chain([DType::Bool]);
    all.into_iter().find(|d| code(*d) == dtype)
}

/// An integer-list attribute of sizes.
pub(crate) fn sizes(name: &str, values: &[usize]) -> AttributeProto {
    write::attr_ints(name, values.iter().map(|v| *v as i64).collect::<Vec<_>>())
}

/// Declares a graph input or output. A symbolic dimension is declared by the text of its expression.
pub(crate) fn value_info(name: &str, ty: &TensorType) -> ValueInfoProto {
    let dim = |d: &dlbc_ops::tensor::Dim| match d.as_known().map(u64::try_from) {
        Some(Ok(v)) => write::Dim::Value(v),
        Some(Err(_)) => write::Dim::Unknown,
        None => write::Dim::Symbol(d.to_string()),
    };
    write::value_info(name, code(ty.dtype), &ty.shape.0.iter().map(dim).collect::<Vec<_>>())
}
