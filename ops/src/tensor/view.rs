//! Borrowed tensors.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::compact::Data;
use super::convert::{Element, check_elements};
use super::{DType, Tensor, TensorError, TensorType};

/// Borrowed dense row-major tensor: a slice of values with its shape, or a [`Tensor`].
///
/// # Examples
///
/// ```
/// use dlbc_ops::tensor::TensorView;
///
/// let pixels = vec![0.5f32; 2 * 3];
/// let picture = TensorView::new(&[2, 3], &pixels)?;
/// assert_eq!(picture.as_f32().map(<[f32]>::as_ptr), Some(pixels.as_ptr()));
///
/// let error = TensorView::new(&[2, 4], &pixels).unwrap_err();
/// assert_eq!(error.to_string(), "tensor f32[2, 4]: expected 8 elements, found 6");
/// # Ok::<(), dlbc_ops::tensor::TensorError>(())
/// ```
#[derive(Clone)]
pub struct TensorView<'a>(Source<'a>);

/// Memory of a view.
#[derive(Clone)]
enum Source<'a> {
    /// Borrowed values, little-endian.
    Slice { dtype: DType, dims: &'a [usize], bytes: &'a [u8] },
    /// Tensor, borrowed or with shared memory.
    Tensor(Cow<'a, Tensor>),
}

impl<'a> TensorView<'a> {
    /// Creates a view of row-major values with shape `dims`. On little-endian machines they are not copied.
    ///
    /// # Errors
    /// If the number of values differs from that of the shape.
    pub fn new<T: Element>(dims: &'a [usize], values: &'a [T]) -> Result<TensorView<'a>, TensorError> {
        if cfg!(target_endian = "big") {
            return Ok(Tensor::try_from_slice(dims, values)?.into());
        }
        check_elements(T::DTYPE, dims, values.len())?;
        Ok(TensorView(Source::Slice { dtype: T::DTYPE, dims, bytes: bytemuck::cast_slice(values) }))
    }

    /// Returns the element type.
    pub fn dtype(&self) -> DType {
        match &self.0 {
            Source::Slice { dtype, .. } => *dtype,
            Source::Tensor(tensor) => tensor.dtype,
        }
    }

    /// Returns the dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        match &self.0 {
            Source::Slice { dims, .. } => dims,
            Source::Tensor(tensor) => &tensor.dims,
        }
    }

    /// Returns the number of elements.
    pub fn elems(&self) -> usize {
        self.dims().iter().product()
    }

    /// Returns the tensor's type; every dimension is known.
    pub fn ty(&self) -> TensorType {
        TensorType::known(self.dtype(), self.dims())
    }

    /// Returns the elements as bytes, little-endian and row-major.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Source::Slice { bytes, .. } => bytes,
            Source::Tensor(tensor) => tensor.bytes(),
        }
    }

    /// Returns the values without a copy; `None` unless `T` is their type, the bytes are aligned and the machine is
    /// little-endian.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        match &self.0 {
            Source::Slice { dtype, bytes, .. } => T::in_place(*dtype, bytes),
            Source::Tensor(tensor) => tensor.as_slice(),
        }
    }

    /// Returns the values without a copy; `None` unless the type is float32, the bytes are aligned and the machine is
    /// little-endian.
    pub fn as_f32(&self) -> Option<&[f32]> {
        self.as_slice()
    }

    /// Converts the values to float64; booleans become 0 or 1.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.0 {
            Source::Slice { dtype, bytes, .. } => dtype.decode_f64(bytes),
            Source::Tensor(tensor) => tensor.to_f64(),
        }
    }

    /// Converts the values to float32; booleans become 0 or 1.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.0 {
            Source::Slice { dtype, bytes, .. } => dtype.decode_f32(bytes),
            Source::Tensor(tensor) => tensor.to_f32(),
        }
    }

    /// Converts the values to int64; floats are truncated towards zero.
    pub fn to_i64(&self) -> Vec<i64> {
        match &self.0 {
            Source::Slice { dtype, bytes, .. } => dtype.decode_i64(bytes),
            Source::Tensor(tensor) => tensor.to_i64(),
        }
    }

    /// Converts the view to a tensor. The memory of a [`Tensor`] is shared, that of a slice is copied.
    pub fn to_tensor(&self) -> Tensor {
        match &self.0 {
            Source::Slice { dtype, dims, bytes } => {
                Tensor { dtype: *dtype, dims: dims.to_vec(), data: Data::Plain(Arc::new(bytes.to_vec())) }
            }
            Source::Tensor(tensor) => tensor.clone().into_owned(),
        }
    }
}

impl Tensor {
    /// Borrows the tensor as a view.
    pub fn view(&self) -> TensorView<'_> {
        self.into()
    }
}

impl<'a> From<&'a Tensor> for TensorView<'a> {
    fn from(tensor: &'a Tensor) -> TensorView<'a> {
        TensorView(Source::Tensor(Cow::Borrowed(tensor)))
    }
}

impl From<Tensor> for TensorView<'_> {
    fn from(tensor: Tensor) -> Self {
        TensorView(Source::Tensor(Cow::Owned(tensor)))
    }
}

/// Converts a view like [`TensorView::to_tensor`].
impl From<TensorView<'_>> for Tensor {
    fn from(view: TensorView<'_>) -> Tensor {
        view.to_tensor()
    }
}

impl PartialEq for TensorView<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Source::Tensor(a), Source::Tensor(b)) => a == b,
            _ => {
                self.dtype() == other.dtype() && self.dims() == other.dims() && self.bytes() == other.bytes()
            }
        }
    }
}

impl fmt::Debug for TensorView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ty())
    }
}

/// Tensor that can be borrowed as a [`TensorView`].
pub trait AsView {
    /// Borrows the tensor as a view.
    fn as_view(&self) -> TensorView<'_>;
}

impl AsView for Tensor {
    fn as_view(&self) -> TensorView<'_> {
        self.view()
    }
}

impl AsView for TensorView<'_> {
    fn as_view(&self) -> TensorView<'_> {
        self.clone()
    }
}

impl<T: AsView + ?Sized> AsView for &T {
    fn as_view(&self) -> TensorView<'_> {
        (**self).as_view()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reads_in_place_and_its_tensor_shares_or_copies() {
        let values = [1i64, -2, 3];
        let view = TensorView::new(&[3, 1], &values).unwrap();
        assert_eq!(view.as_slice::<i64>().unwrap().as_ptr(), values.as_ptr());
        assert_eq!((view.as_f32(), view.to_f32()), (None, vec![1.0, -2.0, 3.0]));
        let copy = view.to_tensor();
        assert_eq!(copy, Tensor::from_i64(&[3, 1], &values));
        assert_ne!(copy.bytes().as_ptr(), view.bytes().as_ptr());
        assert_eq!(copy.view(), view);
        assert_eq!(copy.view().to_tensor().bytes().as_ptr(), copy.bytes().as_ptr());
        assert!(TensorView::new::<u8>(&[usize::MAX, 2], &[]).is_err());
    }
}
