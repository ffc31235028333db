//! Model and relevance graph → one `Graph<Prim>`: the forward, then the rules from the explained output to the inputs.

mod baseline;
mod expert_outputs;
mod ledger;
mod rules;
mod scan_relevance;
mod seed_sign;
mod track_flow;

use std::collections::{HashMap, HashSet, VecDeque};

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Op, TreeEnsemble};
use dlbc_ops::prim::{self, Builder, Prim};
use dlbc_ops::program::{Info, InputInfo, LedgerRowInfo, Mode, Output, Program, Repeat, SEED, TreesEntry};
use dlbc_ops::tensor::{Dim, TensorType};

use ledger::LedgerRow;
use rules::{Carries, LoweredRule, Seed, Sink, lower_rules, times_derivative};
use track_flow::{TrackFlow, node_error};

use crate::composite::Quantity;
use crate::error::CompileError;
use crate::relevance::RelevanceGraph;
use crate::trees::Trees;

/// Lowers a model and the relevance of its explained output to one program.
///
/// # Errors
/// When a rule does not fit the shapes of a node.
pub fn lower(graph: &Graph<Op>, relevance: &RelevanceGraph) -> Result<Program, CompileError> {
    let mut b = Builder::new();
    let values = graph.lower(&mut b).map_err(|(id, source)| node_error(graph, id, source))?;
    let mut info = Info {
        mode: relevance.mode,
        explained: relevance.explained.clone(),
        ..interface(graph, &relevance.sinks)
    };
    lower_relevance(graph, relevance, &mut b, &values, &mut info)?;
    info.self_normalized = baseline::unnormalised_inputs(graph, relevance);
    info.repeat.clone_from(&relevance.repeat);
    if matches!(relevance.repeat, Some(Repeat::IntegratedGradients { .. })) {
        baseline::add_outputs(graph, relevance, &mut b, &values)?;
    }
    finish(graph, b, &values, info)
}

/// Lowers a model to a program that computes its outputs and explains nothing.
///
/// # Errors
/// When an operator does not fit the shapes of its operands.
pub fn lower_forward(graph: &Graph<Op>) -> Result<Program, CompileError> {
    let mut b = Builder::new();
    let values = graph.lower(&mut b).map_err(|(id, source)| node_error(graph, id, source))?;
    finish(graph, b, &values, interface(graph, &[]))
}

/// Lowers a model to a program that computes its outputs, and for each ensemble the rows that it reads and the leaves that they
/// reach.
///
/// # Errors
/// When an operator does not fit the shapes of its operands.
pub(crate) fn lower_trees(graph: &Graph<Op>, trees: Trees) -> Result<Program, CompileError> {
    let mut b = Builder::new();
    let values = graph.lower(&mut b).map_err(|(id, source)| node_error(graph, id, source))?;
    for (i, id) in trees.nodes.iter().enumerate() {
        // The ensemble's own leaves are nearest to its scores.
        let mut queue = VecDeque::from([values[&Value { node: *id, slot: 0 }].node]);
        while let Some(id) = queue.pop_front() {
            let inputs = b.graph().node_inputs(id);
            if matches!(b.graph().op(id), Prim::TreeLeaves(_)) {
                b.graph_mut().add_output(TreesEntry::Rows.of(i), inputs[0]);
                b.graph_mut().add_output(TreesEntry::Leaves.of(i), Value { node: id, slot: 0 });
                break;
            }
            queue.extend(inputs.iter().map(|v| v.node));
        }
        if let Op::TreeEnsemble(TreeEnsemble { covers: Some(covers), .. }) = graph.op(*id) {
            let covers = b.constant("tree_covers", covers.clone());
            b.graph_mut().add_output(TreesEntry::Covers.of(i), covers);
        }
    }
    let Trees { info, explained, .. } = trees;
    let inputs = info.sources.iter().filter(|s| s.is_input).map(|s| s.name.clone()).collect::<Vec<_>>();
    let info = Info { explained, trees: Some(info), ..interface(graph, &inputs) };
    finish(graph, b, &values, info)
}

