//! Greedy suppression of boxes that overlap a box of higher score. Reads `NonMaxSuppression`. Carries no relevance:
//! relevance of a box passes through the look-ups that use the indices.

use super::read::{Reader, Reading};
use super::role::Role;
use super::{Compare, Operator, Reduce, ReduceKind, Slice};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, Binary, Builder};
use crate::tensor::{DType, Dim, Shape};

/// Indices of the selected boxes, int64 `[n·classes·boxes, 3]`, then rows of -1. Operands as in
/// [`prim::NonMaxSuppression`].
#[derive(Clone, Debug, PartialEq)]
pub struct NonMaxSuppression {
    /// True if boxes are stored as centre and size.
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

/// Returns the reader of `NonMaxSuppression`.
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
    let max_boxes = or(r, 2, 0.0, DType::I64);
    let (max_overlap, min_score) = (or(r, 3, 0.0, DType::F32), or(r, 4, f64::from(f32::MIN), DType::F32));
    let selected =
        r.add(NonMaxSuppression { center }, &[boxes, scores, max_boxes, max_overlap, min_score])?;
    // Rows of -1 are not boxes.
    let rows = r.ty(selected).dim(0).clone();
    let class = r.add(Slice { axis: 1, start: Dim::known(0), len: Dim::known(1), step: 1 }, &[selected])?;
    let zero = r.add_scalar(0.0, DType::I64);
    let is_box = r.add(Compare { f: Some(Binary::LessOrEqual), swap: true }, &[class, zero])?;
    let ones = r.add(super::Cast { to: DType::I64 }, &[is_box])?;
    let ones = r.reshape(ones, Shape(vec![rows]))?;
    let sum = r.add(Reduce { kind: ReduceKind::Sum, axes: vec![0], keep: false }, &[ones])?;
    let len = r.dim_of(sum, "boxes")?;
    Ok(vec![r.add(Slice { axis: 0, start: Dim::known(0), len, step: 1 }, &[selected])?])
}
