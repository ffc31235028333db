//! Runs in steps, for programs with data-dependent dimensions: the number of boxes that pass a threshold, the number of tokens
//! of an expert, the branch that is taken.
//!
//! Such a dimension is a symbol, and the program computes its size as the output `dim/SYMBOL`. A step computes the sizes that
//! do not depend on other open symbols, carries over the values that later steps read, and binds the symbols; the next step
//! plans the rest with them. In the last step all types are known, as in a program without such dimensions.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::{self, Prim};
use dlbc_ops::program::{Output, UNFIT_PREFIX};
use dlbc_ops::tensor::Bindings;

use crate::error::RuntimeError;
use crate::plan::simplify::{constant_of, is_known, simplify};

/// The part of a program up to the next data-dependent dimensions.
pub(crate) struct Step {
    /// Program of this step. Its outputs are the requested ones in the last step, else `dim/SYMBOL` and the values that later
    /// steps read, by name.
    pub graph: Graph<Prim>,
    /// Sizes of symbols that constants determine, without running the step.
    pub bound: Bindings,
    /// Remainder of the program; `None` in the last step.
    pub rest: Option<Rest>,
}

/// The remainder of a program after a step.
pub(crate) struct Rest {
    /// Symbols whose sizes the step computes.
    pub symbols: Vec<Arc<str>>,
    /// Program after the step; the values that the step carries over are inputs of it.
    pub graph: Graph<Prim>,
}

/// Returns whether a program has data-dependent dimensions.
pub(crate) fn has_data_dependent_dims(graph: &Graph<Prim>) -> bool {
    graph.outputs().iter().any(|(name, _)| matches!(name, Output::Dimension(_)))
}

/// Returns whether a program chooses at run time between branches, of which it computes one.
pub(crate) fn has_branches(graph: &Graph<Prim>) -> bool {
    graph.nodes().any(|id| matches!(graph.op(id), Prim::Merge(_) | Prim::MergeTranspose(_)))
}

/// Returns the next step of `program` towards the outputs `requested`. `bindings` has the sizes that are known so far.
///
/// # Errors
/// When a dimension is negative, or dimensions depend on one another in a cycle.
pub(crate) fn next(
    program: &Graph<Prim>,
    bindings: &Bindings,
    requested: &[Output],
) -> Result<Step, RuntimeError> {
    let mut graph = program.bind(bindings);
    let mut bound = Bindings::new();
    loop {
        simplify(&mut graph);
        let sizes = dimension_values(&graph);
        let roots: Vec<NodeId> = output_nodes(&graph, requested);
        let symbols = needed_symbols(&graph, &roots, &sizes);
        if symbols.is_empty() {
            let outputs = graph.outputs().iter().filter(|(n, _)| requested.contains(n)).cloned().collect();
            graph.set_outputs(outputs);
            graph.remove_unused();
            graph.remove_unused_inputs();
            return Ok(Step { graph, bound, rest: None });
        }
        let known: Bindings =
            symbols.iter().filter_map(|s| Some((s.clone(), constant_of(&graph, *sizes.get(s)?)?))).collect();
        if known.is_empty() {
            return split_at_symbols(graph, bound, &symbols, &sizes, requested);
        }
        check_sizes(&graph, &sizes, &known)?;
        graph = graph.bind(&known);
        bound.extend(known);
    }
}

/// Refuses negative sizes among `known`.
pub(crate) fn check_sizes(
    graph: &Graph<Prim>,
    sizes: &BTreeMap<Arc<str>, Value>,
    known: &Bindings,
) -> Result<(), RuntimeError> {
    match known.iter().find(|(_, v)| **v < 0) {
        None => Ok(()),
        Some((symbol, value)) => {
            let node = sizes.get(symbol).map_or("", |v| graph.value_name(*v)).to_string();
            Err(match symbol.starts_with(UNFIT_PREFIX) {
                true => RuntimeError::UnfitBranch { node },
                false => RuntimeError::InvalidDimension { symbol: symbol.to_string(), node, value: *value },
            })
        }
    }
}

/// Returns the value that holds the size of each data-dependent dimension, by symbol.
pub(crate) fn dimension_values(graph: &Graph<Prim>) -> BTreeMap<Arc<str>, Value> {
    let dimensions = graph.outputs().iter().filter_map(|(output, v)| match output {
        Output::Dimension(symbol) => Some((symbol.clone(), *v)),
        Output::Model(_)
        | Output::Relevance { .. }
        | Output::Ledger { .. }
        | Output::Expert { .. }
        | Output::Baseline(_)
        | Output::SeedValue
        | Output::SeedSign
        | Output::Trees { .. }
        | Output::Value(_) => None,
    });
    dimensions.collect()
}

