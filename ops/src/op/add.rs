//! Sums of operands, which broadcast. Reads `Add`, `Sum`, `Mean` and `Sub`.

use super::Operator;
use super::read::{Reader, Reading};
use super::role::Role;
use crate::OpError;
use crate::graph::Value;
use crate::prim::Builder;

/// Sum of all operands.
#[derive(Clone, Debug, PartialEq)]
pub struct Add;

/// First operand minus the second.
#[derive(Clone, Debug, PartialEq)]
pub struct Sub;

impl Operator for Add {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![inputs.iter().skip(1).fold(inputs[0], |sum, x| b.plus(sum, *x))]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Sum { subtracts: false }
    }
}

impl Operator for Sub {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.minus(inputs[0], inputs[1])]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Sum { subtracts: true }
    }
}

/// Returns the readers of `Add`, `Sub`, `Sum` and `Mean`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("Add", 1, |r| {
            let inputs = r.pair()?;
            Ok(vec![r.add(Add, &inputs)?])
        }),
        Reader::new("Sum", 1, sum),
        Reader::new("Mean", 1, |r| {
            let total = sum(r)?;
            let dtype = r.ty(total[0]).dtype;
            let n = r.inputs.len().max(1);
            let n = r.add_scalar(n as f64, dtype);
            Ok(vec![r.add(super::Div, &[total[0], n])?])
        }),
        Reader::new("Sub", 1, |r| {
            let inputs = r.pair()?;
            Ok(vec![r.add(Sub, &inputs)?])
        }),
    ]
}

fn sum(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let inputs = r.all_inputs()?;
    if inputs.len() == 1 {
        return Ok(inputs);
    }
    Ok(vec![r.add(Add, &inputs)?])
}
