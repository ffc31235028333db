//! Two classes that one unit `z` decides become two units: `[1 - σ(z), σ(z)]`, and softmax over `[0, z]`, `[-z/2, z/2]` or
//! other multiples of `z`, are `σ` of `[-d z, d z]`.
//!
//! Where a layer with weights makes `z`, it makes both units: `W` becomes `[-d W, d W]`. Then both classes have a logit of
//! their own, and an explanation of one is not that of the other. The file's form gives both the same relevance, or none
//! where `1 - p` cancels.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Activation, Cast, Concat, Function, Linear, Mul, Op, Reshape, Softmax};
use dlbc_ops::prim::Unary;
use dlbc_ops::tensor::{Dim, Shape, Tensor};

use super::pass::Context;
use super::pattern::{add, add_constant, constant, each, origin, scaled, single, take_place, unary};

/// Splits every pair of classes.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, |graph, id| split(graph, id, &pair(graph, id)?))
}

/// Two classes whose probabilities are `σ(factor z)`.
struct Pair {
    /// The value that decides.
    z: Value,
    /// The factor of each class; they add up to 0.
    factors: [f64; 2],
    /// Nodes that the pair stands for, besides the result.
    parts: Vec<NodeId>,
}

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
            let opposite = a.z == b.z && a.factor == -b.factor && a.factor != 0.0;
            opposite.then(|| Pair {
                z: a.z,
                factors: [a.factor, b.factor],
                parts: [a.parts, b.parts].concat(),
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
            // 0 is a multiple of anything.
            let z = if a.factor == 0.0 { b.z } else { a.z };
            let one = a.factor == 0.0 || b.factor == 0.0 || a.z == b.z;
            let d = b.factor - a.factor;
            let parts = [a.parts, b.parts, vec![inputs[0].node]].concat();
            (one && d != 0.0).then_some(Pair { z, factors: [-d, d], parts })
        }
        _ => None,
    }
}

/// A multiple of a value, or the sigmoid of one.
struct Multiple {
    z: Value,
    factor: f64,
    parts: Vec<NodeId>,
}

/// A value as `σ(factor z)`: a sigmoid, or 1 minus such a value.
fn probability(graph: &Graph<Op>, v: Value) -> Option<Multiple> {
    let mut parts = vec![];
    let mut sign = 1.0;
    let mut v = v;
    loop {
        v = plain(graph, v, &mut parts);
        parts.push(v.node);
        let inputs = graph.node_inputs(v.node);
        match (graph.op(v.node), inputs.as_slice()) {
            (Op::Activation(Activation { f: Function::Unary(Unary::Sigmoid) }), &[z]) => {
                let z = multiple(graph, z);
                parts.extend(z.parts);
                return Some(Multiple { z: z.z, factor: sign * z.factor, parts });
            }
            (Op::Sub(_), &[one, p]) if is_one(graph, one) => (v, sign) = (p, -sign),
            (Op::Add(_), &[a, b]) => {
                let p = if is_one(graph, a) { b } else { a };
                if !is_one(graph, a) && !is_one(graph, b) {
                    return None;
                }
                let negative = multiple(graph, p);
                if negative.factor != -1.0 {
                    return None;
                }
                parts.extend(negative.parts);
                (v, sign) = (negative.z, -sign);
            }
            _ => return None,
        }
    }
}

/// A value as `factor z`.
fn multiple(graph: &Graph<Op>, v: Value) -> Multiple {
    let (mut z, mut factor, mut parts) = (v, 1.0, vec![]);
    loop {
        z = plain(graph, z, &mut parts);
        if zero(graph, z) {
            return Multiple { z, factor: 0.0, parts };
        }
        let next = match unary(graph, z.node) {
            Some(Unary::Neg) => Some((graph.node_inputs(z.node)[0], -1.0)),
            _ => scaled(graph, z),
        };
        let Some((below, own)) =
            next.filter(|(below, _)| graph.ty(*below).shape.elems() == graph.ty(z).shape.elems())
        else {
            return Multiple { z, factor, parts };
        };
        parts.push(z.node);
        (z, factor) = (below, factor * own);
    }
}