/// Returns the nodes of the outputs in `requested`.
fn output_nodes(graph: &Graph<Prim>, requested: &[Output]) -> Vec<NodeId> {
    graph.outputs().iter().filter(|(n, _)| requested.contains(n)).map(|(_, v)| v.node).collect()
}

/// Returns the open symbols that `roots` need, directly or through other symbols. While the condition of a branch is open, only
/// the symbols of conditions count, so that nothing of a branch that is not taken is computed.
fn needed_symbols(
    graph: &Graph<Prim>,
    roots: &[NodeId],
    sizes: &BTreeMap<Arc<str>, Value>,
) -> BTreeSet<Arc<str>> {
    let mut needed = open_symbols(graph, roots, sizes);
    let mut pending: Vec<Arc<str>> = needed.iter().cloned().collect();
    while let Some(value) = pending.pop().and_then(|s| sizes.get(&s).copied()) {
        for symbol in open_symbols(graph, &[value.node], sizes) {
            if needed.insert(symbol.clone()) {
                pending.push(symbol);
            }
        }
    }
    needed
}

/// Returns the open symbols of the nodes between the inputs and `roots`, or only those of open conditions if there are any.
fn open_symbols(
    graph: &Graph<Prim>,
    roots: &[NodeId],
    sizes: &BTreeMap<Arc<str>, Value>,
) -> BTreeSet<Arc<str>> {
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
            if sizes.contains_key(s) {
                all.insert(s.clone());
            }
        });
        stack.extend(graph.node_inputs(id).into_iter().map(|v| v.node));
    }
    if conditions.is_empty() { all } else { conditions }
}

/// Splits a program after the nodes that compute the sizes of `symbols`, as far as these need no other open symbol.
fn split_at_symbols(
    graph: Graph<Prim>,
    bound: Bindings,
    symbols: &BTreeSet<Arc<str>>,
    sizes: &BTreeMap<Arc<str>, Value>,
    requested: &[Output],
) -> Result<Step, RuntimeError> {
    let ready: Vec<Arc<str>> = symbols
        .iter()
        .filter(|s| {
            let value = sizes.get(*s).map(|v| v.node);
            value.is_some_and(|v| ancestors(&graph, &[v]).iter().all(|id| is_known(&graph, *id)))
        })
        .cloned()
        .collect();
    if ready.is_empty() {
        let all: Vec<&str> = symbols.iter().map(|s| &**s).collect();
        return Err(RuntimeError::Circular { symbols: all.join(", ") });
    }
    let roots: Vec<NodeId> = ready.iter().map(|s| sizes[s].node).collect();
    let constant = constants(&graph);
    let mut computed = ancestors(&graph, &roots);
    computed.retain(|id| !constant.contains(id) && !matches!(graph.op(*id), Prim::Input));
    // Outputs of later steps, and the values of this step that they read.
    let is_later = |n: &Output| requested.contains(n) || matches!(n, Output::Dimension(_));
    let later: Vec<(Output, Value)> = graph
        .outputs()
        .iter()
        .filter(|(n, _)| is_later(n) && !ready.iter().any(|s| *n == Output::Dimension(s.clone())))
        .cloned()
        .collect();
    let needed = ancestors(&graph, &later.iter().map(|(_, v)| v.node).collect::<Vec<_>>());
    let mut carried: BTreeSet<NodeId> =
        later.iter().map(|(_, v)| v.node).filter(|n| computed.contains(n)).collect();
    for id in needed.iter().filter(|id| !computed.contains(id)) {
        let read = graph.node_inputs(*id).into_iter().map(|v| v.node);
        carried.extend(read.filter(|n| computed.contains(n)));
    }
    let mut step = graph.clone();
    let mut outputs: Vec<(Output, Value)> =
        ready.iter().map(|s| (Output::Dimension(s.clone()), sizes[s])).collect();
    outputs.extend(
        carried.iter().map(|node| (Output::value(graph.node(*node).name()), Value { node: *node, slot: 0 })),
    );
    step.set_outputs(outputs);
    step.remove_unused();
    step.remove_unused_inputs();
    let mut rest = graph;
    for node in carried {
        rest.make_input(node, Prim::Input);
    }
    rest.set_outputs(later);
    rest.remove_unused();
    Ok(Step { graph: step, bound, rest: Some(Rest { symbols: ready, graph: rest }) })
}

/// Returns `roots` and the nodes that they depend on.
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

/// Returns the nodes that depend on constants only, the constants among them.
pub(crate) fn constants(graph: &Graph<Prim>) -> HashSet<NodeId> {
    let mut constant = HashSet::new();
    for id in graph.topological() {
        let is_constant = !matches!(graph.op(id), Prim::Input)
            && graph.node_inputs(id).iter().all(|v| constant.contains(&v.node));
        if is_constant {
            constant.insert(id);
        }
    }
    constant
}
