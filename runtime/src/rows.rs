//! Stacking of several inputs into one batch, and slicing of a batch's rows.

use std::sync::Arc;

use dlbc_backend::Tensors;
use dlbc_ops::program::Program;
use dlbc_ops::tensor::Tensor;

/// Returns whether a program takes any number of rows.
pub(crate) fn has_free_batch(program: &Program) -> bool {
    program.batch_symbol().is_some()
}

/// Concatenates sets of inputs along their first axis. Returns `None` for an empty list, and for tensors that differ in element
/// type or in another axis.
pub fn stack(parts: &[&Tensors]) -> Option<Tensors> {
    let first = parts.first()?;
    let stacked = first.iter().map(|(name, like)| {
        let tensors: Option<Vec<&Tensor>> = parts.iter().map(|p| p.get(name)).collect();
        Some((name.clone(), concat(&tensors?, like)?))
    });
    stacked.collect()
}

/// Concatenates tensors along the first axis; `like` is the first of them.
pub(crate) fn concat(tensors: &[&Tensor], like: &Tensor) -> Option<Tensor> {
    let mut dims = like.dims().to_vec();
    let (rows, rest) = dims.split_first_mut()?;
    let fits = |t: &&Tensor| t.dtype() == like.dtype() && t.dims().get(1..) == Some(&*rest);
    if !tensors.iter().all(fits) {
        return None;
    }
    *rows = tensors.iter().map(|t| t.dims()[0]).sum();
    let bytes: Vec<u8> = tensors.iter().flat_map(|t| t.bytes()).copied().collect();
    Tensor::from_bytes(like.dtype(), dims, Arc::new(bytes))
}

/// Returns the rows `from..from + count` of a tensor; `None` when it has fewer.
pub fn slice(tensor: &Tensor, from: usize, count: usize) -> Option<Tensor> {
    let mut dims = tensor.dims().to_vec();
    let rows = std::mem::replace(dims.first_mut()?, count);
    let row = tensor.bytes().len().checked_div(rows)?;
    let bytes = tensor.bytes().get(from * row..(from + count) * row)?.to_vec();
    Tensor::from_bytes(tensor.dtype(), dims, Arc::new(bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_stacked_and_taken_apart() {
        let part = |values: &[f32]| Tensors::from([("x".to_string(), Tensor::from_f32(&[1, 2], values))]);
        let (a, b) = (part(&[1.0, 2.0]), part(&[3.0, 4.0]));
        let both = stack(&[&a, &b]).unwrap();
        assert_eq!((both["x"].dims(), both["x"].to_f32()), (&[2, 2][..], vec![1.0, 2.0, 3.0, 4.0]));
        assert_eq!(slice(&both["x"], 1, 1).unwrap(), b["x"]);
        assert_eq!(slice(&both["x"], 1, 2), None);
        let other = Tensors::from([("x".to_string(), Tensor::from_f32(&[1, 3], &[0.0; 3]))]);
        assert_eq!(stack(&[&a, &other]), None);
        assert_eq!(stack(&[]), None);
    }
}
