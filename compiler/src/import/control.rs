//! Graphs within nodes: `If`, `Loop` and `Scan`.
//!
//! A branch that is known is read in place of its node; where a run chooses, both stand in the graph and a
//! [`Merge`] takes the chosen one; a branch that the inputs' shapes do not fit is an error of the run that takes it. Loops of a known number of trips are unrolled.

use std::collections::BTreeMap;

use dlbc_ops::OpError;
use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::op::read::{Attr, Reading, resolve};
use dlbc_ops::op::{Cast, Concat, Merge, Slice, Sub};
use dlbc_ops::program::UNFIT_PREFIX;
use dlbc_ops::tensor::{DType, Dim, Shape, Tensor};
use dlbc_proto::Name;
use dlbc_proto::onnx::{GraphProto, NodeProto};

use super::attribute;
use super::function::{self, Expanded};
use super::name::node_name;
use super::order::order;
use super::state::Import;
use crate::error::CompileError;

/// More trips are not unrolled.
const MOST_TRIPS: i64 = 1024;

/// Why a node with graphs within cannot be read.
enum Failed {
    /// It is listed with what else is not supported.
    Unsupported(String),
    /// Something within is, and is listed already.
    Within,
    Error(CompileError),
}

impl From<CompileError> for Failed {
    fn from(e: CompileError) -> Failed {
        Failed::Error(e)
    }
}

/// Whether a node of ai.onnx has graphs within that run.
pub fn is_control(node: &NodeProto) -> bool {
    matches!(node.domain(), "" | "ai.onnx") && matches!(node.op_type(), "If" | "Loop" | "Scan")
}

/// Reads a node with graphs within.
pub fn read(import: &mut Import, expanded: &Expanded) -> Result<(), CompileError> {
    let node = &expanded.node;
    if node.input.iter().any(|i| import.failed.contains(i)) {
        import.failed.extend(node.output.iter().cloned());
        return Ok(());
    }
    let made = match node.op_type() {
        "If" => choice(import, expanded),
        "Loop" => repetition(import, expanded),
        _ => scan(import, expanded),
    };
    match made {
        Ok(outputs) => import.bind(node, outputs),
        Err(Failed::Within) => {
            import.failed.extend(node.output.iter().cloned());
            Ok(())
        }
        Err(Failed::Unsupported(reason)) => {
            import.refuse(node, node.op_type(), reason, node_name(node).to_string());
            Ok(())
        }
        Err(Failed::Error(e)) => Err(e),
    }
}

/// The graph that an attribute holds.
fn graph<'n>(node: &'n NodeProto, name: &str) -> Result<&'n GraphProto, Failed> {
    let branch = node.attribute.iter().find(|a| a.name() == name).and_then(|a| a.g.as_deref());
    branch.ok_or_else(|| invalid(node, OpError::Invalid(format!("attribute `{name}` is missing"))))
}

fn invalid(node: &NodeProto, source: OpError) -> Failed {
    match source {
        OpError::Unsupported(reason) => Failed::Unsupported(reason),
        source => Failed::Error(CompileError::Node {
            node: Name::new(node_name(node)),
            op: Name::new(node.op_type()),
            source,
        }),
    }
}

/// Adds operators on behalf of a node.
fn with<T>(
    import: &mut Import,
    expanded: &Expanded,
    f: impl FnOnce(&mut Reading) -> Result<T, OpError>,
) -> Result<T, Failed> {
    let none: BTreeMap<String, Attr> = BTreeMap::new();
    let mut reading = import.reading(expanded, &[], &none);
    f(&mut reading).map_err(|e| invalid(&expanded.node, e))
}

