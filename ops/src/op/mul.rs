//! Elementwise products and quotients of two operands, which broadcast. Reads `Mul` and `Div`.

use super::Operator;
use super::read::Reader;
use super::role::Role;
use crate::graph::Value;
use crate::prim::{Binary, Builder};

/// `a · b`, elementwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Mul;

/// `a / b`, elementwise; integers are truncated towards zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Div;

impl Operator for Mul {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.mul(inputs[0], inputs[1])]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Product
    }
}

impl Operator for Div {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.binary(Binary::Div, inputs[0], inputs[1])]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Scaled
    }
}

/// Returns the readers of `Mul` and `Div`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("Mul", 1, |r| {
            let inputs = r.pair()?;
            Ok(vec![r.add(Mul, &inputs)?])
        }),
        Reader::new("Div", 1, |r| {
            let inputs = r.pair()?;
            Ok(vec![r.add(Div, &inputs)?])
        }),
    ]
}
