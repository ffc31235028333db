//! Both graphs → one `Graph<Prim>`: the forward, then the rules in reverse order.

mod account;
mod baseline;
mod expert_outputs;
mod ledger;
mod start;
mod steps;
mod walk;

use std::collections::{HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::prim::{self, Builder, Prim};
use dlbc_ops::program::{Info, InputInfo, LedgerEntry, LedgerRowInfo, Mode, Output, Program, Repeat, SEED};
use dlbc_ops::tensor::{Dim, TensorType};

use account::{Account, located, total};
use ledger::LedgerRow;
use walk::{Carries, Sink, Start, times, walk};

use crate::composite::Quantity;
use crate::error::CompileError;
use crate::relevance::RelevanceGraph;

/// Lowers a model and the relevance of one of its outputs.
///
/// # Errors
/// When a shape does not work out for a rule, naming the forward node.
pub fn lower(graph: &Graph<Op>, relevance: &RelevanceGraph) -> Result<Program, CompileError> {
    let mut b = Builder::new();
    let values = graph.lower(&mut b).map_err(|(id, source)| located(graph, id, source))?;
    let mut info = Info {
        mode: relevance.mode,
        explained: relevance.explained.clone(),
        outputs: graph.outputs().iter().map(|(n, _)| n.clone()).collect(),
        inputs: graph
            .inputs()
            .iter()
            .map(|id| {
                let name = graph.node(*id).name().to_string();
                let explained = relevance.sinks.contains(&name);
                InputInfo { name, ty: graph.node(*id).types[0].clone(), explained }
            })
            .collect(),
        ..Info::default()
    };
    reverse(graph, relevance, &mut b, &values, &mut info)?;
    info.self_normalized = baseline::raw(graph, relevance);
    info.repeat.clone_from(&relevance.repeat);
    if matches!(relevance.repeat, Some(Repeat::IntegratedGradients { .. })) {
        baseline::outputs(graph, relevance, &mut b, &values)?;
    }
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
    Ok(Program { graph: program, info })
}

fn reverse(
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
    let mut arrived: HashMap<NodeId, Value> = HashMap::new();
    // The relevance of each forward value on each track, once all of it has arrived.
    let mut named: Vec<(String, Vec<Value>)> = vec![];
    let explained = explained(graph, relevance);
    info.seed = start::start(graph, relevance, b, values, explained);
    // One track alone asks nothing of an argument for a larger value.
    let first = match relevance.mode {
        Mode::Contrastive => start::first(graph, relevance, explained),
        Mode::Default => HashSet::new(),
    };
    b.set_origin(&seed_node.origin, "seed");
    let start = Start { values: &seeds, carries: Carries::Relevance, first: &first };
    let sinks = walk(graph, relevance, b, values, &start, &mut |b, mut row| {
        let operands = graph.node_inputs(row.forward);
        for (account, seed) in row.tracks.iter_mut().zip(&seeds) {
            if relevance.quantity == Quantity::GradientTimesInput {
                // The output itself has what it started with, also where it is 0 and nothing can pass.
                let first = info.ledger.is_empty();
                let y = values[&Value { node: row.forward, slot: 0 }];
                account.received = match row.carries {
                    _ if first => *seed,
                    Carries::Relevance => account.received,
                    Carries::Derivative => times(b, y, account.received),
                };
                if row.carries == Carries::Derivative {
                    for (k, share) in &mut account.passed {
                        *share = times(b, values[&operands[*k]], *share);
                    }
                }
            }
            if relevance.quantity != Quantity::Relevance {
                // Derivatives are not shared out: what does not arrive is what stays.
                let mut kept = b.total(account.received);
                for (_, share) in &account.passed {
                    let passed = b.total(*share);
                    kept = b.minus(kept, passed);
                }
                account.absorbed = vec![kept];
            }
        }
        let received: Vec<Value> = row.tracks.iter().map(|a| a.received).collect();
        arrived.extend(received.first().map(|r| (row.forward, *r)));
        named.push((graph.node(row.forward).name().to_string(), received));
        let node = relevance.graph.node(row.rule);
        let destinations = ledger::destinations(graph, row.forward, &node.op.targets);
        for (track, account) in tracks.iter().zip(&row.tracks) {
            let of_row = LedgerRow { track: *track, row: info.ledger.len() };
            audit(b, of_row, account);
            ledger::to(b, of_row, &destinations, account);
            ledger::heads(b, of_row, (graph, row.forward), &node.op.targets, account);
        }
        info.ledger.push(LedgerRowInfo {
            node: graph.node(row.forward).name().into(),
            op: node.op.op.clone(),
            rule: node.op.rule.as_ref().map(ToString::to_string).unwrap_or_default(),
            operands: node.op.targets.iter().map(|k| node.op.operands[*k].clone()).collect(),
            scope: ledger::scope(graph, row.forward),
            to: destinations.into_iter().map(|(to, _)| to).collect(),
        });
    })?;
    let output = |b: &mut Builder, name: &str, r: Vec<Value>| {
        for (track, r) in tracks.iter().zip(r) {
            b.graph_mut().add_output(Output::relevance(*track, name), r);
        }
    };
    info.experts = expert_outputs::add_outputs(graph, b, values, &arrived);
    for (name, r) in named {
        output(b, &name, r);
    }
    for Sink { name, carries, mut r } in sinks {
        if relevance.quantity == Quantity::GradientTimesInput
            && carries == Carries::Derivative
            && let Some(input) = graph.find(&name)
        {
            r = r.iter().map(|r| times(b, values[&input], *r)).collect();
        }
        output(b, &name, r);
    }
    Ok(())
}

/// The start of each track: the program's seed, or its rows.
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

/// The value that relevance starts at.
fn explained(graph: &Graph<Op>, relevance: &RelevanceGraph) -> Value {
    let found = graph.outputs().iter().find(|(name, _)| *name == relevance.explained);
    found.map_or(Value { node: relevance.seed, slot: 0 }, |(_, v)| *v)
}

/// The three scalars of a ledger row.
fn audit(b: &mut Builder, row: LedgerRow, account: &Account) {
    let received = b.total(account.received);
    let passed: Vec<Value> = account.passed.iter().map(|(_, v)| b.total(*v)).collect();
    let out = total(b, &passed, received);
    let kept = total(b, &account.absorbed, received);
    for (entry, v) in
        [(LedgerEntry::Received, received), (LedgerEntry::Passed, out), (LedgerEntry::Absorbed, kept)]
    {
        b.graph_mut().add_output(row.output(entry), v);
    }
}
