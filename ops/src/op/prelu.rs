//! Rectifier with a slope per channel: `x` where positive, elsewhere `slope · x`. Reads `PRelu`. Operands: x, slope
//! (constant, broadcasts to x).

use super::Operator;
use super::read::Reader;
use super::role::Role;
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Builder, Prim};
use crate::tensor::{Dim, Shape};

/// Rectifier with a learned slope.
#[derive(Clone, Debug, PartialEq)]
pub struct PRelu;

impl Operator for PRelu {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let (x, slope) = (inputs[0], inputs[1]);
        let zero = b.scalar_like(0.0, x);
        let negative = b.binary(Binary::Less, x, zero);
        let scaled = b.mul(x, slope);
        vec![b.add(Prim::Select, &[negative, scaled, x])]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Elementwise
    }
}

/// Returns the reader of `PRelu`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("PRelu", 1, |r| {
        let (x, mut slope) = (r.input(0)?, r.input(1)?);
        let (rank, shape) = (r.ty(x).rank(), r.ty(slope).shape);
        // Before opset 7 there is a slope for each channel, or one for all.
        if r.opset < 7 && shape.rank() == 1 && rank > 2 {
            slope = r.reshape(slope, Shape([shape.0, vec![Dim::known(1); rank - 2]].concat()))?;
        }
        let inputs = [x, slope];
        let y = r.add(PRelu, &inputs)?;
        if r.ty(y).shape != r.ty(inputs[0]).shape {
            return Err(OpError::invalid(
                "slope",
                format!("one that broadcasts to {}", r.ty(inputs[0])),
                r.ty(inputs[1]),
            ));
        }
        Ok(vec![y])
    })]
}
