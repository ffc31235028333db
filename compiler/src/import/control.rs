//! Nodes with subgraphs: `If`, `Loop` and `Scan`.
//!
//! If the condition of an `If` is known, its branch is read in place of the node. Otherwise both branches are read, and a
//! [`Merge`] takes the one that a run chooses; a run fails if it chooses a branch that does not fit the shapes of the inputs.
//! Loops with a known number of iterations are unrolled.

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
use super::order::read_order;
use super::state::{Import, Refusal};
use crate::error::CompileError;

/// Largest number of iterations that are unrolled.
const MAX_ITERATIONS: i64 = 1024;

/// Failure to read a node with subgraphs.
enum Failed {
    /// The node itself is not supported, with the reason.
    Unsupported(Refusal),
    /// A node of a subgraph is not supported; it is listed already.
    Subgraph,
    /// The model is invalid.
    Error(CompileError),
}

impl From<CompileError> for Failed {
    fn from(e: CompileError) -> Failed {
        Failed::Error(e)
    }
}

/// Returns whether a node is a control-flow operator of ai.onnx.
pub fn is_control(node: &NodeProto) -> bool {
    matches!(node.domain(), "" | "ai.onnx") && matches!(node.op_type(), "If" | "Loop" | "Scan")
}

/// Reads a node with subgraphs.
///
/// # Errors
/// For an invalid node. An unsupported one is recorded in `import`.
pub fn read(import: &mut Import, expanded: &Expanded) -> Result<(), CompileError> {
    let node = &expanded.node;
    if import.fails_with_operand(node) {
        return Ok(());
    }
    if node.input.iter().any(|i| import.sequences.contains_key(i)) {
        let refusal = Refusal::from("operand: expected a tensor, found a sequence");
        import.refuse(node, node.op_type(), refusal, node_name(node).to_string());
        return Ok(());
    }
    let outputs = match node.op_type() {
        "If" => read_if(import, expanded),
        "Loop" => read_loop(import, expanded),
        _ => read_scan(import, expanded),
    };
    match outputs {
        Ok(outputs) => import.bind(node, outputs),
        Err(Failed::Subgraph) => {
            import.failed.extend(node.output.iter().cloned());
            Ok(())
        }
        Err(Failed::Unsupported(refusal)) => {
            import.refuse(node, node.op_type(), refusal, node_name(node).to_string());
            Ok(())
        }
        Err(Failed::Error(e)) => Err(e),
    }
}

/// Returns the subgraph that an attribute holds.
fn subgraph<'n>(node: &'n NodeProto, name: &str) -> Result<&'n GraphProto, Failed> {
    let graph = node.attribute.iter().find(|a| a.name() == name).and_then(|a| a.g.as_deref());
    graph.ok_or_else(|| invalid(node, OpError::missing_attribute(name, "a graph")))
}

/// Adds the node to an error of one of its operators.
fn invalid(node: &NodeProto, source: OpError) -> Failed {
    match source {
        OpError::Unsupported(reason) => Failed::Unsupported(Refusal::from(reason)),
        OpError::Symbolic(reason) => Failed::Unsupported(Refusal::symbolic(reason)),
        source => Failed::Error(CompileError::Node {
            node: Name::new(node_name(node)),
            op: Name::new(node.op_type()),
            source,
        }),
    }
}

/// Adds operators on behalf of a node.
fn add_operators<T>(
    import: &mut Import,
    expanded: &Expanded,
    add: impl FnOnce(&mut Reading) -> Result<T, OpError>,
) -> Result<T, Failed> {
    let attributes: BTreeMap<String, Attr> = BTreeMap::new();
    let mut reading = import.reading(expanded, &[], &attributes);
    add(&mut reading).map_err(|e| invalid(&expanded.node, e))
}

