//! Tensors of several targets or tracks under a leading axis, and each on its own again.

use std::sync::Arc;

use dlbc_ops::tensor::Tensor;

/// Tensors of one type under a leading axis.
pub(super) fn stacked<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Tensor {
    let (mut values, mut dims) = (vec![], vec![0]);
    for t in tensors {
        values.extend(t.to_f32());
        dims = [&[dims[0] + 1], t.dims()].concat();
    }
    Tensor::from_f32(&dims, &values)
}

/// Element `i` of a tensor's first axis.
pub(super) fn part(t: &Tensor, i: usize) -> Tensor {
    let dims = t.dims()[1..].to_vec();
    let size = dims.iter().product::<usize>() * t.dtype().size_bytes();
    let bytes = t.bytes()[i * size..][..size].to_vec();
    Tensor::from_bytes(t.dtype(), dims, Arc::new(bytes)).unwrap_or_else(|| t.clone())
}
