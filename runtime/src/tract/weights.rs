//! Tensors to and from tract, and the constants of a plan: each constant, part and layout once.

use std::collections::HashMap;
use std::sync::Arc;

use dlbc_ops::graph::NodeId;
use dlbc_ops::prim::Part;
use dlbc_ops::tensor::{DType, Tensor};
use tract_onnx::tract_core::internal as tr;

/// A tensor for tract. Floats of any width compute in float32.
pub fn to_tract(t: &Tensor) -> tr::TractResult<tr::Tensor> {
    let dims = t.dims();
    if t.dtype().is_float() {
        return tr::Tensor::from_shape(dims, &t.to_f32());
    }
    match t.dtype() {
        DType::Bool => {
            tr::Tensor::from_shape(dims, &t.bytes().iter().map(|b| *b != 0).collect::<Vec<bool>>())
        }
        _ => tr::Tensor::from_shape(dims, &t.to_i64()),
    }
}

/// The element type that stands for `dtype` in tract: float32, int64 or bool.
pub fn datum(dtype: DType) -> tr::DatumType {
    match dtype {
        d if d.is_float() => tr::DatumType::F32,
        DType::Bool => tr::DatumType::Bool,
        _ => tr::DatumType::I64,
    }
}

/// A tensor from tract, in the element type that the program says.
pub fn from_tract(t: &tr::Tensor, dtype: DType) -> tr::TractResult<Tensor> {
    let dims = t.shape();
    let array = match t.datum_type() {
        tr::DatumType::F32 if dtype == DType::F32 => {
            return Ok(Tensor::from_f32(dims, t.try_as_plain_ram()?.as_slice::<f32>()?));
        }
        tr::DatumType::F32 => {
            let values = t.try_as_plain_ram()?.as_slice::<f32>()?.iter().map(|v| f64::from(*v)).collect();
            dlbc_ops::tensor::Array::F(ndarray::ArrayD::from_shape_vec(dims, values)?)
        }
        tr::DatumType::Bool => {
            let values = t.try_as_plain_ram()?.as_slice::<bool>()?.to_vec();
            dlbc_ops::tensor::Array::B(ndarray::ArrayD::from_shape_vec(dims, values)?)
        }
        _ => {
            let t = t.cast_to::<i64>()?;
            let values = t.try_as_plain_ram()?.as_slice::<i64>()?.to_vec();
            dlbc_ops::tensor::Array::I(ndarray::ArrayD::from_shape_vec(dims, values)?)
        }
    };
    Ok(array.to_tensor(dtype))
}

/// The part of values.
pub fn part_of(part: Part, v: f32) -> f32 {
    match part {
        Part::Id => v,
        Part::Abs => v.abs(),
        Part::Pos => v.max(0.0),
        Part::Neg => v.min(0.0),
    }
}

/// Constants as tract tensors by node, part and layout.
#[derive(Default)]
pub struct Cache {
    made: HashMap<(NodeId, Part, &'static str), Arc<tr::Tensor>>,
}

impl Cache {
    /// The constant of `node` as `layout` (a name) of its part, made by `f` from its values and dimensions.
    pub fn get(
        &mut self,
        node: NodeId,
        part: Part,
        layout: &'static str,
        tensor: &Tensor,
        f: impl FnOnce(Vec<f32>, &[usize]) -> tr::TractResult<tr::Tensor>,
    ) -> tr::TractResult<Arc<tr::Tensor>> {
        if let Some(t) = self.made.get(&(node, part, layout)) {
            return Ok(t.clone());
        }
        let made = if tensor.dtype().is_float() {
            let mut values = tensor.to_f32();
            values.iter_mut().for_each(|v| *v = part_of(part, *v));
            f(values, tensor.dims())?
        } else {
            to_tract(tensor)?
        };
        let made = Arc::new(made);
        self.made.insert((node, part, layout), made.clone());
        Ok(made)
    }

    /// Bytes of all constants made.
    pub fn bytes(&self) -> u64 {
        self.made.values().map(|t| (t.len() * t.datum_type().size_of()) as u64).sum()
    }
}
