//! Concatenation along an axis.

use super::Operator;
use super::read::{Reader, resolve};
use super::role::{Role, Route, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, Builder, Prim};
use crate::tensor::Dim;

/// Concatenation of the operands along an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Concat {
    /// Axis along which the operands are concatenated, in `0..rank`.
    pub axis: usize,
}

impl Operator for Concat {
    fn attributes(&self) -> String {
        format!(" axis={}", self.axis)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.add(prim::Concat { axis: self.axis }, inputs)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Rearrange(self)
    }
}

impl Route for Concat {
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let mut start = Dim::known(0);
        let mut parts = vec![];
        for x in site.inputs {
            let len = b.ty(*x).dim(self.axis).clone();
            let part =
                Prim::Slice(prim::Slice { axis: self.axis, start: start.clone(), len: len.clone(), step: 1 });
            parts.push(Some(b.add(part, &[r])));
            start = &start + &len;
        }
        parts
    }
}

/// Returns the reader of `Concat`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Concat", 4, |r| {
        let inputs = r.all_inputs()?;
        let axis = r.int("axis")?.ok_or_else(|| OpError::missing_attribute("axis", "an integer"))?;
        let axis = resolve(axis, r.ty(inputs[0]).rank())?;
        Ok(vec![if inputs.len() == 1 { inputs[0] } else { r.add(Concat { axis }, &inputs)? }])
    })]
}
