//! Elementwise choice by a condition. Reads `Where`. Operands: condition, a, b; they broadcast.

use super::Operator;
use super::read::Reader;
use super::role::{Role, Route, Site};
use crate::graph::Value;
use crate::prim::{Builder, Prim};

/// Elementwise choice: `a` where the condition holds, `b` elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Select;

impl Operator for Select {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.add(Prim::Select, inputs)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Select(self)
    }
}

impl Route for Select {
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let zero = b.scalar_like(0.0, r);
        let (c, a, o) = (site.inputs[0], site.inputs[1], site.inputs[2]);
        let ra = b.add(Prim::Select, &[c, r, zero]);
        let ro = b.add(Prim::Select, &[c, zero, r]);
        let (sa, so) = (b.ty(a).shape, b.ty(o).shape);
        vec![None, Some(b.sum_to(ra, &sa)), Some(b.sum_to(ro, &so))]
    }
}

/// Returns the reader of `Where`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Where", 9, |r| {
        let inputs = [r.input(0)?, r.input(1)?, r.input(2)?];
        Ok(vec![r.add(Select, &inputs)?])
    })]
}
