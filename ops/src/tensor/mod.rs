//! Tensors and their types.

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

/// A dense row-major tensor with known dimensions, little-endian. Cloning shares the bytes.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    dims: Vec<usize>,
    data: Bytes,
}

impl Tensor {
    /// Wraps bytes. `None` when the length does not fit the type and dimensions.
    pub fn from_bytes(dtype: DType, dims: Vec<usize>, data: Bytes) -> Option<Tensor> {
        Tensor::try_from_bytes(dtype, dims, data).ok()
    }

    /// A float32 tensor.
    ///
    /// # Panics
    /// When `values` is not as long as `dims` says.
    pub fn from_f32(dims: &[usize], values: &[f32]) -> Tensor {
        let bytes: Vec<u8> = if cfg!(target_endian = "little") {
            bytemuck::cast_slice(values).to_vec()
        } else {
            values.iter().flat_map(|v| v.to_le_bytes()).collect()
        };
        Self::expect_bytes(DType::F32, dims, bytes)
    }

    /// An int64 tensor.
    ///
    /// # Panics
    /// When `values` is not as long as `dims` says.
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

    /// A float32 scalar.
    pub fn scalar(value: f32) -> Tensor {
        Tensor::from_f32(&[], &[value])
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The number of elements.
    pub fn elems(&self) -> usize {
        self.dims.iter().product()
    }

    /// The type with known dimensions.
    pub fn ty(&self) -> TensorType {
        TensorType::new(self.dtype, self.dims.iter().map(|d| Dim::known(*d as i64)).collect::<Shape>())
    }

    /// The bytes, little-endian, row-major.
    pub fn bytes(&self) -> &[u8] {
        (*self.data).as_ref()
    }

    /// The same bytes under other dimensions of the same product.
    pub fn with_dims(&self, dims: &[usize]) -> Option<Tensor> {
        (dims.iter().product::<usize>() == self.elems())
            .then(|| Tensor { dims: dims.to_vec(), ..self.clone() })
    }

    /// The values in place, when they are float32 and the bytes lie as this machine reads them.
    pub fn as_f32(&self) -> Option<&[f32]> {
        let native = self.dtype == DType::F32 && cfg!(target_endian = "little");
        if native { bytemuck::try_cast_slice(self.bytes()).ok() } else { None }
    }

    /// The values as float64 (integers and booleans convert).
    pub fn to_f64(&self) -> Vec<f64> {
        self.dtype.decode_f64(self.bytes())
    }

    /// The values as float32 (integers and booleans convert).
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

    /// The values as a float32 tensor, made without a copy in between.
    pub fn widened(&self) -> Tensor {
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

    /// The values as int64; floats truncate.
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
