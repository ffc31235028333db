//! Attention and its relevance. The nodes for query, key and value relevance share their common subexpressions.

use dlbc_ops::prim::{Attention, AttentionGeometry, AttentionPart, AttentionShare};
use dlbc_ops::tensor::DType;
use dlbc_proto::write::attr_int;

use super::contract::*;
use crate::onnx_builder::types::sizes;

impl OnnxLowering for Attention {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let weights = weights(
            builder,
            self.0,
            operands.names[0],
            operands.names[1],
            operands.names.get(3).copied(),
            operands.types,
        );
        Ok(builder.add("MatMul", &[&weights, operands.names[2]], vec![]))
    }
}

/// Operands: queries, keys, values, relevance, and an optional mask.
impl OnnxLowering for AttentionShare {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let (x, types) = (operands.names, operands.types);
        let (value_share, part) = (self.value, self.part);
        let (q, k, v, r) = (x[0], x[1], x[2], x[3]);
        let (dtype, rank) = (types[0].dtype, types[0].rank());
        let p = weights(builder, self.geometry, q, k, x.get(4).copied(), types);
        let magnitude = builder.add_cached("Abs", &[v], vec![]);
        let z = builder.add_cached("MatMul", &[&p, &magnitude], vec![]);
        let (u, without_weights) = safe_ratio(builder, r, &z, dtype);
        let scaled = |builder: &mut OnnxBuilder, y: &str, factor: f32| {
            let factor = builder.scalar(dtype, f64::from(factor));
            builder.add("Mul", &[y, &factor], vec![])
        };
        if part == AttentionPart::Value {
            let p = transposed(builder, &p, rank);
            let y = builder.add("MatMul", &[&p, &u], vec![]);
            let y = builder.add("Mul", &[&y, &magnitude], vec![]);
            return Ok(scaled(builder, &y, value_share));
        }
        let magnitude_t = transposed(builder, &magnitude, rank);
        let weight_relevance = builder.add_cached("MatMul", &[&u, &magnitude_t], vec![]);
        let weight_relevance = builder.add_cached("Mul", &[&weight_relevance, &p], vec![]);
        let (abs_q, abs_k) =
            (builder.add_cached("Abs", &[q], vec![]), builder.add_cached("Abs", &[k], vec![]));
        let abs_k_t = transposed(builder, &abs_k, rank);
        let scores = builder.add_cached("MatMul", &[&abs_q, &abs_k_t], vec![]);
        let (quotient, without_scores) = safe_ratio(builder, &weight_relevance, &scores, dtype);
        let half = (1.0 - value_share) / 2.0;
        Ok(match part {
            AttentionPart::Query => {
                let y = builder.add("MatMul", &[&quotient, &abs_k], vec![]);
                let y = builder.add("Mul", &[&y, &abs_q], vec![]);
                scaled(builder, &y, half)
            }
            AttentionPart::Key | AttentionPart::Value => {
                let quotient = transposed(builder, &quotient, rank);
                let y = builder.add("MatMul", &[&quotient, &abs_q], vec![]);
                let y = builder.add("Mul", &[&y, &abs_k], vec![]);
                scaled(builder, &y, half)
            }
            AttentionPart::Dropped => {
                let zero = builder.scalar(dtype, 0.0);
                let last = builder.ints(&[-1]);
                let sum_attributes = || vec![attr_int("keepdims", 0)];
                let by_values = builder.add("Where", &[&without_weights, r, &zero], vec![]);
                let by_values = builder.add("ReduceSum", &[&by_values, &last], sum_attributes());
                let by_scores = builder.add("Where", &[&without_scores, &weight_relevance, &zero], vec![]);
                let by_scores = builder.add("ReduceSum", &[&by_scores, &last], sum_attributes());
                let by_scores = scaled(builder, &by_scores, 1.0 - value_share);
                builder.add("Add", &[&by_values, &by_scores], vec![])
            }
        })
    }
}

/// Attention weights `softmax(scale · q kᵀ + mask)`, `[…, query, key]`.
fn weights(
    builder: &mut OnnxBuilder,
    geometry: AttentionGeometry,
    q: &str,
    k: &str,
    mask: Option<&str>,
    types: &[TensorType],
) -> String {
    let dtype = types[0].dtype;
    let k = transposed(builder, k, types[0].rank());
    let scores = builder.add_cached("MatMul", &[q, &k], vec![]);
    let scale = builder.scalar(dtype, f64::from(geometry.scale));
    let mut scores = builder.add_cached("Mul", &[&scores, &scale], vec![]);
    if let Some(mask) = mask {
        scores = builder.add_cached("Add", &[&scores, mask], vec![]);
    }
    let weights = builder.add_cached("Softmax", &[&scores], vec![attr_int("axis", -1)]);
    if !geometry.guard {
        return weights;
    }
    let is_zero = builder.add_cached("IsNaN", &[&weights], vec![]);
    let zero = builder.scalar(dtype, 0.0);
    builder.add_cached("Where", &[&is_zero, &zero, &weights], vec![])
}

/// Swaps the last two axes.
fn transposed(builder: &mut OnnxBuilder, x: &str, rank: usize) -> String {
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    builder.add_cached("Transpose", &[x], vec![sizes("perm", &perm)])
}

/// Returns `a / b`, 0 where `b` is 0, and the mask of the elements where `b` is 0.
fn safe_ratio(builder: &mut OnnxBuilder, a: &str, b: &str, dtype: DType) -> (String, String) {
    let (zero, unit) = (builder.scalar(dtype, 0.0), builder.scalar(dtype, 1.0));
    let is_zero = builder.add_cached("Equal", &[b, &zero], vec![]);
    let divisor = builder.add_cached("Where", &[&is_zero, &unit, b], vec![]);
    let quotient = builder.add_cached("Div", &[a, &divisor], vec![]);
    (builder.add_cached("Where", &[&is_zero, &zero, &quotient], vec![]), is_zero)
}
