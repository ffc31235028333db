//! The positive and the negative contributions of a linear map, apart.
//!
//! With `c_ji = w_ji x_i`: `p_j = Σ max(c_ji, 0)` and `n_j = Σ max(-c_ji, 0)`, each a sum of terms of one sign, so that an
//! empty side is exactly 0.

use super::tracks::coefficients;
use super::{Flow, Tracks, terms};
use crate::graph::Value;
use crate::op::role::{LinearMap, Site};
use crate::prim::{Builder, Transform};

/// Both sides of a linear map's contributions.
pub(super) struct SignedSums {
    /// `max(x, 0)`.
    up: Value,
    /// `min(x, 0)`; `None` where no element can be negative.
    down: Option<Value>,
    /// The sums of positive contributions.
    pub positive: Value,
    /// The sums of negative contributions' magnitudes.
    pub negative: Value,
}

impl SignedSums {
    pub fn new(b: &mut Builder, map: &dyn LinearMap, site: &Site, x: Value) -> SignedSums {
        let (up, down) = parts(b, x);
        let below = down.map(|down| map.apply(b, site, down, Transform::Pos));
        let (positive, negative) = if map.has_weight() {
            let above = map.apply(b, site, up, Transform::Pos);
            let positive = match down {
                Some(down) => {
                    let more = map.apply(b, site, down, Transform::Neg);
                    b.plus(above, more)
                }
                None => above,
            };
            let negative = map.apply(b, site, up, Transform::Neg);
            (positive, Some(below.map_or(negative, |v| b.plus(negative, v))))
        } else {
            (map.apply(b, site, up, Transform::Id), below)
        };
        let negative = match negative {
            Some(v) => b.scale(v, -1.0),
            None => zeros(b, positive),
        };
        SignedSums { up, down, positive, negative }
    }

    /// For each operand element, its positive contributions times `to_positive` plus the magnitudes of its negative ones
    /// times `to_negative`.
    pub fn back(
        &self,
        b: &mut Builder,
        map: &dyn LinearMap,
        site: &Site,
        to_positive: Value,
        to_negative: Value,
    ) -> Value {
        let weighted = map.has_weight();
        let side =
            |b: &mut Builder, x: Value, own: Transform, other: Transform, first: Value, second: Value| {
                let mut c = map.transpose(b, site, first, own);
                if weighted {
                    let against = map.transpose(b, site, second, other);
                    c = b.minus(c, against);
                }
                b.mul(c, x)
            };
        let share = side(b, self.up, Transform::Pos, Transform::Neg, to_positive, to_negative);
        let Some(down) = self.down else { return share };
        // Without weights an element below 0 contributes below 0: `-x` times what that side gets.
        let below = if weighted {
            side(b, down, Transform::Neg, Transform::Pos, to_positive, to_negative)
        } else {
            let c = map.transpose(b, site, to_negative, Transform::Id);
            let c = b.mul(c, down);
            b.scale(c, -1.0)
        };
        b.plus(share, below)
    }
}

/// Two tracks through a linear map, coupled by the signs of contributions.
pub(super) fn tracks(b: &mut Builder, map: &dyn LinearMap, site: &Site, r: Tracks) -> [Flow; 2] {
    let k = site.data();
    let sides = SignedSums::new(b, map, site, site.inputs[k]);
    coefficients(b, r, site.y(), sides.positive, sides.negative).map(|c| {
        let mut operands = vec![None; site.inputs.len()];
        operands[k] = Some(sides.back(b, map, site, c.positive, c.negative));
        Flow { operands, absorbed: vec![b.total(c.dropped)] }
    })
}

/// `max(x, 0)` and `min(x, 0)`; the latter where an element can be negative.
pub(super) fn parts(b: &mut Builder, x: Value) -> (Value, Option<Value>) {
    if b.is_non_negative(x) {
        return (x, None);
    }
    (terms::positive(b, x), Some(terms::negative(b, x)))
}

/// Zeros of the shape of `like`.
pub(super) fn zeros(b: &mut Builder, like: Value) -> Value {
    let zero = b.scalar_like(0.0, like);
    let shape = b.ty(like).shape;
    b.expand(zero, &shape)
}
