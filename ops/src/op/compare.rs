//! Comparisons and logic. Their results carry no relevance.

use super::Operator;
use super::read::{Reader, Reading};
use super::role::Role;
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Builder, Primitive, Unary};
use crate::tensor::Dim;

/// Comparison or logic function of two operands, which broadcast, or `Not` of one operand.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare {
    /// The function; `None` for `Not`.
    pub f: Option<Binary>,
    /// True if the operands are swapped: `Greater` is a swapped `Less`.
    pub swap: bool,
}

impl Compare {
    pub(super) fn name(&self) -> String {
        match (self.f, self.swap) {
            (None, _) => "Not".into(),
            (Some(Binary::Less), true) => "Greater".into(),
            (Some(Binary::LessOrEqual), true) => "GreaterOrEqual".into(),
            (Some(f), _) => f.title(),
        }
    }

    /// Evaluates a comparison of dimensions if their difference is known. A dimension never equals a negative number.
    pub(super) fn of_dims(&self, a: &Dim, b: &Dim) -> Option<bool> {
        let (a, b) = if self.swap { (b, a) } else { (a, b) };
        let negative = |d: &Dim| d.as_known().is_some_and(|v| v < 0);
        let difference = (a - b).as_known();
        match self.f? {
            Binary::Equal if difference.is_none() => (negative(a) || negative(b)).then_some(false),
            Binary::Equal => difference.map(|d| d == 0),
            Binary::Less => difference.map(|d| d < 0),
            Binary::LessOrEqual => difference.map(|d| d <= 0),
            _ => None,
        }
    }
}

impl Operator for Compare {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![match self.f {
            None => b.unary(Unary::Not, inputs[0]),
            Some(f) if self.swap => b.binary(f, inputs[1], inputs[0]),
            Some(f) => b.binary(f, inputs[0], inputs[1]),
        }]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::NoRelevance
    }
}

/// Returns the readers of the comparison and logic operators.
pub fn readers() -> Vec<Reader> {
    ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "Not"]
        .into_iter()
        .map(|op| Reader::new(op, 1, read))
        .collect()
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (f, swap) = match r.op {
        "Not" => {
            let x = r.input(0)?;
            return Ok(vec![r.add(Compare { f: None, swap: false }, &[x])?]);
        }
        "Equal" => (Binary::Equal, false),
        "Less" => (Binary::Less, false),
        "LessOrEqual" => (Binary::LessOrEqual, false),
        "Greater" => (Binary::Less, true),
        "GreaterOrEqual" => (Binary::LessOrEqual, true),
        "And" => (Binary::And, false),
        "Or" => (Binary::Or, false),
        _ => (Binary::Xor, false),
    };
    let inputs = r.pair()?;
    Ok(vec![r.add(Compare { f: Some(f), swap }, &inputs)?])
}
