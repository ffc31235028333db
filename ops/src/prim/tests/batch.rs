//! Several targets at once: each primitive with a leading axis on every subset of its operands, against one run for each
//! element of the axis.

use std::collections::BTreeMap;

use ndarray::{ArrayD, Axis, stack};

use super::arrays::{assert_close, bools, ints, known, random, types};
use crate::graph::Graph;
use crate::prim::*;
use crate::program::Output;
use crate::tensor::{Array, DType, Dim, Shape, TensorType};

/// Number of targets.
const SIZE: usize = 3;

/// Returns another operand of the kind of `x`, valid wherever `x` is: the values rotated, floats also shifted.
fn variant(x: &Array, by: usize) -> Array {
    fn rotated<T: Clone>(x: &ArrayD<T>, by: usize) -> ArrayD<T> {
        let mut values: Vec<T> = x.iter().cloned().collect();
        let n = values.len();
        values.rotate_left(if n == 0 { 0 } else { by % n });
        ArrayD::from_shape_vec(x.raw_dim(), values).expect("as many values as before")
    }
    match x {
        // Rotation leaves a single value as it is.
        Array::F(x) => Array::F(rotated(x, by).mapv(|v| v + by as f64 / 8.0)),
        Array::I(x) => Array::I(rotated(x, by)),
        Array::B(x) => Array::B(rotated(x, by)),
    }
}

/// Stacks arrays of one shape along a new leading axis.
fn stacked(elements: &[Array]) -> Array {
    macro_rules! stack_as {
        ($kind:ident) => {{
            let views: Vec<_> = elements
                .iter()
                .map(|x| match x {
                    Array::$kind(x) => x.view(),
                    other => panic!("expected arrays of one type, found {other:?}"),
                })
                .collect();
            Array::$kind(stack(Axis(0), &views).expect("arrays of one shape"))
        }};
    }
    match elements[0] {
        Array::F(_) => stack_as!(F),
        Array::I(_) => stack_as!(I),
        Array::B(_) => stack_as!(B),
    }
}

/// Returns element `i` of the leading axis.
fn element(x: &Array, i: usize) -> Array {
    match x {
        Array::F(x) => Array::F(x.index_axis(Axis(0), i).to_owned()),
        Array::I(x) => Array::I(x.index_axis(Axis(0), i).to_owned()),
        Array::B(x) => Array::B(x.index_axis(Axis(0), i).to_owned()),
    }
}

fn name(k: usize) -> String {
    format!("x{k}")
}

/// Builds a program of one primitive.
fn program(prim: &Prim, operands: &[&Array]) -> Graph<Prim> {
    let mut b = Builder::new();
    let inputs: Vec<_> =
        types(operands).into_iter().enumerate().map(|(k, ty)| b.input(&name(k), ty)).collect();
    let y = b.add(prim.clone(), &inputs);
    b.ok().unwrap_or_else(|e| panic!("{prim:?}: {e}"));
    b.graph_mut().add_output("y", y);
    b.finish()
}