/// Returns a description with the inputs and outputs of a model. `sinks` are the inputs that relevance reaches.
fn interface(graph: &Graph<Op>, sinks: &[String]) -> Info {
    let inputs = graph.inputs().iter().map(|id| {
        let name = graph.node(*id).name().to_string();
        let explained = sinks.contains(&name);
        InputInfo { name, ty: graph.node(*id).types[0].clone(), explained }
    });
    Info {
        outputs: graph.outputs().iter().map(|(name, _)| name.clone()).collect(),
        inputs: inputs.collect(),
        ..Info::default()
    }
}

/// Finishes a program: the model's outputs come first, then those of the builder, then data-dependent dimensions.
fn finish(
    graph: &Graph<Op>,
    b: Builder,
    values: &HashMap<Value, Value>,
    info: Info,
) -> Result<Program, CompileError> {
    let mut program = b.finish();
    let mut outputs: Vec<(Output, Value)> =
        graph.outputs().iter().map(|(name, v)| (Output::from(name), values[v])).collect();
    outputs.extend(program.outputs().to_vec());
    outputs.extend(
        graph.data_dependent_dims().iter().map(|(symbol, v)| (Output::Dimension(symbol.clone()), values[v])),
    );
    program.set_outputs(outputs);
    program.remove_unused();
    program.check().map_err(|faults| CompileError::BrokenGraph { pass: "lower", faults })?;
    let info = Info { reads_missing: reads_missing(&program), ..info };
    Ok(Program { graph: program, info })
}

/// Returns whether a program reads NaN as a missing value: it has trees, or tests values for NaN.
fn reads_missing(program: &Graph<Prim>) -> bool {
    program.nodes().any(|id| match (program.op(id), program.node_inputs(id).as_slice()) {
        (Prim::TreeLeaves(_), _) => true,
        (Prim::Binary(prim::Binary::Equal), [a, b]) => a == b,
        _ => false,
    })
}

