//! `R_x = x ⊙ Wᵀ (R ⊘ (z + ε sign z))`, `z = W x + b`.
//!
//! The bias keeps its share, and so does the stabiliser. Source: [bach2015], equation 58; zennit's `Epsilon`, and without a
//! bias its `Norm`.

use std::fmt;

use super::{Flow, signed};
use crate::graph::Value;
use crate::op::role::{LinearMap, Site};
use crate::prim::{Builder, Part};

/// The epsilon rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epsilon {
    /// The stabiliser, absolute.
    pub epsilon: f32,
}

impl Epsilon {
    pub(super) fn lower(self, b: &mut Builder, map: &dyn LinearMap, site: &Site, r: Value) -> Flow {
        let (x, bias) = signed::operands(b, map, site);
        let term = signed::Term::of(b, map, site, x, Part::Id);
        let z = bias.map_or(term.y, |bias| b.plus(term.y, bias));
        let z = signed::stabilised(b, z, self.epsilon);
        let s = b.guarded_div(r, z);
        signed::flow(b, map, site, r, &[(term, s)])
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epsilon({:e})", self.epsilon)
    }
}
