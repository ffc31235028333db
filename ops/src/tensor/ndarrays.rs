//! Conversion between tensors and arrays of the crate `ndarray`.

use ndarray::{Array, ArrayBase, ArrayD, ArrayViewD, Data, Dimension, IxDyn};

use super::convert::Element;
use super::{Tensor, TensorError, TensorView};

/// Creates a tensor of the array's shape. An array that is contiguous in row-major order is not copied.
///
/// ```
/// use dlbc_ops::tensor::Tensor;
/// use ndarray::array;
///
/// let rows = Tensor::from(array![[1.0f32, 2.0], [3.0, 4.0]]);
/// assert_eq!((rows.dims(), rows.as_f32()), (&[2, 2][..], Some(&[1.0, 2.0, 3.0, 4.0][..])));
/// ```
impl<T: Element, D: Dimension> From<Array<T, D>> for Tensor {
    fn from(array: Array<T, D>) -> Tensor {
        let (dims, len) = (array.shape().to_vec(), array.len());
        let values = if array.is_standard_layout() {
            let (mut values, offset) = array.into_raw_vec_and_offset();
            let start = offset.unwrap_or(0);
            if start > 0 {
                values.drain(..start);
            }
            values.truncate(len);
            values
        } else {
            array.iter().copied().collect()
        };
        Tensor { dims, ..Tensor::from(values) }
    }
}

/// Borrows an array that is contiguous in row-major order. Fails for other arrays, which would have to be copied.
///
/// ```
/// use dlbc_ops::tensor::TensorView;
/// use ndarray::Array4;
///
/// let pictures = Array4::<f32>::zeros((8, 3, 32, 32));
/// let view = TensorView::try_from(&pictures)?;
/// assert_eq!(view.bytes().as_ptr(), pictures.as_ptr().cast());
/// assert!(TensorView::try_from(&pictures.t()).is_err());
/// # Ok::<(), dlbc_ops::tensor::TensorError>(())
/// ```
impl<'a, T: Element, S: Data<Elem = T>, D: Dimension> TryFrom<&'a ArrayBase<S, D>> for TensorView<'a> {
    type Error = TensorError;

    fn try_from(array: &'a ArrayBase<S, D>) -> Result<TensorView<'a>, TensorError> {
        let dims = array.shape();
        let values = array.as_slice();
        let values = values.ok_or_else(|| TensorError::Layout { dtype: T::DTYPE, dims: dims.to_vec() })?;
        TensorView::new(dims, values)
    }
}

/// Borrows the tensor's values as an array. Fails if the tensor has another element type.
///
/// ```
/// use dlbc_ops::tensor::Tensor;
/// use ndarray::{ArrayViewD, Axis};
///
/// let relevance = Tensor::from_f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
/// let rows: ArrayViewD<f32> = (&relevance).try_into()?;
/// assert_eq!(rows.sum_axis(Axis(1)).as_slice(), Some(&[3.0, 7.0][..]));
/// assert!(ArrayViewD::<i64>::try_from(&relevance).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<'a, T: Element> TryFrom<&'a Tensor> for ArrayViewD<'a, T> {
    type Error = TensorError;

    fn try_from(tensor: &'a Tensor) -> Result<ArrayViewD<'a, T>, TensorError> {
        check_type::<T>(tensor)?;
        let layout = || TensorError::Layout { dtype: tensor.dtype(), dims: tensor.dims().to_vec() };
        let values = tensor.as_slice().ok_or_else(layout)?;
        ArrayViewD::from_shape(IxDyn(tensor.dims()), values).map_err(|_| layout())
    }
}

/// Copies the tensor's values to an array. Fails if the tensor has another element type.
impl<T: Element> TryFrom<&Tensor> for ArrayD<T> {
    type Error = TensorError;

    fn try_from(tensor: &Tensor) -> Result<ArrayD<T>, TensorError> {
        check_type::<T>(tensor)?;
        let values = tensor.bytes().chunks_exact(size_of::<T>());
        let values =
            values.map(|bytes| bytemuck::pod_read_unaligned::<T>(bytes).to_little_endian()).collect();
        ArrayD::from_shape_vec(IxDyn(tensor.dims()), values)
            .map_err(|_| TensorError::Layout { dtype: tensor.dtype(), dims: tensor.dims().to_vec() })
    }
}

fn check_type<T: Element>(tensor: &Tensor) -> Result<(), TensorError> {
    if tensor.dtype() == T::DTYPE {
        Ok(())
    } else {
        Err(TensorError::Type { expected: T::DTYPE, actual: tensor.dtype() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ndarray::{arr2, s};

    use super::*;

    #[test]
    fn a_row_major_array_is_taken_and_any_other_copied() {
        let square = arr2(&[[1i64, 2], [3, 4]]);
        let at = square.as_ptr();
        let tensor = Tensor::from(square.clone());
        assert_eq!(tensor, Tensor::from_i64(&[2, 2], &[1, 2, 3, 4]));
        assert_eq!(Tensor::from(square.clone().reversed_axes()), Tensor::from_i64(&[2, 2], &[1, 3, 2, 4]));
        let second = square.clone().slice_move(s![1.., ..]);
        assert_eq!(Tensor::from(second), Tensor::from_i64(&[1, 2], &[3, 4]));
        let first = square.clone().slice_move(s![..1, ..]);
        assert_eq!(Tensor::from(first), Tensor::from_i64(&[1, 2], &[1, 2]));
        assert_eq!(Tensor::from(square).bytes().as_ptr(), at.cast());
    }

    #[test]
    fn a_tensor_becomes_an_array_of_its_type() {
        let tensor = Tensor::from_f32(&[2, 1], &[1.5, -2.0]);
        let view = ArrayViewD::<f32>::try_from(&tensor).unwrap();
        assert_eq!((view.as_ptr().cast(), view.shape()), (tensor.bytes().as_ptr(), &[2, 1][..]));
        assert_eq!(ArrayD::<f32>::try_from(&tensor).unwrap(), view);
        let wrong = ArrayD::<f64>::try_from(&tensor).unwrap_err();
        assert_eq!(wrong.to_string(), "expected a tensor of f64, found f32");
    }
}
