use dlbc_ops::prim::{self, Prim, Reduction, Transform};
use dlbc_ops::tensor::Array;
use proptest::prelude::*;

use super::{assert_close, data, error, eval, floats, indices, ints, random, row};

const INF: f64 = f64::INFINITY;

fn part_of(part: Transform, v: f64) -> f64 {
    match part {
        Transform::Id => v,
        Transform::Abs => v.abs(),
        Transform::Pos => v.max(0.0),
        Transform::Neg => v.min(0.0),
        Transform::Square => v * v,
        Transform::One => 1.0,
    }
}

pub fn part() -> impl Strategy<Value = Transform> {
    prop::sample::select(vec![
        Transform::Id,
        Transform::Abs,
        Transform::Pos,
        Transform::Neg,
        Transform::Square,
        Transform::One,
    ])
}

/// Returns an element of a matrix in a broadcast batch.
fn at(x: &Array, batch: &[usize], i: usize, j: usize, swap: bool) -> f64 {
    let Array::F(x) = x else { panic!("floats") };
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
        parts in (part(), part()),
        swaps in any::<(bool, bool)>(),
        seed in any::<u64>(),
    ) {
        let [m, k, n] = sizes;
        let (left, right) = batches;
        let matrix = |rows, columns, swap| if swap { [columns, rows] } else { [rows, columns] };
        let a = random(&[left, matrix(m, k, swaps.0).to_vec()].concat(), seed);
        let b = random(&[right, matrix(k, n, swaps.1).to_vec()].concat(), seed ^ 1);
        let y = eval(Prim::MatMul(prim::MatMul { a: parts.0, b: parts.1, ta: swaps.0, tb: swaps.1 }), &[&a, &b]);
        let naive: Vec<f64> = indices(y.dims()).iter().map(|index| {
            let (batch, ij) = index.split_at(index.len() - 2);
            let term = |l| {
                let (a, b) = (at(&a, batch, ij[0], l, swaps.0), at(&b, batch, l, ij[1], swaps.1));
                part_of(parts.0, a) * part_of(parts.1, b)
            };
            (0..k).map(term).sum()
        }).collect();
        assert_close(&y, &floats(y.dims(), &naive));
    }
}

#[test]
fn integers_multiply_too() {
    let (a, b) = (ints(&[1, 2], &[2, -3]), ints(&[2, 1], &[5, 7]));
    let matmul = |a: Transform| Prim::MatMul(prim::MatMul { a, b: Transform::Id, ta: false, tb: false });
    assert_eq!(eval(matmul(Transform::Id), &[&a, &b]), ints(&[1, 1], &[-11]));
    assert_eq!(eval(matmul(Transform::Abs), &[&a, &b]), ints(&[1, 1], &[31]));
    assert_eq!(eval(matmul(Transform::Pos), &[&a, &b]), ints(&[1, 1], &[10]));
    assert_eq!(eval(matmul(Transform::Neg), &[&a, &b]), ints(&[1, 1], &[-21]));
}

fn reduce(kind: Reduction, axes: &[usize], keep: bool) -> Prim {
    Prim::Reduce(prim::Reduce { kind, axes: axes.to_vec(), keep })
}

#[test]
fn reductions_have_hand_computed_values() {
    let x = floats(&[2, 3], &[1.0, -2.0, 4.0, 3.0, 5.0, 5.0]);
    assert_eq!(eval(reduce(Reduction::Sum, &[1], true), &[&x]), floats(&[2, 1], &[3.0, 13.0]));
    assert_eq!(eval(reduce(Reduction::Sum, &[0], false), &[&x]), row(&[4.0, 3.0, 9.0]));
    assert_eq!(eval(reduce(Reduction::Prod, &[0, 1], false), &[&x]), floats(&[], &[-600.0]));
    assert_eq!(eval(reduce(Reduction::Max, &[1], false), &[&x]), row(&[4.0, 5.0]));
    assert_eq!(eval(reduce(Reduction::Min, &[0], true), &[&x]), floats(&[1, 3], &[1.0, -2.0, 4.0]));
    assert_eq!(eval(reduce(Reduction::ArgMax, &[1], false), &[&x]), ints(&[2], &[2, 1]));
    assert_eq!(eval(reduce(Reduction::ArgMin, &[0], true), &[&x]), ints(&[1, 3], &[0, 0, 0]));
    assert_eq!(eval(reduce(Reduction::Sum, &[], false), &[&x]), x);
    let i = ints(&[2, 2], &[3, -4, 5, i64::MAX]);
    assert_eq!(eval(reduce(Reduction::Sum, &[0], false), &[&i]), ints(&[2], &[8, i64::MAX - 4]));
    assert_eq!(eval(reduce(Reduction::Min, &[0, 1], false), &[&i]), ints(&[], &[-4]));
    assert_eq!(eval(reduce(Reduction::ArgMax, &[0], false), &[&i]), ints(&[2], &[1, 1]));
}

#[test]
fn reductions_of_middle_axes_keep_the_others_in_order() {
    let x = random(&[2, 3, 2, 2], 5);
    let y = eval(reduce(Reduction::Sum, &[1, 3], false), &[&x]);
    let Array::F(v) = &x else { panic!("floats") };
    let naive =
        |i: &Vec<usize>| -> f64 { indices(&[3, 2]).iter().map(|j| v[[i[0], j[0], i[1], j[1]]]).sum() };
    assert_close(&y, &floats(&[2, 2], &indices(&[2, 2]).iter().map(naive).collect::<Vec<_>>()));
}

#[test]
fn reductions_of_nothing() {
    let x = floats(&[2, 0], &[]);
    assert_eq!(eval(reduce(Reduction::Sum, &[1], false), &[&x]), row(&[0.0, 0.0]));
    assert_eq!(eval(reduce(Reduction::Prod, &[1], true), &[&x]), floats(&[2, 1], &[1.0, 1.0]));
    assert_eq!(eval(reduce(Reduction::Max, &[0], false), &[&x]), row(&[]));
    assert_eq!(error(reduce(Reduction::Max, &[1], false), &[&x]), "Max of no elements");
    assert_eq!(error(reduce(Reduction::ArgMin, &[1], false), &[&x]), "ArgMin of no elements");
}

#[test]
fn nan_does_no_harm_beyond_its_element() {
    let x = row(&[f64::NAN, 2.0, f64::NAN]);
    for kind in [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Prod] {
        eval(reduce(kind, &[0], false), &[&x]);
    }
    assert_eq!(eval(reduce(Reduction::ArgMax, &[0], false), &[&x]), ints(&[], &[0]));
}

#[test]
fn softmax_is_stable() {
    let x = floats(&[2, 2], &[1000.0, 1000.0, -INF, 0.0]);
    assert_close(
        &eval(Prim::Softmax(prim::Softmax { axis: 1 }), &[&x]),
        &floats(&[2, 2], &[0.5, 0.5, 0.0, 1.0]),
    );
    let x = floats(&[2, 1], &[3f64.ln(), 0.0]);
    assert_close(&eval(Prim::Softmax(prim::Softmax { axis: 0 }), &[&x]), &floats(&[2, 1], &[0.75, 0.25]));
    assert!(data(&eval(Prim::Softmax(prim::Softmax { axis: 1 }), &[&floats(&[3, 0], &[])])).is_empty());
    assert!(error(Prim::Softmax(prim::Softmax { axis: 0 }), &[&ints(&[1], &[1])]).contains("float"));
}
