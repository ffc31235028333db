//! Tensors with known dimensions, symbolic dimensions and tensor types.

mod array;
mod convert;
mod dim;
mod dtype;
#[cfg(feature = "ndarray")]
mod ndarrays;
mod shape;
mod view;

pub use array::Array;
pub use convert::{Element, TensorError};
pub use dim::{Bindings, Dim, DimVisitor};
pub use dtype::DType;
pub(crate) use shape::resolve_axis;
pub use shape::{Shape, TensorType, broadcast};
pub use view::{AsView, TensorView};

use std::fmt;
use std::sync::Arc;

/// Shared read-only bytes: an owned buffer or a slice of a memory map.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A dense row-major tensor with known dimensions, stored little-endian. Cloning shares the bytes.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    dims: Vec<usize>,
    data: Bytes,
}

impl Tensor {
    /// Wraps little-endian, row-major bytes; `None` if their number does not match the type and dimensions.
    pub fn from_bytes(dtype: DType, dims: Vec<usize>, data: Bytes) -> Option<Tensor> {
        Tensor::try_from_bytes(dtype, dims, data).ok()
    }

    /// Creates a float32 tensor with a copy of row-major values.
    ///
    /// # Panics
    /// If `values` does not have as many elements as `dims`; [`Tensor::try_from_slice`] returns an error.
    #[track_caller]
    pub fn from_f32(dims: &[usize], values: &[f32]) -> Tensor {
        Tensor::try_from_slice(dims, values).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Creates an int64 tensor with a copy of row-major values.
    ///
    /// # Panics
    /// If `values` does not have as many elements as `dims`; [`Tensor::try_from_slice`] returns an error.
    #[track_caller]
    pub fn from_i64(dims: &[usize], values: &[i64]) -> Tensor {
        Tensor::try_from_slice(dims, values).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Creates a float32 scalar, a tensor of rank 0.
    pub fn scalar(value: f32) -> Tensor {
        Tensor::from_f32(&[], &[value])
    }

    /// Returns the element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Returns the number of elements.
    pub fn elems(&self) -> usize {
        self.dims.iter().product()
    }

    /// Returns the tensor's type; every dimension is known.
    pub fn ty(&self) -> TensorType {
        TensorType::known(self.dtype, &self.dims)
    }

    /// Returns the elements as bytes, little-endian and row-major.
    pub fn bytes(&self) -> &[u8] {
        (*self.data).as_ref()
    }

    /// Returns a tensor with the same bytes and other dimensions; `None` if the number of elements differs.
    pub fn with_dims(&self, dims: &[usize]) -> Option<Tensor> {
        (dims.iter().product::<usize>() == self.elems())
            .then(|| Tensor { dims: dims.to_vec(), ..self.clone() })
    }

    /// Converts the values to float64; booleans become 0 or 1.
    pub fn to_f64(&self) -> Vec<f64> {
        self.dtype.decode_f64(self.bytes())
    }

    /// Converts the values to float32; booleans become 0 or 1.
    pub fn to_f32(&self) -> Vec<f32> {
        self.dtype.decode_f32(self.bytes())
    }

    /// Converts the tensor to float32.
    pub fn to_f32_tensor(&self) -> Tensor {
        Tensor { dims: self.dims.clone(), ..Tensor::from(self.to_f32()) }
    }

    /// Converts the values to int64; floats are truncated towards zero.
    pub fn to_i64(&self) -> Vec<i64> {
        self.dtype.decode_i64(self.bytes())
    }
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Tensor) -> bool {
        self.dtype == other.dtype && self.dims == other.dims && self.bytes() == other.bytes()
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ty())
    }
}
