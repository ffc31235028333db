//! Both graphs → one `Graph<Prim>`: the forward, then the rules in reverse order.

mod baseline;
mod experts;
mod ledger;
mod start;
mod steps;

use std::collections::{HashMap, HashSet};

use dlbc_ops::OpError;
use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::op::role::Site;
use dlbc_ops::prim::{self, Binary, Builder, Prim};
use dlbc_ops::program::{AuditRow, Info, InputInfo, MEASURED, Mode, Program, Repeat, SEED};
use dlbc_ops::rule::{Argument, Flow, Rule};
use dlbc_ops::tensor::{DType, Dim, TensorType};
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
        mode: relevance.mode,
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
    info.raw = baseline::raw(graph, relevance);
    info.repeat.clone_from(&relevance.repeat);
    if matches!(relevance.repeat, Some(Repeat::IntegratedGradients { .. })) {
        baseline::outputs(graph, relevance, &mut b, &values)?;
    }
    let mut program = b.finish();
    let mut outputs: Vec<(String, Value)> =
        graph.outputs().iter().map(|(name, v)| (format!("output/{name}"), values[v])).collect();
    outputs.extend(program.outputs().to_vec());
    outputs.extend(graph.measured().iter().map(|(symbol, v)| (format!("{MEASURED}{symbol}"), values[v])));
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
    let tracks = relevance.mode.tracks();
    let seeds = seeds(b, &seed_node.types[0], tracks.len());
    let mut arrived: HashMap<NodeId, Value> = HashMap::new();
    // The relevance of each forward value on each track, once all of it has arrived.
    let mut named: Vec<(String, Vec<Value>)> = vec![];
    let explained = explained(graph, relevance);
    info.start = start::start(graph, relevance, b, values, explained);
    // One track alone asks nothing of an argument for a larger value.
    let first = match relevance.mode {
        Mode::Contrastive => start::first(graph, relevance, explained),
        Mode::Default => HashSet::new(),
    };
    b.at(&seed_node.origin, "seed");
    let start = Start { values: &seeds, carries: Carries::Relevance, first: &first };
    let sinks = walk(graph, relevance, b, values, &start, &mut |b, mut row| {
        let operands = graph.node_inputs(row.forward);
        for (account, seed) in row.tracks.iter_mut().zip(&seeds) {
            if relevance.passes == Passes::GradientTimesInput {
                // The output itself has what it started with, also where it is 0 and nothing can pass.
                let first = info.audit.is_empty();
                let y = values[&Value { node: row.forward, slot: 0 }];
                account.received = match row.carries {
                    _ if first => *seed,
                    Carries::Relevance => account.received,
                    Carries::Derivative => times(b, y, account.received),
                };
                if row.carries == Carries::Derivative {
                    for (k, share) in &mut account.passed {
                        *share = times(b, values[&operands[*k]], *share);
                    }
                }
            }
            if relevance.passes != Passes::Relevance {
                // Derivatives are not shared out: what does not arrive is what stays.
                let mut kept = b.total(account.received);
                for (_, share) in &account.passed {
                    let passed = b.total(*share);
                    kept = b.minus(kept, passed);
                }
                account.absorbed = vec![kept];
            }
        }
        let received: Vec<Value> = row.tracks.iter().map(|a| a.received).collect();
        arrived.extend(received.first().map(|r| (row.forward, *r)));
        named.push((graph.node(row.forward).name().to_string(), received));
        let node = relevance.graph.node(row.rule);
        let destinations = ledger::destinations(graph, row.forward, &node.op.targets);
        for (track, account) in tracks.iter().zip(&row.tracks) {
            let name = format!("{}{}", track.audit, info.audit.len());
            audit(b, &name, account);
            ledger::to(b, &name, &destinations, account);
            ledger::heads(b, &name, (graph, row.forward), &node.op.targets, account);
        }
        info.audit.push(AuditRow {
            node: graph.node(row.forward).name().into(),
            op: node.op.op.clone(),
            rule: node.op.rule.as_ref().map(ToString::to_string).unwrap_or_default(),
            operands: node.op.targets.iter().map(|k| node.op.operands[*k].clone()).collect(),
            scope: ledger::scope(graph, row.forward),
            to: destinations.into_iter().map(|(to, _)| to).collect(),
        });
    })?;
    let output = |b: &mut Builder, name: &str, r: Vec<Value>| {
        for (track, r) in tracks.iter().zip(r) {
            b.graph_mut().add_output(&format!("{}{name}", track.relevance), r);
        }
    };
    info.experts = experts::outputs(graph, b, values, &arrived);
    for (name, r) in named {
        output(b, &name, r);
    }
    for Sink { name, carries, mut r } in sinks {
        if relevance.passes == Passes::GradientTimesInput
            && carries == Carries::Derivative
            && let Some(input) = graph.find(&name)
        {
            r = r.iter().map(|r| times(b, values[&input], *r)).collect();
        }
        output(b, &name, r);
    }
    Ok(())
}

