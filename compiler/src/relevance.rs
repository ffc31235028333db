//! `Graph<Op>` + composite → [`RelevanceGraph`]: one rule node for each forward node between the explained output and the
//! inputs, wires reversed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use dlbc_ops::graph::{Graph, Node, NodeId, Value};
use dlbc_ops::op::role::RoleKind;
use dlbc_ops::op::{Op, Scan};
use dlbc_ops::program::{Mode, Repeat};
use dlbc_ops::rule::{Policy, Receives, Rule, RuleNode, Sink};
use dlbc_ops::tensor::DType;
use dlbc_proto::Name;

use crate::composite::{Composite, LayerPositions, Quantity};
use crate::error::CompileError;
use crate::liveness::{Live, liveness, step_liveness};
use crate::options::Options;

/// The relevance pass of a model: a rule node for each live forward node between the explained output and the inputs.
pub struct RelevanceGraph {
    /// Rule nodes. A wire carries the relevance of a forward value; several wires into one slot add up.
    pub graph: Graph<RuleNode>,
    /// Forward node of each rule node; the seed has none.
    pub forward: BTreeMap<NodeId, NodeId>,
    /// Name of the explained output.
    pub explained: String,
    /// Node of the seed, the relevance of the explained output.
    pub seed: NodeId,
    /// Names of the inputs that relevance reaches.
    pub sinks: Vec<String>,
    /// For each forward node, whether each of its operands carries relevance.
    pub live: HashMap<NodeId, Vec<bool>>,
    /// Relevance graph of each recurrence's step, by forward node. Its sinks are the inputs of the step.
    pub steps: BTreeMap<NodeId, RelevanceGraph>,
    /// Warnings about entries of the composite that select no node.
    pub unmatched: Vec<String>,
    /// Forward nodes that add a constant to the data before the first layer with weights: the shifts of an input normalisation.
    pub shifts: BTreeSet<NodeId>,
    /// Quantity that the rules propagate.
    pub quantity: Quantity,
    /// Runs whose mean is the explanation; `None` for a single run.
    pub repeat: Option<Repeat>,
    /// Number of tracks on each wire.
    pub mode: Mode,
}

/// Derives the relevance graph of the explained output.
///
/// # Errors
/// For an unknown output, for an output that depends on no input that carries relevance, and for a node whose rule does not
/// fit its role.
pub fn derive_relevance(
    graph: &Graph<Op>,
    composite: &Composite,
    options: &Options,
) -> Result<RelevanceGraph, CompileError> {
    let (explained, seed_value) = explained_output(graph, options)?;
    let live = liveness(graph, options);
    let is_live = live.get(&seed_value).copied().unwrap_or(Live::No) == Live::Data;
    if !is_live || !graph.ty(seed_value).dtype.is_float() {
        return Err(CompileError::NothingToExplain(Name::new(&explained)));
    }
    // The tensors that `stop_at` names lie inside the model.
    let is_inner = |id: NodeId| options.stop_at.iter().any(|name| name == graph.node(id).name());
    let mut result = propagate(graph, composite, &live, &is_inner, explained, seed_value)?;
    result.mode = options.mode;
    if result.sinks.is_empty() {
        return Err(CompileError::NothingToExplain(Name::new(&result.explained)));
    }
    Ok(result)
}

