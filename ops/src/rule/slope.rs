//! Slope rule: an elementwise function as a line through the origin, `g_x = g_y · f(x) / x`, 0 at 0.
//!
//! For gradients this is the identity rule of relevance: `x g_x = y g_y`. Source: [ali2022], [achtibat2024].

use std::fmt;

use serde::Deserialize;

use super::{Flow, Formula, Policy, Receives, Sharing};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::Builder;

/// Quotient of result and operand in place of the derivative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slope {}

impl Policy for Slope {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        matches!(role, Role::Elementwise).then(|| Formula::one_track(flow))
    }

    fn receives(&self) -> Receives {
        Receives::First
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::Slope
    }
}

fn flow(b: &mut Builder, site: &Site, r: Value) -> Flow {
    let k = site.data();
    let slope = b.guarded_div(site.y(), site.inputs[k]);
    let passed = b.mul(r, slope);
    let mut operands = vec![None; site.inputs.len()];
    let shape = b.ty(site.inputs[k]).shape;
    operands[k] = Some(b.sum_to(passed, &shape));
    Flow { operands, absorbed: vec![] }
}

impl fmt::Display for Slope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("slope")
    }
}
