//! The way back of a data movement (the exact adjoint) or of a choice (to the winner; ties share equally, or the first takes all).
//!
//! Conserves exactly, constants' parts counted as absorbed; what lay on padding is dropped and absorbed.

use super::Flow;
use crate::graph::Value;
use crate::op::role::{Route, Site};
use crate::prim::Builder;

pub(super) fn lower(b: &mut Builder, map: &dyn Route, site: &Site, r: Value, first: bool) -> Flow {
    let winner = if first { map.winner(b, site, r) } else { None };
    let operands = winner.unwrap_or_else(|| map.route(b, site, r));
    // Not by operand: what a pad dropped, or a NaN that equals nothing, shows in the totals alone.
    let total = b.total(r);
    let absorbed = operands.iter().flatten().fold(total, |left, v| {
        let passed = b.total(*v);
        b.minus(left, passed)
    });
    Flow { operands, absorbed: vec![absorbed] }
}
