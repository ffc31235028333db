use dlbc_ops::prim::{self, Binary, Prim, Unary};
use dlbc_ops::tensor::DType;

use super::{assert_close, bools, data, error, eval, floats, ints, row};

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
        assert_close(&eval(Prim::Unary(f), &[&row(x)]), &row(&y));
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
        assert_eq!(eval(Prim::Unary(f), &[&x]), ints(&[4], &y), "{f:?}");
    }
    assert_eq!(error(Prim::Unary(Unary::Exp), &[&x]), "element type: expected a float type, found i64");
    assert_eq!(eval(Prim::Unary(Unary::Not), &[&bools(&[2], &[true, false])]), bools(&[2], &[false, true]));
    assert!(error(Prim::Unary(Unary::Not), &[&x]).contains("bool"));
}

#[test]
fn binary_functions_broadcast() {
    let (a, b) = (floats(&[2, 1], &[-7.0, 6.0]), floats(&[3], &[2.0, -4.0, 0.0]));
    let cases = [
        (Binary::Add, [-5.0, -11.0, -7.0, 8.0, 2.0, 6.0]),
        (Binary::Sub, [-9.0, -3.0, -7.0, 4.0, 10.0, 6.0]),
        (Binary::Mul, [-14.0, 28.0, 0.0, 12.0, -24.0, 0.0]),
        (Binary::Div, [-3.5, 1.75, -INF, 3.0, -1.5, INF]),
        (Binary::GuardedDiv, [-3.5, 1.75, 0.0, 3.0, -1.5, 0.0]),
        (Binary::Pow, [49.0, 1.0 / 2401.0, 1.0, 36.0, 1.0 / 1296.0, 1.0]),
        (Binary::Min, [-7.0, -7.0, -7.0, 2.0, -4.0, 0.0]),
        (Binary::Max, [2.0, -4.0, 0.0, 6.0, 6.0, 6.0]),
        (Binary::Mod, [1.0, -3.0, NAN, 0.0, -2.0, NAN]),
    ];
    for (f, y) in cases {
        assert_close(&eval(Prim::Binary(f), &[&a, &b]), &floats(&[2, 3], &y));
    }
    let less = eval(Prim::Binary(Binary::Less), &[&a, &b]);
    assert_eq!(less, bools(&[2, 3], &[true, true, true, false, false, false]));
    let equal = eval(Prim::Binary(Binary::Equal), &[&row(&[1.0, NAN]), &row(&[1.0, NAN])]);
    assert_eq!(equal, bools(&[2], &[true, false]));
}

#[test]
fn integer_functions_truncate_wrap_and_refuse_zero_divisors() {
    let (a, b) = (ints(&[4], &[-7, 7, -7, 7]), ints(&[4], &[2, -2, -2, 2]));
    let cases = [
        (Binary::Div, [-3, -3, 3, 3]),
        (Binary::GuardedDiv, [-3, -3, 3, 3]),
        (Binary::Mod, [1, -1, -1, 1]),
        (Binary::Pow, [49, 0, 0, 49]),
        (Binary::Sub, [-9, 9, -5, 5]),
        (Binary::Max, [2, 7, -2, 7]),
        (Binary::Min, [-7, -2, -7, 2]),
    ];
    for (f, y) in cases {
        assert_eq!(eval(Prim::Binary(f), &[&a, &b]), ints(&[4], &y), "{f:?}");
    }
    let (unit, zero) = (ints(&[], &[1]), ints(&[], &[0]));
    for f in [Binary::Div, Binary::Mod] {
        assert_eq!(error(Prim::Binary(f), &[&unit, &zero]), "integer division by 0");
    }
    assert_eq!(eval(Prim::Binary(Binary::GuardedDiv), &[&unit, &zero]), zero);
    let (lowest, minus) = (ints(&[], &[i64::MIN]), ints(&[], &[-1]));
    assert_eq!(eval(Prim::Binary(Binary::Div), &[&lowest, &minus]), lowest);
    assert_eq!(eval(Prim::Binary(Binary::Mod), &[&lowest, &minus]), zero);
    assert_eq!(eval(Prim::Binary(Binary::Mul), &[&lowest, &lowest]), zero);
    assert_eq!(eval(Prim::Binary(Binary::Pow), &[&minus, &minus]), minus);
    assert!(error(Prim::Binary(Binary::Pow), &[&zero, &minus]).contains("power"));
    assert_eq!(eval(Prim::Binary(Binary::LessOrEqual), &[&a, &b]), bools(&[4], &[true, false, true, false]));
}

