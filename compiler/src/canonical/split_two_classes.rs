//! Splits two classes that depend on one unit `z` into two units: `[1 - σ(z), σ(z)]`, and softmax over `[0, z]`, `[-z/2, z/2]`
//! or other multiples of `z`, become `σ` of `[-d z, d z]`.
//!
//! If a layer with weights computes `z`, it computes both units instead: `W` becomes `[-d W, d W]`. Each class then has its
//! own logit and its own explanation. In the original form both classes get the same relevance, or none where `1 - p` cancels.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Activation, Cast, Concat, Function, Linear, Mul, Op, Reshape, Softmax};
use dlbc_ops::prim::Unary;
use dlbc_ops::tensor::{Dim, Shape, Tensor};

use super::pass::Context;
use super::pattern::{
    add, add_constant, each, eval_constant, float_constant, joint_origin, replace_value, scaled, unary,
};

/// Splits every pair of classes that depends on one unit.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, |graph, id| split(graph, id, &pair(graph, id)?))
}

/// Two classes whose probabilities are `σ(factor z)`.
struct Pair {
    /// The unit that both classes depend on.
    z: Value,
    /// Factor of each class; they add up to 0.
    factors: [f64; 2],
    /// Nodes between `z` and the result.
    pieces: Vec<NodeId>,
}

/// Returns the pair of classes that a node computes on its last axis.
fn pair(graph: &Graph<Op>, id: NodeId) -> Option<Pair> {
    let result = graph.ty(Value { node: id, slot: 0 });
    let last = result.rank().checked_sub(1)?;
    if !result.dim(last).is(2) || !result.dtype.is_float() {
        return None;
    }
    let inputs = graph.node_inputs(id);
    match graph.op(id) {
        Op::Concat(Concat { axis }) if *axis == last => {
            let &[a, b] = inputs.as_slice() else { return None };
            if !graph.ty(a).dim(last).is(1) {
                return None;
            }
            let (a, b) = (probability(graph, a)?, probability(graph, b)?);
            let is_pair = a.z == b.z && a.factor == -b.factor && a.factor != 0.0;
            is_pair.then(|| Pair {
                z: a.z,
                factors: [a.factor, b.factor],
                pieces: [a.pieces, b.pieces].concat(),
            })
        }
        Op::Softmax(Softmax { axis, log: false }) if *axis == last => {
            let logits = graph.node_inputs(inputs[0].node);
            let (Op::Concat(Concat { axis }), &[a, b]) = (graph.op(inputs[0].node), logits.as_slice()) else {
                return None;
            };
            if *axis != last || !graph.ty(a).dim(last).is(1) {
                return None;
            }
            let (a, b) = (multiple(graph, a), multiple(graph, b));
            // 0 is a multiple of any unit.
            let z = if a.factor == 0.0 { b.z } else { a.z };
            let same_unit = a.factor == 0.0 || b.factor == 0.0 || a.z == b.z;
            let d = b.factor - a.factor;
            let pieces = [a.pieces, b.pieces, vec![inputs[0].node]].concat();
            (same_unit && d != 0.0).then_some(Pair { z, factors: [-d, d], pieces })
        }
        _ => None,
    }
}

/// A value `factor · z`, or the sigmoid of such a value.
struct Multiple {
    z: Value,
    factor: f64,
    /// Nodes between `z` and the value.
    pieces: Vec<NodeId>,
}

/// Reads a value as `σ(factor · z)`: the sigmoid of a multiple, or 1 minus a sigmoid.
fn probability(graph: &Graph<Op>, v: Value) -> Option<Multiple> {
    let mut pieces = vec![];
    let mut sign = 1.0;
    let mut v = v;
    loop {
        v = strip_shape_and_type(graph, v, &mut pieces);
        pieces.push(v.node);
        let inputs = graph.node_inputs(v.node);
        match (graph.op(v.node), inputs.as_slice()) {
            (Op::Activation(Activation { f: Function::Unary(Unary::Sigmoid) }), &[z]) => {
                let z = multiple(graph, z);
                pieces.extend(z.pieces);
                return Some(Multiple { z: z.z, factor: sign * z.factor, pieces });
            }
            (Op::Sub(_), &[a, p]) if is_one(graph, a) => (v, sign) = (p, -sign),
            (Op::Add(_), &[a, b]) => {
                let p = if is_one(graph, a) { b } else { a };
                if !is_one(graph, a) && !is_one(graph, b) {
                    return None;
                }
                let negative = multiple(graph, p);
                if negative.factor != -1.0 {
                    return None;
                }
                pieces.extend(negative.pieces);
                (v, sign) = (negative.z, -sign);
            }
            _ => return None,
        }
    }
}

/// Reads a value as `factor · z`.
fn multiple(graph: &Graph<Op>, v: Value) -> Multiple {
    let (mut z, mut factor, mut pieces) = (v, 1.0, vec![]);
    loop {
        z = strip_shape_and_type(graph, z, &mut pieces);
        if is_zero(graph, z) {
            return Multiple { z, factor: 0.0, pieces };
        }
        let next = match unary(graph, z.node) {
            Some(Unary::Neg) => Some((graph.node_inputs(z.node)[0], -1.0)),
            _ => scaled(graph, z),
        };
        let Some((below, step)) =
            next.filter(|(below, _)| graph.ty(*below).shape.elems() == graph.ty(z).shape.elems())
        else {
            return Multiple { z, factor, pieces };
        };
        pieces.push(z.node);
        (z, factor) = (below, factor * step);
    }
}

