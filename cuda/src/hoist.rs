//! What a step of a recurrence computes from the sequences alone leaves the step: it is computed for all steps at once, and the
//! step reads it as one more sequence. In a reverse that is what the forward did, whose states are sequences there.

use std::collections::{BTreeSet, HashMap};

use dlbc_ops::graph::{Body, Graph, NodeId, Value};
use dlbc_ops::prim::{Builder, Prim, Scan, batch};
use dlbc_ops::program::Output;

/// What a value of a step depends on.
#[derive(Clone, Copy, Default)]
struct Source {
    state: bool,
    sequence: bool,
}

/// What costs nothing where it stands.
fn moves(op: &Prim) -> bool {
    matches!(op, Prim::Slice(_) | Prim::Reshape(_) | Prim::Transpose(_) | Prim::Expand(_))
}

/// The recurrence without what need not be in its step, and its operands, of which some are new in `b`; `None` when nothing can
/// leave the step.
pub(crate) fn hoist(b: &mut Builder, scan: &Scan, inputs: &[Value]) -> Option<(Scan, Vec<Value>)> {
    let body = scan.body.graph();
    let order = body.topological();
    let value = |node: NodeId| Value { node, slot: 0 };
    let mut sources: HashMap<NodeId, Source> = HashMap::new();
    for (i, id) in body.inputs().iter().enumerate() {
        sources.insert(*id, Source { state: i == 0, sequence: (1..=scan.sequences).contains(&i) });
    }
    for id in order.iter().filter(|id| !matches!(body.op(**id), Prim::Input)) {
        let mut own = Source::default();
        for v in body.node_inputs(*id) {
            own.state |= sources[&v.node].state;
            own.sequence |= sources[&v.node].sequence;
        }
        sources.insert(*id, own);
    }
    let result = scan.body.result().filter(|v| sources[&v.node].state)?;

    // What stays: all that depends on the state, and the moves in front of it.
    let mut stays: BTreeSet<NodeId> = BTreeSet::new();
    let mut leaves: Vec<NodeId> = vec![];
    let mut open = vec![result.node];
    while let Some(id) = open.pop() {
        let input = matches!(body.op(id), Prim::Input);
        if input || sources[&id].state || moves(body.op(id)) {
            if stays.insert(id) {
                open.extend(body.node_inputs(id).into_iter().map(|v| v.node));
            }
        } else if !leaves.contains(&id) {
            leaves.push(id);
        }
    }
    if leaves.is_empty() {
        return None;
    }
    leaves.sort_by_key(|id| !sources[id].sequence);
    let made = all_at_once(b, scan, inputs, &leaves)?;

    // The step anew: state, sequences, captures, each kind with its new ones last.
    let mut step = Builder::new();
    let mut values: HashMap<Value, Value> = HashMap::new();
    let mut operands = vec![];
    let mut sequences = 0;
    let old = |range: std::ops::Range<usize>| range.map(|i| (body.inputs()[i], inputs[i]));
    let new = |wanted: bool| {
        let both = leaves.iter().copied().zip(made.iter().copied());
        both.filter(|(id, _)| sources[id].sequence == wanted).collect::<Vec<_>>()
    };
    let first = 1 + scan.sequences;
    let used = |id: &NodeId| stays.contains(id);
    let taken = old(1..first).filter(|(id, _)| used(id)).chain(new(true)).collect::<Vec<_>>();
    let captured = old(first..inputs.len()).filter(|(id, _)| used(id)).chain(new(false)).collect::<Vec<_>>();
    sequences += taken.len();
    for (id, outer) in old(0..1).chain(taken).chain(captured) {
        let node = body.node(id);
        values.insert(value(id), step.input(node.name(), node.types[0].clone()));
        operands.push(outer);
    }
    if sequences == 0 {
        return None;
    }
    for id in order.iter().filter(|id| used(id) && !matches!(body.op(**id), Prim::Input)) {
        let node = body.node(*id);
        step.set_origin(&node.origin, node.name());
        let own: Vec<Value> = body.node_inputs(*id).iter().map(|v| values[v]).collect();
        values.insert(value(*id), step.add(node.op.clone(), &own));
    }
    step.ok().ok()?;
    step.graph_mut().add_output(Output::value("next"), values[&result]);
    Some((Scan { body: Body::new(step.finish()), sequences, reverse: scan.reverse }, operands))
}

/// Nodes of a step for all steps, as values of `b`: with a leading axis of time where they depend on a sequence.
fn all_at_once(b: &mut Builder, scan: &Scan, inputs: &[Value], nodes: &[NodeId]) -> Option<Vec<Value>> {
    let steps = b.ty(inputs[1]).dim(0).as_known().and_then(|t| usize::try_from(t).ok())?;
    let mut graph: Graph<Prim> = scan.body.graph().clone();
    let names: Vec<String> = (0..inputs.len()).map(|i| format!("operand {i}")).collect();
    for (id, name) in graph.inputs().to_vec().into_iter().zip(&names) {
        graph.rename(Value { node: id, slot: 0 }, name);
    }
    let outputs =
        nodes.iter().enumerate().map(|(i, id)| (Output::value(i.to_string()), Value { node: *id, slot: 0 }));
    graph.set_outputs(outputs.collect());
    let wide: Vec<&str> = names[1..=scan.sequences].iter().map(String::as_str).collect();
    let graph = batch(&graph, &wide, steps).ok()?;
    let mut values: HashMap<Value, Value> = HashMap::new();
    for id in graph.inputs() {
        let at = names.iter().position(|n| n == graph.node(*id).name())?;
        values.insert(Value { node: *id, slot: 0 }, inputs[at]);
    }
    for id in graph.topological() {
        let node = graph.node(id);
        b.set_origin(&node.origin, node.name());
        let own: Vec<Value> = graph.node_inputs(id).iter().map(|v| values[v]).collect();
        let made = match &node.op {
            Prim::Input => continue,
            Prim::Const(t) => b.constant(node.name(), t.clone()),
            op => b.add(op.clone(), &own),
        };
        values.insert(Value { node: id, slot: 0 }, made);
    }
    Some(graph.outputs().iter().map(|(_, v)| values[v]).collect())
}