/// Reads a subgraph of a node, with `inputs` as the values of its inputs, and returns the values of its outputs. Names that
/// the subgraph defines hide outer names while it is read.
fn read_subgraph(
    import: &mut Import,
    expanded: &Expanded,
    graph: &GraphProto,
    inputs: &[Value],
) -> Result<Vec<Value>, Failed> {
    let node = &expanded.node;
    if graph.input.len() != inputs.len() {
        let source = OpError::mismatch("inputs of the graph within", inputs.len(), graph.input.len());
        return Err(invalid(node, source));
    }
    let nodes =
        function::inline_nodes(import.model, &graph.node, &expanded.opsets, import.options.max_nodes)?;
    import.read += nodes.len();
    if import.read > import.options.max_nodes {
        return Err(Failed::Error(CompileError::TooManyNodes(import.options.max_nodes)));
    }
    let local = graph.input.iter().map(|i| i.name()).chain(graph.initializer.iter().map(|t| t.name()));
    let local = local.chain(nodes.iter().flat_map(|n| n.node.output.iter().map(String::as_str)));
    let hidden: Vec<(String, Option<Value>)> =
        local.map(|name| (name.to_string(), import.values.remove(name))).collect();
    for (input, v) in graph.input.iter().zip(inputs) {
        import.values.insert(input.name().into(), *v);
    }
    let outputs = (|| {
        for t in &graph.initializer {
            let tensor = import.tensor(t)?;
            let v = import.add_constant(t.name(), tensor);
            import.values.insert(t.name().into(), v);
        }
        for inner in read_order(&nodes, import)? {
            import.node(inner)?;
        }
        let mut outputs = vec![];
        for output in &graph.output {
            let name = output.name();
            match import.values.get(name) {
                Some(v) => outputs.push(*v),
                None if import.failed.contains(name) => return Ok(None),
                None => return Err(CompileError::MissingOutput(Name::new(name))),
            }
        }
        Ok(Some(outputs))
    })();
    for (name, outer) in hidden.into_iter().rev() {
        import.failed.remove(&name);
        match outer {
            Some(v) => import.values.insert(name, v),
            None => import.values.remove(&name),
        };
    }
    outputs?.ok_or(Failed::Subgraph)
}

/// Reads an `If`.
fn read_if(import: &mut Import, expanded: &Expanded) -> Result<Vec<Value>, Failed> {
    let node = &expanded.node;
    let [then, otherwise] = [subgraph(node, "then_branch")?, subgraph(node, "else_branch")?];
    let condition = operand(import, node, 0)?;
    if let Some(known) = import.graph.constant(condition).map(|t| t.to_i64()) {
        let branch = if known.first().is_some_and(|c| *c != 0) { then } else { otherwise };
        return read_subgraph(import, expanded, branch, &[]);
    }
    let ty = import.graph.ty(condition).clone();
    if ty.dtype != DType::Bool {
        return Err(invalid(node, OpError::mismatch("condition", "a boolean", ty)));
    }
    let symbol = add_operators(import, expanded, |r| r.dim_of(condition, "branch"))?;
    // Both branches are read before an error returns, so that all unsupported operators are listed.
    let branches =
        [read_subgraph(import, expanded, then, &[]), read_subgraph(import, expanded, otherwise, &[])];
    let (then, otherwise) = match branches {
        [Ok(results), Err(e)] if is_shape_misfit(import, &e) => {
            return only_branch(import, expanded, condition, results, Branch::Then);
        }
        [Err(e), Ok(results)] if is_shape_misfit(import, &e) => {
            return only_branch(import, expanded, condition, results, Branch::Else);
        }
        [then, otherwise] => (then?, otherwise?),
    };
    if then.len() != otherwise.len() {
        let source = OpError::mismatch("results of the branches", then.len(), otherwise.len());
        return Err(invalid(node, source));
    }
    add_operators(import, expanded, |r| {
        let mut merged = vec![];
        for (a, b) in then.into_iter().zip(otherwise) {
            let (ta, tb) = (r.ty(a), r.ty(b));
            if ta.rank() != tb.rank() {
                return Err(OpError::unsupported(
                    "result of the branches",
                    format!("rank {}", ta.rank()),
                    tb,
                ));
            }
            merged.push(if a == b { a } else { r.add(Merge { condition: symbol.clone() }, &[a, b])? });
        }
        Ok(merged)
    })
}

/// A branch of an `If`.
#[derive(Clone, Copy, PartialEq)]
enum Branch {
    Then,
    Else,
}

/// Returns whether a branch failed because it does not fit the known shapes of the inputs, such as a branch for another sampling rate.
fn is_shape_misfit(import: &Import, failed: &Failed) -> bool {
    let Failed::Error(CompileError::Node { source, .. }) = failed else { return false };
    let is_known = |id: &NodeId| import.graph.node(*id).types[0].shape.as_known().is_some();
    let is_about_shapes = matches!(
        source,
        OpError::Mismatch { .. } | OpError::Unequal(_) | OpError::Broadcast { .. } | OpError::Axis { .. }
    );
    is_about_shapes && import.graph.inputs().iter().all(is_known)
}

