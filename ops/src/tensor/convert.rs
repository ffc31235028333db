//! Conversion of vectors, arrays and bytes to tensors.

use std::sync::Arc;

use thiserror::Error;

use super::compact::Data;
use super::{Bytes, DType, Tensor};

/// Values that do not match the element type and dimensions of a tensor.
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
    /// The number of values differs from that of the dimensions.
    #[error("tensor {dtype}{dims:?}: expected {expected} elements, found {actual}")]
    Elements {
        /// Element type.
        dtype: DType,
        /// Dimensions.
        dims: Vec<usize>,
        /// Number of elements of a tensor with these dimensions.
        expected: usize,
        /// Number of values.
        actual: usize,
    },
    /// The tensor does not have the requested element type.
    #[error("expected a tensor of {expected}, found {actual}")]
    Type {
        /// Requested element type.
        expected: DType,
        /// Element type of the tensor.
        actual: DType,
    },
    /// The values cannot be read without a copy.
    #[error(
        "tensor {dtype}{dims:?}: the values cannot be read in place: expected contiguous, aligned values in row-major order"
    )]
    Layout {
        /// Element type.
        dtype: DType,
        /// Dimensions.
        dims: Vec<usize>,
    },
}

/// Returns an error unless `dims` have `count` elements.
pub(super) fn check_elements(dtype: DType, dims: &[usize], count: usize) -> Result<(), TensorError> {
    let elems = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    match elems {
        Some(expected) if expected == count => Ok(()),
        Some(expected) => Err(TensorError::Elements { dtype, dims: dims.to_vec(), expected, actual: count }),
        None => Err(TensorError::Overflow { dtype, dims: dims.to_vec() }),
    }
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
        Ok(Tensor { dtype, dims, data: Data::Plain(data) })
    }
}

/// Vector whose memory is the data of a tensor.
struct Owned<T>(Vec<T>);

impl<T: bytemuck::NoUninit> AsRef<[u8]> for Owned<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// Rust type that corresponds to an element type of tensors.
pub trait Element: bytemuck::Pod + Send + Sync + sealed::Sealed {
    /// Corresponding element type.
    const DTYPE: DType;

    /// Returns the value with its bytes in little-endian order.
    #[doc(hidden)]
    fn to_little_endian(self) -> Self;

    /// Returns the values of a tensor's bytes without a copy; `None` if the tensor has another type, the bytes are not
    /// aligned, or the machine is big-endian.
    #[doc(hidden)]
    fn in_place(dtype: DType, bytes: &[u8]) -> Option<&[Self]> {
        let native = dtype == Self::DTYPE && cfg!(target_endian = "little");
        if native { bytemuck::try_cast_slice(bytes).ok() } else { None }
    }
}

mod sealed {
    /// Keeps other crates from adding element types.
    pub trait Sealed {}
}

macro_rules! elements {
    ($($type:ident $dtype:ident),*) => {$(
        impl sealed::Sealed for $type {}

        impl Element for $type {
            const DTYPE: DType = DType::$dtype;

            fn to_little_endian(self) -> $type {
                $type::from_ne_bytes(self.to_le_bytes())
            }
        }
    )*};
}

elements!(f32 F32, f64 F64, i8 I8, i16 I16, i32 I32, i64 I64, u8 U8, u16 U16, u32 U32, u64 U64);

impl Tensor {
    /// Creates a tensor of shape `dims` from row-major values. On little-endian machines they are not copied.
    ///
    /// # Errors
    /// If the number of values differs from that of the shape.
    pub fn try_from_shape_vec<T: Element>(dims: &[usize], values: Vec<T>) -> Result<Tensor, TensorError> {
        check_elements(T::DTYPE, dims, values.len())?;
        Ok(Tensor { dims: dims.to_vec(), ..Tensor::from(values) })
    }

    /// Creates a tensor of shape `dims` with a copy of row-major values.
    ///
    /// # Errors
    /// If the number of values differs from that of the shape.
    pub fn try_from_slice<T: Element>(dims: &[usize], values: &[T]) -> Result<Tensor, TensorError> {
        check_elements(T::DTYPE, dims, values.len())?;
        Tensor::try_from_shape_vec(dims, values.to_vec())
    }
}

impl Tensor {
    /// Returns the values without a copy; `None` unless `T` is their type, each is stored, the bytes are aligned and the machine
    /// is little-endian.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        match &self.data {
            Data::Plain(bytes) => T::in_place(self.dtype, (**bytes).as_ref()),
            Data::Compact(_) => None,
        }
    }

    /// Returns the values without a copy; `None` unless the type is float32, each value is stored, the bytes are aligned and the
    /// machine is little-endian.
    pub fn as_f32(&self) -> Option<&[f32]> {
        self.as_slice()
    }
}

/// Creates a tensor of one dimension. On little-endian machines the values are not copied.
impl<T: Element> From<Vec<T>> for Tensor {
    fn from(values: Vec<T>) -> Tensor {
        let dims = vec![values.len()];
        let values = if cfg!(target_endian = "little") {
            values
        } else {
            values.into_iter().map(Element::to_little_endian).collect()
        };
        Tensor { dtype: T::DTYPE, dims, data: Data::Plain(Arc::new(Owned(values))) }
    }
}

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
    fn vectors_are_tensors() {
        let values = vec![1.0f32, 2.0, 3.0, 4.0];
        let at = values.as_ptr();
        let flat = Tensor::from(values.clone());
        assert_eq!((flat.dims(), flat.to_f32().to_vec()), (&[4][..], values.clone()));
        assert_eq!(flat.with_dims(&[2, 2]).unwrap(), Tensor::from_f32(&[2, 2], &values));
        let square = Tensor::try_from_shape_vec(&[2, 2], values).unwrap();
        assert_eq!(square.as_f32().unwrap().as_ptr(), at);
        assert_eq!(Tensor::from(vec![1u8, 2]).to_i64(), [1, 2]);
        assert_eq!(Tensor::from_i64(&[2], &[1, -1]).as_slice::<i64>(), Some(&[1, -1][..]));
        let wrong = Tensor::try_from_shape_vec(&[1, 3], vec![0.0f32; 2]).unwrap_err();
        assert_eq!(wrong.to_string(), "tensor f32[1, 3]: expected 3 elements, found 2");
    }

    #[test]
    #[should_panic(expected = "tensor f32[2, 2]: expected 4 elements, found 3")]
    fn a_constructor_that_panics_names_elements() {
        Tensor::from_f32(&[2, 2], &[0.0; 3]);
    }
}
