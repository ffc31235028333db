//! The functions of one operand against hand-computed values.

use super::*;
use crate::prim::tests::arrays::{assert_close, bools, error, eval, ints, row};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

#[test]
fn float_functions_have_hand_computed_values() {
    const E: f64 = std::f64::consts::E;
    let cases: Vec<(Unary, &[f64], Vec<f64>)> = vec![
        (Unary::Abs, &[-2.0, 3.0, -INF], vec![2.0, 3.0, INF]),
        (Unary::Neg, &[-2.0, 3.0], vec![2.0, -3.0]),
        (Unary::Sign, &[-2.0, 0.0, 3.0, NAN], vec![-1.0, 0.0, 1.0, NAN]),
        (Unary::Exp, &[0.0, 1.0, -INF], vec![1.0, E, 0.0]),
        (Unary::Log, &[1.0, E, 0.0, -1.0], vec![0.0, 1.0, -INF, NAN]),
        (Unary::Sqrt, &[4.0, -1.0], vec![2.0, NAN]),
        (Unary::Reciprocal, &[4.0, 0.0], vec![0.25, INF]),
        (
            Unary::Erf,
            &[0.0, 0.5, -1.0, INF],
            vec![0.0, 0.520_499_877_813_046_5, -0.842_700_792_949_714_9, 1.0],
        ),
        (Unary::Tanh, &[0.0, INF], vec![0.0, 1.0]),
        (Unary::Sigmoid, &[0.0, 1000.0, -1000.0, 1.0], vec![0.5, 1.0, 0.0, E / (1.0 + E)]),
        (Unary::Relu, &[-1.0, 2.0, NAN], vec![0.0, 2.0, NAN]),
        (Unary::LeakyRelu { alpha: 0.25 }, &[-4.0, 2.0], vec![-1.0, 2.0]),
        (Unary::Elu { alpha: 0.5 }, &[-1.0, 2.0], vec![0.5 * (1.0 / E - 1.0), 2.0]),
        (Unary::HardSigmoid { alpha: 0.25, beta: 0.5 }, &[-4.0, 1.0, 4.0], vec![0.0, 0.75, 1.0]),
        (Unary::HardSwish, &[-4.0, 1.5, 4.0], vec![0.0, 1.125, 4.0]),
        (Unary::Softplus, &[0.0, 1000.0, -1000.0], vec![2f64.ln(), 1000.0, 0.0]),
        (Unary::Softsign, &[-1.0, 3.0], vec![-0.5, 0.75]),
        (Unary::Clip { min: Some(-1.0), max: None }, &[-2.0, 5.0, NAN], vec![-1.0, 5.0, NAN]),
        (Unary::Clip { min: Some(3.0), max: Some(1.0) }, &[0.0, 2.0, 4.0], vec![1.0, 1.0, 1.0]),
        (Unary::Floor, &[-1.5, 1.5], vec![-2.0, 1.0]),
        (Unary::Ceil, &[-1.5, 1.5], vec![-1.0, 2.0]),
        (Unary::Round, &[0.5, 1.5, 2.5, -0.5, -1.5], vec![0.0, 2.0, 2.0, 0.0, -2.0]),
        (Unary::Sin, &[0.0, 1.0], vec![0.0, 0.841_470_984_807_896_5]),
        (Unary::Cos, &[0.0, 1.0], vec![1.0, 0.540_302_305_868_139_8]),
    ];
    for (f, x, y) in cases {
        assert_close(&eval(f, &[&row(x)]), &row(&y));
    }
}

#[test]
fn some_functions_take_integers() {
    let x = ints(&[4], &[-3, 0, 5, i64::MIN]);
    let cases = [
        (Unary::Abs, [3, 0, 5, i64::MIN]),
        (Unary::Neg, [3, 0, -5, i64::MIN]),
        (Unary::Sign, [-1, 0, 1, -1]),
        (Unary::Relu, [0, 0, 5, 0]),
        (Unary::Clip { min: Some(-1.5), max: Some(3.5) }, [-1, 0, 3, -1]),
        (Unary::Clip { min: None, max: Some(f32::NAN) }, [-3, 0, 5, i64::MIN]),
    ];
    for (f, y) in cases {
        assert_eq!(eval(f, &[&x]), ints(&[4], &y), "{f:?}");
    }
    assert_eq!(error(Unary::Exp, &[&x]), "element type: expected a float type, found i64");
    assert_eq!(eval(Unary::Not, &[&bools(&[2], &[true, false])]), bools(&[2], &[false, true]));
    assert!(error(Unary::Not, &[&x]).contains("bool"));
}
