//! Simplification of a program whose dimensions are bound: removes branches that are not taken, tensors without elements, and
//! relevance that is zero because of either.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::{self, Knowledge, Known, Prim, reference};
use dlbc_ops::tensor::{Array, DType, Dim, Tensor, TensorType};

/// Largest number of elements of an integer tensor that is computed while planning. Dimensions and values that follow from
/// them are smaller.
const FOLD_LIMIT: u64 = 4096;

/// Simplifies a program of which some symbols are bound. Outputs keep their names.
pub(crate) fn simplify(graph: &mut Graph<Prim>) {
    let mut known: HashMap<NodeId, Known> = HashMap::new();
    for id in graph.topological() {
        if matches!(graph.op(id), Prim::Input | Prim::Const(_)) {
            continue;
        }
        let operands: Vec<Option<Known>> =
            graph.node_inputs(id).iter().map(|v| known.get(&v.node).copied()).collect();
        if let Some(other) = equal_operand(graph, id, &Knowledge(&operands)) {
            graph.replace(Value { node: id, slot: 0 }, other);
            continue;
        }
        drop_operands(graph, id, &Knowledge(&operands));
        let ty = graph.node(id).types[0].clone();
        if ty.shape.0.iter().any(|d| d.is(0)) {
            known.insert(id, Known::Empty);
            if let Some(dims) = ty.shape.as_known() {
                set_constant(graph, id, Array::F(ndarray::ArrayD::zeros(dims)).to_tensor(ty.dtype));
            }
        } else if ty.dtype.is_float() && is_zero(graph.op(id), &Knowledge(&operands)) {
            known.insert(id, Known::Zero);
        } else {
            fold(graph, id, &ty);
        }
    }
    materialize_zeros(graph, &known);
}

/// Replaces a node by a constant.
fn set_constant(graph: &mut Graph<Prim>, id: NodeId, t: Tensor) {
    graph.set_inputs(id, &[]);
    graph.node_mut(id).op = Prim::Const(t);
}

/// Returns the operand that equals the node's result; `None` for a node that computes something.
fn equal_operand(graph: &Graph<Prim>, id: NodeId, known: &Knowledge) -> Option<Value> {
    let operand = graph.op(id).inner()?.equal_operand(known)?;
    let v = graph.node_inputs(id).get(operand).copied()?;
    (graph.ty(v) == &graph.node(id).types[0]).then_some(v)
}

/// Returns whether a primitive's result is 0 everywhere.
fn is_zero(prim: &Prim, known: &Knowledge) -> bool {
    prim.inner().is_some_and(|prim| prim.is_zero(known))
}

/// Removes the operands that do not change a node's result, unless fewer than two would remain.
fn drop_operands(graph: &mut Graph<Prim>, id: NodeId, known: &Knowledge) {
    let Some(prim) = graph.op(id).inner() else { return };
    let operands = graph.node_inputs(id);
    let relevant = (0..operands.len()).filter(|k| !prim.can_drop_operand(*k, known));
    let relevant: Vec<Value> = relevant.map(|k| operands[k]).collect();
    if relevant.len() > 1 && relevant.len() < operands.len() {
        graph.set_inputs(id, &relevant);
    }
}

/// Computes a small integer or boolean node whose operands are constants.
fn fold(graph: &mut Graph<Prim>, id: NodeId, ty: &TensorType) {
    if ty.dtype.is_float() || ty.bytes().is_none_or(|b| b > FOLD_LIMIT * 8) {
        return;
    }
    let mut operands = vec![];
    for v in graph.node_inputs(id) {
        match graph.op(v.node) {
            Prim::Const(t) if t.elems() as u64 <= FOLD_LIMIT => operands.push(Array::from_tensor(t)),
            _ => return,
        }
    }
    let operands: Vec<&Array> = operands.iter().collect();
    // A node that cannot be computed stays, and the run refuses it.
    if let Ok(result) = reference::eval(graph.op(id), &operands) {
        set_constant(graph, id, result.to_tensor(ty.dtype));
    }
}

