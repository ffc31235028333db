//! The reference kernels against hand-computed values and direct loops, and their adjoints.

mod arithmetic;
mod batch;
mod elementwise;
mod graph;
mod movement;
mod windows;

use dlbc_ops::prim::{Prim, reference};
use dlbc_ops::tensor::{Array, DType, Dim, Shape, TensorType};
use ndarray::{ArrayD, IxDyn};

fn floats(dims: &[usize], values: &[f64]) -> Array {
    Array::F(ArrayD::from_shape_vec(IxDyn(dims), values.to_vec()).expect("values fill the dimensions"))
}

fn ints(dims: &[usize], values: &[i64]) -> Array {
    Array::I(ArrayD::from_shape_vec(IxDyn(dims), values.to_vec()).expect("values fill the dimensions"))
}

fn bools(dims: &[usize], values: &[bool]) -> Array {
    Array::B(ArrayD::from_shape_vec(IxDyn(dims), values.to_vec()).expect("values fill the dimensions"))
}

/// Floats of one axis.
fn row(values: &[f64]) -> Array {
    floats(&[values.len()], values)
}

fn known(dims: &[usize]) -> Vec<Dim> {
    dims.iter().map(|d| Dim::known(*d as i64)).collect()
}

fn types(inputs: &[&Array]) -> Vec<TensorType> {
    let dtype = |x: &Array| match x {
        Array::F(_) => DType::F32,
        Array::I(_) => DType::I64,
        Array::B(_) => DType::Bool,
    };
    inputs.iter().map(|x| TensorType::new(dtype(x), known(x.dims()))).collect()
}

/// The value, whose dimensions are those that the type rule says.
fn eval(prim: Prim, inputs: &[&Array]) -> Array {
    let value = reference::eval(&prim, inputs).unwrap_or_else(|e| panic!("{prim:?}: {e}"));
    let ty = prim.infer(&types(inputs)).expect("the type rule accepts what the kernel accepts");
    assert_eq!(ty.shape, Shape(known(value.dims())), "{prim:?}");
    value
}

fn error(prim: Prim, inputs: &[&Array]) -> String {
    match reference::eval(&prim, inputs) {
        Ok(value) => panic!("{prim:?} gives {value:?}"),
        Err(e) => e.to_string(),
    }
}

fn data(x: &Array) -> Vec<f64> {
    match x {
        Array::F(x) => x.iter().copied().collect(),
        other => panic!("floats expected, found {other:?}"),
    }
}

fn assert_close(actual: &Array, expected: &Array) {
    assert_eq!(actual.dims(), expected.dims());
    for (i, (a, b)) in data(actual).into_iter().zip(data(expected)).enumerate() {
        let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * (1.0 + b.abs());
        assert!(same, "element {i}: {b} expected, found {a}");
    }
}

/// Multiples of 1/8 in -4..4, so that sums and products are exact and ties occur.
fn random(dims: &[usize], seed: u64) -> Array {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % 64) as f64 / 8.0 - 4.0
    };
    floats(dims, &(0..dims.iter().product()).map(|_| next()).collect::<Vec<_>>())
}

fn inner(a: &Array, b: &Array) -> f64 {
    assert_eq!(a.dims(), b.dims());
    data(a).iter().zip(data(b)).map(|(a, b)| a * b).sum()
}

/// All indices of an array, row-major.
fn indices(dims: &[usize]) -> Vec<Vec<usize>> {
    dims.iter().fold(vec![vec![]], |all, d| {
        all.iter().flat_map(|i| (0..*d).map(move |j| [i.as_slice(), &[j]].concat())).collect()
    })
}
