//! The sign of the start in an exported model.

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{self, Binary, Prim, Reduction, Unary};
use dlbc_ops::program::{Info, Mode, Output, SeedSign};
use dlbc_ops::tensor::DType;

use crate::prim_builder::PrimBuilder;

/// Sign and share of the starting relevance of each unit, which the multiplier scales.
#[derive(Clone, Copy)]
pub(crate) struct Convention {
    sign: SeedSign,
    /// The values that count, of the output's shape.
    values: Value,
    /// The values whose signs count.
    signs: Value,
    /// The share of each unit in a difference.
    shares: Option<Value>,
}

impl Convention {
    /// The convention of a program; `None` where units start with a positive number, and a difference with both signs.
    pub fn of(graph: &Graph<Prim>, info: &Info) -> Option<Convention> {
        if info.mode == Mode::Contrastive || info.seed.sign == SeedSign::Unit {
            return None;
        }
        let values =
            graph.output(&Output::SeedValue).or_else(|| graph.output(&Output::from(&info.explained)))?;
        let signs = graph.output(&Output::SeedSign).unwrap_or(values);
        Some(Convention { sign: info.seed.sign, values, signs, shares: None })
    }

    /// The convention of a difference of the units that `masks` mark along an axis: each starts with its value, over the sum
    /// of both magnitudes.
    pub fn difference(
        self,
        steps: &mut PrimBuilder,
        dtype: DType,
        masks: &[(Value, f64)],
        axis: usize,
    ) -> Result<Convention, String> {
        let values = cast(steps, self.values, dtype)?;
        let magnitude = steps.add(Prim::Unary(Unary::Abs), &[values])?;
        let mut own = steps.scalar(dtype, 0.0);
        for (mask, _) in masks {
            own = steps.add(Prim::Select, &[*mask, magnitude, own])?;
        }
        let size = steps.add(prim::Reduce { kind: Reduction::Sum, axes: vec![axis], keep: true }, &[own])?;
        let shares = steps.add(Prim::Binary(Binary::GuardedDiv), &[values, size])?;
        Ok(Convention { shares: Some(shares), ..self })
    }

    /// A start with its sign, or its share of a difference.
    pub fn signed(self, steps: &mut PrimBuilder, start: Value, dtype: DType) -> Result<Value, String> {
        let factor = match (self.shares, self.sign) {
            (Some(shares), _) => shares,
            (None, SeedSign::Value) => {
                let sign = steps.add(Prim::Unary(Unary::Sign), &[self.signs])?;
                cast(steps, sign, dtype)?
            }
            (None, _) => return Ok(start),
        };
        steps.add(Prim::Binary(Binary::Mul), &[factor, start])
    }
}

fn cast(steps: &mut PrimBuilder, v: Value, to: DType) -> Result<Value, String> {
    if steps.graph.ty(v).dtype == to { Ok(v) } else { steps.add(prim::Cast { to }, &[v]) }
}