/// Replaces the nodes that are known to be 0 by a broadcast constant.
fn materialize_zeros(graph: &mut Graph<Prim>, known: &HashMap<NodeId, Known>) {
    let mut all: Vec<NodeId> = known.iter().filter(|(_, k)| **k == Known::Zero).map(|(id, _)| *id).collect();
    all.sort();
    for id in all {
        let ty = graph.node(id).types[0].clone();
        if ty.shape.as_known().is_none() {
            continue;
        }
        let zero = Array::F(ndarray::arr0(0.0).into_dyn()).to_tensor(ty.dtype);
        if ty.rank() == 0 {
            set_constant(graph, id, zero);
            continue;
        }
        let name = format!("{}/zero", graph.node(id).name());
        let (scalar, origin) = (zero.ty(), graph.node(id).origin.clone());
        let zero = graph.add_value(Prim::Const(zero), &name, scalar, origin, &[]);
        graph.set_inputs(id, &[zero]);
        graph.node_mut(id).op = Prim::Expand(prim::Expand { to: ty.shape });
    }
}

/// Returns whether all dimensions of a node are known numbers.
pub(crate) fn is_known(graph: &Graph<Prim>, id: NodeId) -> bool {
    let node = graph.node(id);
    let known = |d: &Dim| d.as_known().is_some();
    node.op.dims().into_iter().all(known) && node.types.iter().flat_map(|ty| &ty.shape.0).all(known)
}

/// Returns the integer of a constant with one element.
pub(crate) fn constant_of(graph: &Graph<Prim>, v: Value) -> Option<i64> {
    match graph.op(v.node) {
        Prim::Const(t) if t.elems() == 1 && t.dtype() != DType::F32 => t.to_i64().first().copied(),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use dlbc_ops::prim::{Builder, Unary};
    use dlbc_ops::program::Output;
    use dlbc_ops::tensor::{Bindings, Shape};

    use super::*;

    fn names(graph: &Graph<Prim>) -> Vec<String> {
        let ops = graph.topological().into_iter().map(|id| format!("{:?}", graph.op(id)));
        ops.map(|op| op.split([' ', '(', '{']).next().unwrap().to_string()).collect()
    }

    fn simplified(b: Builder, y: Value, bindings: &[(&str, i64)]) -> Graph<Prim> {
        let mut graph = b.finish();
        graph.add_output(Output::value("y"), y);
        let bindings: Bindings = bindings.iter().map(|(s, v)| ((*s).into(), *v)).collect();
        let mut graph = graph.bind(&bindings);
        simplify(&mut graph);
        graph.remove_unused();
        graph.remove_unused_inputs();
        graph.check().unwrap();
        graph
    }

    fn input(b: &mut Builder, name: &str, dims: &str) -> Value {
        let dims = dims.split(',').map(|d| d.parse().unwrap()).collect::<Vec<Dim>>();
        b.input(name, TensorType::new(DType::F32, dims))
    }

    /// `residual + scatter(gather(x) · w)`, for the rows of one expert.
    fn expert(count: i64) -> Graph<Prim> {
        let mut b = Builder::new();
        let (x, w) = (input(&mut b, "x", "8,4"), input(&mut b, "w", "4,4"));
        let at = b.input("at", TensorType::new(DType::I64, vec![Dim::symbol("n")]));
        let rows = b.add(prim::Gather { axis: 0 }, &[x, at]);
        let products = b.matmul(rows, w);
        let back = b.add(prim::ScatterAdd { axis: 0, to: Dim::known(8) }, &[products, at]);
        let y = b.plus(x, back);
        simplified(b, y, &[("n", count)])
    }

    #[test]
    fn an_expert_without_tokens_costs_nothing() {
        assert_eq!(names(&expert(0)), ["Input"]);
        assert!(names(&expert(3)).contains(&"MatMul".to_string()));
    }

    #[test]
    fn a_branch_that_is_not_taken_is_gone_with_its_relevance() {
        for (condition, gone) in [(1, "Sigmoid"), (0, "Tanh")] {
            let mut b = Builder::new();
            let x = input(&mut b, "x", "4");
            let (then, otherwise) = (b.unary(Unary::Tanh, x), b.unary(Unary::Sigmoid, x));
            let c = Dim::symbol("c");
            let merged = b.add(prim::Merge { condition: c.clone() }, &[then, otherwise]);
            let to = Shape(vec![Dim::known(4)]);
            let back = [(false, then), (true, otherwise)].map(|(second, branch)| {
                let r =
                    b.add(prim::MergeTranspose { condition: c.clone(), second, to: to.clone() }, &[merged]);
                b.mul(r, branch)
            });
            let y = b.plus(back[0], back[1]);
            let graph = simplified(b, y, &[("c", condition)]);
            let text = graph.to_string();
            assert!(!text.contains(gone) && !text.contains("Merge"), "{text}");
        }
    }
}
