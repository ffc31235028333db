//! Tensors with known dimensions, symbolic dimensions and tensor types.

mod array;
mod convert;
mod dim;
mod dtype;
mod shape;

pub use array::Array;
pub use convert::TensorError;
pub use dim::{Bindings, Dim, DimVisitor};
pub use dtype::DType;
pub(crate) use shape::resolve_axis;
pub use shape::{Shape, TensorType, broadcast};

use std::fmt;
use std::sync::Arc;

use half::{bf16, f16};

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

    /// Creates a float32 tensor from row-major values.
    ///
    /// # Panics
    /// If `values` does not have as many elements as `dims`.
    pub fn from_f32(dims: &[usize], values: &[f32]) -> Tensor {
        let bytes: Vec<u8> = if cfg!(target_endian = "little") {
            bytemuck::cast_slice(values).to_vec()
        } else {
            values.iter().flat_map(|v| v.to_le_bytes()).collect()
        };
        Self::expect_bytes(DType::F32, dims, bytes)
    }

    /// Creates an int64 tensor from row-major values.
    ///
    /// # Panics
    /// If `values` does not have as many elements as `dims`.
    pub fn from_i64(dims: &[usize], values: &[i64]) -> Tensor {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::expect_bytes(DType::I64, dims, bytes)
    }

    fn expect_bytes(dtype: DType, dims: &[usize], bytes: Vec<u8>) -> Tensor {
        assert_eq!(
            bytes.len(),
            dims.iter().product::<usize>() * dtype.size_bytes(),
            "values do not fill the shape"
        );
        Tensor { dtype, dims: dims.to_vec(), data: Arc::new(bytes) }
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
        TensorType::new(self.dtype, self.dims.iter().map(|d| Dim::known(*d as i64)).collect::<Shape>())
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

    /// Returns the values without a copy; `None` unless the type is float32, the bytes are aligned and the machine is
    /// little-endian.
    pub fn as_f32(&self) -> Option<&[f32]> {
        let native = self.dtype == DType::F32 && cfg!(target_endian = "little");
        if native { bytemuck::try_cast_slice(self.bytes()).ok() } else { None }
    }

    /// Converts the values to float64; booleans become 0 or 1.
    pub fn to_f64(&self) -> Vec<f64> {
        self.dtype.decode_f64(self.bytes())
    }

    /// Converts the values to float32; booleans become 0 or 1.
    pub fn to_f32(&self) -> Vec<f32> {
        match self.dtype {
            DType::F32 => {
                self.bytes().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            DType::Bf16 => {
                self.bytes().chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
            DType::F16 => {
                self.bytes().chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
            _ => self.to_f64().into_iter().map(|v| v as f32).collect(),
        }
    }

    /// Converts the tensor to float32.
    pub fn to_f32_tensor(&self) -> Tensor {
        struct Floats(Vec<f32>);
        impl AsRef<[u8]> for Floats {
            fn as_ref(&self) -> &[u8] {
                bytemuck::cast_slice(&self.0)
            }
        }
        if cfg!(target_endian = "big") {
            return Tensor::from_f32(&self.dims, &self.to_f32());
        }
        Tensor { dtype: DType::F32, dims: self.dims.clone(), data: Arc::new(Floats(self.to_f32())) }
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
