//! Liveness analysis: the values of a graph that carry relevance, as data or as token ids. The canonical passes and the
//! relevance graph use it.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::role::{Role, RoleKind};
use dlbc_ops::op::{Op, Scan};
use dlbc_ops::tensor::DType;

use crate::options::Options;
use crate::rotation::angle_lookups;

/// Kind of relevance that a value carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Live {
    /// No relevance.
    No,
    /// Relevance of token ids, which an embedding may look up.
    Ids,
    /// Relevance of data.
    Data,
}

/// Computes the liveness of every value: floats that depend on a float input, and embeddings of token ids, carry relevance; angles of
/// rotary embeddings do not.
pub(crate) fn liveness(graph: &Graph<Op>, options: &Options) -> HashMap<Value, Live> {
    live_values(graph, |id, dtype| input_liveness(graph.node(id).name(), dtype, options))
}

/// Computes the liveness of the values of a recurrence's step, given which operands of the recurrence carry relevance. The
/// state carries relevance if the initial state does or if the step's result does; the second makes this a fixed point.
pub(crate) fn step_liveness(scan: &Scan, operands: &[bool]) -> HashMap<Value, Live> {
    let graph = scan.body.graph();
    let mut state = operands.first().copied().unwrap_or(false);
    loop {
        let live = live_values(graph, |id, _| {
            let slot = graph.inputs().iter().position(|i| *i == id).unwrap_or(usize::MAX);
            let is_live = if slot == 0 { state } else { operands.get(slot).copied().unwrap_or(false) };
            if is_live { Live::Data } else { Live::No }
        });
        let next = scan.body.result().and_then(|v| live.get(&v).copied()).unwrap_or(Live::No);
        if state || next == Live::No {
            return live;
        }
        state = true;
    }
}

/// Propagates liveness from the inputs, whose liveness `input` gives, through all nodes.
fn live_values(graph: &Graph<Op>, input: impl Fn(NodeId, DType) -> Live) -> HashMap<Value, Live> {
    let mut live: HashMap<Value, Live> = HashMap::new();
    let angles = angle_lookups(graph);
    for id in graph.topological() {
        let inputs = graph.node_inputs(id);
        let operands: Vec<Live> = inputs.iter().map(|v| live.get(v).copied().unwrap_or(Live::No)).collect();
        for (slot, ty) in graph.node(id).types.iter().enumerate() {
            let state = match graph.op(id) {
                Op::Const(_) | Op::Dims { .. } => Live::No,
                _ if angles.contains(&id) => Live::No,
                Op::Input => input(id, ty.dtype),
                op => {
                    let live_operands: Vec<bool> = operands.iter().map(|l| *l != Live::No).collect();
                    value_liveness(op, &op.role(&live_operands), ty.dtype, &operands)
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
    let strongest = operands.iter().copied().max().unwrap_or(Live::No);
    match role.kind() {
        RoleKind::NoRelevance => Live::No,
        RoleKind::Embedding if operands.get(1).is_some_and(|l| *l != Live::No) => Live::Data,
        // Ids stay ids while they are moved; arithmetic on them, or a cast to float, ends them.
        RoleKind::Rearrange if dtype.is_integer() => strongest,
        RoleKind::Elementwise if dtype.is_integer() && matches!(op, Op::Cast(_)) => strongest,
        _ if dtype.is_float() && strongest == Live::Data => Live::Data,
        _ => Live::No,
    }
}
