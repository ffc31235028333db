//! Ledger entries of a rule node: received, passed and absorbed relevance, the modules that it went to, and the heads of an
//! attention that it went through.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::prim::{Builder, Reduction};
use dlbc_ops::program::{LedgerEntry, Output, TrackKind};

use super::track_flow::{TrackFlow, sum_scalars};

/// A row of the ledger on one track.
#[derive(Clone, Copy)]
pub(super) struct LedgerRow {
    /// The track.
    pub track: TrackKind,
    /// Index of the row in [`Info::ledger`](dlbc_ops::program::Info::ledger).
    pub row: usize,
}

impl LedgerRow {
    /// The program output with an entry of this row.
    pub fn output(self, entry: LedgerEntry) -> Output {
        Output::Ledger { track: self.track, row: self.row, entry }
    }
}

/// Operands of a node that come from one module.
pub(super) struct Destination {
    /// Path of the module, outermost first; `None` for inputs of the model.
    pub module: Option<Vec<String>>,
    /// Indices of the operands.
    pub operands: Vec<usize>,
}

/// Returns the path of a node's module, outermost first.
pub(super) fn module_path(graph: &Graph<Op>, id: NodeId) -> Vec<String> {
    graph.node(id).origin.scope.clone().unwrap_or_default()
}

/// Groups a node's targets by the modules that they come from.
pub(super) fn destinations(graph: &Graph<Op>, id: NodeId, targets: &[usize]) -> Vec<Destination> {
    let operands = graph.node_inputs(id);
    let mut destinations: Vec<Destination> = vec![];
    for k in targets.iter().copied() {
        let source = operands[k].node;
        let module =
            if matches!(graph.op(source), Op::Input) { None } else { Some(module_path(graph, source)) };
        match destinations.iter_mut().find(|d| d.module == module) {
            Some(destination) => destination.operands.push(k),
            None => destinations.push(Destination { module, operands: vec![k] }),
        }
    }
    destinations
}

/// Adds the scalars `received`, `passed` and `absorbed` of a row.
pub(super) fn add_totals(b: &mut Builder, row: LedgerRow, flow: &TrackFlow) {
    let received = b.total(flow.received);
    let shares: Vec<Value> = flow.passed.iter().map(|(_, share)| b.total(*share)).collect();
    let passed = sum_scalars(b, &shares, received);
    let absorbed = sum_scalars(b, &flow.absorbed, received);
    for (entry, v) in
        [(LedgerEntry::Received, received), (LedgerEntry::Passed, passed), (LedgerEntry::Absorbed, absorbed)]
    {
        b.graph_mut().add_output(row.output(entry), v);
    }
}

/// Adds a scalar for each destination of a row that has more than one.
pub(super) fn add_destinations(
    b: &mut Builder,
    row: LedgerRow,
    destinations: &[Destination],
    flow: &TrackFlow,
) {
    if destinations.len() < 2 {
        return;
    }
    for (j, destination) in destinations.iter().enumerate() {
        let passed = flow.passed.iter().filter(|(k, _)| destination.operands.contains(k));
        let shares: Vec<Value> = passed.map(|(_, share)| b.total(*share)).collect();
        let sum = sum_scalars(b, &shares, flow.received);
        b.graph_mut().add_output(row.output(LedgerEntry::PassedTo(j)), sum);
    }
}

/// Adds the relevance that an attention received and passed on to each target, by head: `[heads]` each. A head is a query
/// head; keys and values that several query heads share count in each of them.
pub(super) fn add_heads(
    b: &mut Builder,
    row: LedgerRow,
    (graph, id): (&Graph<Op>, NodeId),
    targets: &[usize],
    flow: &TrackFlow,
) {
    if !is_attention(graph, id) {
        return;
    }
    let mut add = |entry: LedgerEntry, v: Value| {
        let ty = b.ty(v);
        if ty.rank() == 4 {
            let by_head = b.reduce(Reduction::Sum, v, &[0, 2, 3]);
            b.graph_mut().add_output(row.output(entry), by_head);
        }
    };
    add(LedgerEntry::HeadsReceived, flow.received);
    for (j, target) in targets.iter().enumerate() {
        if let Some((_, share)) = flow.passed.iter().find(|(k, _)| k == target) {
            add(LedgerEntry::HeadsPassed(j), *share);
        }
    }
}

/// Returns whether a node mixes values `[batch, head, position, feature]` by the weights of a softmax: a recovered attention, or the
/// second matrix product of one in pieces.
fn is_attention(graph: &Graph<Op>, id: NodeId) -> bool {
    if graph.node(id).types[0].rank() != 4 {
        return false;
    }
    if !matches!(graph.op(id), Op::MatMul(_)) {
        return matches!(graph.op(id), Op::Attention(_));
    }
    let is_softmax = |v: &Value| matches!(graph.op(v.node), Op::Softmax(_));
    let weights = graph.node_inputs(id)[0];
    // A choice between the weights and 0 guards rows without any key.
    let is_guarded = matches!(graph.op(weights.node), Op::Select(_))
        && graph.node_inputs(weights.node).iter().any(is_softmax);
    is_softmax(&weights) || is_guarded
}
