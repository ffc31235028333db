//! Matrix product.

use ndarray::{ArrayD, ArrayView2, ArrayViewMut2};

use super::Transform;
use super::contract::*;
use super::reference::layout::{Number, array, broadcast, elems, pick, wrong_type};
use super::reference::matrix::{multiply_float, multiply_integer, view, view_mut};
use super::transform::{transform_float, transform_integer, transformed};

/// Matrix product over the last two axes of the transformed operands, each transposed first if its flag is set. Batch
/// axes broadcast; both operands have rank ≥ 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatMul {
    /// Transform of the left operand.
    pub a: Transform,
    /// Transform of the right operand.
    pub b: Transform,
    /// True if the last two axes of the left operand are swapped.
    pub ta: bool,
    /// True if the last two axes of the right operand are swapped.
    pub tb: bool,
}

/// Operand of a matrix product: a value, the transform of its elements, and whether its last two axes are swapped. A
/// [`Value`] converts into a factor that is neither transformed nor transposed.
#[derive(Clone, Copy, Debug)]
pub struct Factor {
    value: Value,
    transform: Transform,
    transposed: bool,
}

impl Factor {
    /// Returns the factor of transformed elements.
    #[must_use]
    pub fn transformed(value: Value, transform: Transform) -> Factor {
        Factor { value, transform, transposed: false }
    }

    /// Returns the factor whose last two axes are swapped.
    #[must_use]
    pub fn transposed(value: Value) -> Factor {
        Factor::from(value).transpose()
    }

    /// Swaps the last two axes.
    #[must_use]
    pub fn transpose(self) -> Factor {
        self.transpose_if(true)
    }

    /// Swaps the last two axes if the condition holds.
    #[must_use]
    pub fn transpose_if(self, condition: bool) -> Factor {
        Factor { transposed: self.transposed != condition, ..self }
    }
}

impl From<Value> for Factor {
    fn from(value: Value) -> Factor {
        Factor::transformed(value, Transform::Id)
    }
}

impl Builder {
    /// Adds the matrix product of two factors over their last two axes; the other axes broadcast.
    pub fn matmul(&mut self, a: impl Into<Factor>, b: impl Into<Factor>) -> Value {
        let (a, b) = (a.into(), b.into());
        let product = MatMul { a: a.transform, b: b.transform, ta: a.transposed, tb: b.transposed };
        self.add(product, &[a.value, b.value])
    }
}

fields!(MatMul { a: Any, b: Any, ta: Any, tb: Any });

impl Primitive for MatMul {
    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        infer(&x[0], &x[1], self.ta, self.tb)
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let (a, b) = (
            OperandForm { transform: self.a, swap: self.ta },
            OperandForm { transform: self.b, swap: self.tb },
        );
        evaluate((x[0], a), (x[1], b), dims)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let MatMul { a: Transform::Id, b: Transform::Id, ta, tb } = *self else {
            return Err(d.unsupported());
        };
        let (a, b, r) = (d.x[0], d.x[1], d.r);
        if d.is_requested(0) {
            let v = if ta {
                d.b.matmul(Factor::from(b).transpose_if(tb), Factor::transposed(r))
            } else {
                d.b.matmul(r, Factor::from(b).transpose_if(!tb))
            };
            d.set_summed(0, v);
        }
        if d.is_requested(1) {
            let v = if tb {
                d.b.matmul(Factor::transposed(r), Factor::from(a).transpose_if(ta))
            } else {
                d.b.matmul(Factor::from(a).transpose_if(!ta), r)
            };
            d.set_summed(1, v);
        }
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.broadcast(self.clone()))
    }

    /// A sum over an empty axis is also 0.
    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero_or_empty(0) || x.is_zero_or_empty(1)
    }

    fn attributes(&self) -> String {
        let side = |transform: Transform, swap: bool| format!("{transform:?}{}", if swap { "ᵀ" } else { "" });
        format!("a={} b={}", side(self.a, self.ta), side(self.b, self.tb))
    }
}

fn infer(a: &TensorType, b: &TensorType, ta: bool, tb: bool) -> Result<TensorType, OpError> {
    equal("element type of the second operand", b.dtype, a.dtype)?;
    for t in [a, b] {
        if t.rank() < 2 {
            return Err(OpError::mismatch("rank of an operand", "at least 2", t.rank()));
        }
    }
    let matrix = |t: &TensorType, swap: bool| {
        let (rows, columns) = (t.dim(t.rank() - 2).clone(), t.dim(t.rank() - 1).clone());
        if swap { (columns, rows) } else { (rows, columns) }
    };
    let ((m, k), (k2, n)) = (matrix(a, ta), matrix(b, tb));
    if k != k2 {
        return Err(OpError::invalid(
            &format!("inner dimensions of {a} and {b}"),
            "equal",
            format!("{k} and {k2}"),
        ));
    }
    let batch = |t: &TensorType| Shape(t.shape.0[..t.rank() - 2].to_vec());
    let mut shape = broadcast_or(&batch(a), &batch(b))?;
    shape.0.extend([m, n]);
    Ok(a.with_shape(shape))
}

/// Form of a matrix operand: its transform, and whether its last two axes are swapped.
#[derive(Clone, Copy)]
struct OperandForm {
    transform: Transform,
    swap: bool,
}