/// The start of each track: the program's seed, or its rows.
fn seeds(b: &mut Builder, ty: &TensorType, tracks: usize) -> Vec<Value> {
    if tracks == 1 {
        return vec![b.input(SEED, ty.clone())];
    }
    let stacked = [vec![Dim::known(tracks as i64)], ty.shape.0.clone()].concat();
    let all = b.input(SEED, TensorType::new(ty.dtype, stacked));
    (0..tracks)
        .map(|i| {
            let row = Prim::Slice(prim::Slice {
                axis: 0,
                start: Dim::known(i as i64),
                len: Dim::known(1),
                step: 1,
            });
            let row = b.add(row, &[all]);
            b.reshape(row, &ty.shape)
        })
        .collect()
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
    /// Quantity that it received and passed on.
    carries: Carries,
    /// What it did on each track.
    tracks: Vec<Account>,
}

/// The relevance of an input.
struct Sink {
    name: String,
    carries: Carries,
    /// On each track.
    r: Vec<Value>,
}

/// Quantity on a wire of a composite that passes derivatives and whose result is values times them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carries {
    /// A derivative; in other composites, what that composite passes.
    Derivative,
    /// Relevance: the derivative times the value already.
    Relevance,
}

impl Carries {
    /// Returns the quantity that a rule takes and gives; `None` for one that moves whatever arrives.
    fn by(rule: &Rule) -> Option<Carries> {
        match rule {
            Rule::Gradient(_) | Rule::Slope | Rule::TokenTimes | Rule::Stepwise => Some(Carries::Derivative),
            Rule::Route | Rule::Winner | Rule::Token | Rule::Stop => None,
            _ => Some(Carries::Relevance),
        }
    }
}

/// What a rule node did with the relevance of one track.
struct Account {
    /// The relevance that arrived.
    received: Value,
    /// What went on to operands, with their place.
    passed: Vec<(usize, Value)>,
    /// Scalars of what stayed.
    absorbed: Vec<Value>,
}

/// The relevance that a walk starts with.
struct Start<'a> {
    /// The start of each track, of the shape of the explained value.
    values: &'a [Value],
    /// Kind of the start in a composite of derivatives times input.
    carries: Carries,
    /// The nodes that the start reaches as it is.
    first: &'a HashSet<NodeId>,
}

