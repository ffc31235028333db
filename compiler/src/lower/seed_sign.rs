//! Sign of the seed: the sign of the values that the first rules below the explained output divide by.
//!
//! A rule that divides by a signed value, `R_i = R c_i / z`, flips the signs of its contributions where `z` is negative,
//! unless `R` has the sign of `z`. The seed may pass activations and data movements unchanged before it reaches such a rule;
//! then its sign is that of the value there, moved to the layout of the output.

use std::collections::{HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::role::RoleKind;
use dlbc_ops::op::{Function, Op};
use dlbc_ops::prim::{Builder, Unary};
use dlbc_ops::program::{FinalActivation, Output, SeedInfo, SeedSign};
use dlbc_ops::rule::{Policy, Sharing};

use crate::composite::Quantity;
use crate::relevance::RelevanceGraph;

/// Determines the sign of the seed, and adds the program outputs that hold the values with that sign.
pub(super) fn add_outputs(
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
    let effects = effects_on_seed(graph, relevance, explained);
    let activation = final_activation(graph, &effects, explained);
    let mut trace = Trace { graph, values, effects, traced: HashMap::new() };
    for id in graph.topological() {
        trace.visit(b, id);
    }
    let traced = trace.get(explained);
    if traced.value != values[&explained] {
        b.graph_mut().add_output(Output::SeedValue, traced.value);
    }
    let sign = match traced.sign {
        Sign::None | Sign::Positive => SeedSign::Positive,
        Sign::Value => SeedSign::Value,
        Sign::Mixed(sign) => {
            b.graph_mut().add_output(Output::SeedSign, sign);
            SeedSign::Value
        }
    };
    SeedInfo { sign, activation }
}

/// Returns the nodes that the seed reaches unchanged and as an argument for a larger value: the increasing functions below
/// the explained output, and the first nodes whose rules divide the seed.
pub(super) fn arguments_for_larger(
    graph: &Graph<Op>,
    relevance: &RelevanceGraph,
    explained: Value,
) -> HashSet<NodeId> {
    let effects = effects_on_seed(graph, relevance, explained);
    let mut reached = HashSet::new();
    let mut stack = vec![explained.node];
    while let Some(id) = stack.pop() {
        let Some(effect) = effects.get(&id).filter(|_| reached.insert(id)) else { continue };
        let inputs = graph.node_inputs(id);
        let is_increasing = match effect {
            Effect::KeepsSign(_) | Effect::Increases(_) | Effect::Moves(_) => true,
            Effect::Scales(k) => {
                let is_positive =
                    |v: &Value| graph.constant(*v).is_some_and(|t| t.to_f64().iter().all(|x| *x > 0.0));
                (0..inputs.len()).all(|i| i == *k || is_positive(&inputs[i])) && inputs.len() > 1
            }
            _ => false,
        };
        if is_increasing {
            stack.extend(effect.operands().iter().map(|k| inputs[*k].node));
        }
    }
    reached
}

/// Effect of a rule on the seed, which reached its node unchanged. Numbers are indices of operands.
#[derive(Clone, Debug)]
enum Effect {
    /// Divides it by a signed value.
    SignedDivision,
    /// Divides it by a value without sign, or passes nothing on.
    Unsigned,
    /// Passes it unchanged to an operand that has the result's sign and that the result increases with.
    KeepsSign(usize),
    /// Passes it unchanged to an operand that the result increases with.
    Increases(usize),
    /// Passes it unchanged to an operand that the other operands scale.
    Scales(usize),
    /// Passes it unchanged to an operand that divides another.
    Divisor(usize),
    /// Passes its elements to the operands that the result's elements came from.
    Moves(Vec<usize>),
    /// Passes it, or parts of it, to operands that the result is not proportional to.
    Shares(Vec<usize>),
}

impl Effect {
    /// Operands that receive the seed, or a part of it.
    fn operands(&self) -> &[usize] {
        match self {
            Effect::SignedDivision | Effect::Unsigned => &[],
            Effect::KeepsSign(k) | Effect::Increases(k) | Effect::Scales(k) | Effect::Divisor(k) => {
                std::slice::from_ref(k)
            }
            Effect::Moves(all) | Effect::Shares(all) => all,
        }
    }
}

/// Returns the effect of each rule that the seed reaches, down to the first rules that divide it.
fn effects_on_seed(
    graph: &Graph<Op>,
    relevance: &RelevanceGraph,
    explained: Value,
) -> HashMap<NodeId, Effect> {
    let rules: HashMap<NodeId, NodeId> =
        relevance.forward.iter().map(|(rule, forward)| (*forward, *rule)).collect();
    let mut effects: HashMap<NodeId, Effect> = HashMap::new();
    let mut stack = vec![explained];
    while let Some(v) = stack.pop() {
        let Some(rule) = rules.get(&v.node).filter(|_| v.slot == 0) else { continue };
        if effects.contains_key(&v.node) {
            continue;
        }
        let effect = effect(graph, relevance, v.node, *rule);
        let inputs = graph.node_inputs(v.node);
        stack.extend(effect.operands().iter().map(|k| inputs[*k]));
        effects.insert(v.node, effect);
    }
    effects
}

/// Returns the effect of the rule of one node.
fn effect(graph: &Graph<Op>, relevance: &RelevanceGraph, id: NodeId, rule: NodeId) -> Effect {
    let node = relevance.graph.node(rule);
    let Some(rule) = &node.op.rule else { return Effect::Unsigned };
    let live = &relevance.live[&id];
    let all: Vec<usize> = (0..live.len()).filter(|k| live[*k]).collect();
    let (op, data, is_single) = (graph.op(id), all.first().copied().unwrap_or(0), all.len() == 1);
    let targets = &node.op.targets;
    match rule.sharing(live) {
        Sharing::ByValue => Effect::SignedDivision,
        Sharing::ByMagnitude | Sharing::Ends => Effect::Unsigned,
        Sharing::Single => match op {
            Op::Sub(_) if data == 1 => Effect::Unsigned,
            _ => Effect::Increases(data),
        },
        Sharing::Fixed | Sharing::Slope => match (op.role(live).kind(), targets.as_slice()) {
            (RoleKind::Product, [k]) => Effect::Scales(*k),
            (RoleKind::Product, all) => Effect::Shares(all.to_vec()),
            (kind, _) => elementwise(op, kind, data),
        },
        Sharing::Moves => Effect::Moves(all),
        Sharing::Stepwise if relevance.steps.get(&id).is_some_and(step_divides_by_signed) => {
            Effect::SignedDivision
        }
        Sharing::Stepwise => Effect::Unsigned,
        Sharing::Derivative if relevance.quantity == Quantity::GradientTimesInput => match op {
            Op::Cast(_) => Effect::KeepsSign(data),
            Op::Mul(_) if is_single => Effect::Scales(data),
            Op::Div(_) if is_single && data == 0 => Effect::Scales(0),
            _ => Effect::SignedDivision,
        },
        Sharing::Derivative => Effect::Unsigned,
    }
}

/// Returns the effect of a rule that passes relevance unchanged through an elementwise function, a normalisation or a scaling.
fn elementwise(op: &Op, kind: RoleKind, data: usize) -> Effect {
    match op {
        Op::Div(_) if data == 1 => Effect::Divisor(1),
        Op::Div(_) | Op::Mul(_) => Effect::Scales(data),
        Op::Cast(_) => Effect::KeepsSign(data),
        Op::Softmax(_) => Effect::Increases(data),
        Op::Activation(activation) => match activation.f {
            Function::Unary(Unary::Neg) => Effect::Scales(data),
            Function::Unary(Unary::Abs | Unary::Reciprocal | Unary::Sin | Unary::Cos) => {
                Effect::Shares(vec![data])
            }
            Function::Trigonometric(_) | Function::ThresholdedRelu { .. } | Function::Shrink { .. } => {
                Effect::Shares(vec![data])
            }
            Function::Unary(
                Unary::Sigmoid | Unary::HardSigmoid { .. } | Unary::Exp | Unary::Log | Unary::Softplus,
            ) => Effect::Increases(data),
            // Functions whose result has the sign of the operand, or is 0.
            _ => Effect::KeepsSign(data),
        },
        _ if kind == RoleKind::Normalize => Effect::Increases(data),
        _ => Effect::Shares(vec![data]),
    }
}

/// Returns whether a recurrence's step divides the relevance of the state after it by a signed value first.
fn step_divides_by_signed(step: &RelevanceGraph) -> bool {
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

/// Returns the softmax or sigmoid that computes the explained output, possibly followed by functions that the seed passes
/// unchanged; the seed has the sign of that activation's operand.
fn final_activation(
    graph: &Graph<Op>,
    effects: &HashMap<NodeId, Effect>,
    explained: Value,
) -> Option<FinalActivation> {
    let mut v = explained;
    loop {
        let inputs = graph.node_inputs(v.node);
        match effects.get(&v.node)? {
            Effect::Increases(k) if is_squashing(graph.op(v.node)) => {
                let tensor = graph.value_name(inputs[*k]).to_string();
                return Some(FinalActivation { op: graph.op(v.node).title(), tensor });
            }
            effect => v = inputs[*effect.operands().first()?],
        }
    }
}

/// Returns whether a function turns logits into probabilities.
fn is_squashing(op: &Op) -> bool {
    match op {
        Op::Softmax(_) => true,
        Op::Activation(a) => {
            matches!(a.f, Function::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }))
        }
        _ => false,
    }
}

