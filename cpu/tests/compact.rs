//! Weights that are stored in fewer bits: the CPU backend computes the same bits as with float32 weights, and holds no copy.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use dlbc_backend::{AsViews, Backend, Outputs, RunControl, SessionOptions, Tensors};
use dlbc_cpu::CpuBackend;
use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{self, Builder, ConvGeometry, Factor, Prim, Transform, Window};
use dlbc_ops::program::Output;
use dlbc_ops::tensor::{Compact, DType, Numbers, Steps, Tensor, TensorType};

const TRANSFORMS: [Transform; 5] =
    [Transform::Id, Transform::Abs, Transform::Pos, Transform::Neg, Transform::Square];

/// Returns `[rows, columns]` weights of every type. Those of 4 bits have scales by blocks of 16.
fn weights(dims: &[usize]) -> Vec<Tensor> {
    let (elems, last) = (dims.iter().product::<usize>(), dims[dims.len() - 1]);
    let bytes = |n: usize| Arc::new((0..n).map(|i| (i * 31 % 113) as u8).collect::<Vec<u8>>());
    // Values of either sign between 2⁻¹⁵ and 2.
    let half = |i: usize| {
        [(i * 31 % 251) as u8, (0x38 + i * 5 % 8) as u8 | if i.is_multiple_of(3) { 0x80 } else { 0 }]
    };
    let halves = || Arc::new((0..elems).flat_map(half).collect::<Vec<u8>>());
    let whole = |bits, signed| Numbers::Whole { bits, signed };
    let scales = |n: usize| (0..n).map(|i| 0.01 + (i % 7) as f32 / 50.0).collect::<Vec<f32>>();
    let single = Some(Steps::single(0.03, 7.0));
    let rows = elems / dims[0];
    let by_row = Steps {
        scales: scales(dims[0]),
        zeros: vec![50.0],
        len: dims[0],
        inner: rows,
        block: 1,
        by_element: false,
    };
    let blocks = last.div_ceil(16) * (elems / last);
    let by_block =
        Steps { scales: scales(blocks), zeros: vec![8.0], len: last, inner: 1, block: 16, by_element: true };
    [
        Compact::new(Numbers::F16, elems, halves(), None),
        Compact::new(Numbers::Bf16, elems, halves(), None),
        Compact::new(whole(8, true), elems, bytes(elems), single),
        Compact::new(whole(8, false), elems, bytes(elems), Some(by_row)),
        Compact::new(whole(4, false), elems, bytes(elems.div_ceil(2)), Some(by_block)),
    ]
    .into_iter()
    .map(|values| Tensor::compact(dims, values.unwrap()).unwrap())
    .collect()
}

fn plain(t: &Tensor) -> Tensor {
    Tensor::from_f32(t.dims(), &t.to_f32())
}

/// Runs the program that `build` adds on `x`, and returns its results and the bytes of copies of constants.
fn run(
    x: &Tensor,
    weight: &Tensor,
    build: &dyn Fn(&mut Builder, Value, Value) -> Vec<Value>,
) -> (Outputs, u64) {
    let mut b = Builder::new();
    let input = b.input("x", TensorType::known(x.dtype(), x.dims()));
    let w = b.constant("w", weight.clone());
    let results = build(&mut b, input, w);
    b.ok().unwrap();
    let names: Vec<Output> = (0..results.len()).map(|i| Output::Model(format!("y{i}").into())).collect();
    for (name, v) in names.iter().zip(results) {
        b.graph_mut().add_output(name.clone(), v);
    }
    let graph: Graph<Prim> = b.finish();
    let plan = CpuBackend.prepare(&graph, &names, &[], &SessionOptions::new().threads(2)).unwrap();
    let inputs = Tensors::from([("x".to_string(), x.clone())]);
    let results = plan.forward(&inputs.views(), &RunControl::default()).unwrap().0;
    (results, plan.memory().constant_bytes)
}

