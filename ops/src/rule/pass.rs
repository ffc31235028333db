//! Unchanged to the first live operand, summed over the axes along which it was broadcast.
//!
//! `R_x = R_y`. Conserves exactly. For elementwise functions, normalisations (statistics held constant), and operands that
//! constants scale. Source: the identity rule, [bach2015]; DLBacktrace.

use std::fmt;

use serde::Deserialize;

use super::{Flow, Formula, Policy, Receives, Sharing};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::Builder;

/// The identity rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {}

impl Policy for Pass {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let passes = matches!(role, Role::Elementwise | Role::Normalize | Role::Scaled);
        passes.then(|| Formula::each_track(flow))
    }

    fn receives(&self) -> Receives {
        Receives::First
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::Fixed
    }
}

fn flow(b: &mut Builder, site: &Site, r: Value) -> Flow {
    let k = site.data();
    let shape = b.ty(site.inputs[k]).shape;
    let mut operands = vec![None; site.inputs.len()];
    operands[k] = Some(b.sum_to(r, &shape));
    Flow { operands, absorbed: vec![] }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pass")
    }
}
