//! Contrastive mode: two tracks, relevance that supports the result and relevance that opposes it, side by side.
//!
//! A rule that looks at the sign of contributions couples the tracks. Of a unit `y = Σ c` (plus a bias) with `p` the sum of
//! its positive contributions, `n` of its negative ones' magnitudes: where `y > 0` the stronger track is explained by the
//! positive contributions and the weaker one by the negative; where `y < 0` the sides swap. Where the tracks are equal, `y`
//! is 0 or one side is empty, each track follows the magnitudes. Biases decide the sign of `y` and take nothing, so each
//! track conserves but where nothing contributed, which is absorbed. Other rules serve each track alone.
//!
//! At its start, relevance is no share of the unit's value but an argument for a larger one ([`Argument::Larger`]): the
//! stronger track is explained by the positive contributions whatever the sign of `y`, the weaker one by the negative ones,
//! and what finds none is absorbed.
//!
//! Source: the contrast mode of DLBacktrace version 1, with ties split and every operator given a form.

use crate::graph::Value;
use crate::prim::{Binary, Builder, Unary};

/// Meaning of the relevance of a node's result on the stronger track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// The result's value as it is, positive or negative: the result is within the model.
    Value,
    /// A larger value: the result is what is explained.
    Larger,
}

/// The relevance of a node's result on both tracks.
#[derive(Clone, Copy, Debug)]
pub struct Tracks {
    /// Relevance that supports the result.
    pub supporting: Value,
    /// Relevance that opposes it.
    pub opposing: Value,
    /// Meaning of relevance on the stronger track.
    pub argument: Argument,
}

impl Tracks {
    /// Both tracks: supporting, opposing.
    pub(super) fn both(self) -> [Value; 2] {
        [self.supporting, self.opposing]
    }
}

/// The relevance of each unit of contribution, and the relevance that no contribution took.
pub(super) struct Coefficients {
    /// Relevance of a positive contribution.
    pub positive: Value,
    /// Relevance of the magnitude of a negative one.
    pub negative: Value,
    /// Relevance left, of the shape of the result.
    pub dropped: Value,
}

/// The coefficients of both tracks.
pub(super) fn coefficients(b: &mut Builder, r: Tracks, y: Value, p: Value, n: Value) -> [Coefficients; 2] {
    let (straight, crossed) = match r.argument {
        Argument::Value => by_value(b, r, y, p, n),
        Argument::Larger => {
            let behind = b.binary(Binary::Less, r.supporting, r.opposing);
            (b.unary(Unary::Not, behind), behind)
        }
    };
    let whole = b.plus(p, n);
    let sides = [(r.supporting, straight, crossed), (r.opposing, crossed, straight)];
    sides.map(|(r, on_positive, on_negative)| {
        let z = b.select(on_negative, n, whole);
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

/// Returns two masks: the elements whose positive side explains the supporting track, and those whose positive side
/// explains the opposing one.
fn by_value(b: &mut Builder, r: Tracks, y: Value, p: Value, n: Value) -> (Value, Value) {
    let zero = b.scalar_like(0.0, y);
    let less = |b: &mut Builder, x: Value, y: Value| b.binary(Binary::Less, x, y);
    let (up, down) = (less(b, zero, y), less(b, y, zero));
    let (ahead, behind) = (less(b, r.opposing, r.supporting), less(b, r.supporting, r.opposing));
    let (any_p, any_n) = (less(b, zero, p), less(b, zero, n));
    let both = b.binary(Binary::And, any_p, any_n);
    let mut side = |with_up: Value, with_down: Value| {
        let (first, second) = (b.binary(Binary::And, up, with_up), b.binary(Binary::And, down, with_down));
        let any = b.binary(Binary::Or, first, second);
        b.binary(Binary::And, any, both)
    };
    (side(ahead, behind), side(behind, ahead))
}
