//! What the ledger says beyond a row's three scalars: which modules the relevance went to, and which heads of an attention
//! it went through.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::prim::{Builder, Reduction};
use dlbc_ops::program::{LedgerEntry, Output, TrackKind};

use super::account::{Account, total};

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

/// The path of a node's module.
pub(super) fn scope(graph: &Graph<Op>, id: NodeId) -> Vec<String> {
    graph.node(id).origin.scope.clone().unwrap_or_default()
}

/// Groups a node's targets by the modules that they come from, each once; `None` for the model's inputs.
pub(super) fn destinations(
    graph: &Graph<Op>,
    id: NodeId,
    targets: &[usize],
) -> Vec<(Option<Vec<String>>, Vec<usize>)> {
    let operands = graph.node_inputs(id);
    let mut found: Vec<(Option<Vec<String>>, Vec<usize>)> = vec![];
    for k in targets.iter().copied() {
        let from = operands[k].node;
        let to = if matches!(graph.op(from), Op::Input) { None } else { Some(scope(graph, from)) };
        match found.iter_mut().find(|(known, _)| *known == to) {
            Some((_, all)) => all.push(k),
            None => found.push((to, vec![k])),
        }
    }
    found
}

/// The scalars of a row's destinations, where there are several.
pub(super) fn to(
    b: &mut Builder,
    row: LedgerRow,
    destinations: &[(Option<Vec<String>>, Vec<usize>)],
    account: &Account,
) {
    if destinations.len() < 2 {
        return;
    }
    for (j, (_, operands)) in destinations.iter().enumerate() {
        let own = account.passed.iter().filter(|(k, _)| operands.contains(k));
        let parts: Vec<Value> = own.map(|(_, share)| b.total(*share)).collect();
        let sum = total(b, &parts, account.received);
        b.graph_mut().add_output(row.output(LedgerEntry::PassedTo(j)), sum);
    }
}

/// Of an attention, what it received and passed on to each of its targets by head: `[heads]` each. A head is one of the
/// queries; keys and values that several share count in each of them.
pub(super) fn heads(
    b: &mut Builder,
    row: LedgerRow,
    (graph, id): (&Graph<Op>, NodeId),
    targets: &[usize],
    account: &Account,
) {
    if !is_attention(graph, id) {
        return;
    }
    let mut sum = |entry: LedgerEntry, v: Value| {
        let ty = b.ty(v);
        if ty.rank() == 4 {
            let by_head = b.reduce(Reduction::Sum, v, &[0, 2, 3], false);
            b.graph_mut().add_output(row.output(entry), by_head);
        }
    };
    sum(LedgerEntry::HeadsReceived, account.received);
    for (j, target) in targets.iter().enumerate() {
        if let Some((_, share)) = account.passed.iter().find(|(k, _)| k == target) {
            sum(LedgerEntry::HeadsPassed(j), *share);
        }
    }
}

/// Whether a node mixes values of `[batch, heads, position, feature]` by weights of a softmax: an attention, recovered or in
/// its pieces.
fn is_attention(graph: &Graph<Op>, id: NodeId) -> bool {
    if graph.node(id).types[0].rank() != 4 {
        return false;
    }
    if !matches!(graph.op(id), Op::MatMul(_)) {
        return matches!(graph.op(id), Op::Attention(_));
    }
    let softmax = |v: &Value| matches!(graph.op(v.node), Op::Softmax(_));
    let weights = graph.node_inputs(id)[0];
    // A choice between the weights and 0 guards rows without any key.
    let guarded = matches!(graph.op(weights.node), Op::Select(_))
        && graph.node_inputs(weights.node).iter().any(softmax);
    softmax(&weights) || guarded
}
