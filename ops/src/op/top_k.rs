//! Indices of the largest or smallest elements along an axis. Reads `TopK`; its values are read as a look-up of the
//! indices.

use super::Operator;
use super::elements::gather;
use super::read::{Reader, Reading, resolve};
use super::role::Role;
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, Builder};
use crate::tensor::Dim;

/// Indices of the `k` largest or smallest elements along an axis, int64, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct TopK {
    /// Axis along which elements are compared, in `0..rank`.
    pub axis: usize,
    /// Number of indices.
    pub k: Dim,
    /// True for the largest elements, false for the smallest.
    pub largest: bool,
}

impl Operator for TopK {
    fn attributes(&self) -> String {
        format!(" axis={} k={} largest={}", self.axis, self.k, self.largest)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.add(prim::TopK { axis: self.axis, k: self.k.clone(), largest: self.largest }, inputs)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::NoRelevance
    }
}

/// Returns the reader of `TopK`. `k` is an attribute up to opset 9 and an operand afterwards. Results are always
/// sorted.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("TopK", 1, |r| {
        r.ignore(&["sorted"]);
        let x = r.input(0)?;
        let axis = resolve(r.int_or("axis", -1)?, r.ty(x).rank())?;
        let largest = r.flag("largest", true)?;
        let k = k(r)?;
        if k.as_known().is_some_and(|k| k < 0) {
            return Err(OpError::mismatch("k", "at least 0", k));
        }
        let indices = r.add(TopK { axis, k, largest }, &[x])?;
        Ok(vec![gather(r, x, indices, axis)?, indices])
    })]
}

fn k(r: &mut Reading) -> Result<Dim, OpError> {
    if r.opset < 10 {
        let k = r.int("k")?.ok_or_else(|| OpError::missing_attribute("k", "an integer"))?;
        return Ok(Dim::known(k));
    }
    match r.dims_of(r.input(1)?, "k")?.as_slice() {
        [k] => Ok(k.clone()),
        other => Err(OpError::mismatch("k", "one value", other.len())),
    }
}
