//! Terms of which the signed rules of linear maps consist.
//!
//! A term is an operand `x`, unchanged or modified, under a transform of the weights: it contributes `A x` to the
//! denominator `z`. With the stabilised quotient `s = R ⊘ z` it passes `x ⊙ Aᵀ s`. Biases and the stabiliser absorb
//! `R - Σ s ⊙ A x`. Names and details (the transform of the bias, the position of the stabiliser) are those of zennit
//! 0.5.

use super::Flow;
use crate::graph::Value;
use crate::op::role::{LinearMap, Site};
use crate::prim::{Binary, Builder, Transform, Unary};

/// Term: its operand, the transform of the weights, and `y = A x`.
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

/// Builds `max(x, 0)`.
pub(super) fn positive(b: &mut Builder, x: Value) -> Value {
    b.unary(Unary::Relu, x)
}

/// Builds `min(x, 0)`.
pub(super) fn negative(b: &mut Builder, x: Value) -> Value {
    let zero = b.scalar_like(0.0, x);
    b.binary(Binary::Min, x, zero)
}

/// Builds `z + ε sign z`, where the sign of 0 is positive.
pub(super) fn stabilised(b: &mut Builder, z: Value, epsilon: f32) -> Value {
    let zero = b.scalar_like(0.0, z);
    let below = b.binary(Binary::Less, z, zero);
    let (up, down) = (b.scalar_like(f64::from(epsilon), z), b.scalar_like(-f64::from(epsilon), z));
    let shift = b.add(crate::prim::Prim::Select, &[below, down, up]);
    b.plus(z, shift)
}

/// Builds the sum of values; `None` without values.
pub(super) fn sum(b: &mut Builder, terms: impl IntoIterator<Item = Value>) -> Option<Value> {
    terms.into_iter().fold(None, |s, v| Some(s.map_or(v, |s| b.plus(s, v))))
}

/// Builds the flow of terms, each with its quotient `s`.
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
    let mut absorbed = r;
    for (term, s) in terms {
        let c = map.transpose(b, site, *s, term.transform);
        passed.push(b.mul(c, term.x));
        let share = b.mul(*s, term.y);
        absorbed = b.minus(absorbed, share);
    }
    operands[k] = sum(b, passed);
    Flow { operands, absorbed: vec![b.total(absorbed)] }
}

/// Returns the operand that carries relevance, and the bias.
pub(super) fn operands(b: &mut Builder, map: &dyn LinearMap, site: &Site) -> (Value, Option<Value>) {
    (site.inputs[site.data()], map.bias(b, site))
}

/// Builds ones of the operand's shape.
pub(super) fn ones(b: &mut Builder, x: Value) -> Value {
    let unit = b.scalar_like(1.0, x);
    let shape = b.ty(x).shape;
    b.expand(unit, &shape)
}