/// Returns the results of the only branch that fits the shapes of the inputs; a run that takes the other branch fails.
fn only_branch(
    import: &mut Import,
    expanded: &Expanded,
    condition: Value,
    results: Vec<Value>,
    branch: Branch,
) -> Result<Vec<Value>, Failed> {
    add_operators(import, expanded, |r| {
        let condition = r.reshape(condition, Shape(vec![]))?;
        let condition = r.add(Cast { to: DType::I64 }, &[condition])?;
        let expected = r.add_constant(Tensor::from_i64(&[], &[i64::from(branch == Branch::Then)]));
        // 0 if a run takes this branch, -1 if it takes the other.
        let fit = match branch {
            Branch::Then => r.add(Sub, &[condition, expected])?,
            Branch::Else => r.add(Sub, &[expected, condition])?,
        };
        let condition = &Dim::known(1) + &r.graph.data_dependent_dim(UNFIT_PREFIX, fit);
        let merge = |v: Value| r.add(Merge { condition: condition.clone() }, &[v, v]);
        results.into_iter().map(merge).collect()
    })
}

/// Returns the value of a required input of a node.
fn operand(import: &Import, node: &NodeProto, slot: usize) -> Result<Value, Failed> {
    let operand = node.input.get(slot).and_then(|name| import.values.get(name)).copied();
    operand.ok_or_else(|| {
        let expected = format!("at least {}", slot + 1);
        invalid(node, OpError::Arity { expected, actual: node.input.len() })
    })
}

/// Checks a number of iterations against the limit.
fn check_iterations(node: &NodeProto, trips: i64) -> Result<i64, Failed> {
    if trips > MAX_ITERATIONS {
        let message = format!("the loop has {trips} trips: the limit is {MAX_ITERATIONS}");
        return Err(invalid(node, OpError::Limit(message)));
    }
    Ok(trips.max(0))
}

/// Reads a `Loop` by unrolling it.
fn read_loop(import: &mut Import, expanded: &Expanded) -> Result<Vec<Value>, Failed> {
    let node = &expanded.node;
    let body = subgraph(node, "body")?;
    let optional =
        |import: &Import, slot: usize| node.input.get(slot).and_then(|n| import.values.get(n)).copied();
    let count = match optional(import, 0) {
        None => None,
        Some(v) => {
            Some(import.graph.constant(v).and_then(|t| t.to_i64().first().copied()).ok_or_else(|| {
                invalid(node, OpError::unsupported("number of trips", "a constant", "a computed value"))
            })?)
        }
    };
    let mut is_running = match optional(import, 1) {
        None => true,
        Some(v) => {
            let known = import.graph.constant(v).and_then(|t| t.to_i64().first().copied());
            let computed = || OpError::unsupported("condition", "a constant", "a computed value");
            known.ok_or_else(|| invalid(node, computed()))? != 0
        }
    };
    let unbounded = || OpError::unsupported("number of trips", "a constant", "none");
    let count = count.ok_or_else(|| invalid(node, unbounded()))?;
    let count = if is_running { check_iterations(node, count)? } else { 0 };
    let mut carried: Vec<Value> = vec![];
    for slot in 2..node.input.len() {
        carried.push(operand(import, node, slot)?);
    }
    // Values that each iteration collects.
    let mut collected: Vec<Vec<Value>> = vec![];
    let states = carried.len();
    for iteration in 0..count {
        if !is_running {
            break;
        }
        let head = add_operators(import, expanded, |r| {
            let condition = Tensor::from_bytes(DType::Bool, vec![], std::sync::Arc::new(vec![1u8]));
            let condition =
                condition.ok_or_else(|| OpError::invalid("condition", "a boolean", "other bytes"))?;
            Ok([r.add_constant(Tensor::from_i64(&[], &[iteration])), r.add_constant(condition)])
        })?;
        let mut results = read_subgraph(import, expanded, body, &[&head[..], &carried].concat())?;
        if results.len() < 1 + states {
            let source =
                OpError::mismatch("results of the body", format!("at least {}", 1 + states), results.len());
            return Err(invalid(node, source));
        }
        let known = import.graph.constant(results[0]).and_then(|t| t.to_i64().first().copied());
        let computed = || OpError::unsupported("condition to go on", "a constant", "a computed value");
        is_running = known.ok_or_else(|| invalid(node, computed()))? != 0;
        collected.push(results.split_off(1 + states));
        carried = results.split_off(1);
    }
    let sequences = body.output.len().saturating_sub(1 + states);
    if collected.is_empty() && sequences > 0 {
        return Err(invalid(
            node,
            OpError::unsupported("trips of a loop that collects results", "at least 1", 0),
        ));
    }
    for k in 0..sequences {
        let elements: Vec<Value> = collected.iter().filter_map(|values| values.get(k).copied()).collect();
        carried.push(add_operators(import, expanded, |r| stack(r, &elements, 0))?);
    }
    Ok(carried)
}