/// Lowers the rules of a relevance graph from the start on, telling `note` of each. Returns the relevance of each sink on each
/// track.
///
/// In a composite of derivatives times input, a rule of relevance gets the value times the derivative, and a rule of
/// derivatives that gets relevance the quotient by the value, 0 where that is 0. A slope passes relevance as it is: so does a
/// final Sigmoid whose value is 0 in float32.
fn walk(
    graph: &Graph<Op>,
    relevance: &RelevanceGraph,
    b: &mut Builder,
    values: &HashMap<Value, Value>,
    from: &Start,
    note: &mut dyn FnMut(&mut Builder, Row),
) -> Result<Vec<Sink>, CompileError> {
    let start = Value { node: relevance.seed, slot: 0 };
    let mut lowered: HashMap<Value, Vec<Value>> = HashMap::from([(start, from.values.to_vec())]);
    // Rule nodes whose wires carry relevance where others carry derivatives.
    let mut given: HashSet<NodeId> = HashSet::new();
    if relevance.passes == Passes::GradientTimesInput && from.carries == Carries::Relevance {
        given.insert(relevance.seed);
    }
    // What arrives over several wires adds up, track by track.
    let arrived = |b: &mut Builder,
                   lowered: &HashMap<Value, Vec<Value>>,
                   given: &HashSet<NodeId>,
                   (wires, y): (&[Value], Option<Value>),
                   wanted: Option<Carries>|
     -> (Carries, Vec<Value>) {
        let (of_relevance, others): (Vec<Value>, Vec<Value>) =
            wires.iter().partition(|w| given.contains(&w.node));
        let carries = match wanted {
            _ if relevance.passes != Passes::GradientTimesInput => Carries::Derivative,
            Some(carries) => carries,
            None if of_relevance.is_empty() => Carries::Derivative,
            None => Carries::Relevance,
        };
        let r = (0..from.values.len()).map(|track| {
            let parts = [(Carries::Relevance, &of_relevance), (Carries::Derivative, &others)];
            let parts = parts.into_iter().filter(|(_, wires)| !wires.is_empty());
            let parts: Vec<Value> = parts
                .map(|(kind, wires)| {
                    let r = sum(b, wires.iter().map(|w| lowered[w][track]));
                    match (kind, carries, y) {
                        (Carries::Derivative, Carries::Relevance, Some(y)) => times(b, y, r),
                        (Carries::Relevance, Carries::Derivative, Some(y)) => {
                            let y = b.cast(y, DType::F32);
                            b.guarded_div(r, y)
                        }
                        _ => r,
                    }
                })
                .collect();
            sum(b, parts.into_iter())
        });
        (carries, r.collect())
    };
    for id in relevance.graph.topological() {
        let Some(forward) = relevance.forward.get(&id).copied() else { continue };
        let node = relevance.graph.node(id);
        let Some(rule) = &node.op.rule else { continue };
        b.at(&node.origin, &format!("R.{}", graph.node(forward).name()));
        let wires: Vec<Value> = relevance.graph.wires_in(id).into_iter().map(|(_, v)| v).collect();
        let y = values[&Value { node: forward, slot: 0 }];
        let rule = match rule {
            Rule::Slope if wires.iter().all(|w| given.contains(&w.node)) => &Rule::Pass,
            rule => rule,
        };
        let (carries, r) = arrived(b, &lowered, &given, (&wires, Some(y)), Carries::by(rule));
        if carries == Carries::Relevance {
            given.insert(id);
        }
        let operands = graph.node_inputs(forward);
        let inputs: Vec<Value> = operands.iter().map(|v| values[v]).collect();
        let outputs = [y];
        let live = &relevance.live[&forward];
        let site = Site { inputs: &inputs, outputs: &outputs, live };
        let flows = match (graph.op(forward), relevance.steps.get(&forward), r.as_slice()) {
            (Op::Scan(scan), Some(step), r) => steps::lower(b, scan, step, &site, r)?,
            (op, _, [supporting, opposing]) => {
                let argument = if from.first.contains(&forward) { Argument::Larger } else { Argument::Value };
                rule.lower_contrast(b, &op.role(live), &site, [*supporting, *opposing], argument).into()
            }
            (op, _, r) => r.iter().map(|r| rule.lower(b, &op.role(live), &site, *r)).collect(),
        };
        b.ok().map_err(|source| located(graph, forward, source))?;
        let tracks = r.iter().zip(&flows).map(|(r, flow)| account(b, *r, flow, &node.op.targets)).collect();
        // An operand that is read twice takes its share once, and a step function has no derivative.
        for (slot, k) in node.op.targets.iter().enumerate() {
            let shares = flows.iter().map(|flow| {
                flow.operands.get(*k).copied().flatten().unwrap_or_else(|| {
                    let zero = b.scalar_like(0.0, r[0]);
                    let shape = b.ty(inputs[*k]).shape;
                    b.expand(zero, &shape)
                })
            });
            let shares = shares.collect();
            lowered.insert(Value { node: id, slot }, shares);
        }
        note(b, Row { rule: id, forward, carries, tracks });
        b.ok().map_err(|source| located(graph, forward, source))?;
    }
    let mut sinks = vec![];
    for (i, sink) in relevance.sinks.iter().enumerate() {
        let wires = relevance.graph.outputs().iter().filter(|(n, _)| *n == format!("{sink}#{i}"));
        let wires: Vec<Value> = wires.map(|(_, v)| *v).collect();
        b.at(&dlbc_ops::graph::Origin::onnx(sink, "input"), &format!("R.{sink}"));
        let y = graph.find(sink).map(|v| values[&v]);
        let (carries, r) = arrived(b, &lowered, &given, (&wires, y), None);
        sinks.push(Sink { name: sink.clone(), carries, r });
    }
    Ok(sinks)
}

/// What a rule passed on to its targets; shares of other operands stay.
fn account(b: &mut Builder, received: Value, flow: &Flow, targets: &[usize]) -> Account {
    // A node may have tens of thousands of operands.
    let wanted: HashSet<usize> = targets.iter().copied().collect();
    let mut account = Account { received, passed: vec![], absorbed: flow.absorbed.clone() };
    for (k, share) in flow.operands.iter().enumerate() {
        let Some(share) = *share else { continue };
        if wanted.contains(&k) {
            account.passed.push((k, share));
        } else {
            account.absorbed.push(b.total(share));
        }
    }
    account
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
fn audit(b: &mut Builder, row: &str, account: &Account) {
    let received = b.total(account.received);
    let passed: Vec<Value> = account.passed.iter().map(|(_, v)| b.total(*v)).collect();
    let out = total(b, &passed, received);
    let kept = total(b, &account.absorbed, received);
    for (name, v) in [("in", received), ("out", out), ("absorbed", kept)] {
        b.graph_mut().add_output(&format!("{row}/{name}"), v);
    }
}

/// The sum of scalars of `like`'s element type.
fn total(b: &mut Builder, terms: &[Value], like: Value) -> Value {
    let sum = terms.iter().fold(None, |s, v| Some(s.map_or(*v, |s| b.plus(s, *v))));
    sum.unwrap_or_else(|| b.scalar_like(0.0, like))
}
