//! Contrastive mode: two tracks side by side, relevance that supports the result and relevance that opposes it.
//!
//! Rules that depend on the signs of contributions couple the tracks. Let a unit be `y = Σ c` (plus a bias), `p` the
//! sum of its positive contributions and `n` that of its negative contributions' magnitudes. If `y > 0`, the positive
//! contributions explain the stronger track and the negative ones the weaker; if `y < 0`, the sides are exchanged. If
//! the tracks are equal, `y` is 0 or one sum is 0, each track is divided by magnitude. Biases determine the sign of `y`
//! but take nothing, so each track is conserved except where nothing contributes, which is absorbed. Other rules are
//! applied to each track separately.
//!
//! At the explained output, relevance is not a share of the unit's value but an argument for a larger value
//! ([`Argument::Larger`]): the positive contributions explain the stronger track and the negative ones the weaker, for
//! either sign of `y`; relevance without such contributions is absorbed.
//!
//! Source: the contrast mode of DLBacktrace version 1, with ties divided and a form for every operator.

use crate::graph::Value;
use crate::prim::{Binary, Builder, Unary};

/// Interpretation of the relevance on the stronger track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Relevance of the result's value as it is, positive or negative: results inside the model.
    Value,
    /// Relevance of a larger value: the explained output.
    Larger,
}

/// Relevance of a node's result on both tracks.
#[derive(Clone, Copy, Debug)]
pub struct Tracks {
    /// Relevance that supports the result.
    pub supporting: Value,
    /// Relevance that opposes the result.
    pub opposing: Value,
    /// Interpretation of the relevance on the stronger track.
    pub argument: Argument,
}

impl Tracks {
    /// Returns the supporting and the opposing relevance.
    pub(super) fn both(self) -> [Value; 2] {
        [self.supporting, self.opposing]
    }
}

/// Factors by which the contributions of a unit receive relevance on one track, each of the result's shape.
pub(super) struct Coefficients {
    /// Relevance per positive contribution.
    pub positive: Value,
    /// Relevance per magnitude of a negative contribution.
    pub negative: Value,
    /// Relevance that no contribution takes.
    pub dropped: Value,
}

/// Builds the coefficients of both tracks from the results `y` and the sums `p` and `n` of contributions.
pub(super) fn coefficients(b: &mut Builder, r: Tracks, y: Value, p: Value, n: Value) -> [Coefficients; 2] {
    let (straight, crossed) = match r.argument {
        Argument::Value => by_value(b, r, y, p, n),
        Argument::Larger => {
            let opposing_larger = b.binary(Binary::Less, r.supporting, r.opposing);
            (b.unary(Unary::Not, opposing_larger), opposing_larger)
        }
    };
    let magnitude = b.plus(p, n);
    let tracks = [(r.supporting, straight, crossed), (r.opposing, crossed, straight)];
    tracks.map(|(r, on_positive, on_negative)| {
        let z = b.select(on_negative, n, magnitude);
        let z = b.select(on_positive, p, z);
        let q = b.guarded_div(r, z);
        let zero = b.scalar_like(0.0, q);
        let passed = b.mul(q, z);
        Coefficients {
            positive: b.select(on_negative, zero, q),
            negative: b.select(on_positive, zero, q),
            dropped: b.minus(r, passed),
        }
    })
}

/// Builds two masks of the units whose positive contributions explain the supporting track, and the opposing track.
fn by_value(b: &mut Builder, r: Tracks, y: Value, p: Value, n: Value) -> (Value, Value) {
    let zero = b.scalar_like(0.0, y);
    let less = |b: &mut Builder, x: Value, y: Value| b.binary(Binary::Less, x, y);
    let (up, down) = (less(b, zero, y), less(b, y, zero));
    let (supporting_larger, opposing_larger) =
        (less(b, r.opposing, r.supporting), less(b, r.supporting, r.opposing));
    let (any_p, any_n) = (less(b, zero, p), less(b, zero, n));
    let both_signs = b.binary(Binary::And, any_p, any_n);
    let mut mask = |with_up: Value, with_down: Value| {
        let (first, second) = (b.binary(Binary::And, up, with_up), b.binary(Binary::And, down, with_down));
        let any = b.binary(Binary::Or, first, second);
        b.binary(Binary::And, any, both_signs)
    };
    (mask(supporting_larger, opposing_larger), mask(opposing_larger, supporting_larger))
}
