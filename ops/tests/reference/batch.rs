//! Every primitive with a leading axis on each choice of its operands, against one run for each element of the axis.

use std::collections::BTreeMap;

use dlbc_ops::graph::Graph;
use dlbc_ops::prim::{
    self, AttentionGeometry, AttentionPart, Binary, Builder, ConvGeometry, PadMode, Prim, Reduction, Scan,
    Transform, Unary, Window, batch, reference,
};
use dlbc_ops::program::Output;
use dlbc_ops::tensor::{Array, DType, Dim, Shape};
use ndarray::{Axis, stack};

use super::{assert_close, bools, ints, known, random, types};

const SIZE: usize = 3;

/// The values of `x` moved on by `by` places: another operand of the same kind, valid wherever `x` is.
fn moved(x: &Array, by: usize) -> Array {
    fn turn<T: Clone>(x: &ndarray::ArrayD<T>, by: usize) -> ndarray::ArrayD<T> {
        let mut values: Vec<T> = x.iter().cloned().collect();
        let n = values.len();
        values.rotate_left(if n == 0 { 0 } else { by % n });
        ndarray::ArrayD::from_shape_vec(x.raw_dim(), values).expect("as many values")
    }
    match x {
        // A single value has nowhere to move.
        Array::F(x) => Array::F(turn(x, by).mapv(|v| v + by as f64 / 8.0)),
        Array::I(x) => Array::I(turn(x, by)),
        Array::B(x) => Array::B(turn(x, by)),
    }
}

fn stacked(parts: &[Array]) -> Array {
    macro_rules! of {
        ($kind:ident) => {{
            let views: Vec<_> = parts
                .iter()
                .map(|p| match p {
                    Array::$kind(x) => x.view(),
                    other => panic!("parts of different types: {other:?}"),
                })
                .collect();
            Array::$kind(stack(Axis(0), &views).expect("parts of one shape"))
        }};
    }
    match parts[0] {
        Array::F(_) => of!(F),
        Array::I(_) => of!(I),
        Array::B(_) => of!(B),
    }
}

fn part(x: &Array, i: usize) -> Array {
    match x {
        Array::F(x) => Array::F(x.index_axis(Axis(0), i).to_owned()),
        Array::I(x) => Array::I(x.index_axis(Axis(0), i).to_owned()),
        Array::B(x) => Array::B(x.index_axis(Axis(0), i).to_owned()),
    }
}

fn name(k: usize) -> String {
    format!("x{k}")
}

/// A program of one primitive.
fn program(prim: &Prim, operands: &[&Array]) -> Graph<Prim> {
    let mut b = Builder::new();
    let inputs: Vec<_> =
        types(operands).into_iter().enumerate().map(|(k, ty)| b.input(&name(k), ty)).collect();
    let y = b.add(prim.clone(), &inputs);
    b.ok().unwrap_or_else(|e| panic!("{prim:?}: {e}"));
    b.graph_mut().add_output("y", y);
    b.finish()
}

