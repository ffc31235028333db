//! Mixture of experts, as the tools of ONNX Runtime write it. Reads `MoE` and `QMoE` of com.microsoft.
//!
//! Shapes: x `[rows, features]` or `[batch, sequence, features]`, router's logits `[rows, experts]`, weights of the first and
//! third layer `[experts, hidden, features]`, of the second `[experts, features, hidden]`, biases without the last axis. A row
//! goes to the `k` experts of the largest weight, the softmax of the logits. Weights of `QMoE` are packed along their last
//! axis. The rows of an expert are gathered, so that experts without rows cost nothing.

use super::matmul::product;
use super::non_zero::non_zero;
use super::packed_weights;
use super::read::{MICROSOFT, Reader, Reading};
use super::{
    Activation, Add, Div, Function, Gather, Mul, Reduce, ReduceKind, ScatterAdd, Softmax, TopK, Transpose,
    elements,
};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Unary};
use crate::tensor::{DType, Dim, Shape};

/// Largest number of experts, each of which becomes operators of its own; real models have a few hundred.
const MOST_EXPERTS: i64 = 1 << 12;

/// Returns the readers of `MoE` and `QMoE`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::of(MICROSOFT, "MoE", read), Reader::of(MICROSOFT, "QMoE", read_quantised)]
}

/// Weight and bias of a layer of all experts.
type Layer = (Value, Option<Value>);

/// Reads the operator. Operands: x, logits, then weight and bias of the three layers.
fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    r.input(2)?;
    r.input(4)?;
    let layers = [2, 4, 6].map(|i| Some((r.optional(i)?, r.optional(i + 1))));
    mix(r, layers)
}

/// Reads the operator with packed weights. Operands: x, logits, then weight, scales and bias of the three layers, and their zero points.
fn read_quantised(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let kind = r.string_or("quant_type", "int")?;
    if kind != "int" {
        return Err(OpError::unsupported("quant_type", "int", kind));
    }
    if r.int_or("weights_prepacked", 0)? > 0 {
        return Err(OpError::unsupported("weights_prepacked", 0, "another layout"));
    }
    r.ignore(&["accuracy_level"]);
    if let Some(i) = (14..=20).find(|i| r.optional(*i).is_some()) {
        return Err(OpError::unsupported("operands", "none behind the zero points", format!("one at {i}")));
    }
    r.input(5)?;
    let bits = r.int_or("expert_weight_bits", 4)?;
    let block = r.int_or("block_size", 0)?;
    let mut layers = [None; 3];
    for (i, layer) in layers.iter_mut().enumerate() {
        let bits = r.int_or(&format!("fc{}_expert_weight_bits", i + 1), bits)?;
        let first = 2 + 3 * i;
        if let Some(packed) = r.optional(first) {
            let (scales, zeros) = (r.input(first + 1)?, r.optional(11 + i));
            let weight = packed_weights::of_experts(r, packed, (scales, zeros), bits, block)?;
            *layer = Some((weight, r.optional(first + 2)));
        }
    }
    mix(r, layers)
}

/// Reads the router, and adds the mixture of experts with these layers.
fn mix(r: &mut Reading, layers: [Option<Layer>; 3]) -> Result<Vec<Value>, OpError> {
    for attribute in ["use_sparse_mixer", "swiglu_limit_after_activation"] {
        if r.flag(attribute, false)? {
            return Err(OpError::unsupported(attribute, 0, 1));
        }
    }
    let (x, logits) = (r.input(0)?, r.input(1)?);
    let shape = r.ty(x).shape;
    let Some(features) = shape.0.last().cloned() else {
        return Err(OpError::mismatch("rank of the operand", "at least 1", 0));
    };
    let rows = shape.0[..shape.rank() - 1].iter().fold(Dim::known(1), |n, d| &n * d);
    let flat = r.reshape(x, Shape(vec![rows.clone(), features.clone()]))?;
    let experts = Experts::read(r, &features, layers)?;
    if experts.count > MOST_EXPERTS {
        let count = experts.count;
        return Err(OpError::Limit(format!("the mixture has {count} experts: the limit is {MOST_EXPERTS}")));
    }
    let routing = Routing::read(r, logits, experts.count)?;
    let mut sum: Option<Value> = None;
    for expert in 0..experts.count {
        let (at, weight) = routing.of_expert(r, expert, &rows)?;
        let chosen = r.add(Gather { axis: 0 }, &[flat, at])?;
        let y = experts.apply(r, expert, chosen)?;
        let y = r.add(Mul, &[y, weight])?;
        let y = r.add(ScatterAdd { to: rows.clone() }, &[y, at])?;
        sum = Some(match sum {
            None => y,
            Some(sum) => r.add(Add, &[sum, y])?,
        });
    }
    let sum = sum.ok_or_else(|| OpError::mismatch("experts", "at least 1", 0))?;
    Ok(vec![r.reshape(sum, shape)?])
}

