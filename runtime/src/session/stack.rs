//! Stacking of the tensors of several targets or tracks along a leading axis.

use std::sync::Arc;

use dlbc_ops::tensor::Tensor;

/// Stacks float32 tensors of one shape along a new leading axis.
pub(super) fn stack<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Tensor {
    let (mut values, mut dims) = (vec![], vec![0]);
    for t in tensors {
        values.extend(t.to_f32());
        dims = [&[dims[0] + 1], t.dims()].concat();
    }
    Tensor::from_f32(&dims, &values)
}

/// Returns the tensor at index `i` of the first axis, without that axis.
pub(super) fn index_first_axis(t: &Tensor, i: usize) -> Tensor {
    let dims = t.dims()[1..].to_vec();
    let size = dims.iter().product::<usize>() * t.dtype().size_bytes();
    let bytes = t.bytes()[i * size..][..size].to_vec();
    Tensor::from_bytes(t.dtype(), dims, Arc::new(bytes)).unwrap_or_else(|| t.clone())
}
