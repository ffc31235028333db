//! Both graphs → one `Graph<Prim>`: the forward, then the rules in reverse order.

mod steps;

use std::collections::HashMap;

use dlbc_ops::OpError;
use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::op::role::Site;
use dlbc_ops::prim::{Binary, Builder, Prim};
use dlbc_ops::program::{AuditRow, Info, InputInfo, Program, SEED};
use dlbc_ops::tensor::DType;
use dlbc_proto::Name;

use crate::composite::Passes;
use crate::error::CompileError;
use crate::relevance::RelevanceGraph;

/// Lowers a model and the relevance of one of its outputs.
///
/// # Errors
/// When a shape does not work out for a rule, naming the forward node.
pub fn lower(graph: &Graph<Op>, relevance: &RelevanceGraph) -> Result<Program, CompileError> {
    let mut b = Builder::new();
    let values = graph.lower(&mut b).map_err(|(id, source)| located(graph, id, source))?;
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
    // The relevance of each forward value, once all of it has arrived.
    let mut named: Vec<(String, Value)> = vec![];
    let explained = values[&explained(graph, relevance)];
    let start = match relevance.passes {
        // The output's value times its derivative is what the output starts with.
        Passes::GradientTimesInput => b.guarded_div(seed, explained),
        _ => seed,
    };
    let sinks = walk(graph, relevance, b, values, start, &mut |b, mut row| {
        let operands = graph.node_inputs(row.forward);
        if relevance.passes == Passes::GradientTimesInput {
            // The output itself has what it started with, also where it is 0 and nothing can pass.
            let first = info.audit.is_empty();
            let y = values[&Value { node: row.forward, slot: 0 }];
            row.received = if first { seed } else { times(b, y, row.received) };
            for (k, share) in &mut row.passed {
                *share = times(b, values[&operands[*k]], *share);
            }
        }
        if relevance.passes != Passes::Relevance {
            // Derivatives are not shared out: what does not arrive is what stays.
            let mut kept = b.total(row.received);
            for (_, share) in &row.passed {
                let passed = b.total(*share);
                kept = b.minus(kept, passed);
            }
            row.absorbed = vec![kept];
        }
        named.push((graph.node(row.forward).name().to_string(), row.received));
        audit(b, info.audit.len(), &row);
        let node = relevance.graph.node(row.rule);
        info.audit.push(AuditRow {
            node: graph.node(row.forward).name().into(),
            op: node.op.op.clone(),
            rule: node.op.rule.as_ref().map(ToString::to_string).unwrap_or_default(),
            operands: node.op.targets.iter().map(|k| node.op.operands[*k].clone()).collect(),
        });
    })?;
    for (name, r) in named {
        b.graph_mut().add_output(&format!("relevance/{name}"), r);
    }
    for (name, mut r) in sinks {
        if relevance.passes == Passes::GradientTimesInput
            && let Some(input) = graph.find(&name)
        {
            r = times(b, values[&input], r);
        }
        b.graph_mut().add_output(&format!("relevance/{name}"), r);
    }
    Ok(())
}

/// The value that relevance starts at.
fn explained(graph: &Graph<Op>, relevance: &RelevanceGraph) -> Value {
    let found = graph.outputs().iter().find(|(name, _)| *name == relevance.explained);
    found.map_or(Value { node: relevance.seed, slot: 0 }, |(_, v)| *v)
}

/// Values times their derivatives. Token ids have no derivative: what they are given is relevance already.
fn times(b: &mut Builder, x: Value, r: Value) -> Value {
    let dtype = b.ty(x).dtype;
    if dtype.is_integer() && dtype != DType::U8 {
        return r;
    }
    let x = b.cast(x, DType::F32);
    let product = b.mul(x, r);
    // What is masked with -∞ has no derivative and no relevance.
    let zero = b.scalar_like(0.0, r);
    let none = b.binary(Binary::Equal, r, zero);
    b.add(Prim::Select, &[none, zero, product])
}

/// What a rule node did with its relevance.
struct Row {
    /// The rule node.
    rule: NodeId,
    /// Its forward node.
    forward: NodeId,
    /// The relevance that arrived.
    received: Value,
    /// What went on to operands, with their place.
    passed: Vec<(usize, Value)>,
    /// Scalars of what stayed.
    absorbed: Vec<Value>,
}

/// Lowers the rules of a relevance graph from `seed` on, telling `note` of each. Returns the relevance of each sink.
fn walk(
    graph: &Graph<Op>,
    relevance: &RelevanceGraph,
    b: &mut Builder,
    values: &HashMap<Value, Value>,
    seed: Value,
    note: &mut dyn FnMut(&mut Builder, Row),
) -> Result<Vec<(String, Value)>, CompileError> {
    let mut lowered: HashMap<Value, Value> = HashMap::from([(Value { node: relevance.seed, slot: 0 }, seed)]);
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
        let flow = match (graph.op(forward), relevance.steps.get(&forward)) {
            (Op::Scan(scan), Some(step)) => steps::lower(b, scan, step, &site, r)?,
            (op, _) => rule.lower(b, &op.role(live), &site, r),
        };
        b.ok().map_err(|source| located(graph, forward, source))?;
        // A node may have tens of thousands of operands.
        let slots: HashMap<usize, usize> = node.op.targets.iter().enumerate().map(|(s, k)| (*k, s)).collect();
        let mut row = Row { rule: id, forward, received: r, passed: vec![], absorbed: flow.absorbed.clone() };
        for (k, share) in flow.operands.iter().enumerate() {
            let Some(share) = *share else { continue };
            match slots.get(&k).copied() {
                Some(slot) => {
                    lowered.insert(Value { node: id, slot }, share);
                    row.passed.push((k, share));
                }
                None => row.absorbed.push(b.total(share)),
            }
        }
        // An operand that is read twice takes its share once, and a step function has no derivative.
        for (slot, k) in node.op.targets.iter().enumerate() {
            if flow.operands.get(*k).copied().flatten().is_none() {
                let zero = b.scalar_like(0.0, r);
                let shape = b.ty(inputs[*k]).shape;
                let none = b.expand(zero, &shape);
                lowered.insert(Value { node: id, slot }, none);
            }
        }
        note(b, row);
        b.ok().map_err(|source| located(graph, forward, source))?;
    }
    let mut sinks = vec![];
    for (i, sink) in relevance.sinks.iter().enumerate() {
        let wires = relevance.graph.outputs().iter().filter(|(n, _)| *n == format!("{sink}#{i}"));
        b.at(&dlbc_ops::graph::Origin::onnx(sink, "input"), &format!("R.{sink}"));
        sinks.push((sink.clone(), sum(b, wires.map(|(_, v)| lowered[v]))));
    }
    Ok(sinks)
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
fn audit(b: &mut Builder, at: usize, row: &Row) {
    let received = b.total(row.received);
    let passed: Vec<Value> = row.passed.iter().map(|(_, v)| b.total(*v)).collect();
    let out = total(b, &passed, received);
    let kept = total(b, &row.absorbed, received);
    for (name, v) in [("in", received), ("out", out), ("absorbed", kept)] {
        b.graph_mut().add_output(&format!("audit/{at}/{name}"), v);
    }
}

/// The sum of scalars of `like`'s element type.
fn total(b: &mut Builder, terms: &[Value], like: Value) -> Value {
    let sum = terms.iter().fold(None, |s, v| Some(s.map_or(*v, |s| b.plus(s, *v))));
    sum.unwrap_or_else(|| b.scalar_like(0.0, like))
}
