//! Linear attention: a matrix of keys and values that grows with the sequence, read by the queries. Reads `LinearAttention` of the
//! standard and of com.microsoft.
//!
//! Shapes: query `[batch, time, query heads · d]`, key `[batch, time, heads · d]`, value `[batch, time, heads · e]`, decay
//! `[batch, time, heads]` or `[batch, time, heads · d]`, rate `[batch, time, heads]` or `[batch, time, 1]`, past and present state
//! `[batch, heads, d, e]`, output `[batch, time, query heads · e]`. A step is `S = exp(decay) S`, `S += k (rate (v - Sᵀk))ᵀ` and
//! `o = scale · Sᵀq`, where rules without a decay or a rate leave out these factors and `Sᵀk`. Source: ONNX `LinearAttention` 27.

use super::heads::scale;
use super::read::{MICROSOFT, Reader, Reading};
use super::{Add, Expand, MatMul, Mul, Op, Scan, Sub, Transpose};
use crate::OpError;
use crate::graph::{Body, Graph, Value};
use crate::prim::Unary;
use crate::tensor::{DType, Dim, Shape};

/// Returns the readers of `LinearAttention`, of the standard and of com.microsoft.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("LinearAttention", 27, read),
        Reader::of(MICROSOFT, "LinearAttention", |r| match r.int_or("state_window", 0)? {
            0 => read(r),
            window => Err(OpError::unsupported("state_window", 0, window)),
        }),
    ]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let count = |name: &str| r.int(name)?.ok_or_else(|| OpError::missing_attribute(name, "an integer"));
    let (query_heads, heads) = (count("q_num_heads")?, count("kv_num_heads")?);
    if heads < 1 || query_heads < 1 || query_heads % heads != 0 {
        return Err(OpError::mismatch("q_num_heads", format!("a multiple of {heads}"), query_heads));
    }
    r.ignore(&["chunk_size"]);
    let rule = r.string_or("update_rule", "gated_delta")?;
    let (has_decay, has_rate) = match rule.as_str() {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return Err(OpError::mismatch("update_rule", "linear, gated, delta or gated_delta", other)),
    };
    let (q, k, v, past) = (r.input(0)?, r.input(1)?, r.input(2)?, r.optional(3));
    let (decay, rate) = (r.optional(4), r.optional(5));
    for (name, operand, is_read) in [("decay", decay, has_decay), ("beta", rate, has_rate)] {
        if operand.is_some() != is_read {
            let expected = if is_read { "one" } else { "none" };
            return Err(OpError::mismatch(
                &format!("operand `{name}` of rule {rule}"),
                expected,
                "the contrary",
            ));
        }
    }
    let (heads, groups) = (Dim::known(heads), Dim::known(query_heads / heads));
    let q = by_time(r, q, &heads, Some(&groups))?;
    let (k, v) = (by_time(r, k, &heads, None)?, by_time(r, v, &heads, None)?);
    let [time, batch] = [0, 1].map(|axis| r.ty(v).dim(axis).clone());
    let [d, e] = [k, v].map(|x| r.ty(x).dim(4).clone());
    let mut sequences = vec![("key", k), ("value", v)];
    if let Some(decay) = decay {
        let decay = by_time(r, decay, &heads, None)?;
        let decay = r.add(Transpose { perm: vec![0, 1, 2, 4, 3] }, &[decay])?;
        sequences.push(("decay", r.unary(Unary::Exp, decay)?));
    }
    if let Some(rate) = rate {
        let shared = Dim::known(1);
        let is_shared = r.ty(rate).shape.0.last() == Some(&shared);
        sequences.push(("rate", by_time(r, rate, if is_shared { &shared } else { &heads }, None)?));
    }
    let state = Shape(vec![batch.clone(), heads.clone(), d.clone(), e.clone()]);
    let past = match past {
        Some(past) => past,
        None => {
            let zero = r.add_scalar(0.0, DType::F32);
            r.add(Expand { to: state.clone() }, &[zero])?
        }
    };
    let states = recurrence(r, past, &sequences)?;
    let scale = scale(r.float("scale")?.filter(|scale| *scale != 0.0), &d)?;
    let product = r.add(MatMul, &[q, states])?;
    let factor = r.add_scalar(scale, DType::F32);
    let y = r.add(Mul, &[product, factor])?;
    let width = &(&heads * &groups) * &e;
    let y = r.reshape(y, Shape(vec![time.clone(), batch, width]))?;
    let y = r.add(Transpose { perm: vec![1, 0, 2] }, &[y])?;
    let present = r.slice(states, 0, &time - &Dim::known(1), Dim::known(1))?;
    Ok(vec![y, r.reshape(present, state)?])
}

/// Splits the heads and puts the time first: `[batch, time, heads · groups · d]` → `[time, batch, heads, groups, d]`.
fn by_time(r: &mut Reading, x: Value, heads: &Dim, groups: Option<&Dim>) -> Result<Value, OpError> {
    let shape = r.ty(x).shape.0;
    let [batch, time, width] = shape.as_slice() else {
        return Err(OpError::mismatch("rank of an operand", 3, shape.len()));
    };
    let groups = groups.cloned().unwrap_or_else(|| Dim::known(1));
    let features = width.floor_div(&(heads * &groups));
    let x = r.add(Transpose { perm: vec![1, 0, 2] }, &[x])?;
    r.reshape(x, Shape(vec![time.clone(), batch.clone(), heads.clone(), groups, features]))
}

/// Adds the states after each step, `[time, batch, heads, d, e]`.
fn recurrence(r: &mut Reading, past: Value, sequences: &[(&str, Value)]) -> Result<Value, OpError> {
    let mut graph = Graph::default();
    let state = graph.add_input(Op::Input, "state", r.ty(past));
    let mut elements = vec![];
    for (name, sequence) in sequences {
        let ty = r.ty(*sequence);
        let element = ty.with_shape(ty.shape.0[1..].to_vec());
        elements.push((*name, graph.add_input(Op::Input, name, element)));
    }
    let element = |name: &str| elements.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    let (key, mut value) = (elements[0].1, elements[1].1);
    let mut step = r.within(&mut graph);
    let mut next = state;
    if let Some(decay) = element("decay") {
        next = step.add(Mul, &[next, decay])?;
    }
    if let Some(rate) = element("rate") {
        let expected = step.add(MatMul, &[key, next])?;
        let error = step.add(Sub, &[value, expected])?;
        value = step.add(Mul, &[error, rate])?;
    }
    let column = step.add(Transpose { perm: vec![0, 1, 3, 2] }, &[key])?;
    let outer = step.add(MatMul, &[column, value])?;
    let next = step.add(Add, &[next, outer])?;
    graph.add_output("next", next);
    let operands: Vec<Value> = [past].into_iter().chain(sequences.iter().map(|(_, v)| *v)).collect();
    r.add(Scan { body: Body::new(graph), sequences: sequences.len(), reverse: false }, &operands)
}
