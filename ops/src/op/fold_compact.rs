//! Folding of constants whose float32 values are stored in fewer bits, such that they stay so.
//!
//! A difference to a zero point and a product with a scale become part of the constant; what moves elements moves the stored numbers.

use std::sync::Arc;

use super::{Op, fold};
use crate::OpError;
use crate::tensor::{Compact, DType, Numbers, Steps, Tensor, TensorType};

/// Result of folding a constant in fewer bits.
pub(super) enum Folded {
    /// The constant to which the operator folds.
    Constant(Tensor),
    /// The operator is not folded, since what reads its result can read the operand instead.
    Unfolded,
    /// The values have to be computed.
    Computed,
}

/// Folds `op` on constants of which some may be stored in fewer bits.
///
/// # Errors
/// As [`fold::eval`].
pub(super) fn fold(op: &Op, constants: &[&Tensor], ty: &TensorType) -> Result<Folded, OpError> {
    let Some(dims) = ty.shape.as_known() else { return Ok(Folded::Computed) };
    let tensor = match (op, constants) {
        (Op::Cast(_), [t]) if ty.dtype == DType::F32 => {
            let is_narrow = t.dtype().is_float() || Numbers::of(t.dtype()).is_some();
            is_narrow.then(|| t.to_f32_tensor())
        }
        (Op::Mul(_), [a, b]) => scaled(a, b, &dims).or_else(|| scaled(b, a, &dims)),
        (Op::Sub(_), [t, zero]) => centred(t, zero, &dims),
        (Op::Reshape(_), [t, ..]) if t.as_compact().is_some() => t.with_dims(&dims),
        // Products read the constant itself.
        (Op::Transpose(t), [x]) if x.as_compact().is_some() && t.perm == [1, 0] => {
            return Ok(Folded::Unfolded);
        }
        (Op::Transpose(_) | Op::Slice(_), [t]) if fold::is_small(ty) => moved(op, t, &dims, ty)?,
        _ => None,
    };
    Ok(tensor.map_or(Folded::Computed, Folded::Constant))
}

/// Multiplies values by a scale that broadcasts; `None` if the product is not a scale of their numbers.
fn scaled(t: &Tensor, scale: &Tensor, dims: &[usize]) -> Option<Tensor> {
    let values = t.as_compact().filter(|_| t.dims() == dims)?;
    let scales = broadcast(&scale.to_f32(), scale.dims(), dims)?;
    let steps = match values.steps() {
        None => scales,
        Some(steps) if steps.scales.iter().any(|s| *s != 1.0) => return None,
        Some(steps) if steps.zeros.len() == 1 => Steps { zeros: steps.zeros.clone(), ..scales },
        Some(steps) if scales.scales.len() == 1 => {
            Steps { scales: vec![scales.scales[0]; steps.scales.len()], ..steps.clone() }
        }
        Some(steps) => {
            let zeros = steps.zeros.clone();
            let is_aligned =
                (steps.len, steps.inner, steps.block) == (scales.len, scales.inner, scales.block);
            is_aligned.then_some(Steps { zeros, ..scales })?
        }
    };
    Tensor::compact(dims, values.with_steps(steps)?)
}

/// Subtracts a zero point that broadcasts from numbers.
fn centred(t: &Tensor, zero: &Tensor, dims: &[usize]) -> Option<Tensor> {
    let values = t.as_compact().filter(|values| t.dims() == dims && values.steps().is_none())?;
    let steps = broadcast(&zero.to_f32(), zero.dims(), dims)?;
    let steps = Steps { scales: vec![1.0; steps.scales.len()], zeros: steps.scales, ..steps };
    Tensor::compact(dims, values.with_steps(steps)?)
}

/// Returns the steps with scales `values`, of shape `from`, that broadcast along adjacent axes of `dims`.
fn broadcast(values: &[f32], from: &[usize], dims: &[usize]) -> Option<Steps> {
    if let [scale] = values {
        return Some(Steps::single(*scale, 0.0));
    }
    let aligned = [vec![1; dims.len().checked_sub(from.len())?], from.to_vec()].concat();
    let first = aligned.iter().position(|d| *d != 1)?;
    let end = aligned.iter().rposition(|d| *d != 1)? + 1;
    (aligned[first..end] == dims[first..end]).then(|| Steps {
        scales: values.to_vec(),
        zeros: vec![0.0],
        len: values.len(),
        inner: dims[end..].iter().product(),
        block: 1,
        by_element: false,
    })
}

