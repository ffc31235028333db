//! The relevance of a recurrence: another one, backwards in time.
//!
//! Each of its steps makes the forward's step again from the state before it, and applies the rules of the step's operators
//! to the relevance of the state after it: what arrives from outside plus what later steps passed back. A recurrence has one
//! state, so all that a step gives (to the state before, to its elements, to captures, to nobody) lies in one vector, of
//! which the next step reads the first part.

use std::collections::{HashMap, HashSet};

use dlbc_ops::OpError;
use dlbc_ops::graph::Value;
use dlbc_ops::op::Scan;
use dlbc_ops::op::role::Site;
use dlbc_ops::prim::{self, Builder, Prim, Reduction};
use dlbc_ops::program::Output;
use dlbc_ops::rule::Flow;
use dlbc_ops::tensor::{DType, Dim, Shape, Tensor, TensorType};

use super::account::{located, total};
use super::walk::{Carries, Sink, Start, walk};
use crate::error::CompileError;
use crate::relevance::RelevanceGraph;

/// The relevance of a recurrence's operands on each track from `r`, that of the states after each step, `[time, state…]`.
pub(super) fn lower(
    b: &mut Builder,
    scan: &Scan,
    relevance: &RelevanceGraph,
    site: &Site,
    r: &[Value],
) -> Result<Vec<Flow>, CompileError> {
    let graph = scan.body.graph();
    let state = scan.body.inputs()[0].shape.clone();
    // What a step gives, by body input; the state comes first and is given something even when it gets nothing.
    let names: Vec<&str> = graph.inputs().iter().map(|id| graph.node(*id).name()).collect();
    let given = |k: usize| k == 0 || relevance.sinks.iter().any(|s| s == names[k]);
    let parts: Vec<(usize, Shape)> =
        (0..names.len()).filter(|k| given(*k)).map(|k| (k, scan.body.inputs()[k].shape.clone())).collect();
    let one = Dim::known(1);
    // What a step gives on one track, its parts and what it keeps; the tracks follow one another.
    let track = parts.iter().fold(one.clone(), |sum, (_, shape)| &sum + &shape.elems());
    let size = r.iter().fold(Dim::known(0), |sum, _| &sum + &track);

    let mut step = Builder::new();
    let packed = step.input("given", TensorType::new(DType::F32, vec![size.clone()]));
    let received: Vec<Value> = (0..r.len())
        .map(|t| step.input(["received", "opposing"][t.min(1)], TensorType::new(DType::F32, state.clone())))
        .collect();
    let values = graph.lower(&mut step).map_err(|(id, source)| located(graph, id, source))?;
    let starts: Vec<Dim> = (0..r.len())
        .scan(Dim::known(0), |at, _| {
            let start = at.clone();
            *at = &*at + &track;
            Some(start)
        })
        .collect();
    let mut seeds = vec![];
    for (start, incoming) in starts.iter().zip(&received) {
        let carried = step.add(slice(0, start.clone(), state.elems()), &[packed]);
        let carried = step.reshape(carried, &state);
        seeds.push(step.plus(*incoming, carried));
    }
    let mut absorbed: Vec<Vec<Value>> = vec![vec![]; r.len()];
    let start = Start { values: &seeds, carries: Carries::Derivative, first: &HashSet::new() };
    let sinks = walk(graph, relevance, &mut step, &values, &start, &mut |_, row| {
        for (all, account) in absorbed.iter_mut().zip(row.tracks) {
            all.extend(account.absorbed);
        }
    })?;
    let mut given: HashMap<&str, Vec<Value>> = HashMap::new();
    for Sink { name, carries, r } in &sinks {
        let quotient = |r: &Value| match (carries, graph.find(name)) {
            (Carries::Relevance, Some(x)) => step.guarded_div(*r, values[&x]),
            _ => *r,
        };
        given.insert(name, r.iter().map(quotient).collect());
    }
    let mut flat = vec![];
    for (t, absorbed) in absorbed.iter().enumerate() {
        for (k, shape) in &parts {
            let part = given.get(names[*k]).map(|v| v[t]).unwrap_or_else(|| zeros(&mut step, shape));
            flat.push(step.reshape(part, &Shape(vec![shape.elems()])));
        }
        let kept = total(&mut step, absorbed, received[t]);
        flat.push(step.reshape(kept, &Shape(vec![one.clone()])));
    }
    let next = step.add(prim::Concat { axis: 0 }, &flat);
    step.ok().map_err(broken)?;
    step.graph_mut().add_output(Output::value("next"), next);
    step.graph_mut().remove_unused();

    let time = b.ty(r[0]).dim(0).clone();
    let first = zeros(b, &Shape(vec![size]));
    let before = states_before(b, scan, site, &time);
    let operands: Vec<Value> = [first]
        .into_iter()
        .chain(r.iter().copied())
        .chain([before])
        .chain(site.inputs[1..].iter().copied())
        .collect();
    let steps = Scan::lower_step(b, step, &operands, scan.sequences + 1 + r.len(), !scan.reverse);
    starts.into_iter().map(|start| unpack(b, scan, site, &parts, steps, &time, start)).collect()
}

