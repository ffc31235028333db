//! The values that decide the sign of the start: those that the first rules below the explained output divide by.
//!
//! A rule that divides by a signed value, `R_i = R c_i / z`, turns the signs of its contributions where `z` is negative,
//! unless `R` has the sign of `z`. Relevance may pass activations and data movements unchanged before it reaches that rule;
//! then the sign is that of the value there, moved to where the output has it.

use std::collections::{HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::role::RoleKind;
use dlbc_ops::op::{Function, Op};
use dlbc_ops::prim::{Builder, Unary};
use dlbc_ops::program::{FinalActivation, Output, SeedInfo, SeedSign};
use dlbc_ops::rule::{Policy, Sharing};

use crate::composite::Quantity;
use crate::relevance::RelevanceGraph;

/// Finds the convention for the start, and adds the program outputs that it needs.
pub(super) fn start(
    graph: &Graph<Op>,
    relevance: &RelevanceGraph,
    b: &mut Builder,
    values: &HashMap<Value, Value>,
    explained: Value,
) -> SeedInfo {
    if relevance.quantity == Quantity::Gradient {
        return SeedInfo::default();
    }
    b.set_origin(&graph.node(explained.node).origin, "start");
    let passed = passed(graph, relevance, explained);
    let activation = final_activation(graph, &passed, explained);
    let mut trace = Trace { graph, values, passed, traced: HashMap::new() };
    for id in graph.topological() {
        trace.visit(b, id);
    }
    let found = trace.of(explained);
    if found.value != values[&explained] {
        b.graph_mut().add_output(Output::SeedValue, found.value);
    }
    let sign = match found.sign {
        Sign::None | Sign::Positive => SeedSign::Positive,
        Sign::Value => SeedSign::Value,
        Sign::Mixed(sign) => {
            b.graph_mut().add_output(Output::SeedSign, sign);
            SeedSign::Value
        }
    };
    SeedInfo { sign, activation }
}

/// The nodes that the start reaches unchanged and as an argument for a larger value: increasing functions below the explained
/// output, and the nodes whose rules divide it first.
pub(super) fn first(graph: &Graph<Op>, relevance: &RelevanceGraph, explained: Value) -> HashSet<NodeId> {
    let passed = passed(graph, relevance, explained);
    let mut found = HashSet::new();
    let mut stack = vec![explained.node];
    while let Some(id) = stack.pop() {
        let Some(passing) = passed.get(&id).filter(|_| found.insert(id)) else { continue };
        let inputs = graph.node_inputs(id);
        let grows = match passing {
            Passing::Keeps(_) | Passing::Grows(_) | Passing::Moves(_) => true,
            Passing::Scales(k) => {
                let positive =
                    |v: &Value| graph.constant(*v).is_some_and(|t| t.to_f64().iter().all(|x| *x > 0.0));
                (0..inputs.len()).all(|i| i == *k || positive(&inputs[i])) && inputs.len() > 1
            }
            _ => false,
        };
        if grows {
            stack.extend(passing.operands().iter().map(|k| inputs[*k].node));
        }
    }
    found
}

/// Effect of a rule on the start, which reached its node unchanged.
#[derive(Clone, Debug)]
enum Passing {
    /// Divides it by a signed value.
    Signed,
    /// Divides it by what has no sign, or passes nothing.
    Unsigned,
    /// Quantity it to an operand that the result grows with and has the sign of.
    Keeps(usize),
    /// Quantity it to an operand that the result grows with.
    Grows(usize),
    /// Quantity it to an operand that other operands scale.
    Scales(usize),
    /// Quantity it to an operand that divides another.
    Divides(usize),
    /// Quantity it to where the elements came from, these operands.
    Moves(Vec<usize>),
    /// Quantity it, or parts of it, to these operands of which the result is no multiple.
    Shares(Vec<usize>),
    /// Quantity it to a step of a recurrence, which divides by a signed value or does not.
    Steps(bool),
}

impl Passing {
    fn operands(&self) -> &[usize] {
        match self {
            Passing::Signed | Passing::Unsigned | Passing::Steps(_) => &[],
            Passing::Keeps(k) | Passing::Grows(k) | Passing::Scales(k) | Passing::Divides(k) => {
                std::slice::from_ref(k)
            }
            Passing::Moves(all) | Passing::Shares(all) => all,
        }
    }
}

/// The nodes that the start reaches before a rule divides it, and those whose rules divide it first.
fn passed(graph: &Graph<Op>, relevance: &RelevanceGraph, explained: Value) -> HashMap<NodeId, Passing> {
    let rules: HashMap<NodeId, NodeId> =
        relevance.forward.iter().map(|(rule, forward)| (*forward, *rule)).collect();
    let mut found: HashMap<NodeId, Passing> = HashMap::new();
    let mut stack = vec![explained];
    while let Some(v) = stack.pop() {
        let Some(rule) = rules.get(&v.node).filter(|_| v.slot == 0) else { continue };
        if found.contains_key(&v.node) {
            continue;
        }
        let passing = passing(graph, relevance, v.node, *rule);
        let inputs = graph.node_inputs(v.node);
        stack.extend(passing.operands().iter().map(|k| inputs[*k]));
        found.insert(v.node, passing);
    }
    found
}

fn passing(graph: &Graph<Op>, relevance: &RelevanceGraph, id: NodeId, rule: NodeId) -> Passing {
    let node = relevance.graph.node(rule);
    let Some(rule) = &node.op.rule else { return Passing::Unsigned };
    let live = &relevance.live[&id];
    let all: Vec<usize> = (0..live.len()).filter(|k| live[*k]).collect();
    let (op, data, alone) = (graph.op(id), all.first().copied().unwrap_or(0), all.len() == 1);
    let targets = &node.op.targets;
    match rule.sharing(live) {
        Sharing::ByValue => Passing::Signed,
        Sharing::ByMagnitude | Sharing::Ends => Passing::Unsigned,
        Sharing::Single => match op {
            Op::Sub(_) if data == 1 => Passing::Unsigned,
            _ => Passing::Grows(data),
        },
        Sharing::Fixed | Sharing::Slope => match (op.role(live).kind(), targets.as_slice()) {
            (RoleKind::Product, [k]) => Passing::Scales(*k),
            (RoleKind::Product, all) => Passing::Shares(all.to_vec()),
            (kind, _) => elementwise(op, kind, data),
        },
        Sharing::Moves => Passing::Moves(all),
        Sharing::Stepwise => Passing::Steps(relevance.steps.get(&id).is_some_and(signed_step)),
        Sharing::Derivative if relevance.quantity == Quantity::GradientTimesInput => match op {
            Op::Cast(_) => Passing::Keeps(data),
            Op::Mul(_) if alone => Passing::Scales(data),
            Op::Div(_) if alone && data == 0 => Passing::Scales(0),
            _ => Passing::Signed,
        },
        Sharing::Derivative => Passing::Unsigned,
    }
}

/// Returns the effect of an elementwise function, a normalisation or a scaling whose rule passes relevance unchanged.
fn elementwise(op: &Op, kind: RoleKind, data: usize) -> Passing {
    match op {
        Op::Div(_) if data == 1 => Passing::Divides(1),
        Op::Div(_) | Op::Mul(_) => Passing::Scales(data),
        Op::Cast(_) => Passing::Keeps(data),
        Op::Softmax(_) => Passing::Grows(data),
        Op::Activation(activation) => match activation.f {
            Function::Unary(Unary::Neg) => Passing::Scales(data),
            Function::Unary(Unary::Abs | Unary::Reciprocal | Unary::Sin | Unary::Cos) => {
                Passing::Shares(vec![data])
            }
            Function::Tan | Function::ThresholdedRelu { .. } | Function::Shrink { .. } => {
                Passing::Shares(vec![data])
            }
            Function::Unary(
                Unary::Sigmoid | Unary::HardSigmoid { .. } | Unary::Exp | Unary::Log | Unary::Softplus,
            ) => Passing::Grows(data),
            // They have the sign of their operand, or are 0.
            _ => Passing::Keeps(data),
        },
        _ if kind == RoleKind::Normalize => Passing::Grows(data),
        _ => Passing::Shares(vec![data]),
    }
}

/// Returns whether the state after a step of a recurrence starts at a rule that divides by a signed value.
fn signed_step(step: &RelevanceGraph) -> bool {
    let seed = Value { node: step.seed, slot: 0 };
    let mut stack: Vec<NodeId> = step.graph.consumers(seed).into_iter().map(|(id, _)| id).collect();
    let mut seen = HashSet::new();
    while let Some(id) = stack.pop() {
        let node = step.graph.node(id);
        let (Some(rule), Some(forward)) = (&node.op.rule, step.forward.get(&id)) else { continue };
        if !seen.insert(id) {
            continue;
        }
        match rule.sharing(&step.live[forward]) {
            Sharing::ByValue => return true,
            Sharing::Derivative => return step.quantity == Quantity::GradientTimesInput,
            Sharing::Fixed | Sharing::Slope | Sharing::Moves => {
                for slot in 0..node.op.targets.len() {
                    let next = step.graph.consumers(Value { node: id, slot });
                    stack.extend(next.into_iter().map(|(id, _)| id));
                }
            }
            Sharing::ByMagnitude | Sharing::Single | Sharing::Ends | Sharing::Stepwise => {}
        }
    }
    false
}

/// The activation whose operand the start has the sign of, where the output of it is what is explained.
fn final_activation(
    graph: &Graph<Op>,
    passed: &HashMap<NodeId, Passing>,
    explained: Value,
) -> Option<FinalActivation> {
    let mut v = explained;
    loop {
        let inputs = graph.node_inputs(v.node);
        match passed.get(&v.node)? {
            Passing::Grows(k) if squashes(graph.op(v.node)) => {
                let tensor = graph.value_name(inputs[*k]).to_string();
                return Some(FinalActivation { op: graph.op(v.node).title(), tensor });
            }
            passing => v = inputs[*passing.operands().first()?],
        }
    }
}

/// Returns whether a function turns logits into probabilities.
fn squashes(op: &Op) -> bool {
    match op {
        Op::Softmax(_) => true,
        Op::Activation(a) => {
            matches!(a.f, Function::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }))
        }
        _ => false,
    }
}