fn check(prim: Prim, operands: &[&Array]) {
    let graph = program(&prim, operands);
    for choice in 1..1usize << operands.len() {
        let is_batched = |k: usize| choice >> k & 1 == 1;
        let names: Vec<String> = (0..operands.len()).filter(|k| is_batched(*k)).map(name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let batched = batch(&graph, &names, SIZE).unwrap_or_else(|e| panic!("{prim:?} {names:?}: {e}"));
        batched.check().unwrap_or_else(|faults| panic!("{prim:?} {names:?}: {faults:?}"));
        let operand =
            |k: usize, i: usize| if is_batched(k) { moved(operands[k], i) } else { operands[k].clone() };
        let inputs: BTreeMap<String, Array> = (0..operands.len())
            .map(|k| {
                let all: Vec<Array> = (0..SIZE).map(|i| operand(k, i)).collect();
                (name(k), if is_batched(k) { stacked(&all) } else { all[0].clone() })
            })
            .collect();
        let outputs =
            reference::run(&batched, &inputs, &["y".into()]).unwrap_or_else(|e| panic!("{names:?}: {e}"));
        assert_eq!(outputs[&Output::from("y")].dims()[0], SIZE, "{prim:?} {names:?}");
        for i in 0..SIZE {
            let unbatched: Vec<Array> = (0..operands.len()).map(|k| operand(k, i)).collect();
            let alone =
                reference::eval(&prim, &unbatched.iter().collect::<Vec<_>>()).expect("it ran batched");
            match &alone {
                Array::F(_) => assert_close(&part(&outputs[&Output::from("y")], i), &alone),
                _ => assert_eq!(part(&outputs[&Output::from("y")], i), alone, "{prim:?} {names:?}"),
            }
        }
    }
}

fn shape(dims: &[usize]) -> Shape {
    Shape(known(dims))
}

fn dim(n: i64) -> Dim {
    Dim::known(n)
}

fn window(kernel: usize, stride: usize) -> Window {
    Window { strides: vec![stride], before: vec![1], ..Window::unit(&[kernel]) }
}

#[test]
fn elementwise() {
    let x = random(&[2, 3], 1);
    check(Prim::Unary(Unary::Tanh), &[&x]);
    check(Prim::Cast(prim::Cast { to: DType::I64 }), &[&x]);
    for (a, b) in
        [(&[2, 3][..], &[2, 3][..]), (&[2, 3], &[3]), (&[3], &[2, 3]), (&[], &[2, 1]), (&[1, 3], &[4, 2, 1])]
    {
        for f in [Binary::Sub, Binary::GuardedDiv, Binary::Less] {
            check(Prim::Binary(f), &[&random(a, 2), &random(b, 3)]);
        }
    }
    let condition = bools(&[3], &[true, false, false]);
    check(Prim::Select, &[&condition, &random(&[2, 3], 4), &random(&[4, 1, 3], 5)]);
}

#[test]
fn products() {
    for (a, b, ta, tb) in [
        (&[2, 3][..], &[3, 4][..], false, false),
        (&[5, 2, 3], &[3, 4], false, false),
        (&[2, 3], &[5, 4, 3], false, true),
        (&[5, 3, 2], &[5, 3, 4], true, false),
        (&[2, 1, 2, 3], &[5, 3, 4], false, false),
    ] {
        let part = Prim::MatMul(prim::MatMul { a: Transform::Id, b: Transform::Abs, ta, tb });
        check(part, &[&random(a, 6), &random(b, 7)]);
    }
    let geometry = ConvGeometry { window: window(2, 2), groups: 2 };
    let (x, w, bias) = (random(&[2, 4, 5], 8), random(&[6, 2, 2], 9), random(&[6], 10));
    check(Prim::Conv(prim::Conv { geometry: geometry.clone(), w: Transform::Id }), &[&x, &w, &bias]);
    check(Prim::Conv(prim::Conv { geometry: geometry.clone(), w: Transform::Pos }), &[&x, &w]);
    let s = random(&[2, 6, 3], 11);
    check(
        Prim::ConvTranspose(prim::ConvTranspose { geometry, w: Transform::Abs, to: known(&[5]) }),
        &[&s, &w],
    );
}

#[test]
fn windows_reductions_and_softmax() {
    let x = random(&[2, 3, 6], 12);
    check(Prim::WindowSum(prim::WindowSum(window(2, 2))), &[&x]);
    check(Prim::WindowMax(prim::WindowMax(window(3, 1))), &[&x]);
    let s = random(&[2, 3, 3], 13);
    check(
        Prim::WindowSumTranspose(prim::WindowSumTranspose { window: window(2, 2), to: known(&[6]) }),
        &[&s],
    );
    let y = reference::eval(&Prim::WindowMax(prim::WindowMax(window(2, 2))), &[&x]).expect("it fits");
    for first in [false, true] {
        let share = Prim::WindowMaxShare(prim::WindowMaxShare { window: window(2, 2), first });
        check(share, &[&x, &y, &random(&[2, 3, 3], 14)]);
    }
    for keep in [false, true] {
        check(Prim::Reduce(prim::Reduce { kind: Reduction::Sum, axes: vec![0, 2], keep }), &[&x]);
        check(Prim::Reduce(prim::Reduce { kind: Reduction::ArgMax, axes: vec![1], keep }), &[&x]);
    }
    check(Prim::Reduce(prim::Reduce { kind: Reduction::Sum, axes: vec![0, 1, 2], keep: false }), &[&x]);
    check(Prim::Softmax(prim::Softmax { axis: 1 }), &[&x]);
}

#[test]
fn attention() {
    let geometry = AttentionGeometry { scale: 0.5, guard: false };
    let (q, k, v) = (random(&[2, 3, 4], 15), random(&[2, 5, 4], 16), random(&[2, 5, 6], 17));
    let (r, row, full) = (random(&[2, 3, 6], 18), random(&[5], 19), random(&[2, 3, 5], 20));
    check(Prim::Attention(prim::Attention(geometry)), &[&q, &k, &v]);
    for mask in [&row, &full] {
        check(Prim::Attention(prim::Attention(geometry)), &[&q, &k, &v, mask]);
        for destination in
            [AttentionPart::Query, AttentionPart::Key, AttentionPart::Value, AttentionPart::Dropped]
        {
            check(
                Prim::AttentionShare(prim::AttentionShare { geometry, value: 0.5, part: destination }),
                &[&q, &k, &v, &r, mask],
            );
        }
    }
}

#[test]
fn movement() {
    let x = random(&[2, 3, 4], 21);
    check(Prim::Reshape(prim::Reshape { to: shape(&[6, 4]) }), &[&x]);
    check(Prim::Reshape(prim::Reshape { to: shape(&[24]) }), &[&x]);
    check(Prim::Transpose(prim::Transpose { perm: vec![2, 0, 1] }), &[&x]);
    for step in [1, -1] {
        let start = dim(if step > 0 { 1 } else { 2 });
        check(Prim::Slice(prim::Slice { axis: 1, start: start.clone(), len: dim(2), step }), &[&x]);
        check(
            Prim::SliceTranspose(prim::SliceTranspose { axis: 1, start, to: dim(5), step }),
            &[&random(&[2, 2, 4], 22)],
        );
    }
    check(Prim::Concat(prim::Concat { axis: 0 }), &[&x, &random(&[1, 3, 4], 23), &x]);
    for mode in [PadMode::Constant(1.5), PadMode::Edge, PadMode::Reflect] {
        check(Prim::Pad(prim::Pad { before: known(&[0, 1, 2]), after: known(&[1, 0, 1]), mode }), &[&x]);
    }
    check(Prim::Expand(prim::Expand { to: shape(&[5, 2, 3, 4]) }), &[&x]);
    check(Prim::Expand(prim::Expand { to: shape(&[2, 3]) }), &[&random(&[], 24)]);
}

#[test]
fn indices() {
    let x = random(&[4, 3, 2], 25);
    let at = ints(&[2, 2], &[0, 2, -1, 1]);
    for axis in 0..2 {
        check(Prim::Gather(prim::Gather { axis }), &[&x, &at]);
    }
    check(Prim::Gather(prim::Gather { axis: 0 }), &[&x, &ints(&[], &[2])]);
    check(Prim::ScatterAdd(prim::ScatterAdd { axis: 0, to: dim(4) }), &[&random(&[2, 2, 3], 26), &at]);
    check(Prim::ScatterAdd(prim::ScatterAdd { axis: 1, to: dim(4) }), &[&random(&[3, 2, 2], 27), &at]);
    check(Prim::Overwrite, &[&x, &ints(&[2], &[1, 3]), &random(&[2, 3, 2], 28)]);
}

#[test]
fn recurrences() {
    let mut step = Builder::new();
    let ty = |dims: &[usize]| dlbc_ops::tensor::TensorType::new(DType::F32, known(dims));
    let (state, x) = (step.input("state", ty(&[2])), step.input("x", ty(&[2])));
    let (on, w) = (
        step.input("on", dlbc_ops::tensor::TensorType::new(DType::Bool, known(&[]))),
        step.input("w", ty(&[2, 2])),
    );
    let column = step.reshape(state, &shape(&[2, 1]));
    let product = step.matmul(w, column);
    let product = step.reshape(product, &shape(&[2]));
    let sum = step.plus(product, x);
    let half = step.scale(sum, 0.125);
    let next = step.add(Prim::Select, &[on, half, state]);
    step.ok().expect("the step fits");
    step.graph_mut().add_output(Output::value("next"), next);
    for reverse in [false, true] {
        let (scan, constants) = Scan::from_step(step.graph().clone(), 2, reverse);
        let factor = Array::from_tensor(&constants[0].1);
        let (first, xs) = (random(&[2], 29), random(&[4, 2], 30));
        let (mask, w) = (bools(&[4], &[true, false, true, true]), random(&[2, 2], 31));
        check(Prim::Scan(scan), &[&first, &xs, &mask, &w, &factor]);
    }
}

#[test]
fn what_does_not_depend_on_the_axis_is_left_alone() {
    let mut b = Builder::new();
    let ty = types(&[&random(&[2, 3], 1)]).remove(0);
    let (x, seed) = (b.input("x", ty.clone()), b.input("seed", ty));
    let size = b.abs(x);
    let r = b.guarded_div(seed, size);
    b.graph_mut().add_output(Output::value("size"), size);
    b.graph_mut().add_output(Output::value("r"), r);
    let batched = batch(b.graph(), &["seed"], 4).expect("it batches");
    insta::assert_snapshot!(batched.to_string(), @"
    graph (x: f32[2,3], seed: f32[4,2,3]) -> (size = /Abs, r = /GuardedDiv.1) {
      /Abs = Abs(x) : f32[2,3]
      /GuardedDiv.1 = GuardedDiv(seed, /Abs) : f32[4,2,3]
    }
    ");
}