/// Adds the seed, the rules, the ledger and the outputs of relevance, and records them in `info`.
fn lower_relevance(
    graph: &Graph<Op>,
    relevance: &RelevanceGraph,
    b: &mut Builder,
    values: &HashMap<Value, Value>,
    info: &mut Info,
) -> Result<(), CompileError> {
    let seed_node = relevance.graph.node(relevance.seed);
    b.set_origin(&seed_node.origin, "seed");
    let tracks = relevance.mode.tracks();
    let seeds = seeds(b, &seed_node.types[0], tracks.len());
    let mut by_node: HashMap<NodeId, Value> = HashMap::new();
    // Relevance of each node's result on each track, in the order of the rules.
    let mut by_name: Vec<(String, Vec<Value>)> = vec![];
    let explained = explained_value(graph, relevance);
    info.seed = seed_sign::add_outputs(graph, relevance, b, values, explained);
    // Only the coupled formulas of two tracks ask which nodes argue for a larger value.
    let argues_for_larger = match relevance.mode {
        Mode::Contrastive => seed_sign::arguments_for_larger(graph, relevance, explained),
        Mode::Default => HashSet::new(),
    };
    b.set_origin(&seed_node.origin, "seed");
    let seed = Seed { tracks: &seeds, carries: Carries::Relevance, argues_for_larger: &argues_for_larger };
    let sinks = lower_rules(graph, relevance, b, values, &seed, &mut |b, mut lowered| {
        let LoweredRule { forward, carries, .. } = lowered;
        let y = values[&Value { node: forward, slot: 0 }];
        let operands: Vec<Value> = graph.node_inputs(forward).iter().map(|v| values[v]).collect();
        let is_output = info.ledger.is_empty();
        for (flow, seed) in lowered.tracks.iter_mut().zip(&seeds) {
            if relevance.quantity == Quantity::GradientTimesInput {
                // The relevance of the output is the seed, even where its value is 0 and nothing can pass.
                flow.received = match carries {
                    _ if is_output => *seed,
                    Carries::Relevance => flow.received,
                    Carries::Derivative => times_derivative(b, y, flow.received),
                };
                if carries == Carries::Derivative {
                    for (k, share) in &mut flow.passed {
                        *share = times_derivative(b, operands[*k], *share);
                    }
                }
            }
            if relevance.quantity != Quantity::Relevance {
                // Derivatives are not shared out: the difference of received and passed is absorbed.
                flow.absorbed = vec![difference(b, flow)];
            }
        }
        let received: Vec<Value> = lowered.tracks.iter().map(|flow| flow.received).collect();
        by_node.extend(received.first().map(|r| (forward, *r)));
        by_name.push((graph.node(forward).name().to_string(), received));
        let node = relevance.graph.node(lowered.rule);
        let destinations = ledger::destinations(graph, forward, &node.op.targets);
        for (track, flow) in tracks.iter().zip(&lowered.tracks) {
            let row = LedgerRow { track: *track, row: info.ledger.len() };
            ledger::add_totals(b, row, flow);
            ledger::add_destinations(b, row, &destinations, flow);
            ledger::add_heads(b, row, (graph, forward), &node.op.targets, flow);
        }
        info.ledger.push(LedgerRowInfo {
            node: graph.node(forward).name().into(),
            op: node.op.op.clone(),
            rule: node.op.rule.as_ref().map(ToString::to_string).unwrap_or_default(),
            operands: node.op.targets.iter().map(|k| node.op.operands[*k].clone()).collect(),
            scope: ledger::module_path(graph, forward),
            to: destinations.into_iter().map(|destination| destination.module).collect(),
        });
    })?;
    let add_output = |b: &mut Builder, name: &str, r: Vec<Value>| {
        for (track, r) in tracks.iter().zip(r) {
            b.graph_mut().add_output(Output::relevance(*track, name), r);
        }
    };
    info.experts = expert_outputs::add_outputs(graph, b, values, &by_node);
    for (name, r) in by_name {
        add_output(b, &name, r);
    }
    for Sink { name, carries, tracks: mut r } in sinks {
        if relevance.quantity == Quantity::GradientTimesInput
            && carries == Carries::Derivative
            && let Some(input) = graph.find(&name)
        {
            r = r.iter().map(|r| times_derivative(b, values[&input], *r)).collect();
        }
        add_output(b, &name, r);
    }
    Ok(())
}

/// Subtracts all passed relevance from the received relevance, as scalars.
fn difference(b: &mut Builder, flow: &TrackFlow) -> Value {
    let mut difference = b.total(flow.received);
    for (_, share) in &flow.passed {
        let passed = b.total(*share);
        difference = b.minus(difference, passed);
    }
    difference
}

/// Adds the program input with the seed, and returns the seed of each track: the input itself, or one of its rows.
fn seeds(b: &mut Builder, ty: &TensorType, tracks: usize) -> Vec<Value> {
    if tracks == 1 {
        return vec![b.input(SEED, ty.clone())];
    }
    let stacked = [vec![Dim::known(tracks as i64)], ty.shape.0.clone()].concat();
    let all = b.input(SEED, TensorType::new(ty.dtype, stacked));
    (0..tracks)
        .map(|i| {
            let row = Prim::Slice(prim::Slice {
                axis: 0,
                start: Dim::known(i as i64),
                len: Dim::known(1),
                step: 1,
            });
            let row = b.add(row, &[all]);
            b.reshape(row, &ty.shape)
        })
        .collect()
}

/// Returns the model value that the seed is the relevance of.
fn explained_value(graph: &Graph<Op>, relevance: &RelevanceGraph) -> Value {
    let output = graph.outputs().iter().find(|(name, _)| *name == relevance.explained);
    output.map_or(Value { node: relevance.seed, slot: 0 }, |(_, v)| *v)
}
