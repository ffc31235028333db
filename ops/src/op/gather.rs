//! Look-up by index along an axis. Reads `Gather`; with a constant table and token ids it is an embedding.

use super::Operator;
use super::read::{Reader, resolve};
use super::role::{Role, Route, Site};
use crate::graph::Value;
use crate::prim::{self, Builder};

/// Look-up by index. Operands: data, indices.
#[derive(Clone, Debug, PartialEq)]
pub struct Gather {
    /// Axis of the data that the indices address.
    pub axis: usize,
}

impl Operator for Gather {
    fn attributes(&self) -> String {
        format!(" axis={}", self.axis)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.add(prim::Gather { axis: self.axis }, inputs)]
    }

    fn role(&self, live: &[bool]) -> Role<'_> {
        match live {
            [false, true] if self.axis == 0 => Role::Embedding,
            [false, true] => Role::NoRelevance,
            _ => Role::Rearrange(self),
        }
    }
}

impl Route for Gather {
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let to = b.ty(site.inputs[0]).dim(self.axis).clone();
        vec![Some(b.add(prim::ScatterAdd { axis: self.axis, to }, &[r, site.inputs[1]])), None]
    }
}

/// Returns the reader of `Gather`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Gather", 1, |r| {
        let (data, indices) = (r.input(0)?, r.input(1)?);
        let axis = resolve(r.int_or("axis", 0)?, r.ty(data).rank())?;
        Ok(vec![r.add(Gather { axis }, &[data, indices])?])
    })]
}
