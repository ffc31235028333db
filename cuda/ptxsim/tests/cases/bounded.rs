//! Evaluation of expressions in float64 with a bound for the error of every element, by the values at the ends of the operands'
//! ranges.

use dlbc_ops::prim::{self, Binary, Prim, Unary, reference};
use dlbc_ops::tensor::Array;
use dlbc_ptx::kernel::pointwise::{Kind, Term};
use ndarray::Array1;

use super::Expected;

/// Relative error of a float32 operation.
const ROUNDING: f64 = 1e-6;
/// Absolute error of a float32 operation, for results that are subnormal.
const FLOOR: f64 = 1e-37;
/// Largest argument of a sine or cosine whose reduction is exact enough.
const LARGE_ANGLE: f64 = 50.0;
/// Smallest quotient whose remainder is lost in rounding.
const LARGE_QUOTIENT: f64 = 1e4;
/// Magnitude below which a value may be 0 on the device.
const SMALL: f64 = 1e-36;
/// Largest divisor whose multiples float32 holds.
const LARGE_DIVISOR: f64 = 1e30;

/// Elements in a row, each with the bound of its error; an infinite bound admits any value. Integers and booleans are exact or
/// open.
#[derive(Clone, Debug)]
pub struct Bounded {
    pub values: Array,
    pub bounds: Vec<f64>,
}

impl Bounded {
    /// Elements without an error.
    pub fn exact(values: Array) -> Bounded {
        let bounds = vec![0.0; len(&values)];
        Bounded { values, bounds }
    }

    pub fn floats(values: Vec<f64>, bounds: Vec<f64>) -> Bounded {
        Bounded { values: float_array(values), bounds }
    }

    /// Returns the values of floats.
    pub fn to_floats(&self) -> Vec<f64> {
        match &self.values {
            Array::F(a) => a.iter().copied().collect(),
            other => panic!("not floats: {other:?}"),
        }
    }

    /// Returns the share of elements whose value is not open.
    pub fn determined(&self) -> f64 {
        let count = self.bounds.iter().filter(|b| b.is_finite()).count();
        count as f64 / self.bounds.len().max(1) as f64
    }

    pub fn expected(&self) -> Expected {
        match Expected::array(&self.values, |i, _| self.bounds[i]) {
            Expected::Words(words) => {
                let width = words.len() / self.bounds.len().max(1);
                let open = |i: usize| self.bounds[i / width].is_infinite();
                let words = words.iter().enumerate().map(|(i, w)| (!open(i)).then_some(*w)).collect();
                Expected::Some(words)
            }
            other => other,
        }
    }

    /// Returns floats moved by their bounds to a side; other values as they are.
    fn moved(&self, side: f64) -> Array {
        match &self.values {
            Array::F(a) => {
                let ends = a.iter().zip(&self.bounds);
                float_array(ends.map(|(v, b)| if b.is_finite() { v + side * b } else { *v }).collect())
            }
            other => other.clone(),
        }
    }
}

fn float_array(values: Vec<f64>) -> Array {
    Array::F(Array1::from(values).into_dyn())
}

fn len(array: &Array) -> usize {
    match array {
        Array::F(a) => a.len(),
        Array::I(a) => a.len(),
        Array::B(a) => a.len(),
    }
}

/// Evaluates an operation element by element where the whole fails. Returns the elements that failed.
fn eval(op: &Prim, operands: &[&Array]) -> (Array, Vec<usize>) {
    if let Ok(whole) = reference::eval(op, operands) {
        return (whole, vec![]);
    }
    let part = |array: &Array, i: usize| match array {
        Array::F(a) => Array::F(Array1::from(vec![a[[i]]]).into_dyn()),
        Array::I(a) => Array::I(Array1::from(vec![a[[i]]]).into_dyn()),
        Array::B(a) => Array::B(Array1::from(vec![a[[i]]]).into_dyn()),
    };
    let (mut values, mut failed) = (vec![], vec![]);
    for i in 0..len(operands[0]) {
        let parts: Vec<Array> = operands.iter().map(|a| part(a, i)).collect();
        match reference::eval(op, &parts.iter().collect::<Vec<_>>()) {
            Ok(Array::I(a)) => values.push(a[[0]]),
            Ok(other) => panic!("{op:?} gives {other:?}"),
            Err(_) => {
                values.push(0);
                failed.push(i);
            }
        }
    }
    (Array::I(Array1::from(values).into_dyn()), failed)
}

