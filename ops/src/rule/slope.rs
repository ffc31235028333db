//! An elementwise function as a line through the origin: `g_x = g_y · f(x) / x`, 0 at 0.
//!
//! In gradients this is the identity rule of relevance: `x g_x = y g_y`. Source: [ali2022], [achtibat2024].

use super::Flow;
use crate::graph::Value;
use crate::op::role::Site;
use crate::prim::Builder;

pub(super) fn lower(b: &mut Builder, site: &Site, r: Value) -> Flow {
    let k = site.data();
    let slope = b.guarded_div(site.y(), site.inputs[k]);
    let passed = b.mul(r, slope);
    let mut operands = vec![None; site.inputs.len()];
    let shape = b.ty(site.inputs[k]).shape;
    operands[k] = Some(b.sum_to(passed, &shape));
    Flow { operands, absorbed: vec![] }
}
