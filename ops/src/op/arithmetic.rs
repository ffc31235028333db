//! `Pow` and `Mod`, and the elementwise extrema `Max` and `Min`. Operands broadcast.

use super::Operator;
use super::read::{Reader, Reading};
use super::role::{Role, Route, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Builder, Primitive};
use crate::tensor::Dim;

/// `Pow` or `Mod`: the first operand transformed by the second.
#[derive(Clone, Debug, PartialEq)]
pub struct Arithmetic {
    /// `Pow` or `Mod`.
    pub f: Binary,
}

/// The elementwise maximum or minimum of all operands.
#[derive(Clone, Debug, PartialEq)]
pub struct Extremum {
    /// The maximum; else the minimum.
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

    /// The extremum of two dimensions, when their difference is known.
    pub(super) fn of_dims(&self, a: &Dim, b: &Dim) -> Option<Dim> {
        let a_greater = (a - b).as_known()? >= 0;
        Some(if a_greater == self.max { a.clone() } else { b.clone() })
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
    /// The operand that equals the extremum takes the relevance; ties share equally.
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let y = site.y();
        let dtype = b.ty(r).dtype;
        let wins: Vec<Value> = site
            .inputs
            .iter()
            .map(|x| {
                let equal = b.binary(Binary::Equal, *x, y);
                b.cast(equal, dtype)
            })
            .collect();
        let count = wins.iter().skip(1).fold(wins[0], |n, w| b.plus(n, *w));
        let share = b.guarded_div(r, count);
        let shares = wins.iter().zip(site.inputs).map(|(w, x)| {
            let own = b.mul(share, *w);
            let shape = b.ty(*x).shape;
            Some(b.sum_to(own, &shape))
        });
        shares.collect()
    }
}

/// Readers of `Pow`, `Mod`, `Max`, `Min`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("Pow", 7, |r| {
            let inputs = [r.input(0)?, r.input(1)?];
            Ok(vec![r.add(Arithmetic { f: Binary::Pow }, &inputs)?])
        }),
        Reader::new("Mod", 10, |r| {
            let inputs = [r.input(0)?, r.input(1)?];
            if r.flag("fmod", false)? {
                return Err(OpError::Unsupported("fmod = 1 is not supported".into()));
            }
            Ok(vec![r.add(Arithmetic { f: Binary::Mod }, &inputs)?])
        }),
        Reader::new("Max", 8, |r| extremum(r, true)),
        Reader::new("Min", 8, |r| extremum(r, false)),
    ]
}

fn extremum(r: &mut Reading, max: bool) -> Result<Vec<Value>, OpError> {
    let inputs = r.all_inputs()?;
    if inputs.len() == 1 {
        return Ok(inputs);
    }
    Ok(vec![r.add(Extremum { max }, &inputs)?])
}