/// The sign of the start.
#[derive(Clone, Copy, PartialEq)]
enum Sign {
    /// No rule takes relevance.
    None,
    Positive,
    /// The sign of the value.
    Value,
    /// The sign of this tensor: some units start positive, others with the sign of their value.
    Mixed(Value),
}

/// A value of the model that the start reached.
#[derive(Clone, Copy)]
struct Traced {
    /// The lowered value that counts, of the shape of the model's.
    value: Value,
    sign: Sign,
}

struct Trace<'a> {
    graph: &'a Graph<Op>,
    values: &'a HashMap<Value, Value>,
    passed: HashMap<NodeId, Passing>,
    traced: HashMap<NodeId, Traced>,
}

impl Trace<'_> {
    fn of(&self, v: Value) -> Traced {
        let found = self.traced.get(&v.node).filter(|_| v.slot == 0);
        found.copied().unwrap_or(Traced { value: self.values[&v], sign: Sign::None })
    }

    /// Traces a node that the start reached, its operands first.
    fn visit(&mut self, b: &mut Builder, id: NodeId) {
        let Some(passing) = self.passed.get(&id).cloned() else { return };
        let own = self.values[&Value { node: id, slot: 0 }];
        let inputs = self.graph.node_inputs(id);
        let traced = match passing {
            Passing::Signed | Passing::Steps(true) => Traced { value: own, sign: Sign::Value },
            Passing::Unsigned | Passing::Steps(false) => Traced { value: own, sign: Sign::Positive },
            Passing::Keeps(k) => {
                let below = self.of(inputs[k]);
                let same = below.value == self.values[&inputs[k]];
                if same { Traced { value: own, ..below } } else { like(b, own, below) }
            }
            Passing::Grows(k) => like(b, own, self.of(inputs[k])),
            Passing::Scales(k) => self.moved(b, id, &[k]),
            Passing::Divides(k) => {
                let below = self.moved(b, id, &[k]);
                Traced { value: b.scale(below.value, -1.0), ..below }
            }
            Passing::Moves(operands) => self.moved(b, id, &operands),
            Passing::Shares(operands) => {
                let signed =
                    operands.iter().any(|k| !matches!(self.of(inputs[*k]).sign, Sign::None | Sign::Positive));
                Traced { value: own, sign: if signed { Sign::Value } else { Sign::Positive } }
            }
        };
        // A lowering that does not fit is no reason to refuse a model: the output's own value counts.
        let traced = if b.ok().is_ok() { traced } else { Traced { value: own, ..traced } };
        self.traced.insert(id, traced);
    }

    /// The node's operator on what counts of these operands, the others being as they are.
    fn moved(&self, b: &mut Builder, id: NodeId, operands: &[usize]) -> Traced {
        let inputs = self.graph.node_inputs(id);
        let plain: Vec<Value> = inputs.iter().map(|v| self.values[v]).collect();
        let below: Vec<Traced> = operands.iter().map(|k| self.of(inputs[*k])).collect();
        let own = self.values[&Value { node: id, slot: 0 }];
        let apply = |b: &mut Builder, parts: Vec<Value>| {
            let mut all = plain.clone();
            operands.iter().zip(parts).for_each(|(k, v)| all[*k] = v);
            if all == plain { own } else { self.graph.op(id).lower(b, &all).first().copied().unwrap_or(own) }
        };
        let value = apply(b, below.iter().map(|t| t.value).collect());
        let mut signs = below.iter().map(|t| t.sign).filter(|s| *s != Sign::None);
        let first = signs.next().unwrap_or(Sign::None);
        let sign = if !matches!(first, Sign::Mixed(_)) && signs.all(|s| s == first) {
            first
        } else {
            let parts = below.iter().zip(operands).map(|(t, k)| match t.sign {
                Sign::Value => t.value,
                Sign::Mixed(sign) => sign,
                Sign::None | Sign::Positive => ones(b, plain[*k]),
            });
            let parts = parts.collect();
            Sign::Mixed(apply(b, parts))
        };
        Traced { value, sign }
    }
}

/// Quantity the value and sign that count for an operand on to an elementwise result: cast to its type, and the value
/// replaced by the result where the shapes differ.
fn like(b: &mut Builder, own: Value, below: Traced) -> Traced {
    let ty = b.ty(own);
    if b.ty(below.value).shape != ty.shape {
        return Traced { value: own, ..below };
    }
    let sign = match below.sign {
        Sign::Mixed(sign) => Sign::Mixed(b.cast(sign, ty.dtype)),
        sign => sign,
    };
    Traced { value: b.cast(below.value, ty.dtype), sign }
}

fn ones(b: &mut Builder, like: Value) -> Value {
    let one = b.scalar_like(1.0, like);
    let shape = b.ty(like).shape;
    b.expand(one, &shape)
}
