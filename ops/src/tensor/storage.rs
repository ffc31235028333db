//! Memory of tensors: each element, or float32 values in fewer bits.

use std::sync::Arc;

use super::Tensor;
use super::compact::{Compact, Data};
use super::dtype::{Bytes, DType};

/// Minimum number of elements of a tensor that is stored in fewer bits.
const MIN_ELEMS: usize = 1 << 12;

impl Tensor {
    /// Creates a float32 tensor whose values are stored in fewer bits; `None` if the number of elements differs.
    pub fn compact(dims: &[usize], values: Compact) -> Option<Tensor> {
        let elems = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let data = Data::Compact(Arc::new(values));
        match &data {
            Data::Compact(values) if elems != Some(values.elems) => None,
            _ => Some(Tensor { dtype: DType::F32, dims: dims.to_vec(), data }),
        }
    }

    /// Creates a float32 tensor whose values stay in fewer bits if it is a large matrix or has more axes; `None` if the number of
    /// elements differs.
    pub fn compact_if_large(dims: &[usize], values: Compact) -> Option<Tensor> {
        if dims.len() >= 2 && values.elems >= MIN_ELEMS {
            return Tensor::compact(dims, values);
        }
        Tensor::try_from_shape_vec(dims, values.to_f32()).ok()
    }

    /// Returns the values in fewer bits; `None` for a tensor that stores each element.
    pub fn as_compact(&self) -> Option<&Arc<Compact>> {
        match &self.data {
            Data::Compact(values) => Some(values),
            Data::Plain(_) => None,
        }
    }

    /// Returns an address and a size that identify the memory of the tensor while it lives. Tensors of one element type that have
    /// them in common have equal elements.
    pub fn identity(&self) -> (usize, usize) {
        match &self.data {
            Data::Plain(bytes) => ((**bytes).as_ref().as_ptr() as usize, (**bytes).as_ref().len()),
            Data::Compact(values) => (Arc::as_ptr(values) as usize, values.stored().len()),
        }
    }

    /// Returns the number of bytes in memory that hold the tensor.
    pub fn memory_bytes(&self) -> usize {
        match &self.data {
            Data::Plain(bytes) => (**bytes).as_ref().len(),
            Data::Compact(values) => values.memory_bytes(),
        }
    }

    /// Returns the elements as shared memory; `None` if the tensor stores float32 values in fewer bits.
    pub fn shared(&self) -> Option<Bytes> {
        match &self.data {
            Data::Plain(bytes) => Some(bytes.clone()),
            Data::Compact(_) => None,
        }
    }
}
