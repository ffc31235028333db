//! Relevance of a recurrence: a second recurrence that runs the other way in time.
//!
//! Each step computes the forward step again from the state before it, and applies the rules of the step's operators to the
//! relevance of the state after it: the relevance from outside plus the relevance that later steps passed back. A recurrence
//! has a single state, so a step packs all its results into one vector: the relevance of the state before it, of its
//! sequence elements, of the captures, and the absorbed relevance. The next step reads the first part.

use std::collections::{HashMap, HashSet};

use dlbc_ops::OpError;
use dlbc_ops::graph::Value;
use dlbc_ops::op::Scan;
use dlbc_ops::op::role::Site;
use dlbc_ops::prim::{self, Builder, Prim, Reduction};
use dlbc_ops::program::Output;
use dlbc_ops::rule::Flow;
use dlbc_ops::tensor::{DType, Dim, Shape, Tensor, TensorType};

use super::rules::{Carries, Seed, Sink, lower_rules};
use super::track_flow::{node_error, sum_scalars};
use crate::error::CompileError;
use crate::relevance::RelevanceGraph;

/// Lowers the relevance of a recurrence. `r` has the relevance of the states after each step, `[time, state…]`, for each
/// track; the result has the flow of each track to the operands.
///
/// # Errors
/// When a rule of the step does not fit the shapes of its node.
pub(super) fn lower(
    b: &mut Builder,
    scan: &Scan,
    relevance: &RelevanceGraph,
    site: &Site,
    r: &[Value],
) -> Result<Vec<Flow>, CompileError> {
    let graph = scan.body.graph();
    let state = scan.body.inputs()[0].shape.clone();
    // The state comes first, and has a share even where no relevance reaches it.
    let names: Vec<&str> = graph.inputs().iter().map(|id| graph.node(*id).name()).collect();
    let has_share = |k: usize| k == 0 || relevance.sinks.iter().any(|s| s == names[k]);
    let shares: Vec<Share> = (0..names.len())
        .filter(|k| has_share(*k))
        .map(|input| Share { input, shape: scan.body.inputs()[input].shape.clone() })
        .collect();
    let unit = Dim::known(1);
    // Elements of one track: its shares and the absorbed relevance. The tracks follow one another.
    let track = shares.iter().fold(unit.clone(), |sum, share| &sum + &share.shape.elems());
    let size = r.iter().fold(Dim::known(0), |sum, _| &sum + &track);

    let mut step = Builder::new();
    let packed = step.input("given", TensorType::new(DType::F32, vec![size.clone()]));
    let received: Vec<Value> = (0..r.len())
        .map(|t| step.input(["received", "opposing"][t.min(1)], TensorType::new(DType::F32, state.clone())))
        .collect();
    let values = graph.lower(&mut step).map_err(|(id, source)| node_error(graph, id, source))?;
    let offsets: Vec<Dim> = (0..r.len())
        .scan(Dim::known(0), |next, _| {
            let offset = next.clone();
            *next = &*next + &track;
            Some(offset)
        })
        .collect();
    let mut seeds = vec![];
    for (offset, incoming) in offsets.iter().zip(&received) {
        let carried = step.add(slice(0, offset.clone(), state.elems()), &[packed]);
        let carried = step.reshape(carried, &state);
        seeds.push(step.plus(*incoming, carried));
    }
    let mut absorbed: Vec<Vec<Value>> = vec![vec![]; r.len()];
    let seed = Seed { tracks: &seeds, carries: Carries::Derivative, argues_for_larger: &HashSet::new() };
    let sinks = lower_rules(graph, relevance, &mut step, &values, &seed, &mut |_, lowered| {
        for (all, flow) in absorbed.iter_mut().zip(lowered.tracks) {
            all.extend(flow.absorbed);
        }
    })?;
    let mut by_input: HashMap<&str, Vec<Value>> = HashMap::new();
    for Sink { name, carries, tracks } in &sinks {
        let quotient = |r: &Value| match (carries, graph.find(name)) {
            (Carries::Relevance, Some(x)) => step.guarded_div(*r, values[&x]),
            _ => *r,
        };
        by_input.insert(name, tracks.iter().map(quotient).collect());
    }
    let mut flat = vec![];
    for (t, absorbed) in absorbed.iter().enumerate() {
        for Share { input, shape } in &shares {
            let share = by_input.get(names[*input]).map(|v| v[t]).unwrap_or_else(|| zeros(&mut step, shape));
            flat.push(step.reshape(share, &Shape(vec![shape.elems()])));
        }
        let absorbed = sum_scalars(&mut step, absorbed, received[t]);
        flat.push(step.reshape(absorbed, &Shape(vec![unit.clone()])));
    }
    let next = step.add(prim::Concat { axis: 0 }, &flat);
    step.ok().map_err(step_error)?;
    step.graph_mut().add_output(Output::value("next"), next);
    step.graph_mut().remove_unused();

    let time = b.ty(r[0]).dim(0).clone();
    let first = zeros(b, &Shape(vec![size]));
    let previous_states = states_before(b, scan, site, &time);
    let operands: Vec<Value> = [first]
        .into_iter()
        .chain(r.iter().copied())
        .chain([previous_states])
        .chain(site.inputs[1..].iter().copied())
        .collect();
    let packed = Scan::lower_step(b, step, &operands, scan.sequences + 1 + r.len(), !scan.reverse);
    let steps = PackedSteps { packed, time, shares };
    offsets.into_iter().map(|offset| unpack(b, scan, site, &steps, offset)).collect()
}