/// Evaluates the product; the result has dimensions `dims`.
fn evaluate(a: (&Array, OperandForm), b: (&Array, OperandForm), dims: &[usize]) -> Result<Array, OpError> {
    let forms = (a.1, b.1);
    match (a.0, b.0) {
        (Array::F(a), Array::F(b)) => {
            multiply_batches(a, b, forms, dims, transform_float, multiply_float).map(Array::F)
        }
        (Array::I(a), Array::I(b)) => {
            multiply_batches(a, b, forms, dims, transform_integer, multiply_integer).map(Array::I)
        }
        (other, _) => Err(wrong_type("a number type, the same twice", other)),
    }
}

fn multiply_batches<T: Number>(
    a: &ArrayD<T>,
    b: &ArrayD<T>,
    (left, right): (OperandForm, OperandForm),
    dims: &[usize],
    transform: fn(Transform, T) -> T,
    multiply: fn(ArrayView2<'_, T>, ArrayView2<'_, T>, ArrayViewMut2<'_, T>),
) -> Result<ArrayD<T>, OpError> {
    let mut out = vec![T::ZERO; elems(dims)?];
    let (batch, matrix) = dims.split_at(dims.len() - 2);
    let (a_batch, a_matrix) = a.shape().split_at(a.ndim() - 2);
    let (b_batch, b_matrix) = b.shape().split_at(b.ndim() - 2);
    let size = matrix[0] * matrix[1];
    if out.is_empty() || a.is_empty() || b.is_empty() {
        return array(dims, out);
    }
    let (a_values, b_values) =
        (transformed(a, left.transform, transform), transformed(b, right.transform, transform));
    let a_matrices: Vec<&[T]> = a_values.chunks_exact(a_matrix[0] * a_matrix[1]).collect();
    let b_matrices: Vec<&[T]> = b_values.chunks_exact(b_matrix[0] * b_matrix[1]).collect();
    let a_matrices = pick(&a_matrices, &broadcast(a_batch, batch), &[].as_slice());
    let b_matrices = pick(&b_matrices, &broadcast(b_batch, batch), &[].as_slice());
    for ((a, b), out) in a_matrices.into_iter().zip(b_matrices).zip(out.chunks_exact_mut(size)) {
        let (a, b) = (view(a, a_matrix[0], a_matrix[1])?, view(b, b_matrix[0], b_matrix[1])?);
        let (a, b) =
            (if left.swap { a.reversed_axes() } else { a }, if right.swap { b.reversed_axes() } else { b });
        multiply(a, b, view_mut(out, matrix[0], matrix[1])?);
    }
    array(dims, out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prim::tests::arrays::{
        assert_close, elements, eval, floats, indices, ints, random, transform_value, transforms,
    };

    /// Returns an element of a matrix in a broadcast batch.
    fn at(x: &Array, batch: &[usize], i: usize, j: usize, swap: bool) -> f64 {
        let x = elements(x);
        let (i, j) = if swap { (j, i) } else { (i, j) };
        let batch_rank = x.ndim() - 2;
        let mut index: Vec<usize> = batch[batch.len() - batch_rank..].to_vec();
        for (axis, k) in index.iter_mut().enumerate() {
            *k = if x.shape()[axis] == 1 { 0 } else { *k };
        }
        index.extend([i, j]);
        x[index.as_slice()]
    }

    proptest! {
        #[test]
        fn matmul_is_the_sum_of_products(
            sizes in prop::array::uniform3(0usize..4),
            batches in prop::sample::select(vec![
                (vec![], vec![]), (vec![2], vec![]), (vec![3, 1], vec![2]), (vec![1, 2], vec![3, 2]), (vec![], vec![2, 2]),
            ]),
            transforms in (transforms(), transforms()),
            swaps in any::<(bool, bool)>(),
            seed in any::<u64>(),
        ) {
            let [m, k, n] = sizes;
            let (left, right) = batches;
            let matrix = |rows, columns, swap| if swap { [columns, rows] } else { [rows, columns] };
            let a = random(&[left, matrix(m, k, swaps.0).to_vec()].concat(), seed);
            let b = random(&[right, matrix(k, n, swaps.1).to_vec()].concat(), seed ^ 1);
            let y = eval(MatMul { a: transforms.0, b: transforms.1, ta: swaps.0, tb: swaps.1 }, &[&a, &b]);
            let direct: Vec<f64> = indices(y.dims()).iter().map(|index| {
                let (batch, ij) = index.split_at(index.len() - 2);
                let term = |l| {
                    let (a, b) = (at(&a, batch, ij[0], l, swaps.0), at(&b, batch, l, ij[1], swaps.1));
                    transform_value(transforms.0, a) * transform_value(transforms.1, b)
                };
                (0..k).map(term).sum()
            }).collect();
            assert_close(&y, &floats(y.dims(), &direct));
        }
    }

    #[test]
    fn integers_multiply_too() {
        let (a, b) = (ints(&[1, 2], &[2, -3]), ints(&[2, 1], &[5, 7]));
        let matmul = |a: Transform| MatMul { a, b: Transform::Id, ta: false, tb: false };
        assert_eq!(eval(matmul(Transform::Id), &[&a, &b]), ints(&[1, 1], &[-11]));
        assert_eq!(eval(matmul(Transform::Abs), &[&a, &b]), ints(&[1, 1], &[31]));
        assert_eq!(eval(matmul(Transform::Pos), &[&a, &b]), ints(&[1, 1], &[10]));
        assert_eq!(eval(matmul(Transform::Neg), &[&a, &b]), ints(&[1, 1], &[-21]));
    }
}
