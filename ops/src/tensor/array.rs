//! Arrays of the reference kernels: float64, int64 or bool.

use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};

use super::compact::Data;
use super::{DType, Tensor, TensorView};

/// Tensor in the arithmetic of the reference kernels: all float types compute in float64, all integer types in int64.
/// The element type is that of the value in the graph.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Values of a float type.
    F(ArrayD<f64>),
    /// Values of an integer type; uint64 values keep their bits.
    I(ArrayD<i64>),
    /// Boolean values.
    B(ArrayD<bool>),
}

impl Array {
    /// Converts a tensor to an array.
    pub fn from_tensor(t: &Tensor) -> Array {
        Array::from_view(&t.view())
    }

    /// Converts a view to an array.
    pub fn from_view(t: &TensorView<'_>) -> Array {
        let dims = IxDyn(t.dims());
        // The tensor's invariant is that its bytes fill its dimensions, so the shapes below always fit.
        if t.dtype().is_float() {
            Array::F(ArrayD::from_shape_vec(dims, t.to_f64()).unwrap_or_default())
        } else if t.dtype() == DType::Bool {
            let values = t.bytes().iter().map(|b| *b != 0).collect();
            Array::B(ArrayD::from_shape_vec(dims, values).unwrap_or_default())
        } else {
            Array::I(ArrayD::from_shape_vec(dims, t.to_i64()).unwrap_or_default())
        }
    }

    /// Converts the array to a tensor of type `dtype`.
    pub fn to_tensor(&self, dtype: DType) -> Tensor {
        let bytes = match self {
            Array::F(a) => dtype.encode_f64(&mut a.iter().copied()),
            Array::I(a) => dtype.encode_i64(&mut a.iter().copied()),
            Array::B(a) => dtype.encode_i64(&mut a.iter().map(|b| i64::from(*b))),
        };
        Tensor { dtype, dims: self.dims().to_vec(), data: Data::Plain(Arc::new(bytes)) }
    }

    /// Returns the dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        match self {
            Array::F(a) => a.shape(),
            Array::I(a) => a.shape(),
            Array::B(a) => a.shape(),
        }
    }
}
