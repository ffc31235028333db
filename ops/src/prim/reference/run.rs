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
        source: OpError::invalid("name", "an output of the graph", "an unknown one"),
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
        let value = value.ok_or_else(|| OpError::invalid("input", "a value", "none"))?;
        check(value, graph.ty(Value { node: id, slot: 0 }))?;
        return Ok(value.clone());
    }
    let missing = || OpError::invalid("operands", "values of earlier nodes", "a cycle");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prim::tests::arrays::{ints, row};
    use crate::prim::{Binary, Builder, Unary};
    use crate::tensor::Dim;

    fn feed(values: &[(&str, Array)]) -> BTreeMap<String, Array> {
        values.iter().map(|(name, x)| (name.to_string(), x.clone())).collect()
    }

    #[test]
    fn only_requested_outputs_are_evaluated() {
        let mut b = Builder::new();
        let x = b.input("x", TensorType::new(DType::F32, vec![Dim::known(2)]));
        let unused = b.input("unused", TensorType::new(DType::F32, vec![Dim::symbol("n")]));
        let double = b.plus(x, x);
        let square = b.mul(double, x);
        let other = b.unary(Unary::Exp, unused);
        for (name, v) in
            [("double", double), ("square", square), ("again", square), ("x", x), ("other", other)]
        {
            b.graph_mut().add_output(Output::value(name), v);
        }
        b.ok().expect("a typed graph");
        let graph = b.finish();
        let inputs = feed(&[("x", row(&[1.0, 3.0]))]);
        let requested = ["square", "double", "again", "x"].map(Output::value);
        let values = run(&graph, &inputs, &requested).expect("values");
        let values =
            values.into_iter().map(|(output, value)| (output.to_string(), value)).collect::<BTreeMap<_, _>>();
        let square = row(&[2.0, 18.0]);
        let expected = [
            ("square", square.clone()),
            ("double", row(&[2.0, 6.0])),
            ("again", square),
            ("x", row(&[1.0, 3.0])),
        ];
        assert_eq!(values, feed(&expected));

        let failure = |inputs: &BTreeMap<String, Array>, output: &str| {
            run(&graph, inputs, &[Output::value(output)]).expect_err("an error").to_string()
        };
        assert_eq!(failure(&inputs, "other"), "node `unused` (Input): input: expected a value, found none");
        assert_eq!(
            failure(&inputs, "z"),
            "node `z` (output): name: expected an output of the graph, found an unknown one"
        );
        let long = feed(&[("x", row(&[1.0; 3]))]);
        assert_eq!(failure(&long, "square"), "node `x` (Input): given value: expected f32[2], found f64[3]");
        assert!(failure(&feed(&[("x", ints(&[2], &[1, 2]))]), "x").contains("i64[2]"));
    }

    #[test]
    fn errors_name_the_node_and_its_primitive() {
        let mut b = Builder::new();
        let ty = TensorType::new(DType::I64, vec![Dim::known(1)]);
        let (x, y) = (b.input("x", ty.clone()), b.input("y", ty));
        let z = b.add(Binary::Div, &[x, y]);
        b.graph_mut().add_output(Output::value("z"), z);
        b.ok().expect("a typed graph");
        let graph = b.finish();
        let name = graph.node(z.node).name().to_string();
        let inputs = feed(&[("x", ints(&[1], &[1])), ("y", ints(&[1], &[0]))]);
        let error = run(&graph, &inputs, &[Output::value("z")]).expect_err("an error");
        assert_eq!(
            error.to_string(),
            format!("node `{name}` (Div): integer division by 0: expected a divisor other than 0")
        );
        assert_eq!(error.source.to_string(), "integer division by 0: expected a divisor other than 0");
    }
}
