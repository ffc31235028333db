//! Data-dependent primitives on the interpreted device against the float64 reference: top-k, nonzero, non-maximum suppression,
//! branches, many indices.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::*;
use dlbc_cuda::CudaBackend;
use dlbc_ops::prim::{self, Prim};
use dlbc_ops::tensor::{DType, Dim, Shape, Tensor};

fn known(d: usize) -> Dim {
    Dim::known(d as i64)
}

/// Draws values with ties, zeros of both signs and NaN.
fn mixed(r: &mut Random, dims: &[usize]) -> Tensor {
    let value = |v: f32| match (v * 40.0) as i32 {
        7 => f32::NAN,
        8 => -0.0,
        9 => f32::NEG_INFINITY,
        v if v < 0 => v as f32,
        v => (v % 5) as f32,
    };
    let values: Vec<f32> = (0..dims.iter().product()).map(|_| value(r.next())).collect();
    Tensor::from_f32(dims, &values)
}

fn whole(t: &Tensor, scale: f64) -> Tensor {
    let values: Vec<i64> =
        t.to_f64().iter().map(|v| if v.is_finite() { (v * scale) as i64 } else { i64::MIN }).collect();
    Tensor::from_i64(t.dims(), &values)
}

#[test]
fn top_k_in_order() {
    let mut r = Random::new(31);
    for (dims, axis, k) in [
        (vec![3, 8, 5], 1, 3),
        (vec![300, 8], 1, 2),
        (vec![7], 0, 7),
        (vec![4, 1, 3], 1, 1),
        (vec![2, 3], 1, 0),
        // Rows that are too long for ranking: sorted by one tile, and by several.
        (vec![1100, 2], 0, 20),
        (vec![2, 4500], 1, 4500),
    ] {
        for largest in [true, false] {
            let op = Prim::TopK(prim::TopK { axis, k: known(k), largest });
            let x = mixed(&mut r, &dims);
            let name = format!("top {k} of {dims:?} along {axis}");
            check(&name, std::slice::from_ref(&x), 0.0, |b, v| b.add(op.clone(), v));
            // Integers use the upper half of a key, too.
            check(&name, &[whole(&x, 1e15)], 0.0, |b, v| b.add(op.clone(), v));
        }
    }
}

#[test]
fn nonzero_elements() {
    let mut r = Random::new(32);
    for dims in [vec![5, 4, 3], vec![9], vec![1, 1], vec![70, 40], vec![0, 3]] {
        let x = mixed(&mut r, &dims);
        let bools: Vec<u8> = x.to_f32().iter().map(|v| u8::from(*v > 0.0)).collect();
        let bools = Tensor::from_bytes(DType::Bool, dims.clone(), std::sync::Arc::new(bools)).unwrap();
        for x in [whole(&x, 1.0), x, bools] {
            check(&format!("{:?} {dims:?}", x.dtype()), &[x], 0.0, |b, v| b.add(Prim::NonZero, v));
        }
    }
    let zeros = Tensor::from_f32(&[3, 3], &[0.0; 9]);
    check("all zeros", &[zeros], 0.0, |b, v| b.add(Prim::NonZero, v));
}

#[test]
fn non_maximum_suppression() {
    let mut r = Random::new(33);
    for (pictures, classes, boxes) in [(1, 1, 1), (2, 3, 40), (1, 2, 1300), (1, 2, 0)] {
        for (max_boxes, overlap, min_score) in
            [(1000i64, 0.4f32, 0.1f32), (2, 0.9, -1.0), (0, 0.5, 0.0), (-3, 0.5, 0.0)]
        {
            let steps = |r: &mut Random, dims: &[usize]| {
                let values: Vec<f32> =
                    (0..dims.iter().product()).map(|_| (r.next() * 9.0).round() / 2.0).collect();
                Tensor::from_f32(dims, &values)
            };
            let inputs = [
                steps(&mut r, &[pictures, boxes, 4]),
                mixed(&mut r, &[pictures, classes, boxes]),
                Tensor::from_i64(&[], &[max_boxes]),
                Tensor::from_f32(&[1], &[overlap]),
                Tensor::from_f32(&[], &[min_score]),
            ];
            for center in [false, true] {
                let name = format!("{pictures}x{classes}x{boxes}, at most {max_boxes}");
                check(&name, &inputs, 0.0, |b, v| b.add(prim::NonMaxSuppression { center }, v));
            }
        }
    }
}

#[test]
fn branches() {
    let mut r = Random::new(34);
    let inputs = [r.floats(&[3, 5]), r.floats(&[3, 5])];
    for condition in [0, 1] {
        let condition = Dim::known(condition);
        check("merge", &inputs, 0.0, |b, v| b.add(prim::Merge { condition: condition.clone() }, v));
        for second in [false, true] {
            let to = Shape(vec![known(3), known(5)]);
            let op = Prim::MergeTranspose(prim::MergeTranspose { condition: condition.clone(), second, to });
            check("its adjoint", &inputs[..1], 0.0, |b, v| b.add(op.clone(), &v[..1]));
        }
    }
}

/// Draws indices of an axis, some of them negative.
fn indices(r: &mut Random, count: usize, dim: usize) -> Tensor {
    let values: Vec<i64> =
        (0..count).map(|_| (r.next().abs() * dim as f32) as i64 - dim as i64 / 2).collect();
    Tensor::from_i64(&[count], &values)
}

#[test]
fn many_indices() {
    let mut r = Random::new(35);
    for (n, dim, inner) in [(1500, 40, 3), (2500, 3000, 1), (1, 5, 2), (0, 4, 3)] {
        let indices = indices(&mut r, n, dim);
        let inputs = [r.floats(&[2, n, inner]), indices.clone()];
        let op = Prim::ScatterAdd(prim::ScatterAdd { axis: 1, to: known(dim) });
        check(&format!("{n} added to {dim}"), &inputs, 1e-5, |b, v| b.add(op.clone(), v));
        let inputs = [r.floats(&[dim, inner]), indices, r.floats(&[n, inner])];
        check(&format!("{n} replaced in {dim}"), &inputs, 0.0, |b, v| b.add(Prim::Overwrite, v));
    }
}

#[test]
fn the_cost_of_many_indices_is_near_linear() {
    let mut r = Random::new(36);
    let mut cost = |n: usize| {
        let inputs = [r.floats(&[n, 1]), indices(&mut r, n, 50)];
        let op = Prim::ScatterAdd(prim::ScatterAdd { axis: 0, to: known(50) });
        let device = Watched::default();
        let backend = CudaBackend::new(Box::new(device.clone()));
        run(&backend, &graph(&inputs, |b, v| b.add(op.clone(), v)), &inputs).unwrap();
        device.totals().instructions as f64
    };
    let (few, many) = (cost(3000), cost(12000));
    assert!(many < 5.0 * few, "four times the indices take {} times the instructions", many / few);
    println!("12000 indices take {:.2} times the instructions of 3000", many / few);
}