/// Choice of experts for each row.
struct Routing {
    /// Indices of the chosen experts, `[rows, k]`.
    indices: Value,
    /// Their weights, `[rows, k]`.
    weights: Value,
}

impl Routing {
    fn read(r: &mut Reading, logits: Value, experts: i64) -> Result<Routing, OpError> {
        let k = r.int_or("k", 1)?;
        if !(1..=experts).contains(&k) {
            return Err(OpError::mismatch("k", format!("1 to {experts}"), k));
        }
        if r.ty(logits).rank() != 2 {
            return Err(OpError::mismatch("rank of the logits", 2, r.ty(logits).rank()));
        }
        let probabilities = r.add(Softmax { axis: 1, log: false }, &[logits])?;
        let indices = r.add(TopK { axis: 1, k: Dim::known(k), largest: true }, &[probabilities])?;
        let mut weights = elements::gather(r, probabilities, indices, 1)?;
        if r.flag("normalize_routing_weights", false)? {
            let sum = r.reduce(ReduceKind::Sum, weights, &[1])?;
            weights = r.add(Div, &[weights, sum])?;
        }
        Ok(Routing { indices, weights })
    }

    /// Adds the rows that go to an expert, `[count]`, and their weights, `[count, 1]`.
    fn of_expert(&self, r: &mut Reading, expert: i64, rows: &Dim) -> Result<(Value, Value), OpError> {
        let expert = r.add_scalar(expert as f64, DType::I64);
        let is_chosen = r.compare(Binary::Equal, self.indices, expert)?;
        let zero = r.add_scalar(0.0, DType::F32);
        let weight = r.select(is_chosen, self.weights, zero)?;
        let weight = r.reduce(ReduceKind::Sum, weight, &[1])?;
        let count = r.cast(is_chosen, DType::I64)?;
        let count = r.add(Reduce { kind: ReduceKind::Sum, axes: vec![1], keep: false }, &[count])?;
        let none = r.add_scalar(0.0, DType::I64);
        let has_row = r.compare(Binary::Less, none, count)?;
        let has_row = r.reshape(has_row, Shape(vec![rows.clone()]))?;
        let at = non_zero(r, has_row)?;
        let len = r.ty(at).dim(1).clone();
        let at = r.reshape(at, Shape(vec![len]))?;
        let weight = r.add(Gather { axis: 0 }, &[weight, at])?;
        Ok((at, weight))
    }
}

/// Layers of all experts.
struct Experts {
    /// Number of experts.
    count: i64,
    /// Weight `[experts, to, from]` and bias `[experts, to]` of the first, second and third layer.
    layers: [Option<Layer>; 3],
    /// Activation of the first layer.
    activation: Gate,
}

/// Activation between the layers.
enum Gate {
    /// A function of the first layer; its result is multiplied by the third layer, if there is one.
    Plain(Option<Function>),
    /// `min(g, c) · σ(α min(g, c)) · (clip(l, ±c) + β)`.
    Swiglu {
        /// Layout of g and l.
        layout: Layout,
        /// Factor in the sigmoid.
        alpha: f32,
        /// Addend of the linear half.
        beta: f32,
        /// Bound of both halves; infinite for none.
        limit: f32,
    },
}

/// Places of the gate and the linear half.
#[derive(Clone, Copy)]
enum Layout {
    /// Results of the first and the third layer.
    Layers,
    /// Even and odd results of the first layer.
    Interleaved,
    /// First and second half of the first layer's results.
    Halves,
}