/// Reads a graph within a node, whose inputs are `bound`. Names that it makes are its own.
fn body(
    import: &mut Import,
    expanded: &Expanded,
    within: &GraphProto,
    bound: &[Value],
) -> Result<Vec<Value>, Failed> {
    let node = &expanded.node;
    if within.input.len() != bound.len() {
        let source = OpError::mismatch("inputs of the graph within", bound.len(), within.input.len());
        return Err(invalid(node, source));
    }
    let nodes =
        function::inline_within(import.model, &within.node, &expanded.opsets, import.options.max_nodes)?;
    import.read += nodes.len();
    if import.read > import.options.max_nodes {
        return Err(Failed::Error(CompileError::TooManyNodes(import.options.max_nodes)));
    }
    let own = within.input.iter().map(|i| i.name()).chain(within.initializer.iter().map(|t| t.name()));
    let own = own.chain(nodes.iter().flat_map(|n| n.node.output.iter().map(String::as_str)));
    let outside: Vec<(String, Option<Value>)> =
        own.map(|name| (name.to_string(), import.values.remove(name))).collect();
    for (input, v) in within.input.iter().zip(bound) {
        import.values.insert(input.name().into(), *v);
    }
    let made = (|| {
        for t in &within.initializer {
            let tensor = import.tensor(t)?;
            let v = import.add_constant(t.name(), tensor);
            import.values.insert(t.name().into(), v);
        }
        for inner in order(&nodes, import)? {
            import.node(inner)?;
        }
        let mut outputs = vec![];
        for output in &within.output {
            let name = output.name();
            match import.values.get(name) {
                Some(v) => outputs.push(*v),
                None if import.failed.contains(name) => return Ok(None),
                None => return Err(CompileError::MissingOutput(Name::new(name))),
            }
        }
        Ok(Some(outputs))
    })();
    // What failed within does not hide names outside.
    for (name, before) in outside.into_iter().rev() {
        import.failed.remove(&name);
        match before {
            Some(v) => import.values.insert(name, v),
            None => import.values.remove(&name),
        };
    }
    made?.ok_or(Failed::Within)
}

fn choice(import: &mut Import, expanded: &Expanded) -> Result<Vec<Value>, Failed> {
    let node = &expanded.node;
    let [then, otherwise] = [graph(node, "then_branch")?, graph(node, "else_branch")?];
    let condition = operand(import, node, 0)?;
    if let Some(known) = import.graph.constant(condition).map(|t| t.to_i64()) {
        let taken = if known.first().is_some_and(|c| *c != 0) { then } else { otherwise };
        return body(import, expanded, taken, &[]);
    }
    let ty = import.graph.ty(condition).clone();
    if ty.dtype != DType::Bool {
        return Err(invalid(node, OpError::mismatch("condition", "a boolean", ty)));
    }
    let symbol = with(import, expanded, |r| r.dim_of(condition, "branch"))?;
    // Both are read, so that all that is not supported is listed.
    let sides = [body(import, expanded, then, &[]), body(import, expanded, otherwise, &[])];
    let (then, otherwise) = match sides {
        [Ok(only), Err(e)] if is_unfit(import, &e) => return sole(import, expanded, condition, only, true),
        [Err(e), Ok(only)] if is_unfit(import, &e) => return sole(import, expanded, condition, only, false),
        [then, otherwise] => (then?, otherwise?),
    };
    if then.len() != otherwise.len() {
        let source = OpError::mismatch("results of the branches", then.len(), otherwise.len());
        return Err(invalid(node, source));
    }
    with(import, expanded, |r| {
        let mut made = vec![];
        for (a, b) in then.into_iter().zip(otherwise) {
            let (ta, tb) = (r.ty(a), r.ty(b));
            if ta.rank() != tb.rank() {
                return Err(OpError::Unsupported(format!(
                    "branches whose results differ in rank ({ta} and {tb}) are not supported"
                )));
            }
            made.push(if a == b { a } else { r.add(Merge { condition: symbol.clone() }, &[a, b])? });
        }
        Ok(made)
    })
}

/// Whether a branch cannot take the shapes of this model's inputs, as one for another rate or size of them cannot.
fn is_unfit(import: &Import, failed: &Failed) -> bool {
    let Failed::Error(CompileError::Node { source, .. }) = failed else { return false };
    let known = |id: &NodeId| import.graph.node(*id).types[0].shape.as_known().is_some();
    let shapes = matches!(
        source,
        OpError::Mismatch { .. } | OpError::Unequal(_) | OpError::Broadcast { .. } | OpError::Axis { .. }
    );
    shapes && import.graph.inputs().iter().all(known)
}

