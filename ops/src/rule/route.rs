//! Route rule: the exact adjoint of a data movement, or the winner of a choice, with ties divided equally.
//!
//! Conserves exactly; shares of constants and relevance of padding are absorbed.

use std::fmt;

use serde::Deserialize;

use super::{Flow, Formula, Policy, Receives, Sharing};
use crate::graph::Value;
use crate::op::role::Role;
use crate::prim::Builder;

/// Adjoint of a data movement; the winner of a choice, with ties divided equally.
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

/// Completes the relevance of operands to a flow: relevance that did not reach an operand is absorbed.
pub(super) fn absorbing(b: &mut Builder, operands: Vec<Option<Value>>, r: Value) -> Flow {
    // From the totals, because relevance that padding drops, or that belongs to a NaN, appears in no operand.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Extremum, Gather, MaxPool, Pad, Reduce, ReduceKind};
    use crate::prim::PadMode;
    use crate::rule::tests::{
        Layer, assert_close, at, close, fill, floats, ints, known, random, total, window,
    };

    #[test]
    fn the_largest_takes_all_and_ties_share_equally() {
        let x = floats(&[1, 1, 2, 4], &[1.0, 3.0, 0.0, 2.0, 3.0, 2.0, 5.0, 5.0]);
        let r = floats(&[1, 1, 1, 2], &[8.0, 6.0]);
        let op = MaxPool { window: window(&[2, 2], &[2, 2], &[0; 4], &[1, 1]) };
        let actual = Layer::new(op, &[&x], &[true], Route {}).explain(&r);
        let expected = floats(x.dims(), &[0.0, 4.0, 0.0, 0.0, 4.0, 0.0, 3.0, 3.0]);
        assert_close(actual.operand(0), &expected, "max pool");

        let (a, b) = (floats(&[2, 2], &[1.0, 5.0, 2.0, -1.0]), floats(&[2], &[1.0, 3.0]));
        let r = floats(&[2, 2], &[4.0, 6.0, 8.0, 10.0]);
        let actual = Layer::new(Extremum { max: true }, &[&a, &b], &[true, true], Route {}).explain(&r);
        assert_close(actual.operand(0), &floats(&[2, 2], &[2.0, 6.0, 8.0, 0.0]), "left of a maximum");
        assert_close(actual.operand(1), &floats(&[2], &[2.0, 10.0]), "right of a maximum");

        let reduce = |kind| Reduce { kind, axes: vec![1], keep: false };
        let r = floats(&[2], &[6.0, 4.0]);
        let x = floats(&[2, 3], &[2.0, 2.0, -1.0, 0.0, 1.0, -3.0]);
        let relevance =
            |kind| Layer::new(reduce(kind), &[&x], &[true], Route {}).explain(&r).operand(0).clone();
        assert_close(
            &relevance(ReduceKind::Max),
            &floats(&[2, 3], &[3.0, 3.0, 0.0, 0.0, 4.0, 0.0]),
            "reduced maximum",
        );
        assert_close(
            &relevance(ReduceKind::Min),
            &floats(&[2, 3], &[0.0, 0.0, 6.0, 0.0, 0.0, 4.0]),
            "reduced minimum",
        );
        assert_close(
            &relevance(ReduceKind::Prod),
            &fill(&[2, 3], |n| at(&r, &n[..1]) / 3.0),
            "reduced product",
        );
        let softmax = |n: &[usize]| at(&x, n).exp() / (0..3).map(|k| at(&x, &[n[0], k]).exp()).sum::<f64>();
        let smooth = fill(&[2, 3], |n| at(&r, &n[..1]) * softmax(n));
        assert_close(&relevance(ReduceKind::LogSumExp), &smooth, "smooth maximum");
    }

    #[test]
    fn data_movement_goes_the_way_back() {
        let x = random(&[2, 3], 1);
        let ids = ints(&[4], &[2, 0, -1, 2]);
        let r = random(&[2, 4], 2);
        let actual = Layer::new(Gather { axis: 1 }, &[&x, &ids], &[true, false], Route {}).explain(&r);
        let expected = fill(&[2, 3], |n| {
            [2, 0, 2, 2]
                .iter()
                .enumerate()
                .filter(|(_, id)| **id == n[1])
                .map(|(k, _)| at(&r, &[n[0], k]))
                .sum()
        });
        assert_close(actual.operand(0), &expected, "gather");
        close(actual.absorbed, 0.0, "gather absorbs nothing");

        let op = Pad { before: known(&[0, 1]), after: known(&[1, 0]), mode: PadMode::Constant(7.0) };
        let r = random(&[3, 4], 3);
        let actual = Layer::new(op, &[&x], &[true], Route {}).explain(&r);
        assert_close(actual.operand(0), &fill(&[2, 3], |n| at(&r, &[n[0], n[1] + 1])), "pad");
        close(actual.absorbed, total(&r) - total(actual.operand(0)), "what lay on the pads is absorbed");
    }
}