impl Experts {
    fn read(r: &mut Reading, features: &Dim, layers: [Option<Layer>; 3]) -> Result<Experts, OpError> {
        let mut count = 0;
        for (i, (weight, _)) in layers.iter().enumerate().filter_map(|(i, layer)| Some((i, (*layer)?))) {
            let ty = r.ty(weight);
            let axis = if i == 1 { 1 } else { 2 };
            match ty.shape.0.first().and_then(Dim::as_known) {
                Some(experts) if ty.rank() == 3 && ty.dim(axis) == features => count = experts,
                _ => {
                    let expected = format!("3 axes, axis {axis} of {features} features");
                    return Err(OpError::unsupported("weight of the experts", expected, ty));
                }
            }
        }
        let limit = r.float_or("swiglu_limit", f32::INFINITY)?;
        let (alpha, beta) = (r.float_or("activation_alpha", 1.0)?, r.float_or("activation_beta", 0.0)?);
        let fusion = r.int_or("swiglu_fusion", 0)?;
        let activation = match r.string_or("activation_type", "relu")?.as_str() {
            "relu" => Gate::Plain(Some(Function::Unary(Unary::Relu))),
            "gelu" => Gate::Plain(Some(Function::Gelu { tanh: true })),
            "silu" => Gate::Plain(Some(Function::Silu { alpha: 1.0 })),
            "identity" => Gate::Plain(None),
            "swiglu" => {
                let layout = match fusion {
                    0 => Layout::Layers,
                    1 => Layout::Interleaved,
                    2 => Layout::Halves,
                    other => return Err(OpError::mismatch("swiglu_fusion", "0, 1 or 2", other)),
                };
                Gate::Swiglu { layout, alpha, beta, limit }
            }
            other => {
                let known = "relu, gelu, silu, swiglu or identity";
                return Err(OpError::unsupported("activation_type", known, other));
            }
        };
        Ok(Experts { count, layers, activation })
    }

    /// Adds the layers of one expert for its rows.
    fn apply(&self, r: &mut Reading, expert: i64, x: Value) -> Result<Value, OpError> {
        let hidden = match &self.activation {
            Gate::Plain(function) => {
                let mut h = self.layer(r, 0, expert, x)?;
                if let Some(f) = function {
                    h = r.add(Activation { f: *f }, &[h])?;
                }
                match self.layers[2] {
                    None => h,
                    Some(_) => {
                        let linear = self.layer(r, 2, expert, x)?;
                        r.add(Mul, &[h, linear])?
                    }
                }
            }
            Gate::Swiglu { layout, alpha, beta, limit } => {
                let [mut gate, mut linear] = self.halves(r, *layout, expert, x)?;
                if limit.is_finite() {
                    gate = r.unary(Unary::Clip { min: None, max: Some(*limit) }, gate)?;
                    linear = r.unary(Unary::Clip { min: Some(-limit), max: Some(*limit) }, linear)?;
                }
                if *beta != 0.0 {
                    let beta = r.add_scalar(f64::from(*beta), DType::F32);
                    linear = r.add(Add, &[linear, beta])?;
                }
                let gate = r.add(Activation { f: Function::Silu { alpha: *alpha } }, &[gate])?;
                r.add(Mul, &[gate, linear])?
            }
        };
        self.layer(r, 1, expert, hidden)
    }

    /// Adds the gate and the linear half of an expert.
    fn halves(&self, r: &mut Reading, layout: Layout, expert: i64, x: Value) -> Result<[Value; 2], OpError> {
        let both = self.layer(r, 0, expert, x)?;
        let [rows, width] = [r.ty(both).dim(0).clone(), r.ty(both).dim(1).clone()];
        let half = width.floor_div(&Dim::known(2));
        let (axis, split) = match layout {
            Layout::Layers => return Ok([both, self.layer(r, 2, expert, x)?]),
            Layout::Interleaved => (2, [half.clone(), Dim::known(2)]),
            Layout::Halves => (1, [Dim::known(2), half.clone()]),
        };
        let pairs = r.reshape(both, Shape([vec![rows.clone()], split.to_vec()].concat()))?;
        let mut member = |i: i64| -> Result<Value, OpError> {
            let member = r.slice(pairs, axis, Dim::known(i), Dim::known(1))?;
            r.reshape(member, Shape(vec![rows.clone(), half.clone()]))
        };
        Ok([member(0)?, member(1)?])
    }

    /// Adds a layer of an expert.
    fn layer(&self, r: &mut Reading, layer: usize, expert: i64, x: Value) -> Result<Value, OpError> {
        let Some((weight, bias)) = self.layers[layer] else {
            return Err(OpError::mismatch("operands", "the weights of a third layer", "none"));
        };
        let of_expert = |r: &mut Reading, all: Value| -> Result<Value, OpError> {
            let slice = r.slice(all, 0, Dim::known(expert), Dim::known(1))?;
            let to = r.ty(all).shape.0[1..].to_vec();
            r.reshape(slice, Shape(to))
        };
        let weight = of_expert(r, weight)?;
        let bias = bias.map(|bias| of_expert(r, bias)).transpose()?;
        let weight = r.add(Transpose { perm: vec![1, 0] }, &[weight])?;
        let y = product(r, x, weight)?;
        match bias {
            None => Ok(y),
            Some(bias) => r.add(Add, &[y, bias]),
        }
    }
}