/// Value and bounds of an expression.
pub struct Evaluated {
    pub result: Bounded,
    /// An element divides an integer by 0.
    pub fails: bool,
}

/// Evaluates terms over operands of `count` elements.
pub fn evaluate(terms: &[(Term, Kind)], operands: &[Bounded], count: usize) -> Evaluated {
    let (mut values, mut fails): (Vec<Bounded>, bool) = (vec![], false);
    for (term, _) in terms {
        let value = match term {
            Term::Operand(i) => operands[*i].clone(),
            Term::Float(v) => Bounded::floats(vec![f64::from(*v); count], vec![0.0; count]),
            Term::Int(v) => Bounded::exact(Array::I(Array1::from(vec![*v; count]).into_dyn())),
            Term::Bool(v) => Bounded::exact(Array::B(Array1::from(vec![*v; count]).into_dyn())),
            Term::Unary(f, a) => applied(&Prim::Unary(*f), &[&values[*a]], &mut fails),
            Term::Binary(f, a, b) => applied(&Prim::Binary(*f), &[&values[*a], &values[*b]], &mut fails),
            Term::Cast(to, a) => applied(&Prim::Cast(prim::Cast { to: *to }), &[&values[*a]], &mut fails),
            Term::Select(c, a, b) => selected(&values[*c], &values[*a], &values[*b]),
        };
        values.push(value);
    }
    Evaluated { result: values.pop().unwrap(), fails }
}

/// Applies a function of one or two operands.
fn applied(op: &Prim, operands: &[&Bounded], fails: &mut bool) -> Bounded {
    let centers: Vec<&Array> = operands.iter().map(|o| &o.values).collect();
    let (mut values, failed) = eval(op, &centers);
    *fails |= !failed.is_empty();
    let corners: &[&[f64]] = match operands.len() {
        1 => &[&[-1.0], &[1.0]],
        _ => &[&[-1.0, -1.0], &[-1.0, 1.0], &[1.0, -1.0], &[1.0, 1.0]],
    };
    let ends: Vec<Array> = corners
        .iter()
        .map(|sides| {
            let moved: Vec<Array> =
                operands.iter().zip(*sides).map(|(o, side)| inflated(op, o).moved(*side)).collect();
            eval(op, &moved.iter().collect::<Vec<_>>()).0
        })
        .collect();
    let open = |i: usize| {
        let anyhow = operands.iter().any(|o| o.bounds[i].is_infinite());
        anyhow || failed.contains(&i) || is_delicate(op, operands, i)
    };
    let bounds = match &mut values {
        Array::F(a) => {
            let ends: Vec<Vec<f64>> = ends
                .iter()
                .map(|e| match e {
                    Array::F(e) => e.iter().copied().collect(),
                    other => panic!("{other:?}"),
                })
                .collect();
            let bound = |(i, v): (usize, &mut f64)| {
                // What does not fit float32 is infinite on the device.
                if v.is_finite() && (*v as f32).is_infinite() {
                    *v = f64::from(*v as f32);
                }
                let gap = ends.iter().map(|e| gap(*v, e[i])).fold(0.0, f64::max);
                let size = v.abs().max(inner(op, centers[0], i));
                let rounding = if v.is_finite() { ROUNDING * size + FLOOR } else { 0.0 };
                if open(i) || gap.is_infinite() || jumps(op, &centers, i, gap) {
                    f64::INFINITY
                } else {
                    gap + rounding
                }
            };
            a.iter_mut().enumerate().map(bound).collect()
        }
        Array::I(a) => {
            let same = |i: usize, v: &i64| ends.iter().all(|e| matches!(e, Array::I(e) if e[[i]] == *v));
            let bound = |(i, v): (usize, &i64)| if open(i) || !same(i, v) { f64::INFINITY } else { 0.0 };
            a.iter().enumerate().map(bound).collect()
        }
        Array::B(a) => {
            let same = |i: usize, v: &bool| ends.iter().all(|e| matches!(e, Array::B(e) if e[[i]] == *v));
            let bound = |(i, v): (usize, &bool)| if open(i) || !same(i, v) { f64::INFINITY } else { 0.0 };
            a.iter().enumerate().map(bound).collect()
        }
    };
    Bounded { values, bounds }
}

