//! Derivatives against differences: `Σ g dx = Σ r (f(x + h dx) - f(x - h dx)) / 2h`.

use dlbc_ops::op::{
    Activation, Add, Arithmetic, AveragePool, Concat, Conv, ConvTranspose, CumSum, Div, Expand, Extremum,
    Function, Gather, LayerNorm, MatMul, MaxPool, Mul, Op, Reduce, ReduceKind, Reshape, Select, Slice,
    Softmax, Sub, Transpose,
};
use dlbc_ops::prim::{Binary, ConvGeometry, Unary};
use dlbc_ops::rule::{Gradient, Rule};
use dlbc_ops::tensor::{Array, Dim, Shape};

use super::formulas::window;
use super::{Layer, data, floats, ints, known, random};

const STEP: f64 = 1e-5;

fn shape(dims: &[usize]) -> Shape {
    Shape(known(dims))
}

fn check(op: impl Into<Op>, inputs: &[&Array], live: &[bool]) {
    let mut layer = Layer::new(op, inputs, live, Rule::from(Gradient::default()));
    let r = random(layer.y().dims(), 77);
    let found = layer.explain(&r);
    for k in (0..inputs.len()).filter(|k| live[*k]) {
        let direction = random(inputs[k].dims(), 78);
        let analytic: f64 = data(found.of(k)).iter().zip(data(&direction)).map(|(g, d)| g * d).sum();
        let mut moved = |by: f64| -> f64 {
            let values: Vec<f64> =
                data(inputs[k]).iter().zip(data(&direction)).map(|(x, d)| x + by * d).collect();
            layer.inputs[k] = floats(inputs[k].dims(), &values);
            let y = layer.y();
            layer.inputs[k] = inputs[k].clone();
            data(&y).iter().zip(data(&r)).map(|(y, r)| y * r).sum()
        };
        let numeric = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        let size = 1.0 + numeric.abs();
        assert!(
            (analytic - numeric).abs() <= 1e-6 * size,
            "{} operand {k}: {numeric}, {analytic}",
            layer.op.title()
        );
    }
}

#[test]
fn of_elementwise_functions() {
    // Kinks lie at -3, -2.5, -1, 0, 1 and 3, none of which a random value meets.
    let x = random(&[4, 6], 3);
    let positive = floats(x.dims(), &data(&x).iter().map(|v| v.abs() + 0.1).collect::<Vec<_>>());
    for f in [
        Unary::Abs,
        Unary::Neg,
        Unary::Exp,
        Unary::Erf,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Relu,
        Unary::LeakyRelu { alpha: 0.3 },
        Unary::Elu { alpha: 0.7 },
        Unary::HardSigmoid { alpha: 0.4, beta: 0.5 },
        Unary::HardSwish,
        Unary::Softplus,
        Unary::Softsign,
        Unary::Clip { min: Some(-0.5), max: Some(0.4) },
        Unary::Sin,
        Unary::Cos,
    ] {
        check(Activation { f: Function::Unary(f) }, &[&x], &[true]);
    }
    for f in [Unary::Log, Unary::Sqrt, Unary::Reciprocal] {
        check(Activation { f: Function::Unary(f) }, &[&positive], &[true]);
    }
    for f in [
        Function::Gelu { tanh: false },
        Function::Gelu { tanh: true },
        Function::Silu { alpha: 1.7 },
        Function::Mish,
        Function::Selu { alpha: 1.6, gamma: 1.1 },
        Function::Celu { alpha: 0.8 },
        Function::Tan,
    ] {
        check(Activation { f }, &[&x], &[true]);
    }
}

#[test]
fn of_operators_of_several_operands() {
    let (a, b) = (random(&[3, 4], 1), random(&[4], 2));
    let positive = |x: &Array| floats(x.dims(), &data(x).iter().map(|v| v.abs() + 0.5).collect::<Vec<_>>());
    let both = [true, true];
    check(Add, &[&a, &b], &both);
    check(Sub, &[&a, &b], &both);
    check(Mul, &[&a, &b], &both);
    check(Div, &[&a, &positive(&b)], &both);
    check(Arithmetic { f: Binary::Pow }, &[&positive(&a), &b], &both);
    check(Extremum { max: true }, &[&a, &random(&[3, 4], 9)], &both);
    check(Extremum { max: false }, &[&a, &random(&[3, 4], 9)], &both);
    check(MatMul, &[&random(&[2, 3, 4], 3), &random(&[4, 5], 4)], &both);
    check(MatMul, &[&random(&[2, 3, 4], 3), &random(&[2, 4, 5], 4)], &both);
    check(Concat { axis: 1 }, &[&a, &random(&[3, 2], 5)], &both);
    let condition = Array::B(ndarray::arr1(&[true, false, true, true]).into_dyn());
    check(Select, &[&condition, &a, &b], &[false, true, true]);
}

#[test]
fn of_windows_norms_and_movements() {
    let x = random(&[2, 4, 5, 6], 1);
    let rows = random(&[3, 4, 5], 2);
    let geometry = ConvGeometry { window: window(&[3, 2], &[2, 1], &[1, 0, 1, 0], &[1, 1]), groups: 2 };
    let data_only = [true, false, false];
    check(
        Conv { geometry: geometry.clone() },
        &[&x, &random(&[2, 2, 3, 2], 3), &random(&[2], 4)],
        &data_only,
    );
    let transposed = ConvTranspose { geometry, to: known(&[9, 7]) };
    check(transposed, &[&x, &random(&[4, 2, 3, 2], 3), &random(&[4], 4)], &data_only);
    let pool = window(&[2, 2], &[2, 2], &[1, 1, 0, 0], &[1, 1]);
    check(AveragePool { window: pool.clone(), count_include_pad: false }, &[&x], &[true]);
    check(MaxPool { window: pool }, &[&x], &[true]);
    for kind in [
        ReduceKind::Sum,
        ReduceKind::Mean,
        ReduceKind::Max,
        ReduceKind::Min,
        ReduceKind::Prod,
        ReduceKind::LogSumExp,
    ] {
        for keep in [false, true] {
            check(Reduce { kind, axes: vec![1], keep }, &[&rows], &[true]);
        }
    }
    for log in [false, true] {
        check(Softmax { axis: 1, log }, &[&rows], &[true]);
    }
    for centre in [false, true] {
        let (scale, bias) = (random(&[5], 6), random(&[5], 7));
        let norm = LayerNorm { axes: vec![2], epsilon: 1e-3, centre };
        check(norm, &[&rows, &scale, &bias], &data_only);
    }
    check(Transpose { perm: vec![2, 0, 1] }, &[&rows], &[true]);
    check(Reshape { to: shape(&[6, 10]) }, &[&rows], &[true]);
    check(Expand { to: shape(&[2, 3, 4, 5]) }, &[&rows], &[true]);
    check(Slice { axis: 1, start: Dim::known(3), len: Dim::known(2), step: -2 }, &[&rows], &[true]);
    check(Gather { axis: 1 }, &[&rows, &ints(&[3], &[1, 1, -1])], &[true, false]);
    check(CumSum { exclusive: true, reverse: true }, &[&rows], &[true]);
}