/// Sign of the seed at a value.
#[derive(Clone, Copy, PartialEq)]
enum Sign {
    /// Undecided: no rule below the value takes relevance.
    None,
    /// Positive for every element.
    Positive,
    /// Sign of the value.
    Value,
    /// Sign of this tensor: some elements are positive, others have the sign of their value.
    Mixed(Value),
}

/// Seed at a value of the model.
#[derive(Clone, Copy)]
struct Traced {
    /// Lowered value whose sign the first dividing rules see, in the layout of the model's value.
    value: Value,
    /// Sign of the seed.
    sign: Sign,
}

/// Trace of the seed from the first dividing rules up to the explained output.
struct Trace<'a> {
    graph: &'a Graph<Op>,
    /// Lowered value of each model value.
    values: &'a HashMap<Value, Value>,
    effects: HashMap<NodeId, Effect>,
    traced: HashMap<NodeId, Traced>,
}

impl Trace<'_> {
    /// Returns the seed at a value; undecided at values that it does not reach.
    fn get(&self, v: Value) -> Traced {
        let traced = self.traced.get(&v.node).filter(|_| v.slot == 0);
        traced.copied().unwrap_or(Traced { value: self.values[&v], sign: Sign::None })
    }

    /// Traces the seed through a node whose operands are traced.
    fn visit(&mut self, b: &mut Builder, id: NodeId) {
        let Some(effect) = self.effects.get(&id).cloned() else { return };
        let y = self.values[&Value { node: id, slot: 0 }];
        let inputs = self.graph.node_inputs(id);
        let traced = match effect {
            Effect::SignedDivision => Traced { value: y, sign: Sign::Value },
            Effect::Unsigned => Traced { value: y, sign: Sign::Positive },
            Effect::KeepsSign(k) => {
                let operand = self.get(inputs[k]);
                let is_model_value = operand.value == self.values[&inputs[k]];
                if is_model_value { Traced { value: y, ..operand } } else { adapt(b, operand, y) }
            }
            Effect::Increases(k) => adapt(b, self.get(inputs[k]), y),
            Effect::Scales(k) => self.apply(b, id, &[k]),
            Effect::Divisor(k) => {
                let quotient = self.apply(b, id, &[k]);
                Traced { value: b.scale(quotient.value, -1.0), ..quotient }
            }
            Effect::Moves(operands) => self.apply(b, id, &operands),
            Effect::Shares(operands) => {
                let is_signed = operands
                    .iter()
                    .any(|k| !matches!(self.get(inputs[*k]).sign, Sign::None | Sign::Positive));
                Traced { value: y, sign: if is_signed { Sign::Value } else { Sign::Positive } }
            }
        };
        // Where the operator does not fit the traced values, the sign of the model's value is taken.
        let traced = if b.ok().is_ok() { traced } else { Traced { value: y, ..traced } };
        self.traced.insert(id, traced);
    }

    /// Applies a node's operator to the traced values of `operands` and to the model's values of its other operands.
    fn apply(&self, b: &mut Builder, id: NodeId, operands: &[usize]) -> Traced {
        let inputs = self.graph.node_inputs(id);
        let model_values: Vec<Value> = inputs.iter().map(|v| self.values[v]).collect();
        let traced: Vec<Traced> = operands.iter().map(|k| self.get(inputs[*k])).collect();
        let y = self.values[&Value { node: id, slot: 0 }];
        let apply = |b: &mut Builder, replacements: Vec<Value>| {
            let mut all = model_values.clone();
            operands.iter().zip(replacements).for_each(|(k, v)| all[*k] = v);
            if all == model_values {
                y
            } else {
                self.graph.op(id).lower(b, &all).first().copied().unwrap_or(y)
            }
        };
        let value = apply(b, traced.iter().map(|t| t.value).collect());
        let mut signs = traced.iter().map(|t| t.sign).filter(|s| *s != Sign::None);
        let first = signs.next().unwrap_or(Sign::None);
        let sign = if !matches!(first, Sign::Mixed(_)) && signs.all(|s| s == first) {
            first
        } else {
            let signs = traced.iter().zip(operands).map(|(t, k)| match t.sign {
                Sign::Value => t.value,
                Sign::Mixed(sign) => sign,
                Sign::None | Sign::Positive => ones(b, model_values[*k]),
            });
            let signs = signs.collect();
            Sign::Mixed(apply(b, signs))
        };
        Traced { value, sign }
    }
}

/// Carries the seed at an operand over to an elementwise result `y`: casts to the type of `y`, and takes `y` itself where the
/// shapes differ.
fn adapt(b: &mut Builder, operand: Traced, y: Value) -> Traced {
    let ty = b.ty(y);
    if b.ty(operand.value).shape != ty.shape {
        return Traced { value: y, ..operand };
    }
    let sign = match operand.sign {
        Sign::Mixed(sign) => Sign::Mixed(b.cast(sign, ty.dtype)),
        sign => sign,
    };
    Traced { value: b.cast(operand.value, ty.dtype), sign }
}

/// Ones in the shape and type of another value.
fn ones(b: &mut Builder, like: Value) -> Value {
    let unit = b.scalar_like(1.0, like);
    let shape = b.ty(like).shape;
    b.expand(unit, &shape)
}