/// Magnitude of the terms whose sum or difference a function computes on its way.
fn inner(op: &Prim, operand: &Array, i: usize) -> f64 {
    let Array::F(a) = operand else { return 0.0 };
    let x = a[[i]].abs();
    match op {
        Prim::Binary(Binary::Mod) | Prim::Unary(Unary::HardSwish) => x,
        Prim::Unary(Unary::HardSigmoid { alpha, beta }) => {
            (f64::from(*alpha) * x).min(1.0) + f64::from(*beta).abs()
        }
        Prim::Unary(Unary::Sin | Unary::Cos) => x.min(1.0),
        _ => 0.0,
    }
}

/// Distance of a value from that at an end of the range; infinite if one alone is finite.
fn gap(v: f64, end: f64) -> f64 {
    if v == end || (v.is_nan() && end.is_nan()) {
        return 0.0;
    }
    let end = if v.is_infinite() { f64::from(end as f32) } else { end };
    match (v - end).abs() {
        _ if v == end => 0.0,
        gap if gap.is_finite() && (end as f32).is_finite() => gap,
        _ => f64::INFINITY,
    }
}

/// The quotient of a remainder is rounded, so its operands count as inexact.
fn inflated(op: &Prim, operand: &Bounded) -> Bounded {
    let mut operand = operand.clone();
    if let (Prim::Binary(Binary::Mod), Array::F(values)) = (op, &operand.values) {
        operand.bounds.iter_mut().zip(values).for_each(|(b, v)| *b = b.max(ROUNDING * v.abs()));
    }
    operand
}

/// True where a remainder jumps by its divisor within the range of its operands.
fn jumps(op: &Prim, operands: &[&Array], i: usize, gap: f64) -> bool {
    match (op, operands) {
        (Prim::Binary(Binary::Mod), [_, Array::F(b)]) => gap > 0.01 * b[[i]].abs(),
        _ => false,
    }
}

/// True where the result depends on what the reference does not fix: the sign of a zero, or a reduction of large angles.
fn is_delicate(op: &Prim, operands: &[&Bounded], i: usize) -> bool {
    let at = |n: usize| match &operands[n].values {
        Array::F(a) => Some(a[[i]]),
        _ => None,
    };
    // Zero on the device, or close to it.
    let vanishes = |n: usize| at(n).is_some_and(|x| x.abs() < SMALL.max(2.0 * operands[n].bounds[i]));
    match op {
        Prim::Unary(Unary::Reciprocal) => vanishes(0),
        Prim::Unary(Unary::Log) | Prim::Binary(Binary::Pow) if vanishes(0) => true,
        Prim::Binary(Binary::GuardedDiv) => {
            vanishes(1) && (at(1) != Some(0.0) || operands[1].bounds[i] > 0.0)
        }
        Prim::Unary(Unary::Sin | Unary::Cos) => at(0).is_some_and(|x| x.abs() > LARGE_ANGLE),
        Prim::Binary(Binary::Div) => vanishes(1),
        Prim::Binary(Binary::Mod) => {
            // Quotients, and products with them, that float32 holds.
            let exact = |(a, b): (f64, f64)| (a / b).abs() < LARGE_QUOTIENT && b.abs() < LARGE_DIVISOR;
            vanishes(1) || at(0).zip(at(1)).is_some_and(|pair| !exact(pair))
        }
        Prim::Binary(Binary::Pow) => {
            let [a, b] = [at(0), at(1)];
            a.zip(b).is_some_and(|(a, b)| !a.is_finite() || !b.is_finite() || a < 0.0)
        }
        _ => false,
    }
}

fn selected(condition: &Bounded, a: &Bounded, b: &Bounded) -> Bounded {
    let values = reference::eval(&Prim::Select, &[&condition.values, &a.values, &b.values]).unwrap();
    let Array::B(choice) = &condition.values else { panic!("{:?}", condition.values) };
    let bound = |(i, first): (usize, &bool)| {
        let bound = if *first { a.bounds[i] } else { b.bounds[i] };
        if condition.bounds[i].is_infinite() { f64::INFINITY } else { bound }
    };
    let bounds = choice.iter().enumerate().map(bound).collect();
    Bounded { values, bounds }
}