/// A value before changes of shape, and of type among floats.
fn plain(graph: &Graph<Op>, v: Value, parts: &mut Vec<NodeId>) -> Value {
    let mut v = v;
    while let Op::Reshape(_) | Op::Cast(_) = graph.op(v.node) {
        let below = graph.node_inputs(v.node)[0];
        if !graph.ty(below).dtype.is_float() {
            break;
        }
        parts.push(v.node);
        v = below;
    }
    v
}

fn is_one(graph: &Graph<Op>, v: Value) -> bool {
    single(graph, v) == Some(1.0)
}

/// Returns whether a value is a float constant that is 0 everywhere, of any shape.
fn zero(graph: &Graph<Op>, v: Value) -> bool {
    let v = match graph.op(v.node) {
        Op::Expand(_) => graph.node_inputs(v.node)[0],
        _ => v,
    };
    graph.constant(v).is_some_and(|t| t.dtype().is_float() && t.to_f64().iter().all(|x| *x == 0.0))
}

/// Puts the sigmoid of two units in the place of `result`.
fn split(graph: &mut Graph<Op>, result: NodeId, pair: &Pair) -> Option<()> {
    let old = Value { node: result, slot: 0 };
    let ty = graph.ty(old).clone();
    let mut column = ty.shape.clone();
    *column.0.last_mut()? = Dim::known(1);
    let origin = origin(graph, [&result].into_iter().chain(&pair.parts));
    let z_name = graph.value_name(pair.z).to_string();
    let logits = match layer(graph, pair, &column) {
        Some((x, weight, bias, transposed)) => {
            let own = graph.node(pair.z.node).origin.clone();
            let mut operands = vec![x];
            for (tensor, part) in [(Some(weight), "weight"), (bias, "bias")] {
                operands
                    .extend(tensor.map(|t| add_constant(graph, t, &format!("{z_name}.{part}"), own.clone())));
            }
            add(graph, Linear { transposed }, &format!("{z_name}.classes"), own, &operands)?
        }
        None => {
            let own = graph.node(pair.z.node).origin.clone();
            let mut z = pair.z;
            if graph.ty(z).shape != column {
                z = add(graph, Reshape { to: column }, &format!("{z_name}.column"), own.clone(), &[z])?;
            }
            let factors = pair.factors.map(|f| f as f32);
            let weight = constant(Cast { to: graph.ty(z).dtype }, &[&Tensor::from_f32(&[1, 2], &factors)])?;
            let weight = add_constant(graph, weight, &format!("{z_name}.signs"), own.clone());
            add(graph, Linear { transposed: false }, &format!("{z_name}.classes"), own, &[z, weight])?
        }
    };
    let logits = match graph.ty(logits).dtype == ty.dtype {
        true => logits,
        false => add(graph, Cast { to: ty.dtype }, &format!("{z_name}.cast"), origin.clone(), &[logits])?,
    };
    let name = graph.value_name(old).to_string();
    let sigmoid = Activation { f: Function::Unary(Unary::Sigmoid) };
    let new = add(graph, sigmoid, &name, origin, &[logits])?;
    take_place(graph, old, new);
    Some(())
}

/// The operand, weight and bias of the layer that makes both units, where one makes `z`, and how its weight lies.
fn layer(graph: &Graph<Op>, pair: &Pair, column: &Shape) -> Option<(Value, Tensor, Option<Tensor>, bool)> {
    let Op::Linear(linear) = graph.op(pair.z.node) else { return None };
    if graph.ty(pair.z).shape != *column {
        return None;
    }
    let inputs = graph.node_inputs(pair.z.node);
    let axis = usize::from(!linear.transposed);
    let both = |tensor: &Tensor, axis: usize| {
        let scaled = pair.factors.map(|factor| {
            let factor = constant(Cast { to: tensor.dtype() }, &[&Tensor::from_f32(&[], &[factor as f32])])?;
            constant(Mul, &[tensor, &factor])
        });
        let [a, b] = scaled;
        constant(Concat { axis }, &[&a?, &b?])
    };
    let weight = both(graph.constant(*inputs.get(1)?)?, axis)?;
    let bias = match inputs.get(2) {
        Some(bias) => Some(both(graph.constant(*bias)?, 0)?),
        None => None,
    };
    Some((inputs[0], weight, bias, linear.transposed))
}
