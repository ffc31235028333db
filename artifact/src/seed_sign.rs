//! Sign of the seed in an exported model.

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{self, Binary, Prim, Reduction, Unary};
use dlbc_ops::program::{Info, Mode, Output, SeedSign};
use dlbc_ops::tensor::DType;

use crate::prim_builder::PrimBuilder;

/// Sign and share of each unit's seed, which the multiplier scales.
#[derive(Clone, Copy)]
pub(crate) struct SeedConvention {
    sign: SeedSign,
    /// Values that a difference is shared by, of the output's shape.
    values: Value,
    /// Values whose signs the seed has, of the output's shape.
    signs: Value,
    /// Share of each unit in a difference, of the output's shape.
    shares: Option<Value>,
}

impl SeedConvention {
    /// Returns the convention of a program; `None` if seeds are positive, and those of a difference have both signs.
    pub fn from_program(graph: &Graph<Prim>, info: &Info) -> Option<SeedConvention> {
        if info.mode == Mode::Contrastive || info.seed.sign == SeedSign::Unit {
            return None;
        }
        let values =
            graph.output(&Output::SeedValue).or_else(|| graph.output(&Output::from(&info.explained)))?;
        let signs = graph.output(&Output::SeedSign).unwrap_or(values);
        Some(SeedConvention { sign: info.seed.sign, values, signs, shares: None })
    }

    /// Returns the convention of a difference of the units that `masks` mark along an axis: the share of each unit is its value
    /// divided by the sum of both magnitudes.
    ///
    /// # Errors
    /// When the operands of a primitive do not fit.
    pub fn for_difference(
        self,
        b: &mut PrimBuilder,
        dtype: DType,
        masks: &[(Value, f64)],
        axis: usize,
    ) -> Result<SeedConvention, String> {
        let values = cast(b, self.values, dtype)?;
        let magnitude = b.add(Prim::Unary(Unary::Abs), &[values])?;
        let mut marked = b.scalar(dtype, 0.0);
        for (mask, _) in masks {
            marked = b.add(Prim::Select, &[*mask, magnitude, marked])?;
        }
        let size = b.add(prim::Reduce { kind: Reduction::Sum, axes: vec![axis], keep: true }, &[marked])?;
        let shares = b.add(Prim::Binary(Binary::GuardedDiv), &[values, size])?;
        Ok(SeedConvention { shares: Some(shares), ..self })
    }

    /// Multiplies a positive seed by the sign of each unit, or by its share of a difference.
    ///
    /// # Errors
    /// When the operands of a primitive do not fit.
    pub fn apply(self, b: &mut PrimBuilder, seed: Value, dtype: DType) -> Result<Value, String> {
        let factor = match (self.shares, self.sign) {
            (Some(shares), _) => shares,
            (None, SeedSign::Value) => {
                let sign = b.add(Prim::Unary(Unary::Sign), &[self.signs])?;
                cast(b, sign, dtype)?
            }
            (None, _) => return Ok(seed),
        };
        b.add(Prim::Binary(Binary::Mul), &[factor, seed])
    }
}

/// Adds a cast unless the value has the type.
fn cast(b: &mut PrimBuilder, v: Value, to: DType) -> Result<Value, String> {
    if b.graph.ty(v).dtype == to { Ok(v) } else { b.add(prim::Cast { to }, &[v]) }
}