/// Relevance of an input of the step, as a part of the step's packed result.
struct Share {
    /// Index of the input.
    input: usize,
    /// Shape of the input.
    shape: Shape,
}

/// Packed results of all steps.
struct PackedSteps {
    /// The results, `[time, track · (shares, absorbed)]`.
    packed: Value,
    /// Number of steps.
    time: Dim,
    /// Shares of one track, in order.
    shares: Vec<Share>,
}

/// Returns the states before each step, `[time, state…]`.
fn states_before(b: &mut Builder, scan: &Scan, site: &Site, time: &Dim) -> Value {
    let first = b.ty(site.inputs[0]).shape;
    let first = b.reshape(site.inputs[0], &Shape([vec![Dim::known(1)], first.0].concat()));
    let len = time - &Dim::known(1);
    let start = Dim::known(i64::from(scan.reverse));
    let other_states = b.add(slice(0, start, len), &[site.y()]);
    b.add(prim::Concat { axis: 0 }, &if scan.reverse { [other_states, first] } else { [first, other_states] })
}

/// Returns the flow to the operands of the recurrence on the track whose elements start at `offset`.
fn unpack(
    b: &mut Builder,
    scan: &Scan,
    site: &Site,
    steps: &PackedSteps,
    mut offset: Dim,
) -> Result<Flow, CompileError> {
    let time = &steps.time;
    let mut flow = Flow { operands: vec![None; site.inputs.len()], absorbed: vec![] };
    for Share { input, shape } in &steps.shares {
        let len = shape.elems();
        let part = b.add(slice(1, offset.clone(), len.clone()), &[steps.packed]);
        offset = &offset + &len;
        let share = match input {
            // The initial state gets the relevance from the first step in time, the last of the reverse.
            0 => {
                let end = if scan.reverse { time - &Dim::known(1) } else { Dim::known(0) };
                let last = b.add(slice(0, end, Dim::known(1)), &[part]);
                b.reshape(last, shape)
            }
            k if *k <= scan.sequences => {
                b.reshape(part, &Shape([vec![time.clone()], shape.0.clone()].concat()))
            }
            _ => {
                let sum = b.reduce(Reduction::Sum, part, &[0]);
                b.reshape(sum, shape)
            }
        };
        if site.live[*input] {
            flow.operands[*input] = Some(share);
        } else {
            flow.absorbed.push(b.total(share));
        }
    }
    let absorbed = b.add(slice(1, offset, Dim::known(1)), &[steps.packed]);
    flow.absorbed.push(b.total(absorbed));
    Ok(flow)
}

fn slice(axis: usize, start: Dim, len: Dim) -> Prim {
    Prim::Slice(prim::Slice { axis, start, len, step: 1 })
}

fn zeros(b: &mut Builder, shape: &Shape) -> Value {
    let zero = b.constant("zero", Tensor::from_f32(&vec![1; shape.rank()], &[0.0]));
    b.expand(zero, shape)
}

/// The error of a primitive between the rules of a step.
fn step_error(source: OpError) -> CompileError {
    CompileError::Node {
        node: dlbc_proto::Name::new("step"),
        op: dlbc_proto::Name::new("recurrence"),
        source,
    }
}
