//! Shares that do not look at the operand: `R_x = A(p)ᵀ (R ⊘ A(p) 1)`, with `p` a part of the weights.

use super::{Flow, signed};
use crate::graph::Value;
use crate::op::role::{LinearMap, Site};
use crate::prim::{Builder, Part};

/// The flow by a part of the weights; by their squares, the bias keeps the share of its square.
pub(super) fn flow(
    b: &mut Builder,
    map: &dyn LinearMap,
    site: &Site,
    r: Value,
    part: Part,
    epsilon: f32,
) -> Flow {
    let (x, bias) = signed::operands(b, map, site);
    let ones = signed::ones(b, x);
    let term = signed::Term::of(b, map, site, ones, part);
    let z = match bias.filter(|_| part == Part::Square) {
        Some(bias) => {
            let square = b.mul(bias, bias);
            b.plus(term.y, square)
        }
        None => term.y,
    };
    let z = signed::stabilised(b, z, epsilon);
    let s = b.guarded_div(r, z);
    signed::flow(b, map, site, r, &[(term, s)])
}
