//! Tests of all primitives, and helpers of the tests in their files. Here: the stability of the JSON and text of primitives,
//! which artifacts hold, so that they must not change.

pub mod arrays;
mod batch;
pub mod windows;

use super::*;
use crate::graph::Origin;
use crate::tensor::{DType, Dim, Shape, TensorType};

/// Returns samples of every primitive, with every variant and kind of attribute.
fn samples() -> Vec<Prim> {
    let window = Window {
        kernel: vec![3, 2],
        strides: vec![2, 1],
        before: vec![1, 0],
        after: vec![0, 1],
        dilations: vec![1, 2],
        ceil: true,
    };
    let geometry = ConvGeometry { window: Window { ceil: false, ..window.clone() }, groups: 4 };
    let (n, m) = (Dim::symbol("n"), Dim::symbol("m"));
    let to = vec![Dim::known(7), &(&n * &Dim::known(2)) + &m];
    let shape = Shape(to.clone());
    let attention = AttentionGeometry { scale: 0.125, guard: true };
    let mut all = vec![
        Prim::Input,
        Prim::Dims(Dims { dims: vec![2], values: to.clone() }),
        Prim::Select,
        Prim::Conv(Conv { geometry: geometry.clone(), w: Transform::Abs }),
        Prim::ConvTranspose(ConvTranspose { geometry, w: Transform::Pos, to: to.clone() }),
        Prim::WindowSum(WindowSum(window.clone())),
        Prim::WindowSumTranspose(WindowSumTranspose { window: window.clone(), to: to.clone() }),
        Prim::WindowMax(WindowMax(window.clone())),
        Prim::WindowMaxShare(WindowMaxShare { window, first: true }),
        Prim::Softmax(Softmax { axis: 2 }),
        Prim::Attention(Attention(attention)),
        Prim::Reshape(Reshape { to: shape.clone() }),
        Prim::Transpose(Transpose { perm: vec![2, 0, 1] }),
        Prim::Slice(Slice { axis: 1, start: Dim::known(-1), len: n.clone(), step: -2 }),
        Prim::SliceTranspose(SliceTranspose { axis: 1, start: n.clone(), to: m.clone(), step: 3 }),
        Prim::Concat(Concat { axis: 3 }),
        Prim::Expand(Expand { to: shape.clone() }),
        Prim::Gather(Gather { axis: 1 }),
        Prim::ScatterAdd(ScatterAdd { axis: 1, to: n.floor_div(&Dim::known(2)) }),
        Prim::Overwrite,
        Prim::NonZero,
        Prim::TopK(TopK { axis: 1, k: n.ceil_div(3), largest: false }),
        Prim::NonMaxSuppression(NonMaxSuppression { center: true }),
        Prim::Merge(Merge { condition: n.clone() }),
        Prim::MergeTranspose(MergeTranspose { condition: n.clone(), second: true, to: shape }),
        Prim::Iota(Iota { len: m }),
        Prim::TreeLeaves(TreeLeaves { depth: 6 }),
        Prim::Scan(scan()),
    ];
    let unary = [Unary::Abs, Unary::Neg, Unary::Sign, Unary::Exp, Unary::Log, Unary::Sqrt, Unary::Reciprocal];
    all.extend(unary.map(Prim::Unary));
    let unary = [Unary::Erf, Unary::Tanh, Unary::Sigmoid, Unary::Relu, Unary::LeakyRelu { alpha: 0.1 }];
    all.extend(unary.map(Prim::Unary));
    let unary = [Unary::Elu { alpha: 1.5 }, Unary::HardSigmoid { alpha: 0.2, beta: 0.5 }, Unary::HardSwish];
    all.extend(unary.map(Prim::Unary));
    let unary = [Unary::Softplus, Unary::Softsign, Unary::Clip { min: None, max: Some(6.0) }, Unary::Floor];
    all.extend(unary.map(Prim::Unary));
    all.extend([Unary::Ceil, Unary::Round, Unary::Sin, Unary::Cos, Unary::Not].map(Prim::Unary));
    let binary = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::GuardedDiv, Binary::Pow];
    all.extend(binary.map(Prim::Binary));
    let binary = [Binary::Min, Binary::Max, Binary::Mod, Binary::Equal, Binary::Less, Binary::LessOrEqual];
    all.extend(binary.map(Prim::Binary));
    all.extend([Binary::And, Binary::Or, Binary::Xor].map(Prim::Binary));
    for (a, b) in [
        (Transform::Id, Transform::Abs),
        (Transform::Pos, Transform::Neg),
        (Transform::Square, Transform::One),
    ] {
        all.push(Prim::MatMul(MatMul { a, b, ta: true, tb: false }));
    }
    let kinds = [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Prod, Reduction::ArgMax];
    for kind in kinds.into_iter().chain([Reduction::ArgMin]) {
        all.push(Prim::Reduce(Reduce { kind, axes: vec![0, 2], keep: true }));
    }
    let parts = [AttentionPart::Query, AttentionPart::Key, AttentionPart::Value, AttentionPart::Dropped];
    for part in parts {
        all.push(Prim::AttentionShare(AttentionShare { geometry: attention, value: 0.5, part }));
    }
    for mode in [PadMode::Constant(-1.5), PadMode::Reflect, PadMode::Edge] {
        all.push(Prim::Pad(Pad { before: vec![Dim::known(0), n.clone()], after: to.clone(), mode }));
    }
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16, DType::Bool];
    let signed = [DType::I8, DType::I16, DType::I32, DType::I64];
    let unsigned = [DType::U8, DType::U16, DType::U32, DType::U64];
    for to in floats.into_iter().chain(signed).chain(unsigned) {
        all.push(Prim::Cast(Cast { to }));
    }
    all
}