fn check(what: &str, x: &Tensor, weight: &Tensor, build: &dyn Fn(&mut Builder, Value, Value) -> Vec<Value>) {
    let stored = weight.memory_bytes();
    let (results, copies) = run(x, weight, build);
    assert_eq!((copies, weight.memory_bytes()), (0, stored), "{what}: a copy of {weight:?}");
    let (expected, _) = run(x, &plain(weight), build);
    for (name, y) in &expected {
        assert!(y.to_f32().iter().any(|v| *v != 0.0), "{what}: {name} is 0");
        assert_eq!(results[name].bytes(), y.bytes(), "{what}: {name}, {:?}", weight.as_compact());
    }
}

fn input(dims: &[usize]) -> Tensor {
    let values = (0..dims.iter().product::<usize>()).map(|i| (i * 17 % 29) as f32 / 14.0 - 1.0);
    Tensor::from_f32(dims, &values.collect::<Vec<f32>>())
}

#[test]
fn products_widen_weights_while_they_pack_them() {
    for (k, n) in [(300, 203), (64, 48)] {
        for rows in [1, 3, 40] {
            for weight in weights(&[k, n]) {
                check("product", &input(&[rows, k]), &weight, &|b, x, w| {
                    TRANSFORMS.map(|t| b.matmul(x, Factor::transformed(w, t))).to_vec()
                });
                check("adjoint", &input(&[rows, n]), &weight, &|b, s, w| {
                    TRANSFORMS.map(|t| b.matmul(s, Factor::transformed(w, t).transpose())).to_vec()
                });
            }
        }
    }
}

#[test]
fn rows_of_zeros_are_left_out_with_such_weights_too() {
    let mut values = input(&[40, 300]).to_f32();
    values[2 * 300..].fill(0.0);
    let x = Tensor::from_f32(&[40, 300], &values);
    for weight in weights(&[300, 64]) {
        check("live rows", &x, &weight, &|b, x, w| vec![b.matmul(x, w)]);
    }
}

#[test]
fn convolutions_widen_weights_for_each_call() {
    for (kernel, stride, groups) in [(1, 1, 1), (3, 1, 1), (3, 2, 2), (1, 2, 1)] {
        let window = Window { strides: vec![stride; 2], ..Window::unit(&[kernel, kernel]) };
        let geometry = ConvGeometry { window, groups };
        for weight in weights(&[24, 16 / groups, kernel, kernel]) {
            check("convolution", &input(&[2, 16, 9, 9]), &weight, &|b, x, w| {
                TRANSFORMS.map(|t| b.conv(&geometry, x, w, t, None)).to_vec()
            });
            let side = (9 - kernel) / stride + 1;
            check("adjoint", &input(&[2, 24, side, side]), &weight, &|b, s, w| {
                let to: Vec<_> = TensorType::known(DType::F32, &[9, 9]).shape.0;
                TRANSFORMS.map(|t| b.conv_transpose(&geometry, s, w, t, &to)).to_vec()
            });
        }
    }
}

#[test]
fn rows_of_a_table_are_widened_after_the_look_up() {
    let ids = Tensor::from_i64(&[2, 3], &[0, 5, -1, 70, 5, 99]);
    for weight in weights(&[100, 48]) {
        check("look-up", &ids, &weight, &|b, ids, w| vec![b.add(prim::Gather { axis: 0 }, &[w, ids])]);
    }
    let bytes: Vec<u8> = (0..100 * 48).map(|i| (i % 251) as u8).collect();
    let numbers = Tensor::from_bytes(DType::I8, vec![100, 48], Arc::new(bytes)).unwrap();
    let (results, copies) = run(&ids, &numbers, &|b, ids, w| {
        let rows = b.add(prim::Gather { axis: 0 }, &[w, ids]);
        vec![b.cast(rows, DType::F32)]
    });
    let all = numbers.to_f32();
    let expected: Vec<f32> =
        [0, 5, 99, 70, 5, 99].iter().flat_map(|row| all[row * 48..][..48].to_vec()).collect();
    let results: Vec<&Tensor> = results.values().collect();
    assert_eq!((results[0].to_f32(), copies), (expected, 0));
}