/// The results of the only branch that fits; a run that takes the other fails.
fn sole(
    import: &mut Import,
    expanded: &Expanded,
    condition: Value,
    results: Vec<Value>,
    when: bool,
) -> Result<Vec<Value>, Failed> {
    with(import, expanded, |r| {
        let taken = r.reshape(condition, Shape(vec![]))?;
        let taken = r.add(Cast { to: DType::I64 }, &[taken])?;
        let unit = r.add_constant(Tensor::from_i64(&[], &[i64::from(when)]));
        // 0 where the branch that fits is taken, -1 else.
        let fits = if when { r.add(Sub, &[taken, unit])? } else { r.add(Sub, &[unit, taken])? };
        let condition = &Dim::known(1) + &r.graph.data_dependent_dim(UNFIT_PREFIX, fits);
        let merge = |v: Value| r.add(Merge { condition: condition.clone() }, &[v, v]);
        results.into_iter().map(merge).collect()
    })
}

fn operand(import: &Import, node: &NodeProto, slot: usize) -> Result<Value, Failed> {
    let operand = node.input.get(slot).and_then(|name| import.values.get(name)).copied();
    operand.ok_or_else(|| {
        let expected = format!("at least {}", slot + 1);
        invalid(node, OpError::Arity { expected, actual: node.input.len() })
    })
}

/// Refuses a number of trips that is not unrolled.
fn trips(node: &NodeProto, trips: i64) -> Result<i64, Failed> {
    if trips > MOST_TRIPS {
        let source = OpError::Limit(format!("{trips} trips; at most {MOST_TRIPS} are unrolled"));
        return Err(invalid(node, source));
    }
    Ok(trips.max(0))
}

fn repetition(import: &mut Import, expanded: &Expanded) -> Result<Vec<Value>, Failed> {
    let node = &expanded.node;
    let within = graph(node, "body")?;
    let given =
        |import: &Import, slot: usize| node.input.get(slot).and_then(|n| import.values.get(n)).copied();
    let most = match given(import, 0) {
        None => None,
        Some(v) => {
            Some(import.graph.constant(v).and_then(|t| t.to_i64().first().copied()).ok_or_else(|| {
                Failed::Unsupported("a number of trips that is computed is not supported".into())
            })?)
        }
    };
    let mut runs = match given(import, 1) {
        None => true,
        Some(v) => {
            let known = import.graph.constant(v).and_then(|t| t.to_i64().first().copied());
            known
                .ok_or_else(|| Failed::Unsupported("a condition that is computed is not supported".into()))?
                != 0
        }
    };
    let most =
        most.ok_or_else(|| Failed::Unsupported("a loop without a number of trips is not supported".into()))?;
    let most = if runs { trips(node, most)? } else { 0 };
    let mut carried: Vec<Value> = vec![];
    for slot in 2..node.input.len() {
        carried.push(operand(import, node, slot)?);
    }
    let mut parts: Vec<Vec<Value>> = vec![];
    let count = carried.len();
    for trip in 0..most {
        if !runs {
            break;
        }
        let head = with(import, expanded, |r| {
            let condition = Tensor::from_bytes(DType::Bool, vec![], std::sync::Arc::new(vec![1u8]));
            let condition = condition.ok_or_else(|| OpError::Invalid("a boolean".into()))?;
            Ok([r.add_constant(Tensor::from_i64(&[], &[trip])), r.add_constant(condition)])
        })?;
        let mut made = body(import, expanded, within, &[&head[..], &carried].concat())?;
        if made.len() < 1 + count {
            let source =
                OpError::mismatch("results of the body", format!("at least {}", 1 + count), made.len());
            return Err(invalid(node, source));
        }
        let known = import.graph.constant(made[0]).and_then(|t| t.to_i64().first().copied());
        runs = known.ok_or_else(|| {
            Failed::Unsupported("a loop that ends by a computed condition is not supported".into())
        })? != 0;
        parts.push(made.split_off(1 + count));
        carried = made.split_off(1);
    }
    let rest = within.output.len().saturating_sub(1 + count);
    if parts.is_empty() && rest > 0 {
        return Err(Failed::Unsupported(
            "a loop without trips that collects results is not supported".into(),
        ));
    }
    let collected: Vec<Vec<Value>> =
        (0..rest).map(|k| parts.iter().filter_map(|p| p.get(k).copied()).collect()).collect();
    for parts in collected {
        carried.push(with(import, expanded, |r| stacked(r, &parts, 0))?);
    }
    Ok(carried)
}