/// Derives the rule nodes between `seed_value` and the inputs. `is_inner` selects the inputs that lie inside the model, because
/// `stop_at` cut it there.
fn propagate(
    graph: &Graph<Op>,
    composite: &Composite,
    live: &HashMap<Value, Live>,
    is_inner: &dyn Fn(NodeId) -> bool,
    explained: String,
    seed_value: Value,
) -> Result<RelevanceGraph, CompileError> {
    let is_live = |v: &Value| live.get(v).is_some_and(|l| *l != Live::No);
    let live_operands = |id: NodeId| graph.node_inputs(id).iter().map(is_live).collect::<Vec<bool>>();
    let roles: HashMap<NodeId, RoleKind> =
        graph.nodes().map(|id| (id, graph.op(id).role(&live_operands(id)).kind())).collect();
    let mut relevance = Graph::<RuleNode>::default();
    let name = graph.value_name(seed_value).to_string();
    let seed = relevance.add(
        Node {
            op: rule_node(None, "output", std::slice::from_ref(&name), &[], vec![]),
            names: vec![format!("R.{name}")],
            types: vec![graph.ty(seed_value).clone()],
            origin: graph.node(seed_value.node).origin.clone(),
        },
        &[],
    );
    // The wires that carry the relevance of each forward value.
    let mut wires: HashMap<Value, Vec<Value>> =
        HashMap::from([(seed_value, vec![Value { node: seed, slot: 0 }])]);
    let mut result = RelevanceGraph {
        graph: relevance,
        forward: BTreeMap::new(),
        explained,
        seed,
        sinks: vec![],
        live: HashMap::new(),
        steps: BTreeMap::new(),
        unmatched: vec![],
        shifts: BTreeSet::new(),
        quantity: composite.quantity,
        repeat: composite.repeat.clone(),
        mode: Mode::Default,
    };
    // Nodes between the inputs and the explained output; other nodes have no role.
    let mut reached: HashSet<NodeId> = HashSet::new();
    let mut stack = vec![seed_value.node];
    while let Some(id) = stack.pop() {
        if reached.insert(id) {
            stack.extend(graph.node_inputs(id).iter().filter(|v| is_live(v)).map(|v| v.node));
        }
    }
    let role = |id: NodeId| match reached.contains(&id) {
        true => roles.get(&id).copied().unwrap_or(RoleKind::NoRelevance),
        false => RoleKind::NoRelevance,
    };
    let reached_roles = graph.nodes().map(|id| (id, role(id))).collect();
    let positions = LayerPositions::find(graph, &reached_roles, live_operands, is_inner);
    result.shifts.clone_from(positions.shifts());
    result.unmatched = composite.unmatched(graph, role, &positions);
    for id in graph.topological().into_iter().rev() {
        let y = Value { node: id, slot: 0 };
        let Some(incoming) = wires.remove(&y) else { continue };
        if matches!(graph.op(id), Op::Input) {
            result.sinks.push(graph.value_name(y).to_string());
            wires.insert(y, incoming);
            continue;
        }
        let inputs = graph.node_inputs(id);
        let live_operands = live_operands(id);
        let role = graph.op(id).role(&live_operands);
        let Some(rule) = composite.rule(graph, id, &role, &live_operands, &positions)? else { continue };
        let receives = rule.receives();
        let mut targets = receives.among(&live_operands);
        if let Op::Scan(scan) = graph.op(id) {
            let step = step_relevance(scan, composite, &live_operands)?;
            let body = scan.body.graph();
            targets.retain(|k| {
                let name = body.inputs().get(*k).map(|id| body.node(*id).name());
                step.sinks.iter().any(|s| Some(s.as_str()) == name)
            });
            result.steps.insert(id, step);
        }
        // A rule without targets stays if relevance ends at it, since the ledger has a row for it.
        if targets.is_empty() && receives != Receives::Nothing {
            continue;
        }
        let names: Vec<String> = inputs.iter().map(|v| graph.value_name(*v).to_string()).collect();
        let node = Node {
            op: rule_node(
                Some(rule),
                &graph.op(id).title(),
                &[graph.value_name(y).to_string()],
                &names,
                targets.clone(),
            ),
            names: targets.iter().map(|k| format!("R.{}", names[*k])).collect(),
            types: targets.iter().map(|k| graph.ty(inputs[*k]).with_dtype(DType::F32)).collect(),
            origin: graph.node(id).origin.clone(),
        };
        let rule_id = result.graph.add(node, &[]);
        for wire in incoming {
            result.graph.wire(wire, rule_id, 0);
        }
        for (slot, k) in targets.iter().enumerate() {
            wires.entry(inputs[*k]).or_default().push(Value { node: rule_id, slot });
        }
        result.forward.insert(rule_id, id);
        result.live.insert(id, live_operands);
    }
    result.sinks.sort_by_key(|s| graph.inputs().iter().position(|i| graph.node(*i).name() == s));
    for (i, sink) in result.sinks.clone().iter().enumerate() {
        if let Some(v) = graph.find(sink) {
            for wire in wires.get(&v).into_iter().flatten() {
                result.graph.add_output(Sink { name: sink.clone(), index: i }, *wire);
            }
        }
    }
    Ok(result)
}

/// Derives the relevance graph of a recurrence's step, from the next state to the inputs of the step.
fn step_relevance(
    scan: &Scan,
    composite: &Composite,
    live_operands: &[bool],
) -> Result<RelevanceGraph, CompileError> {
    let graph = scan.body.graph();
    let live = step_liveness(scan, live_operands);
    // A body has a result: it was verified.
    let next = scan.body.result().unwrap_or(Value { node: graph.inputs()[0], slot: 0 });
    propagate(graph, composite, &live, &|_| true, graph.value_name(next).to_string(), next)
}

/// Returns name and value of the explained output. The import has made an inner tensor that is explained an output.
pub(crate) fn explained_output(
    graph: &Graph<Op>,
    options: &Options,
) -> Result<(String, Value), CompileError> {
    let outputs = graph.outputs();
    let output = match &options.output {
        None => outputs.iter().find(|(_, v)| graph.ty(*v).dtype.is_float()).or(outputs.first()),
        Some(name) => outputs.iter().find(|(n, _)| n == name),
    };
    output.cloned().ok_or_else(|| {
        let name = options.output.clone().unwrap_or_default();
        let known = outputs.iter().map(|(n, _)| n.clone()).collect();
        CompileError::UnknownName { what: "output", name, known }
    })
}

fn rule_node(
    rule: Option<Rule>,
    op: &str,
    results: &[String],
    operands: &[String],
    targets: Vec<usize>,
) -> RuleNode {
    RuleNode { rule, op: op.into(), results: results.to_vec(), operands: operands.to_vec(), targets }
}

impl RelevanceGraph {
    /// Writes the rules in order, nested below those of an outer recurrence by `indent`.
    fn write(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        let title =
            if self.mode == Mode::Contrastive { "supporting and opposing relevance" } else { "relevance" };
        writeln!(f, "{title} of {} onto {} {{", self.explained, self.sinks.join(", "))?;
        for id in self.graph.topological() {
            let node = self.graph.node(id);
            let op = &node.op;
            let Some(rule) = &op.rule else { continue };
            let results: Vec<String> = op.targets.iter().map(|k| format!("R.{}", op.operands[*k])).collect();
            let incoming: Vec<String> = op.results.iter().map(|r| format!("R.{r}")).collect();
            let (results, incoming) = (results.join(", "), incoming.join(", "));
            write!(f, "{indent}  {results} = {rule}({incoming}; {})", op.operands.join(", "))?;
            writeln!(f, "   // {}", op.op)?;
            if let Some(step) = self.forward.get(&id).and_then(|id| self.steps.get(id)) {
                write!(f, "{indent}    each step: ")?;
                step.write(f, &format!("{indent}    "))?;
            }
        }
        writeln!(f, "{indent}}}")
    }
}

impl fmt::Display for RelevanceGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "")
    }
}
