//! Arrays, and primitives evaluated on them, for the tests of kernels.

use ndarray::{ArrayD, IxDyn};
use proptest::prelude::*;

use crate::prim::{Prim, Transform, reference};
use crate::tensor::{Array, DType, Dim, Shape, TensorType};

pub fn floats(dims: &[usize], values: &[f64]) -> Array {
    Array::F(ArrayD::from_shape_vec(IxDyn(dims), values.to_vec()).expect("values that fill the dimensions"))
}

pub fn ints(dims: &[usize], values: &[i64]) -> Array {
    Array::I(ArrayD::from_shape_vec(IxDyn(dims), values.to_vec()).expect("values that fill the dimensions"))
}

pub fn bools(dims: &[usize], values: &[bool]) -> Array {
    Array::B(ArrayD::from_shape_vec(IxDyn(dims), values.to_vec()).expect("values that fill the dimensions"))
}

/// Returns floats along one axis.
pub fn row(values: &[f64]) -> Array {
    floats(&[values.len()], values)
}

pub fn known(dims: &[usize]) -> Vec<Dim> {
    dims.iter().map(|d| Dim::known(*d as i64)).collect()
}

/// Returns the types of operands as a program has them.
pub fn types(operands: &[&Array]) -> Vec<TensorType> {
    let dtype = |x: &Array| match x {
        Array::F(_) => DType::F32,
        Array::I(_) => DType::I64,
        Array::B(_) => DType::Bool,
    };
    operands.iter().map(|x| TensorType::new(dtype(x), known(x.dims()))).collect()
}

/// Evaluates a primitive, and checks that its type rule infers the dimensions of the result.
pub fn eval(prim: impl Into<Prim>, operands: &[&Array]) -> Array {
    let prim = prim.into();
    let value = reference::eval(&prim, operands).unwrap_or_else(|e| panic!("{prim:?}: {e}"));
    let ty = prim.infer(&types(operands)).expect("operands that the kernel and the type rule accept");
    assert_eq!(ty.shape, Shape(known(value.dims())), "{prim:?}");
    value
}

/// Returns the error of a primitive that cannot be evaluated.
pub fn error(prim: impl Into<Prim>, operands: &[&Array]) -> String {
    let prim = prim.into();
    match reference::eval(&prim, operands) {
        Ok(value) => panic!("{prim:?}: expected an error, found {value:?}"),
        Err(e) => e.to_string(),
    }
}

/// Returns the elements of an array of floats, row-major.
pub fn data(x: &Array) -> Vec<f64> {
    elements(x).iter().copied().collect()
}

/// Returns the array of floats within `x`.
pub fn elements(x: &Array) -> &ArrayD<f64> {
    match x {
        Array::F(x) => x,
        other => panic!("expected floats, found {other:?}"),
    }
}

pub fn assert_close(actual: &Array, expected: &Array) {
    assert_eq!(actual.dims(), expected.dims());
    for (i, (a, b)) in data(actual).into_iter().zip(data(expected)).enumerate() {
        let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * (1.0 + b.abs());
        assert!(same, "element {i}: expected {b}, found {a}");
    }
}

/// Returns multiples of 1/8 from -4 to 4, so that sums and products are exact and ties occur.
pub fn random(dims: &[usize], seed: u64) -> Array {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % 64) as f64 / 8.0 - 4.0
    };
    floats(dims, &(0..dims.iter().product()).map(|_| next()).collect::<Vec<_>>())
}

/// Returns the inner product of two arrays of one shape. A linear map `A` and its adjoint `B` satisfy `⟨A x, s⟩ = ⟨x, B s⟩`.
pub fn inner(a: &Array, b: &Array) -> f64 {
    assert_eq!(a.dims(), b.dims());
    data(a).iter().zip(data(b)).map(|(a, b)| a * b).sum()
}

/// Returns all indices of an array, row-major.
pub fn indices(dims: &[usize]) -> Vec<Vec<usize>> {
    dims.iter().fold(vec![vec![]], |all, d| {
        all.iter().flat_map(|i| (0..*d).map(move |j| [i.as_slice(), &[j]].concat())).collect()
    })
}

/// Generates every operand transform.
pub fn transforms() -> impl Strategy<Value = Transform> {
    prop::sample::select(vec![
        Transform::Id,
        Transform::Abs,
        Transform::Pos,
        Transform::Neg,
        Transform::Square,
        Transform::One,
    ])
}

/// Returns a value after an operand transform.
pub fn transform_value(transform: Transform, v: f64) -> f64 {
    match transform {
        Transform::Id => v,
        Transform::Abs => v.abs(),
        Transform::Pos => v.max(0.0),
        Transform::Neg => v.min(0.0),
        Transform::Square => v * v,
        Transform::One => 1.0,
    }
}
