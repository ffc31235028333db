//! Unchanged to the first live operand, summed over the axes along which it was broadcast.
//!
//! `R_x = R_y`. Conserves exactly. For elementwise functions, normalisations (statistics held constant), and operands that
//! constants scale. Source: the identity rule, [bach2015]; DLBacktrace.

use super::Flow;
use crate::graph::Value;
use crate::op::role::Site;
use crate::prim::Builder;

pub(super) fn lower(b: &mut Builder, site: &Site, r: Value) -> Flow {
    let k = site.data();
    let shape = b.ty(site.inputs[k]).shape;
    let mut operands = vec![None; site.inputs.len()];
    operands[k] = Some(b.sum_to(r, &shape));
    Flow { operands, absorbed: vec![] }
}