/// Moves the numbers of values that have one scale or none, and whole bytes.
fn moved(op: &Op, t: &Tensor, dims: &[usize], ty: &TensorType) -> Result<Option<Tensor>, OpError> {
    let Some(values) = t.as_compact() else { return Ok(None) };
    let dtype = match values.numbers() {
        Numbers::F16 | Numbers::Bf16 => DType::U16,
        Numbers::Whole { bits: 8, .. } => DType::U8,
        Numbers::Whole { .. } => return Ok(None),
    };
    if values.steps().is_some_and(|steps| steps.scales.len() > 1) {
        return Ok(None);
    }
    let stored = Tensor::from_bytes(dtype, t.dims().to_vec(), Arc::new(values.stored().to_vec()));
    let Some(stored) = stored else { return Ok(None) };
    let moved = fold::eval(op, &[&stored], &ty.with_dtype(dtype))?;
    let elems = moved.elems();
    let bytes = Arc::new(moved.bytes().to_vec());
    let values = Compact::new(values.numbers(), elems, bytes, values.steps().cloned());
    Ok(values.and_then(|values| Tensor::compact_if_large(dims, values)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::{Cast, Mul, Reshape, Slice, Sub, Transpose};
    use crate::tensor::Dim;

    /// Folds an operator, and compares the values with those that the reference kernels compute from plain tensors.
    fn check(op: impl Into<Op>, operands: &[&Tensor]) -> Tensor {
        let op = op.into();
        let types: Vec<TensorType> = operands.iter().map(|t| t.ty()).collect();
        let ty = op.infer(&types).unwrap().remove(0);
        let Folded::Constant(folded) = fold(&op, operands, &ty).unwrap() else { panic!("{op:?} folds") };
        let plain: Vec<Tensor> = operands
            .iter()
            .map(|t| match t.as_compact() {
                Some(values) => Tensor::from_f32(t.dims(), &values.to_f32()),
                None => (*t).clone(),
            })
            .collect();
        let expected = fold::eval(&op, &plain.iter().collect::<Vec<_>>(), &ty).unwrap();
        assert_eq!(folded, expected, "{op:?}");
        assert!(
            folded.as_compact().is_some() && folded.memory_bytes() < 2 * expected.elems() + 1024,
            "{op:?}"
        );
        folded
    }

    #[test]
    fn weights_of_casts_differences_and_products_stay_in_fewer_bits() {
        let bytes: Vec<u8> = (0..96 * 64u32).map(|i| (i * 37 % 251) as u8).collect();
        let columns: Vec<f32> = (0..64).map(|i| 0.01 + i as f32 / 1000.0).collect();
        let rows: Vec<f32> = (0..96).map(|i| i as f32 - 40.0).collect();
        for dtype in [DType::I8, DType::U8] {
            let numbers = Tensor::from_bytes(dtype, vec![96, 64], Arc::new(bytes.clone())).unwrap();
            let cast = check(Cast { to: DType::F32 }, &[&numbers]);
            check(Mul, &[&Tensor::scalar(0.03), &cast]);
            check(Mul, &[&cast, &Tensor::from_f32(&[64], &columns)]);
            let centred = check(Sub, &[&cast, &Tensor::scalar(7.0)]);
            check(Mul, &[&centred, &Tensor::from_f32(&[1, 64], &columns)]);
            let centred = check(Sub, &[&cast, &Tensor::from_f32(&[96, 1], &rows)]);
            check(Mul, &[&centred, &Tensor::scalar(0.5)]);
            let scaled = check(Mul, &[&centred, &Tensor::from_f32(&[96, 1], &rows)]);
            check(Reshape { to: TensorType::known(DType::F32, &[64, 96]).shape }, &[&scaled]);
            let by_block = check(Reshape { to: TensorType::known(DType::F32, &[96, 4, 16]).shape }, &[&cast]);
            let blocks: Vec<f32> = (0..96 * 4).map(|i| i as f32 / 7.0).collect();
            check(Mul, &[&by_block, &Tensor::from_f32(&[96, 4, 1], &blocks)]);
        }
    }

    #[test]
    fn moves_of_halves_keep_their_bits() {
        let bytes: Vec<u8> = (0..2 * 48 * 3 * 64u32).map(|i| (i * 29 % 119) as u8).collect();
        for dtype in [DType::F16, DType::Bf16] {
            let stored = Tensor::from_bytes(dtype, vec![48, 3, 64], Arc::new(bytes.clone())).unwrap();
            let t = check(Cast { to: DType::F32 }, &[&stored]);
            check(Transpose { perm: vec![2, 0, 1] }, &[&t]);
            let (start, len) = (Dim::known(8), Dim::known(40));
            check(Slice { axis: 0, start, len, step: 1 }, &[&t]);
        }
    }
}
