//! Conversion of vectors, arrays and bytes to tensors.

use std::sync::Arc;

use ndarray::Dimension;
use thiserror::Error;

use super::{Bytes, DType, Tensor};

/// Bytes that do not match the element type and dimensions of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The number of bytes overflows.
    #[error("tensor {dtype}{dims:?}: too many elements to count")]
    Overflow {
        /// Element type.
        dtype: DType,
        /// Dimensions.
        dims: Vec<usize>,
    },
    /// The number of bytes differs from that of the type and dimensions.
    #[error("tensor {dtype}{dims:?}: expected {expected} bytes, found {actual}")]
    Length {
        /// Element type.
        dtype: DType,
        /// Dimensions.
        dims: Vec<usize>,
        /// Number of bytes that the type and dimensions take.
        expected: usize,
        /// Number of bytes in the buffer.
        actual: usize,
    },
}

impl Tensor {
    /// Wraps little-endian, row-major bytes.
    ///
    /// # Errors
    /// If the number of bytes differs from that of the type and dimensions.
    pub fn try_from_bytes(dtype: DType, dims: Vec<usize>, data: Bytes) -> Result<Tensor, TensorError> {
        let elems = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let Some(expected) = elems.and_then(|n| n.checked_mul(dtype.size_bytes())) else {
            return Err(TensorError::Overflow { dtype, dims });
        };
        let actual = (*data).as_ref().len();
        if actual != expected {
            return Err(TensorError::Length { dtype, dims, expected, actual });
        }
        Ok(Tensor { dtype, dims, data })
    }
}

/// Vector whose memory is the data of a tensor.
struct Owned<T>(Vec<T>);

impl<T: bytemuck::NoUninit> AsRef<[u8]> for Owned<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

macro_rules! from_values {
    ($($type:ident $dtype:ident),*) => {$(
        /// Creates a tensor of one dimension. On little-endian machines the values are not copied.
        impl From<Vec<$type>> for Tensor {
            fn from(values: Vec<$type>) -> Tensor {
                let dims = vec![values.len()];
                let values = if cfg!(target_endian = "little") {
                    values
                } else {
                    values.into_iter().map(|v| $type::from_le_bytes(v.to_ne_bytes())).collect()
                };
                Tensor { dtype: DType::$dtype, dims, data: Arc::new(Owned(values)) }
            }
        }

        /// Creates a tensor of the array's shape.
        impl<D: Dimension> From<ndarray::Array<$type, D>> for Tensor {
            fn from(array: ndarray::Array<$type, D>) -> Tensor {
                let dims = array.shape().to_vec();
                Tensor { dims, ..Tensor::from(array.iter().copied().collect::<Vec<$type>>()) }
            }
        }
    )*};
}

from_values!(f32 F32, f64 F64, i64 I64);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_another_length_are_refused_with_the_reason() {
        let wrong = Tensor::try_from_bytes(DType::F32, vec![1, 3], Arc::new(vec![0u8; 8])).unwrap_err();
        assert_eq!(wrong.to_string(), "tensor f32[1, 3]: expected 12 bytes, found 8");
        let huge = Tensor::try_from_bytes(DType::F32, vec![usize::MAX, 2], Arc::new(vec![]));
        assert!(matches!(huge, Err(TensorError::Overflow { .. })));
    }

    #[test]
    fn vectors_and_arrays_are_tensors() {
        let values = vec![1.0f32, 2.0, 3.0, 4.0];
        let flat = Tensor::from(values.clone());
        assert_eq!((flat.dims(), flat.to_f32().to_vec()), (&[4][..], values.clone()));
        assert_eq!(flat.with_dims(&[2, 2]).unwrap(), Tensor::from_f32(&[2, 2], &values));
        let square = ndarray::arr2(&[[1i64, 2], [3, 4]]);
        assert_eq!(Tensor::from(square.reversed_axes()), Tensor::from_i64(&[2, 2], &[1, 3, 2, 4]));
    }
}
