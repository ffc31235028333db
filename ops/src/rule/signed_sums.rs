//! Separate sums of the positive and negative contributions of a linear map.
//!
//! With `c_ji = w_ji x_i`: `p_j = Σ max(c_ji, 0)` and `n_j = Σ max(-c_ji, 0)`. Each is a sum of terms of one sign, so
//! that it is exactly 0 without such contributions.

use super::tracks::coefficients;
use super::{Flow, Tracks, terms};
use crate::graph::Value;
use crate::op::role::{LinearMap, Site};
use crate::prim::{Builder, Transform};

/// Sums of a linear map's contributions, by sign.
pub(super) struct SignedSums {
    /// `max(x, 0)`, of the operand's shape.
    up: Value,
    /// `min(x, 0)`, of the operand's shape; `None` if the operand is never negative.
    down: Option<Value>,
    /// `p`: sums of the positive contributions, of the result's shape.
    pub positive: Value,
    /// `n`: sums of the negative contributions' magnitudes, of the result's shape.
    pub negative: Value,
}

impl SignedSums {
    /// Builds the sums of the contributions of `x`.
    pub fn new(b: &mut Builder, map: &dyn LinearMap, site: &Site, x: Value) -> SignedSums {
        let (up, down) = signed_parts(b, x);
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

    /// Builds the relevance of the operand: for each element, the sum of its positive contributions times `to_positive`
    /// and of its negative contributions' magnitudes times `to_negative`.
    pub fn back(
        &self,
        b: &mut Builder,
        map: &dyn LinearMap,
        site: &Site,
        to_positive: Value,
        to_negative: Value,
    ) -> Value {
        let weighted = map.has_weight();
        let share =
            |b: &mut Builder, x: Value, [same, other]: [Transform; 2], first: Value, second: Value| {
                let mut c = map.transpose(b, site, first, same);
                if weighted {
                    let against = map.transpose(b, site, second, other);
                    c = b.minus(c, against);
                }
                b.mul(c, x)
            };
        let above = share(b, self.up, [Transform::Pos, Transform::Neg], to_positive, to_negative);
        let Some(down) = self.down else { return above };
        // Without weights a negative element contributes negatively: `-x` times the coefficient of that side.
        let below = if weighted {
            share(b, down, [Transform::Neg, Transform::Pos], to_positive, to_negative)
        } else {
            let c = map.transpose(b, site, to_negative, Transform::Id);
            let c = b.mul(c, down);
            b.scale(c, -1.0)
        };
        b.plus(above, below)
    }
}

/// Builds the flow of two tracks through a linear map, coupled by the signs of contributions.
pub(super) fn tracks(b: &mut Builder, map: &dyn LinearMap, site: &Site, r: Tracks) -> [Flow; 2] {
    let k = site.data();
    let sums = SignedSums::new(b, map, site, site.inputs[k]);
    coefficients(b, r, site.y(), sums.positive, sums.negative).map(|c| {
        let mut operands = vec![None; site.inputs.len()];
        operands[k] = Some(sums.back(b, map, site, c.positive, c.negative));
        Flow { operands, absorbed: vec![b.total(c.dropped)] }
    })
}

/// Returns `max(x, 0)`, and `min(x, 0)` unless `x` is never negative.
pub(super) fn signed_parts(b: &mut Builder, x: Value) -> (Value, Option<Value>) {
    if b.is_non_negative(x) {
        return (x, None);
    }
    (terms::positive(b, x), Some(terms::negative(b, x)))
}

/// Builds zeros of the shape of `like`.
pub(super) fn zeros(b: &mut Builder, like: Value) -> Value {
    let zero = b.scalar_like(0.0, like);
    let shape = b.ty(like).shape;
    b.expand(zero, &shape)
}
