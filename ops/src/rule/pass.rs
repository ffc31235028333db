//! Identity rule: all relevance to the first live operand, unchanged.
//!
//! `R_x = R_y`, summed over the axes along which the operand was broadcast. Conserves exactly. For elementwise
//! functions, normalisations (with statistics held constant) and operands that constants scale. Source: the identity
//! rule, [bach2015]; DLBacktrace.

use std::fmt;

use serde::Deserialize;

use super::{Flow, Formula, Policy, Receives, Sharing};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::Builder;

/// Identity rule.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Activation, Div, Function};
    use crate::prim::Unary;
    use crate::rule::tests::{Layer, assert_close, at, fill, random};

    #[test]
    fn elementwise_functions_and_scaled_operands_pass_all_on() {
        let x = random(&[2, 3], 1);
        let r = random(&[2, 3], 2);
        let tanh = Activation { f: Function::Unary(Unary::Tanh) };
        assert_close(Layer::new(tanh, &[&x], &[true], Pass {}).explain(&r).operand(0), &r, "tanh");
        let row = random(&[3], 3);
        let actual = Layer::new(Div, &[&row, &x], &[true, false], Pass {}).explain(&r);
        assert_close(
            actual.operand(0),
            &fill(&[3], |n| at(&r, &[0, n[0]]) + at(&r, &[1, n[0]])),
            "a broadcast numerator",
        );
        assert!(actual.operands[1].is_none());
    }
}
