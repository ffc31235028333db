//! A product of two live operands: half to each, by contribution magnitude.
//!
//! `u = ½ R ⊘ (|A||B|)`, `R_A = |A| ⊙ (u |B|ᵀ)`, `R_B = |B| ⊙ (|A|ᵀ u)`. Conserves exactly where the product of
//! magnitudes is not 0; the rest is absorbed. Source: the attention rule's halves, [achtibat2024] with magnitudes.

use super::Flow;
use crate::graph::Value;
use crate::op::role::{BilinearMap, Site};
use crate::prim::Builder;

pub(super) fn lower(b: &mut Builder, map: &dyn BilinearMap, site: &Site, r: Value) -> Flow {
    let (x, y) = (b.abs(site.inputs[0]), b.abs(site.inputs[1]));
    let z = map.product(b, x, y);
    let s = b.guarded_div(r, z);
    let u = b.scale(s, 0.5);
    let left = map.left(b, site, u, y);
    let right = map.right(b, site, u, x);
    let operands = vec![Some(b.mul(left, x)), Some(b.mul(right, y))];
    let passed = b.mul(s, z);
    let dropped = b.minus(r, passed);
    Flow { operands, absorbed: vec![b.total(dropped)] }
}
