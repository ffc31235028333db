//! Values of the reference kernels: float64, int64 or bool arrays.

use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};

use super::{DType, Tensor};

/// A tensor in the arithmetic of the reference kernels: every float type computes in float64, every integer type in
/// int64. `dtype` of the graph says what it stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Any float type.
    F(ArrayD<f64>),
    /// Any integer type.
    I(ArrayD<i64>),
    /// Booleans.
    B(ArrayD<bool>),
}

impl Array {
    /// From a tensor.
    pub fn from_tensor(t: &Tensor) -> Array {
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

    /// To a tensor of `dtype`.
    pub fn to_tensor(&self, dtype: DType) -> Tensor {
        let bytes = match self {
            Array::F(a) => dtype.encode_f64(&mut a.iter().copied()),
            Array::I(a) => dtype.encode_i64(&mut a.iter().copied()),
            Array::B(a) => dtype.encode_i64(&mut a.iter().map(|b| i64::from(*b))),
        };
        Tensor { dtype, dims: self.dims().to_vec(), data: Arc::new(bytes) }
    }

    /// The dimensions.
    pub fn dims(&self) -> &[usize] {
        match self {
            Array::F(a) => a.shape(),
            Array::I(a) => a.shape(),
            Array::B(a) => a.shape(),
        }
    }
}
