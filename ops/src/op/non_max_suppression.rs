//! `NonMaxSuppression`: which boxes of a class stay when those that overlap a better one go. It carries no relevance: what
//! the boxes say comes through the lookups that its indices steer.

use super::read::{Reader, Reading};
use super::role::Role;
use super::{Compare, Operator, Reduce, ReduceKind, Slice};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, Binary, Builder};
use crate::tensor::{DType, Dim, Shape};

/// Kept boxes `[n·classes·boxes, 3]`: those, then rows of -1. Operands as the primitive's.
#[derive(Clone, Debug, PartialEq)]
pub struct NonMaxSuppression {
    /// Boxes are given by center and size.
    pub center: bool,
}

impl Operator for NonMaxSuppression {
    fn attributes(&self) -> String {
        format!(" center={}", self.center)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.add(prim::NonMaxSuppression { center: self.center }, inputs)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::NoRelevance
    }
}

/// The reader.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("NonMaxSuppression", 10, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (boxes, scores) = (r.input(0)?, r.input(1)?);
    let center = r.flag("center_point_box", false)?;
    let or = |r: &mut Reading, i: usize, default: f64, dtype: DType| match r.optional(i) {
        Some(v) => v,
        None => r.add_scalar(default, dtype),
    };
    let most = or(r, 2, 0.0, DType::I64);
    let (overlap, least) = (or(r, 3, 0.0, DType::F32), or(r, 4, f64::from(f32::MIN), DType::F32));
    let actual = r.add(NonMaxSuppression { center }, &[boxes, scores, most, overlap, least])?;
    // A row of -1 is none.
    let rows = r.ty(actual).dim(0).clone();
    let class = r.add(Slice { axis: 1, start: Dim::known(0), len: Dim::known(1), step: 1 }, &[actual])?;
    let zero = r.add_scalar(0.0, DType::I64);
    let kept = r.add(Compare { f: Some(Binary::LessOrEqual), swap: true }, &[class, zero])?;
    let ones = r.add(super::Cast { to: DType::I64 }, &[kept])?;
    let ones = r.reshape(ones, Shape(vec![rows]))?;
    let sum = r.add(Reduce { kind: ReduceKind::Sum, axes: vec![0], keep: false }, &[ones])?;
    let len = r.dim_of(sum, "boxes")?;
    Ok(vec![r.add(Slice { axis: 0, start: Dim::known(0), len, step: 1 }, &[actual])?])
}
