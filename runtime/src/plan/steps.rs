//! Runs in steps, where dimensions depend on values: how many boxes passed, how many tokens an expert got, which branch.
//!
//! Such a dimension is a symbol, and the program has the value that it is as an output `dim/SYMBOL`. A step computes the
//! values that can be known, keeps what is needed later, and binds the symbols; the next step plans the rest with them. The
//! last step is a program whose types are all known, as any other.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::{self, Prim};
use dlbc_ops::program::{Output, UNFIT_PREFIX};
use dlbc_ops::tensor::Bindings;

use crate::error::RuntimeError;
use crate::plan::simplify::{constant_of, is_known, simplify};

/// A program up to the next dimensions that it measures.
pub(crate) struct Step {
    /// The program of this step. Its outputs are what was asked for, or `dim/SYMBOL` and the values that are kept, by name.
    pub graph: Graph<Prim>,
    /// Symbols that turned out to be known.
    pub bound: Bindings,
    /// What is left; `None` in the last step.
    pub rest: Option<Rest>,
}

/// What a step leaves to do.
pub(crate) struct Rest {
    /// The symbols that the step measures.
    pub symbols: Vec<Arc<str>>,
    /// The program from there on: kept values are inputs of it.
    pub graph: Graph<Prim>,
}

/// Whether a program has dimensions to measure.
pub(crate) fn has_measures(graph: &Graph<Prim>) -> bool {
    graph.outputs().iter().any(|(name, _)| matches!(name, Output::Dimension(_)))
}

/// Whether a program chooses between branches, of which one is computed.
pub(crate) fn branches(graph: &Graph<Prim>) -> bool {
    graph.nodes().any(|id| matches!(graph.op(id), Prim::Merge(_) | Prim::MergeTranspose(_)))
}

/// The next step of `program` towards the outputs `wanted`, with what is bound so far.
///
/// # Errors
/// When a dimension cannot be measured.
pub(crate) fn next(
    program: &Graph<Prim>,
    bindings: &Bindings,
    wanted: &[Output],
) -> Result<Step, RuntimeError> {
    let mut graph = program.bind(bindings);
    let mut bound = Bindings::new();
    loop {
        simplify(&mut graph);
        let measures = measures(&graph);
        let roots: Vec<NodeId> = outputs(&graph, wanted);
        let symbols = needed(&graph, &roots, &measures);
        if symbols.is_empty() {
            let kept = graph.outputs().iter().filter(|(n, _)| wanted.contains(n)).cloned().collect();
            graph.set_outputs(kept);
            graph.remove_unused();
            graph.remove_unused_inputs();
            return Ok(Step { graph, bound, rest: None });
        }
        let known: Bindings = symbols
            .iter()
            .filter_map(|s| Some((s.clone(), constant_of(&graph, *measures.get(s)?)?)))
            .collect();
        if known.is_empty() {
            return cut(graph, bound, &symbols, &measures, wanted);
        }
        check(&graph, &measures, &known)?;
        graph = graph.bind(&known);
        bound.extend(known);
    }
}

/// Refuses dimensions below 0.
pub(crate) fn check(
    graph: &Graph<Prim>,
    measures: &BTreeMap<Arc<str>, Value>,
    known: &Bindings,
) -> Result<(), RuntimeError> {
    match known.iter().find(|(_, v)| **v < 0) {
        None => Ok(()),
        Some((symbol, value)) => {
            let node = measures.get(symbol).map_or("", |v| graph.value_name(*v)).to_string();
            Err(match symbol.starts_with(UNFIT_PREFIX) {
                true => RuntimeError::Unfit { node },
                false => RuntimeError::Measured { symbol: symbol.to_string(), node, value: *value },
            })
        }
    }
}

/// The value that each symbol is.
pub(crate) fn measures(graph: &Graph<Prim>) -> BTreeMap<Arc<str>, Value> {
    let measured = graph.outputs().iter().filter_map(|(output, v)| match output {
        Output::Dimension(symbol) => Some((symbol.clone(), *v)),
        Output::Model(_)
        | Output::Relevance { .. }
        | Output::Ledger { .. }
        | Output::Expert { .. }
        | Output::Baseline(_)
        | Output::SeedValue
        | Output::SeedSign
        | Output::Value(_) => None,
    });
    measured.collect()
}

fn outputs(graph: &Graph<Prim>, wanted: &[Output]) -> Vec<NodeId> {
    graph.outputs().iter().filter(|(n, _)| wanted.contains(n)).map(|(_, v)| v.node).collect()
}

/// The symbols to be measured next, those that others depend on among them. Where a branch is not chosen yet, the choice
/// comes first: nothing of a branch that is not taken is computed.
fn needed(graph: &Graph<Prim>, roots: &[NodeId], measures: &BTreeMap<Arc<str>, Value>) -> BTreeSet<Arc<str>> {
    let mut found = open(graph, roots, measures);
    let mut left: Vec<Arc<str>> = found.iter().cloned().collect();
    while let Some(value) = left.pop().and_then(|s| measures.get(&s).copied()) {
        for more in open(graph, &[value.node], measures) {
            if found.insert(more.clone()) {
                left.push(more);
            }
        }
    }
    found
}