/// Compares a primitive with a leading axis on every subset of its operands with one run for each element of the axis.
fn check(prim: impl Into<Prim>, operands: &[&Array]) {
    let prim = prim.into();
    let graph = program(&prim, operands);
    for subset in 1..1usize << operands.len() {
        let is_batched = |k: usize| subset >> k & 1 == 1;
        let names: Vec<String> = (0..operands.len()).filter(|k| is_batched(*k)).map(name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let batched = batch(&graph, &names, SIZE).unwrap_or_else(|e| panic!("{prim:?} {names:?}: {e}"));
        batched.check().unwrap_or_else(|faults| panic!("{prim:?} {names:?}: {faults:?}"));
        let operand =
            |k: usize, i: usize| if is_batched(k) { variant(operands[k], i) } else { operands[k].clone() };
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
            let single = reference::eval(&prim, &unbatched.iter().collect::<Vec<_>>());
            let single = single.unwrap_or_else(|e| panic!("{prim:?}: {e}"));
            match &single {
                Array::F(_) => assert_close(&element(&outputs[&Output::from("y")], i), &single),
                _ => assert_eq!(element(&outputs[&Output::from("y")], i), single, "{prim:?} {names:?}"),
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
fn elementwise_functions() {
    let x = random(&[2, 3], 1);
    check(Unary::Tanh, &[&x]);
    check(Cast { to: DType::I64 }, &[&x]);
    for (a, b) in
        [(&[2, 3][..], &[2, 3][..]), (&[2, 3], &[3]), (&[3], &[2, 3]), (&[], &[2, 1]), (&[1, 3], &[4, 2, 1])]
    {
        for f in [Binary::Sub, Binary::GuardedDiv, Binary::Less] {
            check(f, &[&random(a, 2), &random(b, 3)]);
        }
    }
    let condition = bools(&[3], &[true, false, false]);
    check(Select, &[&condition, &random(&[2, 3], 4), &random(&[4, 1, 3], 5)]);
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
        let product = MatMul { a: Transform::Id, b: Transform::Abs, ta, tb };
        check(product, &[&random(a, 6), &random(b, 7)]);
    }
    let geometry = ConvGeometry { window: window(2, 2), groups: 2 };
    let (x, w, bias) = (random(&[2, 4, 5], 8), random(&[6, 2, 2], 9), random(&[6], 10));
    check(Conv { geometry: geometry.clone(), w: Transform::Id }, &[&x, &w, &bias]);
    check(Conv { geometry: geometry.clone(), w: Transform::Pos }, &[&x, &w]);
    let s = random(&[2, 6, 3], 11);
    check(ConvTranspose { geometry, w: Transform::Abs, to: known(&[5]) }, &[&s, &w]);
}

#[test]
fn windows_reductions_and_softmax() {
    let x = random(&[2, 3, 6], 12);
    check(WindowSum(window(2, 2)), &[&x]);
    check(WindowMax(window(3, 1)), &[&x]);
    let s = random(&[2, 3, 3], 13);
    check(WindowSumTranspose { window: window(2, 2), to: known(&[6]) }, &[&s]);
    let y = reference::eval(&Prim::WindowMax(WindowMax(window(2, 2))), &[&x]).expect("a window that fits");
    for first in [false, true] {
        let share = WindowMaxShare { window: window(2, 2), first };
        check(share, &[&x, &y, &random(&[2, 3, 3], 14)]);
    }
    for keep in [false, true] {
        check(Reduce { kind: Reduction::Sum, axes: vec![0, 2], keep }, &[&x]);
        check(Reduce { kind: Reduction::ArgMax, axes: vec![1], keep }, &[&x]);
    }
    check(Reduce { kind: Reduction::Sum, axes: vec![0, 1, 2], keep: false }, &[&x]);
    check(Softmax { axis: 1 }, &[&x]);
}

#[test]
fn attention() {
    let geometry = AttentionGeometry { scale: 0.5, guard: false };
    let (q, k, v) = (random(&[2, 3, 4], 15), random(&[2, 5, 4], 16), random(&[2, 5, 6], 17));
    let (r, row, full) = (random(&[2, 3, 6], 18), random(&[5], 19), random(&[2, 3, 5], 20));
    check(Attention(geometry), &[&q, &k, &v]);
    for mask in [&row, &full] {
        check(Attention(geometry), &[&q, &k, &v, mask]);
        for part in [AttentionPart::Query, AttentionPart::Key, AttentionPart::Value, AttentionPart::Dropped] {
            check(AttentionShare { geometry, value: 0.5, part }, &[&q, &k, &v, &r, mask]);
        }
    }
}

#[test]
fn movements() {
    let x = random(&[2, 3, 4], 21);
    check(Reshape { to: shape(&[6, 4]) }, &[&x]);
    check(Reshape { to: shape(&[24]) }, &[&x]);
    check(Transpose { perm: vec![2, 0, 1] }, &[&x]);
    for step in [1, -1] {
        let start = dim(if step > 0 { 1 } else { 2 });
        check(Slice { axis: 1, start: start.clone(), len: dim(2), step }, &[&x]);
        check(SliceTranspose { axis: 1, start, to: dim(5), step }, &[&random(&[2, 2, 4], 22)]);
    }
    check(Concat { axis: 0 }, &[&x, &random(&[1, 3, 4], 23), &x]);
    for mode in [PadMode::Constant(1.5), PadMode::Edge, PadMode::Reflect] {
        check(Pad { before: known(&[0, 1, 2]), after: known(&[1, 0, 1]), mode }, &[&x]);
    }
    check(Expand { to: shape(&[5, 2, 3, 4]) }, &[&x]);
    check(Expand { to: shape(&[2, 3]) }, &[&random(&[], 24)]);
}

#[test]
fn indices() {
    let x = random(&[4, 3, 2], 25);
    let at = ints(&[2, 2], &[0, 2, -1, 1]);
    for axis in 0..2 {
        check(Gather { axis }, &[&x, &at]);
    }
    check(Gather { axis: 0 }, &[&x, &ints(&[], &[2])]);
    check(ScatterAdd { axis: 0, to: dim(4) }, &[&random(&[2, 2, 3], 26), &at]);
    check(ScatterAdd { axis: 1, to: dim(4) }, &[&random(&[3, 2, 2], 27), &at]);
    check(Overwrite, &[&x, &ints(&[2], &[1, 3]), &random(&[2, 3, 2], 28)]);
}

#[test]
fn recurrences() {
    let mut step = Builder::new();
    let ty = |dims: &[usize]| TensorType::new(DType::F32, known(dims));
    let (state, x) = (step.input("state", ty(&[2])), step.input("x", ty(&[2])));
    let (on, w) = (step.input("on", TensorType::new(DType::Bool, known(&[]))), step.input("w", ty(&[2, 2])));
    let column = step.reshape(state, &shape(&[2, 1]));
    let product = step.matmul(w, column);
    let product = step.reshape(product, &shape(&[2]));
    let sum = step.plus(product, x);
    let half = step.scale(sum, 0.125);
    let next = step.add(Select, &[on, half, state]);
    step.ok().expect("a typed step");
    step.graph_mut().add_output(Output::value("next"), next);
    for reverse in [false, true] {
        let (scan, constants) = Scan::from_step(step.graph().clone(), 2, reverse);
        let factor = Array::from_tensor(&constants[0].1);
        let (first, xs) = (random(&[2], 29), random(&[4, 2], 30));
        let (mask, w) = (bools(&[4], &[true, false, true, true]), random(&[2, 2], 31));
        check(scan, &[&first, &xs, &mask, &w, &factor]);
    }
}

#[test]
fn values_that_do_not_depend_on_a_target_are_computed_once() {
    let mut b = Builder::new();
    let ty = types(&[&random(&[2, 3], 1)]).remove(0);
    let (x, seed) = (b.input("x", ty.clone()), b.input("seed", ty));
    let size = b.abs(x);
    let r = b.guarded_div(seed, size);
    b.graph_mut().add_output(Output::value("size"), size);
    b.graph_mut().add_output(Output::value("r"), r);
    let batched = batch(b.graph(), &["seed"], 4).expect("a batched graph");
    insta::assert_snapshot!(batched.to_string(), @"
    graph (x: f32[2,3], seed: f32[4,2,3]) -> (size = /Abs, r = /GuardedDiv.1) {
      /Abs = Abs(x) : f32[2,3]
      /GuardedDiv.1 = GuardedDiv(seed, /Abs) : f32[4,2,3]
    }
    ");
}
