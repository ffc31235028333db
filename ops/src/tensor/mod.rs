//! Tensors with known dimensions, symbolic dimensions and tensor types.

mod array;
mod compact;
mod convert;
mod dim;
mod dtype;
#[cfg(feature = "ndarray")]
mod ndarrays;
mod shape;
mod steps;
mod storage;
mod view;

pub use array::Array;
pub use compact::{Compact, Numbers};
pub use convert::{Element, TensorError};
pub use dim::{Bindings, Dim, DimVisitor};
pub use dtype::{Bytes, DType};
pub(crate) use shape::resolve_axis;
pub use shape::{Shape, TensorType, broadcast};
pub use steps::Steps;
pub use view::{AsView, TensorView};

use std::fmt;

use compact::Data;

/// A dense row-major tensor with known dimensions, stored little-endian. Cloning shares the bytes. Float32 values may be stored in fewer
/// bits ([`Compact`]).
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    dims: Vec<usize>,
    data: Data,
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

    /// Returns the elements as bytes, little-endian and row-major. The first call for values that are stored in fewer bits
    /// ([`Tensor::as_compact`]) widens them all, and they stay in memory.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Plain(bytes) => (**bytes).as_ref(),
            Data::Compact(values) => values.widened(),
        }
    }

    /// Returns a tensor with the same bytes and other dimensions; `None` if the number of elements differs.
    pub fn with_dims(&self, dims: &[usize]) -> Option<Tensor> {
        (dims.iter().product::<usize>() == self.elems())
            .then(|| Tensor { dims: dims.to_vec(), ..self.clone() })
    }

    /// Converts the values to float64; booleans become 0 or 1.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Data::Plain(bytes) => self.dtype.decode_f64((**bytes).as_ref()),
            Data::Compact(values) => values.to_f32().into_iter().map(f64::from).collect(),
        }
    }

    /// Converts the values to float32; booleans become 0 or 1.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.data {
            Data::Plain(bytes) => self.dtype.decode_f32((**bytes).as_ref()),
            Data::Compact(values) => values.to_f32(),
        }
    }

    /// Converts the tensor to float32. The values of large tensors of fewer bits stay as they are in memory.
    pub fn to_f32_tensor(&self) -> Tensor {
        if self.dtype == DType::F32 {
            return self.clone();
        }
        let compact = Numbers::of(self.dtype).zip(self.shared()).and_then(|(numbers, bytes)| {
            Tensor::compact_if_large(&self.dims, Compact::new(numbers, self.elems(), bytes, None)?)
        });
        compact.unwrap_or_else(|| Tensor { dims: self.dims.clone(), ..Tensor::from(self.to_f32()) })
    }

    /// Converts the values to int64; floats are truncated towards zero.
    pub fn to_i64(&self) -> Vec<i64> {
        match &self.data {
            Data::Plain(bytes) => self.dtype.decode_i64((**bytes).as_ref()),
            Data::Compact(values) => values.to_f32().into_iter().map(|v| v as i64).collect(),
        }
    }
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Tensor) -> bool {
        let have_equal_values = || match (&self.data, &other.data) {
            (Data::Compact(a), Data::Compact(b)) if a == b => true,
            (Data::Plain(a), Data::Plain(b)) => (**a).as_ref() == (**b).as_ref(),
            _ => self.to_f32().iter().map(|v| v.to_bits()).eq(other.to_f32().iter().map(|v| v.to_bits())),
        };
        self.dtype == other.dtype && self.dims == other.dims && have_equal_values()
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ty())
    }
}
