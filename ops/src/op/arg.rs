//! Index of the first extremum along an axis. Reads `ArgMax` and `ArgMin`; carries no relevance.

use super::Operator;
use super::read::{Reader, Reading, resolve};
use super::role::Role;
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Builder, Reduce, Reduction};
use crate::tensor::Dim;

/// Index of the first extremum along an axis, int64.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// True for the maximum, false for the minimum.
    pub max: bool,
    /// Axis along which elements are compared, in `0..rank`.
    pub axis: usize,
    /// True if the axis stays with dimension 1.
    pub keep: bool,
}

impl Operator for Arg {
    fn attributes(&self) -> String {
        format!(" max={} axis={} keep={}", self.max, self.axis, self.keep)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let kind = if self.max { Reduction::ArgMax } else { Reduction::ArgMin };
        vec![b.add(Reduce { kind, axes: vec![self.axis], keep: self.keep }, &[inputs[0]])]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::NoRelevance
    }
}

/// Returns the readers of `ArgMax` and `ArgMin`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("ArgMax", 1, |r| read(r, true)), Reader::new("ArgMin", 1, |r| read(r, false))]
}

fn read(r: &mut Reading, max: bool) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let axis = resolve(r.int_or("axis", 0)?, r.ty(x).rank())?;
    let keep = r.flag("keepdims", true)?;
    if !r.flag("select_last_index", false)? {
        return Ok(vec![r.add(Arg { max, axis, keep }, &[x])?]);
    }
    // The last extremum is the first one of the reversed axis.
    let dim = r.ty(x).dim(axis).clone();
    let last = &dim - &Dim::known(1);
    let reversed = r.add(super::Slice { axis, start: last.clone(), len: dim, step: -1 }, &[x])?;
    let from_end = r.add(Arg { max, axis, keep }, &[reversed])?;
    let last = r.dim_scalar(&last)?;
    Ok(vec![r.add(super::Sub, &[last, from_end])?])
}
