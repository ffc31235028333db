//! Both graphs → one `Graph<Prim>`: the forward, then the rules in reverse order.

use std::collections::{HashMap, HashSet};

use dlbc_ops::OpError;
use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::op::role::Site;
use dlbc_ops::prim::{Builder, Prim};
use dlbc_ops::program::{AuditRow, Info, InputInfo, Program, SEED};
use dlbc_proto::Name;

use crate::error::CompileError;
use crate::relevance::RelevanceGraph;

/// Lowers a model and the relevance of one of its outputs.
///
/// # Errors
/// When a shape does not work out for a rule, naming the forward node.
pub fn lower(graph: &Graph<Op>, relevance: &RelevanceGraph) -> Result<Program, CompileError> {
    let mut b = Builder::new();
    let values = forward(graph, &mut b)?;
    let mut info = Info {
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
    let mut program = b.finish();
    let mut outputs: Vec<(String, Value)> =
        graph.outputs().iter().map(|(name, v)| (format!("output/{name}"), values[v])).collect();
    outputs.extend(program.outputs().to_vec());
    program.set_outputs(outputs);
    program.remove_unused();
    program.check().map_err(|faults| CompileError::Broken { pass: "lower", faults })?;
    Ok(Program { graph: program, info })
}

fn forward(graph: &Graph<Op>, b: &mut Builder) -> Result<HashMap<Value, Value>, CompileError> {
    let mut values: HashMap<Value, Value> = HashMap::new();
    // Values that carry a tensor's name: one that two nodes share keeps the first.
    let mut named: HashSet<Value> = HashSet::new();
    // Inputs first and in order: they are the program's signature.
    for id in graph.inputs() {
        let v = Value { node: *id, slot: 0 };
        b.at(&graph.node(*id).origin, graph.node(*id).name());
        let input = b.input(graph.node(*id).name(), graph.ty(v).clone());
        named.insert(input);
        values.insert(v, input);
    }
    for id in graph.topological() {
        let node = graph.node(id);
        b.at(&node.origin, node.name());
        let made = match &node.op {
            Op::Input => continue,
            Op::Const(t) => {
                let constant = b.constant(node.name(), t.clone());
                named.insert(constant);
                vec![constant]
            }
            op => {
                let inputs: Vec<Value> = graph.node_inputs(id).iter().map(|v| values[v]).collect();
                let before = b.graph().len();
                let made = op.lower(b, &inputs);
                b.ok().map_err(|source| located(graph, id, source))?;
                for (slot, v) in made.iter().enumerate() {
                    // A node that added nothing is another name for its operand.
                    if b.graph().len() > before && named.insert(*v) {
                        b.graph_mut().rename(*v, &node.names[slot]);
                    }
                }
                made
            }
        };
        for (slot, v) in made.into_iter().enumerate() {
            values.insert(Value { node: id, slot }, v);
        }
    }
    Ok(values)
}

fn located(graph: &Graph<Op>, id: NodeId, source: OpError) -> CompileError {
    let node = graph.node(id);
    CompileError::Node { node: Name::new(node.name()), op: Name::new(&node.origin.ops()), source }
}

fn reverse(
    graph: &Graph<Op>,
    relevance: &RelevanceGraph,
    b: &mut Builder,
    values: &HashMap<Value, Value>,
    info: &mut Info,
) -> Result<(), CompileError> {
    let seed_node = relevance.graph.node(relevance.seed);
    b.at(&seed_node.origin, "seed");
    let seed = b.input(SEED, seed_node.types[0].clone());
    let mut lowered: HashMap<Value, Value> = HashMap::from([(Value { node: relevance.seed, slot: 0 }, seed)]);
    // The relevance of each forward value, once all of it has arrived.
    let mut named: Vec<(String, Value)> = vec![];
    for id in relevance.graph.topological() {
        let Some(forward) = relevance.forward.get(&id).copied() else { continue };
        let node = relevance.graph.node(id);
        let Some(rule) = &node.op.rule else { continue };
        b.at(&node.origin, &format!("R.{}", graph.node(forward).name()));
        let r = sum(b, relevance.graph.wires_in(id).iter().map(|(_, v)| lowered[v]));
        let operands = graph.node_inputs(forward);
        let inputs: Vec<Value> = operands.iter().map(|v| values[v]).collect();
        let outputs = [values[&Value { node: forward, slot: 0 }]];
        let live = &relevance.live[&forward];
        let site = Site { inputs: &inputs, outputs: &outputs, live };
        let role = graph.op(forward).role(live);
        let flow = rule.lower(b, &role, &site, r);
        b.ok().map_err(|source| located(graph, forward, source))?;
        named.push((graph.node(forward).name().to_string(), r));
        // A node may have tens of thousands of operands.
        let slots: HashMap<usize, usize> = node.op.targets.iter().enumerate().map(|(s, k)| (*k, s)).collect();
        let mut passed = vec![];
        let mut absorbed = flow.absorbed.clone();
        for (k, share) in flow.operands.iter().enumerate() {
            let Some(share) = *share else { continue };
            match slots.get(&k).copied() {
                Some(slot) => {
                    lowered.insert(Value { node: id, slot }, share);
                    passed.push(b.total(share));
                }
                None => absorbed.push(b.total(share)),
            }
        }
        audit(b, info.audit.len(), r, &passed, &absorbed);
        info.audit.push(AuditRow {
            node: graph.node(forward).name().into(),
            op: node.op.op.clone(),
            rule: rule.to_string(),
            operands: node.op.targets.iter().map(|k| node.op.operands[*k].clone()).collect(),
        });
        b.ok().map_err(|source| located(graph, forward, source))?;
    }
    for (i, sink) in relevance.sinks.iter().enumerate() {
        let wires = relevance.graph.outputs().iter().filter(|(n, _)| *n == format!("{sink}#{i}"));
        b.at(&dlbc_ops::graph::Origin::onnx(sink, "input"), &format!("R.{sink}"));
        let r = sum(b, wires.map(|(_, v)| lowered[v]));
        named.push((sink.clone(), r));
    }
    for (name, r) in named {
        b.graph_mut().add_output(&format!("relevance/{name}"), r);
    }
    Ok(())
}

/// The sum of the relevance that arrives over several wires.
fn sum(b: &mut Builder, mut wires: impl Iterator<Item = Value>) -> Value {
    let Some(first) = wires.next() else {
        b.fail(OpError::Invalid("a rule without relevance".into()));
        return b.add(Prim::Const(dlbc_ops::tensor::Tensor::scalar(0.0)), &[]);
    };
    wires.fold(first, |sum, v| b.plus(sum, v))
}

/// The three scalars of a ledger row.
fn audit(b: &mut Builder, row: usize, r: Value, passed: &[Value], absorbed: &[Value]) {
    let received = b.total(r);
    let zero = b.scalar_like(0.0, r);
    let add = |b: &mut Builder, terms: &[Value]| {
        terms.iter().fold(None, |s, v| Some(s.map_or(*v, |s| b.plus(s, *v))))
    };
    let out = add(b, passed).unwrap_or(zero);
    let kept = add(b, absorbed).unwrap_or(zero);
    for (name, v) in [("in", received), ("out", out), ("absorbed", kept)] {
        b.graph_mut().add_output(&format!("audit/{row}/{name}"), v);
    }
}
