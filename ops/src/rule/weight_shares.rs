//! Shares that do not depend on the operand's values: `R_x = A(p)ᵀ (R ⊘ A(p) 1)`, where `p` is a transform of the
//! weights.

use super::{Flow, terms};
use crate::graph::Value;
use crate::op::role::{LinearMap, Site};
use crate::prim::{Builder, Transform};

/// Builds the flow for a transform of the weights. With `Square`, the bias keeps the share of its square.
pub(super) fn flow(
    b: &mut Builder,
    map: &dyn LinearMap,
    site: &Site,
    r: Value,
    transform: Transform,
    epsilon: f32,
) -> Flow {
    let (x, bias) = terms::operands(b, map, site);
    let ones = terms::ones(b, x);
    let term = terms::Term::new(b, map, site, ones, transform);
    let z = match bias.filter(|_| transform == Transform::Square) {
        Some(bias) => {
            let square = b.mul(bias, bias);
            b.plus(term.y, square)
        }
        None => term.y,
    };
    let z = terms::stabilised(b, z, epsilon);
    let s = b.guarded_div(r, z);
    terms::flow(b, map, site, r, &[(term, s)])
}
