//! Models whose explained output is a sum of trees: the description that their Shapley values are computed from.

mod columns;
mod scores;

use std::collections::{HashSet, VecDeque};

use dlbc_ops::OpError;
use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Aggregate, Op, TreeEnsemble};
use dlbc_ops::program::{EnsembleInfo, ScoreInfo, TreesInfo};
use dlbc_ops::tensor::Dim;
use dlbc_proto::{Model, Name};

use crate::error::CompileError;
use crate::options::{Options, TREESHAP};
use crate::relevance::explained_output;
use columns::Columns;

/// Returns whether a model has trees.
pub fn has_trees(model: &Model) -> bool {
    let nodes = model.graph().node.iter().chain(model.proto.functions.iter().flat_map(|f| &f.node));
    nodes.into_iter().any(|node| node.op_type().starts_with("TreeEnsemble"))
}

/// Trees below the explained output.
pub(crate) struct Trees {
    /// Description for the program.
    pub info: TreesInfo,
    /// Name of the explained output.
    pub explained: String,
    /// Nodes of the ensembles.
    pub nodes: Vec<NodeId>,
}

/// Describes the trees below the explained output.
///
/// # Errors
/// If the output does not depend on one sum of trees alone.
pub(crate) fn describe(graph: &Graph<Op>, options: &Options) -> Result<Trees, CompileError> {
    let (explained, output) = explained_output(graph, options)?;
    let refuse = |expected: &str, actual: &str| CompileError::Node {
        node: Name::new(&explained),
        op: Name::new(TREESHAP),
        source: OpError::unsupported("explained output", expected, actual),
    };
    let nodes = ensembles_below(graph, output);
    let Some(first) = nodes.first() else {
        return Err(refuse("one that trees compute", "one without trees"));
    };
    for id in &nodes {
        if let Op::TreeEnsemble(TreeEnsemble { aggregate: Aggregate::Min | Aggregate::Max, .. }) =
            graph.op(*id)
        {
            return Err(refuse("a sum or mean of trees", "a smallest or largest value"));
        }
    }
    let rows = graph.ty(Value { node: *first, slot: 0 }).dim(0).clone();
    let units = match graph.ty(output).rank() {
        0 | 1 => Some(1),
        rank => graph.ty(output).dim(rank - 1).as_known().and_then(|n| usize::try_from(n).ok()),
    };
    let scores = raw_scores(graph, output, &nodes, &rows, units.unwrap_or(1))
        .ok_or_else(|| refuse("a function of a sum of trees", "one of several sums, or of other values"))?;
    let columns = Columns::new(graph, rows);
    let mut ensembles = vec![];
    for id in &nodes {
        let inputs = graph.node_inputs(*id);
        let trees = graph.ty(inputs[4]).dim(0).as_known().unwrap_or(1).max(1);
        let is_mean = matches!(graph.op(*id), Op::TreeEnsemble(e) if e.aggregate == Aggregate::Average);
        ensembles.push(EnsembleInfo {
            features: columns.of(inputs[0]),
            factor: if is_mean { 1.0 / trees as f64 } else { 1.0 },
        });
    }
    let info = TreesInfo { sources: columns.compact(&mut ensembles), ensembles, scores };
    Ok(Trees { info, explained, nodes })
}

/// Returns the ensembles on which a value depends, in their order in the graph.
fn ensembles_below(graph: &Graph<Op>, output: Value) -> Vec<NodeId> {
    let (mut seen, mut stack) = (HashSet::new(), vec![output.node]);
    while let Some(id) = stack.pop() {
        if seen.insert(id) {
            stack.extend(graph.node_inputs(id).iter().map(|v| v.node));
        }
    }
    let order = graph.topological().into_iter();
    order.filter(|id| seen.contains(id) && matches!(graph.op(*id), Op::TreeEnsemble(_))).collect()
}

/// Returns the raw score of each unit: those of the value nearest to the output that is a sum of trees and has as many columns
/// as the output has units. A single column is the score of the second of two classes.
fn raw_scores(
    graph: &Graph<Op>,
    output: Value,
    ensembles: &[NodeId],
    rows: &Dim,
    units: usize,
) -> Option<Vec<ScoreInfo>> {
    let forms = scores::forms(graph, ensembles, rows);
    let (mut seen, mut queue) = (HashSet::from([output]), VecDeque::from([output]));
    let mut single = None;
    while let Some(v) = queue.pop_front() {
        if let Some(scores) = forms.get(&v).filter(|scores| scores.iter().any(|s| !s.terms.is_empty())) {
            if scores.len() == units {
                return Some(scores.clone());
            }
            if let ([score], 2, None) = (scores.as_slice(), units, &single) {
                single = Some(score.clone());
            }
        }
        queue.extend(graph.node_inputs(v.node).into_iter().filter(|v| seen.insert(*v)));
    }
    let score = single?;
    let negated = ScoreInfo {
        offset: -score.offset,
        terms: score.terms.iter().map(|(e, column, factor)| (*e, *column, -factor)).collect(),
    };
    Some(vec![negated, score])
}
