//! Long rows and long axes: reductions by slices, transposes by tiles.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::*;
use dlbc_cuda::CudaBackend;
use dlbc_ops::prim::{self, Binary, Prim, Reduction};
use dlbc_ops::tensor::Tensor;

/// Checks that a primitive runs a kernel whose name contains `kernel`.
fn check_runs(inputs: &[Tensor], op: &Prim, kernel: &str) {
    let device = Watched::default();
    let backend = CudaBackend::new(Box::new(device.clone()));
    run(&backend, &graph(inputs, |b, v| b.add(op.clone(), v)), inputs).unwrap();
    let kernels = device.totals().kernels;
    assert!(kernels.iter().any(|k| k.contains(kernel)), "{op:?}: {kernels:?}");
}

#[test]
fn few_long_rows_are_reduced_by_slices() {
    let mut r = Random::new(41);
    let near: Vec<f32> = (0..40_000).map(|_| 1.0 + 1e-3 * r.next()).collect();
    let near = Tensor::from_f32(&[2, 20_000], &near);
    let whole: Vec<i64> = (0..40_000).map(|_| (r.next() * 1e6) as i64).collect();
    let whole = Tensor::from_i64(&[2, 20_000], &whole);
    for kind in [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Prod] {
        let op = Prim::Reduce(prim::Reduce { kind, axes: vec![1], keep: true });
        for x in [&near, &whole] {
            let x = std::slice::from_ref(x);
            check(&format!("{kind:?} of {:?}", x[0].dtype()), x, 1e-7, |b, v| b.add(op.clone(), v));
            check_runs(x, &op, "_slices");
        }
    }
    // Two axes whose strides do not merge.
    let x = r.floats(&[130, 3, 140]);
    let op = Prim::Reduce(prim::Reduce { kind: Reduction::Sum, axes: vec![0, 2], keep: false });
    check("two axes", std::slice::from_ref(&x), 1e-6, |b, v| b.add(op.clone(), v));
    check_runs(&[x], &op, "_slices");
}

#[test]
fn long_axes_are_transposed_by_tiles() {
    let mut r = Random::new(42);
    for (dims, perm) in [
        (vec![40, 70], vec![1, 0]),
        (vec![2, 33, 20], vec![0, 2, 1]),
        (vec![2, 20, 3, 18], vec![0, 2, 3, 1]),
        (vec![17, 2, 3, 16], vec![3, 1, 2, 0]),
        (vec![2, 3, 16, 2, 17], vec![1, 3, 4, 0, 2]),
    ] {
        let op = Prim::Transpose(prim::Transpose { perm: perm.clone() });
        let x = r.floats(&dims);
        let whole = Tensor::from_i64(&dims, &x.to_f32().iter().map(|v| (v * 1e6) as i64).collect::<Vec<_>>());
        for x in [x, whole] {
            let x = [x];
            check(&format!("{dims:?} by {perm:?}"), &x, 0.0, |b, v| b.add(op.clone(), v));
            check_runs(&x, &op, "transpose");
        }
    }
    // Short axes and broadcast views are copied elementwise.
    let inputs = [r.floats(&[3, 300]), r.floats(&[300])];
    check("short", &inputs, 0.0, |b, v| {
        let sum = b.add(Prim::Binary(Binary::Add), v);
        b.add(prim::Transpose { perm: vec![1, 0] }, &[sum])
    });
}