#[test]
fn logic_is_of_booleans() {
    let (a, b) = (bools(&[4], &[false, false, true, true]), bools(&[4], &[false, true, false, true]));
    let cases = [
        (Binary::And, [false, false, false, true]),
        (Binary::Or, [false, true, true, true]),
        (Binary::Xor, [false, true, true, false]),
        (Binary::Equal, [true, false, false, true]),
    ];
    for (f, y) in cases {
        assert_eq!(eval(Prim::Binary(f), &[&a, &b]), bools(&[4], &y), "{f:?}");
    }
    assert!(error(Prim::Binary(Binary::And), &[&row(&[1.0]), &row(&[1.0])]).contains("bool"));
    assert!(error(Prim::Binary(Binary::Add), &[&a, &b]).contains("number"));
}

#[test]
fn select_broadcasts_all_three() {
    let condition = bools(&[2, 1], &[true, false]);
    let (a, b) = (row(&[1.0, 2.0]), floats(&[], &[9.0]));
    assert_eq!(eval(Prim::Select, &[&condition, &a, &b]), floats(&[2, 2], &[1.0, 2.0, 9.0, 9.0]));
    let (a, b) = (ints(&[1], &[1]), ints(&[1], &[2]));
    assert_eq!(eval(Prim::Select, &[&condition, &a, &b]), ints(&[2, 1], &[1, 2]));
    assert_eq!(eval(Prim::Select, &[&condition, &condition, &condition]), bools(&[2, 1], &[true, false]));
    assert!(error(Prim::Select, &[&a, &a, &a]).contains("bool"));
}

#[test]
fn casts_convert() {
    let to = |to: DType| Prim::Cast(prim::Cast { to });
    let x = row(&[-1.7, 0.0, 2.9, 300.0]);
    assert_eq!(eval(to(DType::I64), &[&x]), ints(&[4], &[-1, 0, 2, 300]));
    assert_eq!(eval(to(DType::U8), &[&x]), ints(&[4], &[255, 0, 2, 44]));
    assert_eq!(eval(to(DType::I8), &[&ints(&[2], &[128, -129])]), ints(&[2], &[-128, 127]));
    assert_eq!(eval(to(DType::Bool), &[&x]), bools(&[4], &[true, false, true, true]));
    assert_eq!(eval(to(DType::Bool), &[&ints(&[2], &[0, -2])]), bools(&[2], &[false, true]));
    let flags = bools(&[2], &[true, false]);
    assert_eq!(eval(to(DType::F32), &[&flags]), row(&[1.0, 0.0]));
    assert_eq!(eval(to(DType::I32), &[&flags]), ints(&[2], &[1, 0]));
    assert_eq!(eval(to(DType::F32), &[&ints(&[1], &[7])]), row(&[7.0]));
    assert_eq!(eval(to(DType::F32), &[&row(&[0.1])]), row(&[0.1]));
    assert_eq!(eval(to(DType::F16), &[&row(&[0.1, 1e6])]), row(&[0.099_975_585_937_5, INF]));
    assert_eq!(eval(to(DType::Bf16), &[&row(&[0.1])]), row(&[0.100_097_656_25]));
    let huge = eval(to(DType::I64), &[&row(&[NAN, -1e300])]);
    assert_eq!(huge, ints(&[2], &[0, i64::MIN]));
    assert!(data(&eval(to(DType::F16), &[&row(&[NAN])]))[0].is_nan());
}
