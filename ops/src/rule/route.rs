//! The way back of a data movement (the exact adjoint) or of a choice (to the winner; ties share equally).
//!
//! Conserves exactly, constants' parts counted as absorbed; what lay on padding is dropped and absorbed.

use std::fmt;

use serde::Deserialize;

use super::{Flow, Formula, Policy, Receives, Sharing};
use crate::graph::Value;
use crate::op::role::Role;
use crate::prim::Builder;

/// The way back of a data movement or a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {}

impl Policy for Route {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let map = role.route()?;
        Some(Formula::each_track(move |b, site, r| {
            let operands = map.route(b, site, r);
            absorbing(b, operands, r)
        }))
    }

    fn receives(&self) -> Receives {
        Receives::All
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::Moves
    }
}

/// The flow of relevance that moved to the operands; what did not is absorbed.
pub(super) fn absorbing(b: &mut Builder, operands: Vec<Option<Value>>, r: Value) -> Flow {
    // Not by operand: what a pad dropped, or a NaN that equals nothing, shows in the totals alone.
    let total = b.total(r);
    let absorbed = operands.iter().flatten().fold(total, |left, v| {
        let passed = b.total(*v);
        b.minus(left, passed)
    });
    Flow { operands, absorbed: vec![absorbed] }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("route")
    }
}