/// Returns a scan whose step is `state · 2 + element`.
fn scan() -> Scan {
    let mut b = Builder::new();
    b.set_origin(&Origin::default(), "step");
    let ty = TensorType::new(DType::F32, vec![Dim::symbol("n"), Dim::known(3)]);
    let (state, element) = (b.input("state", ty.clone()), b.input("element", ty));
    let twice = b.scale(state, 2.0);
    let next = b.plus(twice, element);
    let first = b.add(Slice { axis: 1, start: Dim::known(0), len: Dim::known(3), step: 1 }, &[next]);
    let mut step = b.finish();
    step.add_output(Output::value("next"), first);
    Scan::from_step(step, 1, true).0
}

#[test]
fn every_primitive_has_a_sample() {
    let samples = samples();
    let has = |name: &&&str| samples.iter().filter_map(Prim::inner).any(|prim| prim.name() == **name);
    let missing: Vec<&&str> = Prim::NAMES.iter().filter(|name| !has(name)).collect();
    assert!(missing.is_empty(), "no sample of {missing:?}");
}

#[test]
fn json_is_what_old_artifacts_hold() {
    let lines: Vec<String> = samples().iter().map(|p| serde_json::to_string(p).expect("JSON")).collect();
    insta::assert_snapshot!("json", lines.join("\n"));
    let sorted = |p: &Prim| serde_json::to_value(p).expect("JSON").to_string();
    for (sample, line) in samples().iter().zip(&lines) {
        let back: Prim = serde_json::from_str(line).expect("a primitive");
        assert_eq!(sorted(&back), sorted(sample));
        assert_eq!(
            format!("{}{}", back.name(), back.attributes()),
            format!("{}{}", sample.name(), sample.attributes())
        );
    }
}

#[test]
fn text_is_what_printed_graphs_and_artifacts_hold() {
    let lines: Vec<String> = samples().iter().map(|p| format!("{}{}", p.name(), p.attributes())).collect();
    insta::assert_snapshot!("text", lines.join("\n"));
}

#[test]
fn a_constant_is_its_tensor_and_an_input_has_no_value() {
    let constant = Prim::Const(Tensor::from_f32(&[2], &[0.5, 1.0]));
    assert_eq!(arrays::eval(constant, &[]), arrays::row(&[0.5, 1.0]));
    assert_eq!(arrays::error(Prim::Input, &[]), "primitive: expected a computation, found an input");
}
