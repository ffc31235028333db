//! Attention and its relevance. The parts of one relevance share what they have in common, where they stand in one graph.

use dlbc_ops::prim::{Attention, AttentionGeometry, AttentionPart, AttentionShare};
use dlbc_ops::tensor::DType;
use dlbc_proto::write::attr_int;

use super::contract::*;
use crate::onnx_builder::types::sizes;

impl OnnxLowering for Attention {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let weights = weights(s, self.0, at.x[0], at.x[1], at.x.get(3).copied(), at.types);
        Ok(s.add("MatMul", &[&weights, at.x[2]], vec![]))
    }
}

/// Operands q, k, v, r, mask.
impl OnnxLowering for AttentionShare {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let (x, types) = (at.x, at.types);
        let (value, of) = (self.value, self.part);
        let (q, k, v, r) = (x[0], x[1], x[2], x[3]);
        let (dtype, rank) = (types[0].dtype, types[0].rank());
        let p = weights(s, self.geometry, q, k, x.get(4).copied(), types);
        let magnitude = s.add_cached("Abs", &[v], vec![]);
        let z = s.add_cached("MatMul", &[&p, &magnitude], vec![]);
        let (u, nothing) = ratio(s, r, &z, dtype);
        let times = |s: &mut OnnxBuilder, y: &str, factor: f32| {
            let factor = s.scalar(dtype, f64::from(factor));
            s.add("Mul", &[y, &factor], vec![])
        };
        if of == AttentionPart::Value {
            let p = turned(s, &p, rank);
            let y = s.add("MatMul", &[&p, &u], vec![]);
            let y = s.add("Mul", &[&y, &magnitude], vec![]);
            return Ok(times(s, &y, value));
        }
        let back = turned(s, &magnitude, rank);
        let through = s.add_cached("MatMul", &[&u, &back], vec![]);
        let through = s.add_cached("Mul", &[&through, &p], vec![]);
        let (own_q, own_k) = (s.add_cached("Abs", &[q], vec![]), s.add_cached("Abs", &[k], vec![]));
        let turned_k = turned(s, &own_k, rank);
        let all = s.add_cached("MatMul", &[&own_q, &turned_k], vec![]);
        let (part, unmatched) = ratio(s, &through, &all, dtype);
        let half = (1.0 - value) / 2.0;
        Ok(match of {
            AttentionPart::Query => {
                let y = s.add("MatMul", &[&part, &own_k], vec![]);
                let y = s.add("Mul", &[&y, &own_q], vec![]);
                times(s, &y, half)
            }
            AttentionPart::Key | AttentionPart::Value => {
                let part = turned(s, &part, rank);
                let y = s.add("MatMul", &[&part, &own_q], vec![]);
                let y = s.add("Mul", &[&y, &own_k], vec![]);
                times(s, &y, half)
            }
            AttentionPart::Dropped => {
                let zero = s.scalar(dtype, 0.0);
                let last = s.ints(&[-1]);
                let keep = || vec![attr_int("keepdims", 0)];
                let lost = s.add("Where", &[&nothing, r, &zero], vec![]);
                let lost = s.add("ReduceSum", &[&lost, &last], keep());
                let weights = s.add("Where", &[&unmatched, &through, &zero], vec![]);
                let weights = s.add("ReduceSum", &[&weights, &last], keep());
                let weights = times(s, &weights, 1.0 - value);
                s.add("Add", &[&lost, &weights], vec![])
            }
        })
    }
}

/// `softmax(scale · q kᵀ + mask)`.
fn weights(
    s: &mut OnnxBuilder,
    geometry: AttentionGeometry,
    q: &str,
    k: &str,
    mask: Option<&str>,
    types: &[TensorType],
) -> String {
    let dtype = types[0].dtype;
    let k = turned(s, k, types[0].rank());
    let scores = s.add_cached("MatMul", &[q, &k], vec![]);
    let scale = s.scalar(dtype, f64::from(geometry.scale));
    let mut scores = s.add_cached("Mul", &[&scores, &scale], vec![]);
    if let Some(mask) = mask {
        scores = s.add_cached("Add", &[&scores, mask], vec![]);
    }
    let weights = s.add_cached("Softmax", &[&scores], vec![attr_int("axis", -1)]);
    if !geometry.guard {
        return weights;
    }
    let empty = s.add_cached("IsNaN", &[&weights], vec![]);
    let zero = s.scalar(dtype, 0.0);
    s.add_cached("Where", &[&empty, &zero, &weights], vec![])
}

/// The last two axes swapped.
fn turned(s: &mut OnnxBuilder, x: &str, rank: usize) -> String {
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    s.add_cached("Transpose", &[x], vec![sizes("perm", &perm)])
}

/// `a / b`, 0 where `b` is 0; and where that is.
fn ratio(s: &mut OnnxBuilder, a: &str, b: &str, dtype: DType) -> (String, String) {
    let (zero, one) = (s.scalar(dtype, 0.0), s.scalar(dtype, 1.0));
    let empty = s.add_cached("Equal", &[b, &zero], vec![]);
    let divisor = s.add_cached("Where", &[&empty, &one, b], vec![]);
    let quotient = s.add_cached("Div", &[a, &divisor], vec![]);
    (s.add_cached("Where", &[&empty, &zero, &quotient], vec![]), empty)
}
