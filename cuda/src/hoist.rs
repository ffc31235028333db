//! Hoisting out of recurrences. Nodes of a step that depend on the sequences but not on the state are computed for all steps at
//! once, and the step reads them as one more sequence. In a reverse that covers all of the forward, whose states are sequences.

use std::collections::{BTreeSet, HashMap};

use dlbc_ops::graph::{Body, Graph, NodeId, Value};
use dlbc_ops::prim::{Builder, Prim, Scan, batch};
use dlbc_ops::program::Output;

/// Dependencies of a value of a step.
#[derive(Clone, Copy, Default)]
struct Source {
    state: bool,
    sequence: bool,
}

/// Returns whether an operation only changes strides and so is free.
fn is_view(op: &Prim) -> bool {
    matches!(op, Prim::Slice(_) | Prim::Reshape(_) | Prim::Transpose(_) | Prim::Expand(_))
}

/// Hoists the nodes of a step that do not depend on the state. Returns the smaller recurrence and its operands, the hoisted values
/// among them, which are built in `b`; `None` if nothing can be hoisted.
pub(crate) fn hoist(b: &mut Builder, scan: &Scan, inputs: &[Value]) -> Option<(Scan, Vec<Value>)> {
    let body = scan.body.graph();
    let order = body.topological();
    let value = |node: NodeId| Value { node, slot: 0 };
    let mut sources: HashMap<NodeId, Source> = HashMap::new();
    for (i, id) in body.inputs().iter().enumerate() {
        sources.insert(*id, Source { state: i == 0, sequence: (1..=scan.sequences).contains(&i) });
    }
    for id in order.iter().filter(|id| !matches!(body.op(**id), Prim::Input)) {
        let mut source = Source::default();
        for v in body.node_inputs(*id) {
            source.state |= sources[&v.node].state;
            source.sequence |= sources[&v.node].sequence;
        }
        sources.insert(*id, source);
    }
    let result = scan.body.result().filter(|v| sources[&v.node].state)?;

    // Nodes that depend on the state remain, and so do views that they read.
    let mut remaining: BTreeSet<NodeId> = BTreeSet::new();
    let mut hoisted: Vec<NodeId> = vec![];
    let mut open = vec![result.node];
    while let Some(id) = open.pop() {
        let input = matches!(body.op(id), Prim::Input);
        if input || sources[&id].state || is_view(body.op(id)) {
            if remaining.insert(id) {
                open.extend(body.node_inputs(id).into_iter().map(|v| v.node));
            }
        } else if !hoisted.contains(&id) {
            hoisted.push(id);
        }
    }
    if hoisted.is_empty() {
        return None;
    }
    hoisted.sort_by_key(|id| !sources[id].sequence);
    let hoisted_values = all_at_once(b, scan, inputs, &hoisted)?;

    // Build the new step. Its inputs are the state, the sequences and the captures; hoisted values come last among their kind.
    let mut step = Builder::new();
    let mut values: HashMap<Value, Value> = HashMap::new();
    let mut operands = vec![];
    let mut sequences = 0;
    let old = |range: std::ops::Range<usize>| range.map(|i| (body.inputs()[i], inputs[i]));
    let new = |is_sequence: bool| {
        let pairs = hoisted.iter().copied().zip(hoisted_values.iter().copied());
        pairs.filter(|(id, _)| sources[id].sequence == is_sequence).collect::<Vec<_>>()
    };
    let first = 1 + scan.sequences;
    let used = |id: &NodeId| remaining.contains(id);
    let step_sequences = old(1..first).filter(|(id, _)| used(id)).chain(new(true)).collect::<Vec<_>>();
    let captured = old(first..inputs.len()).filter(|(id, _)| used(id)).chain(new(false)).collect::<Vec<_>>();
    sequences += step_sequences.len();
    for (id, outer) in old(0..1).chain(step_sequences).chain(captured) {
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
        let inputs: Vec<Value> = body.node_inputs(*id).iter().map(|v| values[v]).collect();
        values.insert(value(*id), step.add(node.op.clone(), &inputs));
    }
    step.ok().ok()?;
    step.graph_mut().add_output(Output::value("next"), values[&result]);
    Some((Scan { body: Body::new(step.finish()), sequences, reverse: scan.reverse }, operands))
}

/// Builds nodes of a step for all steps at once, as values of `b`. Those that depend on a sequence get a leading time axis.
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
    let sequences: Vec<&str> = names[1..=scan.sequences].iter().map(String::as_str).collect();
    let graph = batch(&graph, &sequences, steps).ok()?;
    let mut values: HashMap<Value, Value> = HashMap::new();
    for id in graph.inputs() {
        let at = names.iter().position(|n| n == graph.node(*id).name())?;
        values.insert(Value { node: *id, slot: 0 }, inputs[at]);
    }
    for id in graph.topological() {
        let node = graph.node(id);
        b.set_origin(&node.origin, node.name());
        let operands: Vec<Value> = graph.node_inputs(id).iter().map(|v| values[v]).collect();
        let value = match &node.op {
            Prim::Input => continue,
            Prim::Const(t) => b.constant(node.name(), t.clone()),
            op => b.add(op.clone(), &operands),
        };
        values.insert(Value { node: id, slot: 0 }, value);
    }
    Some(graph.outputs().iter().map(|(_, v)| values[v]).collect())
}
