//! Bilinear rule: half of a product's relevance to each of its two live operands, by magnitude of contribution.
//!
//! `u = ½ R ⊘ (|A||B|)`, `R_A = |A| ⊙ (u |B|ᵀ)`, `R_B = |B| ⊙ (|A|ᵀ u)`. Conserves exactly where the product of
//! magnitudes is not 0; relevance elsewhere is absorbed. On two tracks each product of two elements is a contribution,
//! and each factor takes half of its share. Source: the bilinear rule of [achtibat2024], with magnitudes.

use std::fmt;

use serde::Deserialize;

use super::signed_sums::{signed_parts, zeros};
use super::tracks::coefficients;
use super::{Flow, Formula, Policy, Receives, Sharing, Tracks};
use crate::graph::Value;
use crate::op::role::{BilinearMap, Role, Site};
use crate::prim::Builder;

/// Half of the relevance to each factor, by magnitude of contribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bilinear {}

impl Policy for Bilinear {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let map = role.bilinear()?;
        Some(Formula::coupled(
            move |b, site, r| flow(b, map, site, r),
            move |b, site, r| tracks(b, map, site, r),
        ))
    }

    fn receives(&self) -> Receives {
        Receives::All
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::ByMagnitude
    }
}

fn flow(b: &mut Builder, map: &dyn BilinearMap, site: &Site, r: Value) -> Flow {
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

fn tracks(b: &mut Builder, map: &dyn BilinearMap, site: &Site, r: Tracks) -> [Flow; 2] {
    shares(b, map, site, r).map(|(left, right, dropped)| {
        let operands = vec![Some(b.scale(left, 0.5)), Some(b.scale(right, 0.5))];
        Flow { operands, absorbed: vec![b.total(dropped)] }
    })
}

/// Returns, for each track, the shares of the left and of the right factor if each took all, and the relevance that no
/// contribution takes.
pub(super) fn shares(
    b: &mut Builder,
    map: &dyn BilinearMap,
    site: &Site,
    r: Tracks,
) -> [(Value, Value, Value); 2] {
    let x = signed_parts(b, site.inputs[0]);
    let y = signed_parts(b, site.inputs[1]);
    // Products of elements of the same sign, and of opposite signs.
    let sum = |b: &mut Builder, first: Option<(Value, Value)>, second: Option<(Value, Value)>| {
        let products: Vec<Value> =
            [first, second].into_iter().flatten().map(|(x, y)| map.product(b, x, y)).collect();
        products.into_iter().reduce(|s, v| b.plus(s, v))
    };
    let p = sum(b, Some((x.0, y.0)), x.1.zip(y.1));
    let n = sum(b, y.1.map(|down| (x.0, down)), x.1.map(|down| (down, y.0)));
    let none = zeros(b, site.y());
    let p = p.unwrap_or(none);
    let n = n.map_or(none, |n| b.scale(n, -1.0));
    coefficients(b, r, site.y(), p, n).map(|c| {
        let left = factor(b, x, y, c.positive, c.negative, &mut |b, s, y| map.left(b, site, s, y));
        let right = factor(b, y, x, c.positive, c.negative, &mut |b, s, x| map.right(b, site, s, x));
        (left, right, c.dropped)
    })
}

/// Returns the share of one factor: its positive part times the other factor's parts, plus its negative part times
/// these.
fn factor(
    b: &mut Builder,
    factor: (Value, Option<Value>),
    other: (Value, Option<Value>),
    positive: Value,
    negative: Value,
    adjoint: &mut dyn FnMut(&mut Builder, Value, Value) -> Value,
) -> Value {
    let mut share = |b: &mut Builder, part: Value, same: Option<Value>, opposite: Option<Value>| {
        let same = same.map(|v| adjoint(b, positive, v));
        let opposite = opposite.map(|v| adjoint(b, negative, v));
        let c = match (same, opposite) {
            (Some(same), Some(opposite)) => b.minus(same, opposite),
            (Some(same), None) => same,
            (None, Some(opposite)) => b.scale(opposite, -1.0),
            (None, None) => zeros(b, part),
        };
        b.mul(c, part)
    };
    let from_positive = share(b, factor.0, Some(other.0), other.1);
    match factor.1 {
        Some(part) => {
            let from_negative = share(b, part, other.1, Some(other.0));
            b.plus(from_positive, from_negative)
        }
        None => from_positive,
    }
}

impl fmt::Display for Bilinear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bilinear-half")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::MatMul;
    use crate::rule::tests::{Layer, assert_close, at, close, fill, random};

    #[test]
    fn a_product_of_two_live_matrices_gives_half_to_each_side_by_magnitude() {
        let (x, y) = (random(&[2, 3, 4], 1), random(&[2, 4, 2], 2));
        let r = random(&[2, 3, 2], 3);
        let z = |b: usize, i: usize, j: usize| {
            (0..4).map(|k| (at(&x, &[b, i, k]) * at(&y, &[b, k, j])).abs()).sum::<f64>()
        };
        let share = |b: usize, i: usize, k: usize, j: usize| {
            0.5 * at(&r, &[b, i, j]) * (at(&x, &[b, i, k]) * at(&y, &[b, k, j])).abs() / z(b, i, j)
        };
        let actual = Layer::new(MatMul, &[&x, &y], &[true, true], Bilinear {}).explain(&r);
        let left = fill(x.dims(), |n| (0..2).map(|j| share(n[0], n[1], n[2], j)).sum());
        let right = fill(y.dims(), |n| (0..3).map(|i| share(n[0], i, n[1], n[2])).sum());
        assert_close(actual.operand(0), &left, "left");
        assert_close(actual.operand(1), &right, "right");
        close(actual.absorbed, 0.0, "absorbed");
    }
}