/// The open symbols between the inputs and `roots`; of conditions alone where there are some.
fn open(graph: &Graph<Prim>, roots: &[NodeId], measures: &BTreeMap<Arc<str>, Value>) -> BTreeSet<Arc<str>> {
    let (mut conditions, mut all) = (BTreeSet::new(), BTreeSet::new());
    let mut seen = HashSet::new();
    let mut stack = roots.to_vec();
    while let Some(id) = stack.pop() {
        if !seen.insert(id) {
            continue;
        }
        if let Prim::Merge(prim::Merge { condition })
        | Prim::MergeTranspose(prim::MergeTranspose { condition, .. }) = graph.op(id)
            && condition.as_known().is_none()
        {
            condition.symbols(&mut |s| {
                conditions.insert(s.clone());
            });
            continue;
        }
        graph.symbols(id, &mut |s| {
            if measures.contains_key(s) {
                all.insert(s.clone());
            }
        });
        stack.extend(graph.node_inputs(id).into_iter().map(|v| v.node));
    }
    if conditions.is_empty() { all } else { conditions }
}

/// Splits a program after the symbols whose values can be computed.
fn cut(
    graph: Graph<Prim>,
    bound: Bindings,
    symbols: &BTreeSet<Arc<str>>,
    measures: &BTreeMap<Arc<str>, Value>,
    wanted: &[Output],
) -> Result<Step, RuntimeError> {
    let ready: Vec<Arc<str>> = symbols
        .iter()
        .filter(|s| {
            let value = measures.get(*s).map(|v| v.node);
            value.is_some_and(|v| ancestors(&graph, &[v]).iter().all(|id| is_known(&graph, *id)))
        })
        .cloned()
        .collect();
    if ready.is_empty() {
        let all: Vec<&str> = symbols.iter().map(|s| &**s).collect();
        return Err(RuntimeError::Circular { symbols: all.join(", ") });
    }
    let roots: Vec<NodeId> = ready.iter().map(|s| measures[s].node).collect();
    let constant = constants(&graph);
    let mut computed = ancestors(&graph, &roots);
    computed.retain(|id| !constant.contains(id) && !matches!(graph.op(*id), Prim::Input));
    // What comes later and reads what this step computes.
    let kept_names = |n: &Output| wanted.contains(n) || matches!(n, Output::Dimension(_));
    let later: Vec<(Output, Value)> = graph
        .outputs()
        .iter()
        .filter(|(n, _)| kept_names(n) && !ready.iter().any(|s| *n == Output::Dimension(s.clone())))
        .cloned()
        .collect();
    let needed = ancestors(&graph, &later.iter().map(|(_, v)| v.node).collect::<Vec<_>>());
    let mut kept: BTreeSet<NodeId> =
        later.iter().map(|(_, v)| v.node).filter(|n| computed.contains(n)).collect();
    for id in needed.iter().filter(|id| !computed.contains(id)) {
        let read = graph.node_inputs(*id).into_iter().map(|v| v.node);
        kept.extend(read.filter(|n| computed.contains(n)));
    }
    let mut step = graph.clone();
    let mut outputs: Vec<(Output, Value)> =
        ready.iter().map(|s| (Output::Dimension(s.clone()), measures[s])).collect();
    outputs.extend(
        kept.iter().map(|node| (Output::value(graph.node(*node).name()), Value { node: *node, slot: 0 })),
    );
    step.set_outputs(outputs);
    step.remove_unused();
    step.remove_unused_inputs();
    let mut rest = graph;
    for node in kept {
        rest.make_input(node, Prim::Input);
    }
    rest.set_outputs(later);
    rest.remove_unused();
    Ok(Step { graph: step, bound, rest: Some(Rest { symbols: ready, graph: rest }) })
}

/// The nodes that `roots` need, they among them.
pub(crate) fn ancestors(graph: &Graph<Prim>, roots: &[NodeId]) -> HashSet<NodeId> {
    let mut seen = HashSet::new();
    let mut stack = roots.to_vec();
    while let Some(id) = stack.pop() {
        if seen.insert(id) {
            stack.extend(graph.node_inputs(id).into_iter().map(|v| v.node));
        }
    }
    seen
}

/// The nodes that depend on constants alone.
pub(crate) fn constants(graph: &Graph<Prim>) -> HashSet<NodeId> {
    let mut constant = HashSet::new();
    for id in graph.topological() {
        let made = !matches!(graph.op(id), Prim::Input)
            && graph.node_inputs(id).iter().all(|v| constant.contains(&v.node));
        if made {
            constant.insert(id);
        }
    }
    constant
}
