//! Shares that do not look at the operand: by squared weights, or all alike.
//!
//! `R_x = A(p)ᵀ (R ⊘ A(p) 1)` with `p` the square of the weights (and of the bias, which keeps its share), or 1. Source:
//! [montavon2017] for the w² rule, [lapuschkin2019] for the flat rule; zennit's `WSquare` and `Flat`.

use std::fmt;

use super::{Flow, signed};
use crate::graph::Value;
use crate::op::role::{LinearMap, Site};
use crate::prim::{Builder, Part};

/// A rule by the weights alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counted {
    /// By the squares of the weights; else all alike.
    pub square: bool,
    /// The stabiliser.
    pub epsilon: f32,
}

impl Counted {
    pub(super) fn lower(self, b: &mut Builder, map: &dyn LinearMap, site: &Site, r: Value) -> Flow {
        let (x, bias) = signed::operands(b, map, site);
        let ones = signed::ones(b, x);
        let term = signed::Term::of(b, map, site, ones, if self.square { Part::Square } else { Part::One });
        let z = match bias.filter(|_| self.square) {
            Some(bias) => {
                let square = b.mul(bias, bias);
                b.plus(term.y, square)
            }
            None => term.y,
        };
        let z = signed::stabilised(b, z, self.epsilon);
        let s = b.guarded_div(r, z);
        signed::flow(b, map, site, r, &[(term, s)])
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:e})", if self.square { "w-square" } else { "flat" }, self.epsilon)
    }
}