/// The state before each step.
fn states_before(b: &mut Builder, scan: &Scan, site: &Site, time: &Dim) -> Value {
    let first = b.ty(site.inputs[0]).shape;
    let first = b.reshape(site.inputs[0], &Shape([vec![Dim::known(1)], first.0].concat()));
    let rest = time - &Dim::known(1);
    let start = Dim::known(i64::from(scan.reverse));
    let others = b.add(slice(0, start, rest), &[site.y()]);
    b.add(prim::Concat { axis: 0 }, &if scan.reverse { [others, first] } else { [first, others] })
}

/// The shares of the operands from what the steps gave, `[time, given]`, on the track that starts at `at`.
fn unpack(
    b: &mut Builder,
    scan: &Scan,
    site: &Site,
    parts: &[(usize, Shape)],
    steps: Value,
    time: &Dim,
    mut at: Dim,
) -> Result<Flow, CompileError> {
    let mut flow = Flow { operands: vec![None; site.inputs.len()], absorbed: vec![] };
    for (k, shape) in parts {
        let len = shape.elems();
        let part = b.add(slice(1, at.clone(), len.clone()), &[steps]);
        at = &at + &len;
        let share = match k {
            // What the first step in time, the last of the reverse, passed back.
            0 => {
                let end = if scan.reverse { time - &Dim::known(1) } else { Dim::known(0) };
                let last = b.add(slice(0, end, Dim::known(1)), &[part]);
                b.reshape(last, shape)
            }
            k if *k <= scan.sequences => {
                b.reshape(part, &Shape([vec![time.clone()], shape.0.clone()].concat()))
            }
            _ => {
                let sum = b.reduce(Reduction::Sum, part, &[0], false);
                b.reshape(sum, shape)
            }
        };
        if site.live[*k] {
            flow.operands[*k] = Some(share);
        } else {
            flow.absorbed.push(b.total(share));
        }
    }
    let kept = b.add(slice(1, at, Dim::known(1)), &[steps]);
    flow.absorbed.push(b.total(kept));
    Ok(flow)
}

fn slice(axis: usize, start: Dim, len: Dim) -> Prim {
    Prim::Slice(prim::Slice { axis, start, len, step: 1 })
}

fn zeros(b: &mut Builder, shape: &Shape) -> Value {
    let zero = b.constant("zero", Tensor::from_f32(&vec![1; shape.rank()], &[0.0]));
    b.expand(zero, shape)
}

fn broken(source: OpError) -> CompileError {
    CompileError::Node {
        node: dlbc_proto::Name::new("step"),
        op: dlbc_proto::Name::new("recurrence"),
        source,
    }
}
