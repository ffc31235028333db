//! Recovers an embedding from a product of one-hot rows and a table: `cast(ids == [0, 1, …]) · W` is row `id` of `W`.
//!
//! TensorFlow and JAX write embeddings with few ids that way. An id beyond the table gives zeros there, and an error here.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Add, Compare, Gather, Linear, MatMul, Op};
use dlbc_ops::prim::Binary;
use dlbc_ops::tensor::{Shape, Tensor};

use super::pass::Context;
use super::pattern::{add_constant, each, joint_origin, replace_by_op};

/// Recovers every embedding.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, recover)
}

fn recover(graph: &mut Graph<Op>, product: NodeId) -> Option<()> {
    let inputs = graph.node_inputs(product);
    let (&hot, &weight) = (inputs.first()?, inputs.get(1)?);
    let transposed = match graph.op(product) {
        Op::Linear(Linear { transposed }) => *transposed,
        Op::MatMul(MatMul) => false,
        _ => return None,
    };
    let table = graph.constant(weight)?.clone();
    // A table is a matrix, not a batch of matrices.
    if table.dims().len() != 2 || !graph.ty(hot).dtype.is_float() {
        return None;
    }
    let ids = one_hot(graph, hot, table.dims()[usize::from(transposed)])?;
    let y = Value { node: product, slot: 0 };
    let (name, ty) = (graph.value_name(y).to_string(), graph.ty(y).clone());
    let origin = joint_origin(graph, &[hot.node, product]);
    let table = match transposed {
        true => add_constant(graph, transpose(&table), &format!("{name}/table"), origin.clone()),
        false => weight,
    };
    match inputs.get(2) {
        Some(bias) => {
            let rows = graph.add_value(Gather { axis: 0 }.into(), &name, ty, origin.clone(), &[table, ids]);
            replace_by_op(graph, y, Add, origin, &[rows, *bias]);
        }
        None => replace_by_op(graph, y, Gather { axis: 0 }, origin, &[table, ids]),
    }
    Some(())
}

/// Returns the ids of one-hot rows with `depth` elements, without the last axis.
fn one_hot(graph: &mut Graph<Op>, v: Value, depth: usize) -> Option<Value> {
    let Op::Cast(_) = graph.op(v.node) else { return None };
    let equal = graph.node_inputs(v.node)[0];
    let Op::Compare(Compare { f: Some(Binary::Equal), .. }) = graph.op(equal.node) else { return None };
    let inputs = graph.node_inputs(equal.node);
    let (mut ids, scale) = match (graph.constant(inputs[0]), graph.constant(inputs[1])) {
        (None, Some(c)) => (inputs[0], c),
        (Some(c), None) => (inputs[1], c),
        _ => return None,
    };
    let is_range = scale.dtype().is_integer()
        && scale.dims().last() == Some(&depth)
        && scale.elems() == depth
        && scale.to_i64().iter().enumerate().all(|(i, v)| *v == i as i64);
    if !is_range {
        return None;
    }
    if let Op::Expand(_) = graph.op(ids.node) {
        ids = graph.node_inputs(ids.node)[0];
    }
    let ty = graph.ty(ids).clone();
    let mut column = graph.ty(v).shape.clone();
    let rows = Shape(column.0[..column.rank() - 1].to_vec());
    *column.0.last_mut()? = dlbc_ops::tensor::Dim::known(1);
    if !ty.dtype.is_integer() || ty.shape != column {
        return None;
    }
    let (name, origin) = (format!("{}/ids", graph.value_name(v)), graph.node(v.node).origin.clone());
    let to = dlbc_ops::op::Reshape { to: rows.clone() };
    Some(graph.add_value(to.into(), &name, ty.with_shape(rows), origin, &[ids]))
}

/// Transposes a float matrix.
fn transpose(t: &Tensor) -> Tensor {
    let (rows, columns) = (t.dims()[0], t.dims()[1]);
    let values = t.to_f32();
    let transposed: Vec<f32> = (0..columns * rows).map(|i| values[i % rows * columns + i / rows]).collect();
    Tensor::from_f32(&[columns, rows], &transposed)
}