/// Returns the value from which `v` comes by reshapes and casts between floats, and appends those nodes to `pieces`.
fn strip_shape_and_type(graph: &Graph<Op>, v: Value, pieces: &mut Vec<NodeId>) -> Value {
    let mut v = v;
    while let Op::Reshape(_) | Op::Cast(_) = graph.op(v.node) {
        let below = graph.node_inputs(v.node)[0];
        if !graph.ty(below).dtype.is_float() {
            break;
        }
        pieces.push(v.node);
        v = below;
    }
    v
}

fn is_one(graph: &Graph<Op>, v: Value) -> bool {
    float_constant(graph, v) == Some(1.0)
}

/// Returns whether a value is a float constant of zeros, of any shape.
fn is_zero(graph: &Graph<Op>, v: Value) -> bool {
    let v = match graph.op(v.node) {
        Op::Expand(_) => graph.node_inputs(v.node)[0],
        _ => v,
    };
    graph.constant(v).is_some_and(|t| t.dtype().is_float() && t.to_f64().iter().all(|x| *x == 0.0))
}

/// Replaces `result` by the sigmoid of two units.
fn split(graph: &mut Graph<Op>, result: NodeId, pair: &Pair) -> Option<()> {
    let old = Value { node: result, slot: 0 };
    let ty = graph.ty(old).clone();
    let mut column = ty.shape.clone();
    *column.0.last_mut()? = Dim::known(1);
    let origin = joint_origin(graph, [&result].into_iter().chain(&pair.pieces));
    let z_name = graph.value_name(pair.z).to_string();
    let layer_origin = graph.node(pair.z.node).origin.clone();
    let logits = match two_unit_layer(graph, pair, &column) {
        Some(TwoUnitLayer { x, weight, bias, transposed }) => {
            let mut operands = vec![x];
            for (tensor, suffix) in [(Some(weight), "weight"), (bias, "bias")] {
                operands
                    .extend(tensor.map(|t| {
                        add_constant(graph, t, &format!("{z_name}.{suffix}"), layer_origin.clone())
                    }));
            }
            add(graph, Linear { transposed }, &format!("{z_name}.classes"), layer_origin, &operands)?
        }
        None => {
            let mut z = pair.z;
            if graph.ty(z).shape != column {
                let name = format!("{z_name}.column");
                z = add(graph, Reshape { to: column }, &name, layer_origin.clone(), &[z])?;
            }
            let factors = pair.factors.map(|f| f as f32);
            let weight =
                eval_constant(Cast { to: graph.ty(z).dtype }, &[&Tensor::from_f32(&[1, 2], &factors)])?;
            let weight = add_constant(graph, weight, &format!("{z_name}.signs"), layer_origin.clone());
            let name = format!("{z_name}.classes");
            add(graph, Linear { transposed: false }, &name, layer_origin, &[z, weight])?
        }
    };
    let logits = match graph.ty(logits).dtype == ty.dtype {
        true => logits,
        false => add(graph, Cast { to: ty.dtype }, &format!("{z_name}.cast"), origin.clone(), &[logits])?,
    };
    let name = graph.value_name(old).to_string();
    let sigmoid = Activation { f: Function::Unary(Unary::Sigmoid) };
    let new = add(graph, sigmoid, &name, origin, &[logits])?;
    replace_value(graph, old, new);
    Some(())
}

/// A linear layer that computes both units.
struct TwoUnitLayer {
    /// Operand of the layer.
    x: Value,
    weight: Tensor,
    bias: Option<Tensor>,
    /// True if the weight is `[unit, feature]`, false if it is `[feature, unit]`.
    transposed: bool,
}

/// Returns the layer that computes both units, if a linear layer computes `z` in the shape `column`.
fn two_unit_layer(graph: &Graph<Op>, pair: &Pair, column: &Shape) -> Option<TwoUnitLayer> {
    let Op::Linear(linear) = graph.op(pair.z.node) else { return None };
    if graph.ty(pair.z).shape != *column {
        return None;
    }
    let inputs = graph.node_inputs(pair.z.node);
    let axis = usize::from(!linear.transposed);
    let both = |tensor: &Tensor, axis: usize| {
        let scaled = pair.factors.map(|factor| {
            let factor =
                eval_constant(Cast { to: tensor.dtype() }, &[&Tensor::from_f32(&[], &[factor as f32])])?;
            eval_constant(Mul, &[tensor, &factor])
        });
        let [a, b] = scaled;
        eval_constant(Concat { axis }, &[&a?, &b?])
    };
    let weight = both(graph.constant(*inputs.get(1)?)?, axis)?;
    let bias = match inputs.get(2) {
        Some(bias) => Some(both(graph.constant(*bias)?, 0)?),
        None => None,
    };
    Some(TwoUnitLayer { x: inputs[0], weight, bias, transposed: linear.transposed })
}
