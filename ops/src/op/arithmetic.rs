//! Elementwise `Pow` and `Mod`, and the extrema `Max` and `Min`. Operands broadcast.

use super::Operator;
use super::read::{Reader, Reading};
use super::role::{Role, Route, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Builder, Primitive, Unary};
use crate::tensor::Dim;

/// First operand transformed by the second.
#[derive(Clone, Debug, PartialEq)]
pub struct Arithmetic {
    /// Function: `Pow` or `Mod`.
    pub f: Binary,
}

/// Elementwise maximum or minimum of all operands.
#[derive(Clone, Debug, PartialEq)]
pub struct Extremum {
    /// True for the maximum, false for the minimum.
    pub max: bool,
}

impl Arithmetic {
    pub(super) fn name(&self) -> String {
        self.f.title()
    }
}

impl Extremum {
    pub(super) fn name(&self) -> String {
        if self.max { "Max" } else { "Min" }.into()
    }

    fn binary(&self) -> Binary {
        if self.max { Binary::Max } else { Binary::Min }
    }

    /// Returns the extremum of two dimensions if their difference is known.
    pub(super) fn of_dims(&self, a: &Dim, b: &Dim) -> Option<Dim> {
        let a_is_larger = (a - b).as_known()? >= 0;
        Some(if a_is_larger == self.max { a.clone() } else { b.clone() })
    }
}

impl Operator for Arithmetic {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let exponent = b.cast(inputs[1], b.ty(inputs[0]).dtype);
        vec![b.binary(self.f, inputs[0], exponent)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Scaled
    }
}

impl Operator for Extremum {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![inputs.iter().skip(1).fold(inputs[0], |y, x| b.binary(self.binary(), y, *x))]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Select(self)
    }
}

impl Route for Extremum {
    /// The operands that equal the extremum share the relevance equally.
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let y = site.y();
        let dtype = b.ty(r).dtype;
        let winners: Vec<Value> = site
            .inputs
            .iter()
            .map(|x| {
                let equal = b.binary(Binary::Equal, *x, y);
                b.cast(equal, dtype)
            })
            .collect();
        let count = winners.iter().skip(1).fold(winners[0], |n, w| b.plus(n, *w));
        let share = b.guarded_div(r, count);
        let shares = winners.iter().zip(site.inputs).map(|(w, x)| {
            let r = b.mul(share, *w);
            let shape = b.ty(*x).shape;
            Some(b.sum_to(r, &shape))
        });
        shares.collect()
    }
}

/// Returns the readers of `Pow`, `Mod`, `Max` and `Min`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("Pow", 1, |r| {
            let inputs = r.pair()?;
            Ok(vec![r.add(Arithmetic { f: Binary::Pow }, &inputs)?])
        }),
        Reader::new("Mod", 10, |r| {
            let inputs = [r.input(0)?, r.input(1)?];
            if r.flag("fmod", false)? {
                return Ok(vec![truncated_remainder(r, inputs)?]);
            }
            Ok(vec![remainder(r, inputs)?])
        }),
        Reader::new("Max", 1, |r| extremum(r, true)),
        Reader::new("Min", 1, |r| extremum(r, false)),
    ]
}

/// Builds the remainder that has the sign of `b`. Of an infinite `b` it is `a` if both have the same sign, otherwise `b`.
fn remainder(r: &mut Reading, [a, b]: [Value; 2]) -> Result<Value, OpError> {
    let y = r.add(Arithmetic { f: Binary::Mod }, &[a, b])?;
    let dtype = r.ty(y).dtype;
    if !dtype.is_float() {
        return Ok(y);
    }
    let (infinity, zero) = (r.add_scalar(f64::INFINITY, dtype), r.add_scalar(0.0, dtype));
    let (size_a, size_b) = (r.unary(Unary::Abs, a)?, r.unary(Unary::Abs, b)?);
    let (is_finite, is_infinite) =
        (r.compare(Binary::Less, size_a, infinity)?, r.compare(Binary::Equal, size_b, infinity)?);
    let special = r.compare(Binary::And, is_finite, is_infinite)?;
    let product = r.add(super::Mul, &[a, b])?;
    let same_sign = r.compare(Binary::LessOrEqual, zero, product)?;
    let limit = r.select(same_sign, a, b)?;
    r.select(special, limit, y)
}

/// Builds the remainder that has the sign of `a`: `sign(a) · (|a| mod |b|)`.
fn truncated_remainder(r: &mut Reading, [a, b]: [Value; 2]) -> Result<Value, OpError> {
    let sign = r.unary(Unary::Sign, a)?;
    let (a, b) = (r.unary(Unary::Abs, a)?, r.unary(Unary::Abs, b)?);
    let magnitude = remainder(r, [a, b])?;
    r.add(super::Mul, &[sign, magnitude])
}

fn extremum(r: &mut Reading, max: bool) -> Result<Vec<Value>, OpError> {
    let inputs = r.all_inputs()?;
    if inputs.len() == 1 {
        return Ok(inputs);
    }
    Ok(vec![r.add(Extremum { max }, &inputs)?])
}