/// Values side by side along a new axis.
fn stacked(r: &mut Reading, parts: &[Value], axis: usize) -> Result<Value, OpError> {
    let mut columns = vec![];
    for part in parts {
        let mut shape = r.ty(*part).shape;
        if axis > shape.rank() {
            return Err(OpError::Axis { axis: axis as i64, rank: shape.rank() });
        }
        shape.0.insert(axis, Dim::known(1));
        columns.push(r.reshape(*part, shape)?);
    }
    if columns.len() == 1 { Ok(columns[0]) } else { r.add(Concat { axis }, &columns) }
}

/// Attributes of a scan, axis by axis.
fn per_axis(
    attributes: &BTreeMap<String, Attr>,
    node: &NodeProto,
    name: &str,
    len: usize,
) -> Result<Vec<i64>, Failed> {
    match attributes.get(name) {
        None => Ok(vec![0; len]),
        Some(Attr::Ints(values)) if values.len() == len => Ok(values.clone()),
        Some(_) => Err(invalid(node, OpError::Invalid(format!("attribute `{name}` has not {len} integers")))),
    }
}

fn scan(import: &mut Import, expanded: &Expanded) -> Result<Vec<Value>, Failed> {
    let node = &expanded.node;
    let within = graph(node, "body")?;
    let attributes = attribute::read(import.model, node)?;
    let sequences = match attributes.get("num_scan_inputs") {
        Some(Attr::Int(n)) => usize::try_from(*n).ok().filter(|n| (1..=node.input.len()).contains(n)),
        _ => None,
    };
    let sequences =
        sequences.ok_or_else(|| invalid(node, OpError::Invalid("num_scan_inputs is out of range".into())))?;
    let states = node.input.len() - sequences;
    let collected = within.output.len().saturating_sub(states);
    let axes = per_axis(&attributes, node, "scan_input_axes", sequences)?;
    let ways = per_axis(&attributes, node, "scan_input_directions", sequences)?;
    let out_axes = per_axis(&attributes, node, "scan_output_axes", collected)?;
    let out_ways = per_axis(&attributes, node, "scan_output_directions", collected)?;
    let mut operands = vec![];
    for slot in 0..node.input.len() {
        operands.push(operand(import, node, slot)?);
    }
    let mut carried = operands[..states].to_vec();
    let mut taken = vec![];
    for (v, axis) in operands[states..].iter().zip(&axes) {
        let rank = import.graph.ty(*v).rank();
        taken.push((*v, resolve(*axis, rank).map_err(|e| invalid(node, e))?));
    }
    let length = import.graph.ty(taken[0].0).dim(taken[0].1).clone();
    let known = length.as_known().ok_or_else(|| {
        Failed::Unsupported(format!(
            "a scan over a symbolic axis ({length}) is not supported; `--shape` can fix it"
        ))
    })?;
    let steps = trips(node, known)?;
    let mut parts: Vec<Vec<Value>> = vec![];
    for step in 0..steps {
        let elements = with(import, expanded, |r| {
            let mut elements = vec![];
            for ((v, axis), way) in taken.iter().zip(&ways) {
                let at = if *way == 0 { step } else { steps - 1 - step };
                let one = Slice { axis: *axis, start: Dim::known(at), len: Dim::known(1), step: 1 };
                let mut shape = r.ty(*v).shape.0;
                shape.remove(*axis);
                let element = r.add(one, &[*v])?;
                elements.push(r.reshape(element, Shape(shape))?);
            }
            Ok(elements)
        })?;
        let mut made = body(import, expanded, within, &[carried, elements].concat())?;
        parts.push(made.split_off(states.min(made.len())));
        carried = made;
    }
    if parts.is_empty() && collected > 0 {
        return Err(Failed::Unsupported("a scan without steps is not supported".into()));
    }
    for k in 0..collected {
        let mut own: Vec<Value> = parts.iter().filter_map(|p| p.get(k).copied()).collect();
        if out_ways[k] != 0 {
            own.reverse();
        }
        carried.push(with(import, expanded, |r| {
            let rank = own.first().map_or(0, |v| r.ty(*v).rank()) + 1;
            let axis = resolve(out_axes[k], rank)?;
            stacked(r, &own, axis)
        })?);
    }
    Ok(carried)
}
