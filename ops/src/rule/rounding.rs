//! Rounding rule: of a rounded value `y = x + e` the rounding error's share `R e ⊘ y` is absorbed, and the value before rounding
//! takes the rest, `R_x = R - R e ⊘ y`: all where `y` is 0.
//!
//! Conserves exactly with what is absorbed. The quotient lies between 1/2 and 3/2 where a step of rounding is not larger than `y`.

use std::fmt;

use serde::Deserialize;

use super::{Flow, Formula, Policy, Receives, Sharing};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::Builder;

/// Rounding rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rounding {}

impl Policy for Rounding {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let subtracts = role.sum()?;
        Some(Formula::each_track(move |b, site, r| flow(b, site, subtracts, r)))
    }

    fn receives(&self) -> Receives {
        Receives::First
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::Single
    }
}

fn flow(b: &mut Builder, site: &Site, subtracts: bool, r: Value) -> Flow {
    let (k, y) = (site.data(), site.y());
    let x = site.inputs[k];
    let error = if subtracts && k == 1 { b.plus(y, x) } else { b.minus(y, x) };
    let s = b.guarded_div(r, y);
    let absorbed = b.mul(s, error);
    let share = b.minus(r, absorbed);
    let absorbed = vec![b.total(absorbed)];
    let shape = b.ty(site.inputs[k]).shape;
    let mut operands = vec![None; site.inputs.len()];
    operands[k] = Some(b.sum_to(share, &shape));
    Flow { operands, absorbed }
}

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rounding")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Quantisation;
    use crate::rule::tests::{Layer, assert_close, close, floats};

    #[test]
    fn a_rounding_error_absorbs_its_share() {
        let (x, e) = (floats(&[3], &[0.9, -2.2, 0.3]), floats(&[3], &[0.1, 0.2, -0.3]));
        let r = floats(&[3], &[2.0, 4.0, 1.0]);
        let flow = Layer::new(Quantisation, &[&x, &e], &[true, false], Rounding {}).explain(&r);
        assert_close(flow.operand(0), &floats(&[3], &[1.8, 4.4, 1.0]), "values before rounding");
        assert!(flow.operands[1].is_none());
        close(flow.absorbed, 0.2 - 0.4, "rounding errors");
    }
}
