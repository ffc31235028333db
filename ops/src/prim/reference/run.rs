//! Interpreter of lowered graphs.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::{eval, layout};
use crate::OpError;
use crate::graph::{Graph, NodeId, PrintOp, Value};
use crate::prim::Prim;
use crate::program::Output;
use crate::tensor::{Array, DType, TensorType};

/// Error of a node that could not be evaluated.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("node `{node}` ({op}): {source}")]
pub struct RunError {
    /// Name of the node, or of an output that the graph does not have.
    pub node: String,
    /// Name of the node's primitive.
    pub op: String,
    /// Reason of the failure.
    pub source: OpError,
}

/// Evaluates the `requested` graph outputs. Only nodes on which they depend are evaluated, and a value is freed after
/// its last use. `inputs` are by name; inputs on which no requested output depends may be absent.
///
/// # Errors
/// The first node that could not be evaluated, or an output that the graph does not have.
pub fn run(
    graph: &Graph<Prim>,
    inputs: &BTreeMap<String, Array>,
    requested: &[Output],
) -> Result<BTreeMap<Output, Array>, RunError> {
    let outputs = requested
        .iter()
        .map(|name| Ok((name.clone(), output(graph, name)?)))
        .collect::<Result<Vec<_>, _>>()?;
    let order = needed(graph, outputs.iter().map(|(_, v)| v.node));
    let mut readers: BTreeMap<Value, usize> = BTreeMap::new();
    let read = order.iter().flat_map(|id| graph.node_inputs(*id));
    read.chain(outputs.iter().map(|(_, v)| *v)).for_each(|v| *readers.entry(v).or_default() += 1);

    let mut values: BTreeMap<Value, Array> = BTreeMap::new();
    for id in order {
        let value = node(graph, id, inputs, &values).map_err(|source| RunError {
            node: graph.node(id).name().to_string(),
            op: graph.op(id).name(),
            source,
        })?;
        values.insert(Value { node: id, slot: 0 }, value);
        for v in graph.node_inputs(id) {
            release(&mut readers, &mut values, v);
        }
    }
    let results = outputs.into_iter().filter_map(|(name, v)| Some((name, values.get(&v)?.clone())));
    Ok(results.collect())
}

fn output(graph: &Graph<Prim>, name: &Output) -> Result<Value, RunError> {
    graph.output(name).ok_or_else(|| RunError {
        node: name.to_string(),
        op: "output".to_string(),
        source: OpError::Invalid("the graph has no such output".into()),
    })
}

/// Returns the nodes on which `roots` depend, each after its operands and as late as the order of operands allows.
fn needed(graph: &Graph<Prim>, roots: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
    let (mut order, mut seen) = (vec![], BTreeSet::new());
    for root in roots {
        let mut stack = vec![(root, false)];
        while let Some((id, operands_done)) = stack.pop() {
            if operands_done {
                order.push(id);
            } else if seen.insert(id) {
                stack.push((id, true));
                stack.extend(graph.node_inputs(id).iter().rev().map(|v| (v.node, false)));
            }
        }
    }
    order
}

fn node(
    graph: &Graph<Prim>,
    id: NodeId,
    inputs: &BTreeMap<String, Array>,
    values: &BTreeMap<Value, Array>,
) -> Result<Array, OpError> {
    if let Prim::Input = graph.op(id) {
        let value = inputs.get(graph.node(id).name());
        let value = value.ok_or_else(|| OpError::Invalid("no value is given for this input".into()))?;
        check(value, graph.ty(Value { node: id, slot: 0 }))?;
        return Ok(value.clone());
    }
    let missing = || OpError::Invalid("an operand is not evaluated yet: the graph has a cycle".into());
    let operands = graph
        .node_inputs(id)
        .iter()
        .map(|v| values.get(v).ok_or_else(missing))
        .collect::<Result<Vec<_>, _>>()?;
    eval(graph.op(id), &operands)
}

/// Checks an input value against the known part of its type.
fn check(value: &Array, expected: &TensorType) -> Result<(), OpError> {
    let actual = layout::ty(value);
    let kind = match expected.dtype {
        DType::F32 | DType::F64 | DType::F16 | DType::Bf16 => DType::F64,
        DType::Bool => DType::Bool,
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => DType::I64,
        DType::U8 | DType::U16 | DType::U32 | DType::U64 => DType::I64,
    };
    let dims = expected.shape.0.iter().zip(value.dims());
    let fits = dims.into_iter().all(|(e, d)| e.as_known().is_none_or(|e| e == *d as i64));
    if kind != actual.dtype || expected.rank() != actual.rank() || !fits {
        return Err(OpError::mismatch("given value", expected, actual));
    }
    Ok(())
}

fn release(readers: &mut BTreeMap<Value, usize>, values: &mut BTreeMap<Value, Array>, v: Value) {
    let left = readers.entry(v).or_default();
    *left = left.saturating_sub(1);
    if *left == 0 {
        values.remove(&v);
    }
}