/// Stacks values along a new axis.
fn stack(r: &mut Reading, elements: &[Value], axis: usize) -> Result<Value, OpError> {
    let mut columns = vec![];
    for element in elements {
        let mut shape = r.ty(*element).shape;
        if axis > shape.rank() {
            return Err(OpError::Axis { axis: axis as i64, rank: shape.rank() });
        }
        shape.0.insert(axis, Dim::known(1));
        columns.push(r.reshape(*element, shape)?);
    }
    if columns.len() == 1 { Ok(columns[0]) } else { r.add(Concat { axis }, &columns) }
}

/// Returns an attribute of a `Scan` with one integer per sequence; zeros if it is absent.
fn per_sequence(
    attributes: &BTreeMap<String, Attr>,
    node: &NodeProto,
    name: &str,
    len: usize,
) -> Result<Vec<i64>, Failed> {
    match attributes.get(name) {
        None => Ok(vec![0; len]),
        Some(Attr::Ints(values)) if values.len() == len => Ok(values.clone()),
        Some(_) => Err(invalid(
            node,
            OpError::invalid(&format!("attribute `{name}`"), format!("{len} integers"), "other values"),
        )),
    }
}

/// Reads a `Scan` by unrolling it.
fn read_scan(import: &mut Import, expanded: &Expanded) -> Result<Vec<Value>, Failed> {
    let node = &expanded.node;
    let body = subgraph(node, "body")?;
    // In opset 8 the first operand is the lengths of the sequences.
    if let Some(opset) = expanded.opsets.get("").filter(|opset| **opset < 9) {
        return Err(Failed::Unsupported(Refusal::from(format!("expected opset 9 or later, found {opset}"))));
    }
    let attributes = attribute::read(import.model, node)?;
    let sequences = match attributes.get("num_scan_inputs") {
        Some(Attr::Int(n)) => usize::try_from(*n).ok().filter(|n| (1..=node.input.len()).contains(n)),
        _ => None,
    };
    let expected = || format!("1 to {}", node.input.len());
    let sequences = sequences
        .ok_or_else(|| invalid(node, OpError::invalid("num_scan_inputs", expected(), "another value")))?;
    let states = node.input.len() - sequences;
    let sequence_outputs = body.output.len().saturating_sub(states);
    let axes = per_sequence(&attributes, node, "scan_input_axes", sequences)?;
    let directions = per_sequence(&attributes, node, "scan_input_directions", sequences)?;
    let out_axes = per_sequence(&attributes, node, "scan_output_axes", sequence_outputs)?;
    let out_directions = per_sequence(&attributes, node, "scan_output_directions", sequence_outputs)?;
    let mut operands = vec![];
    for slot in 0..node.input.len() {
        operands.push(operand(import, node, slot)?);
    }
    let mut carried = operands[..states].to_vec();
    // Each sequence with the axis along which it is read.
    let mut scanned = vec![];
    for (v, axis) in operands[states..].iter().zip(&axes) {
        let rank = import.graph.ty(*v).rank();
        scanned.push((*v, resolve(*axis, rank).map_err(|e| invalid(node, e))?));
    }
    let length = import.graph.ty(scanned[0].0).dim(scanned[0].1).clone();
    let known = length.as_known().ok_or_else(|| {
        invalid(node, OpError::symbolic("length of the scanned axis", "a known dimension", &length))
    })?;
    let steps = check_iterations(node, known)?;
    let mut collected: Vec<Vec<Value>> = vec![];
    for step in 0..steps {
        let elements = add_operators(import, expanded, |r| {
            let mut elements = vec![];
            for ((v, axis), direction) in scanned.iter().zip(&directions) {
                let index = if *direction == 0 { step } else { steps - 1 - step };
                let slice = Slice { axis: *axis, start: Dim::known(index), len: Dim::known(1), step: 1 };
                let mut shape = r.ty(*v).shape.0;
                shape.remove(*axis);
                let element = r.add(slice, &[*v])?;
                elements.push(r.reshape(element, Shape(shape))?);
            }
            Ok(elements)
        })?;
        let mut results = read_subgraph(import, expanded, body, &[carried, elements].concat())?;
        collected.push(results.split_off(states.min(results.len())));
        carried = results;
    }
    if collected.is_empty() && sequence_outputs > 0 {
        return Err(invalid(node, OpError::unsupported("steps of a scan", "at least 1", 0)));
    }
    for k in 0..sequence_outputs {
        let mut elements: Vec<Value> = collected.iter().filter_map(|values| values.get(k).copied()).collect();
        if out_directions[k] != 0 {
            elements.reverse();
        }
        carried.push(add_operators(import, expanded, |r| {
            let rank = elements.first().map_or(0, |v| r.ty(*v).rank()) + 1;
            let axis = resolve(out_axes[k], rank)?;
            stack(r, &elements, axis)
        })?);
    }
    Ok(carried)
}
