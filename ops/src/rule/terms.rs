//! Parts that the signed rules of linear maps share.
//!
//! Each is a sum of terms: an operand `x` (changed or not) under a part of the weights gives `A x`, divided into the relevance
//! with a stabilised `z`: `s = R ⊘ z`; the term passes `x ⊙ Aᵀ s`. What biases and the stabiliser keep is `R - Σ s ⊙ A x`.
//! The names and the details (which part a bias takes, where the stabiliser stands) are those of zennit 0.5.

use super::Flow;
use crate::graph::Value;
use crate::op::role::{LinearMap, Site};
use crate::prim::{Binary, Builder, Transform, Unary};

/// A term: its operand, the part of the weights, and `A x`.
#[derive(Clone, Copy)]
pub(super) struct Term {
    pub x: Value,
    pub transform: Transform,
    pub y: Value,
}

impl Term {
    pub fn new(b: &mut Builder, map: &dyn LinearMap, site: &Site, x: Value, transform: Transform) -> Term {
        Term { x, transform, y: map.apply(b, site, x, transform) }
    }
}

/// `max(x, 0)`.
pub(super) fn positive(b: &mut Builder, x: Value) -> Value {
    b.unary(Unary::Relu, x)
}

/// `min(x, 0)`.
pub(super) fn negative(b: &mut Builder, x: Value) -> Value {
    let zero = b.scalar_like(0.0, x);
    b.binary(Binary::Min, x, zero)
}

/// `z + ε sign z`, with the sign of 0 positive.
pub(super) fn stabilised(b: &mut Builder, z: Value, epsilon: f32) -> Value {
    let zero = b.scalar_like(0.0, z);
    let below = b.binary(Binary::Less, z, zero);
    let (up, down) = (b.scalar_like(f64::from(epsilon), z), b.scalar_like(-f64::from(epsilon), z));
    let shift = b.add(crate::prim::Prim::Select, &[below, down, up]);
    b.plus(z, shift)
}

/// The sum of values; `None` of none.
pub(super) fn sum(b: &mut Builder, terms: impl IntoIterator<Item = Value>) -> Option<Value> {
    terms.into_iter().fold(None, |s, v| Some(s.map_or(v, |s| b.plus(s, v))))
}

/// The flow of terms with their quotients `s`, each times a factor.
pub(super) fn flow(
    b: &mut Builder,
    map: &dyn LinearMap,
    site: &Site,
    r: Value,
    terms: &[(Term, Value)],
) -> Flow {
    let k = site.data();
    let mut operands = vec![None; site.inputs.len()];
    let mut passed = vec![];
    let mut kept = r;
    for (term, s) in terms {
        let c = map.transpose(b, site, *s, term.transform);
        passed.push(b.mul(c, term.x));
        let own = b.mul(*s, term.y);
        kept = b.minus(kept, own);
    }
    operands[k] = sum(b, passed);
    Flow { operands, absorbed: vec![b.total(kept)] }
}

/// The operand that carries relevance, and the bias.
pub(super) fn operands(b: &mut Builder, map: &dyn LinearMap, site: &Site) -> (Value, Option<Value>) {
    (site.inputs[site.data()], map.bias(b, site))
}

/// Ones of the shape of the operand.
pub(super) fn ones(b: &mut Builder, x: Value) -> Value {
    let one = b.scalar_like(1.0, x);
    let shape = b.ty(x).shape;
    b.expand(one, &shape)
}
