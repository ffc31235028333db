//! Liveness: which values of a graph carry relevance, and as what. Both the canonicalisation passes and the relevance graph
//! ask for it.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::role::{Role, RoleKind};
use dlbc_ops::op::{Op, Scan};
use dlbc_ops::tensor::DType;

use crate::options::Options;

/// How a value carries relevance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Live {
    /// It does not.
    No,
    /// As token ids that an embedding may look up.
    Ids,
    /// As data.
    Data,
}

/// How every value carries relevance: floats that depend on a float input, and what embeddings of token ids make.
pub(crate) fn liveness(graph: &Graph<Op>, options: &Options) -> HashMap<Value, Live> {
    live_values(graph, |id, dtype| input_liveness(graph.node(id).name(), dtype, options))
}

/// How the values of a step carry relevance. The state does when it came with some, or when a step gives it some.
pub(crate) fn step_liveness(scan: &Scan, operands: &[bool]) -> HashMap<Value, Live> {
    let graph = scan.body.graph();
    let mut state = operands.first().copied().unwrap_or(false);
    loop {
        let live = live_values(graph, |id, _| {
            let at = graph.inputs().iter().position(|i| *i == id).unwrap_or(usize::MAX);
            let carries = if at == 0 { state } else { operands.get(at).copied().unwrap_or(false) };
            if carries { Live::Data } else { Live::No }
        });
        let next = scan.body.result().and_then(|v| live.get(&v).copied()).unwrap_or(Live::No);
        if state || next == Live::No {
            return live;
        }
        state = true;
    }
}

fn live_values(graph: &Graph<Op>, input: impl Fn(NodeId, DType) -> Live) -> HashMap<Value, Live> {
    let mut live: HashMap<Value, Live> = HashMap::new();
    for id in graph.topological() {
        let inputs = graph.node_inputs(id);
        let operands: Vec<Live> = inputs.iter().map(|v| live.get(v).copied().unwrap_or(Live::No)).collect();
        for (slot, ty) in graph.node(id).types.iter().enumerate() {
            let state = match graph.op(id) {
                Op::Const(_) | Op::Dims { .. } => Live::No,
                Op::Input => input(id, ty.dtype),
                op => {
                    let carries: Vec<bool> = operands.iter().map(|l| *l != Live::No).collect();
                    value_liveness(op, &op.role(&carries), ty.dtype, &operands)
                }
            };
            live.insert(Value { node: id, slot }, state);
        }
    }
    live
}

fn input_liveness(name: &str, dtype: DType, options: &Options) -> Live {
    if options.no_relevance.iter().any(|n| n == name) {
        return Live::No;
    }
    match dtype {
        _ if options.live.iter().any(|n| n == name) => Live::Data,
        DType::Bool => Live::No,
        // Bytes are pixels.
        DType::U8 => Live::Data,
        t if t.is_integer() => Live::Ids,
        _ => Live::Data,
    }
}

fn value_liveness(op: &Op, role: &Role, dtype: DType, operands: &[Live]) -> Live {
    let most = operands.iter().copied().max().unwrap_or(Live::No);
    match role.kind() {
        RoleKind::NoRelevance => Live::No,
        RoleKind::Embedding if operands.get(1).is_some_and(|l| *l != Live::No) => Live::Data,
        // Ids stay ids while they are moved; arithmetic on them, or a cast to float, ends them.
        RoleKind::Rearrange if dtype.is_integer() => most,
        RoleKind::Elementwise if dtype.is_integer() && matches!(op, Op::Cast(_)) => most,
        _ if dtype.is_float() && most == Live::Data => Live::Data,
        _ => Live::No,
    }
}
