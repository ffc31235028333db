//! What a program needs no more once dimensions are bound: branches that were not taken, tensors without elements, and
//! relevance that is zero for lack of either.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::{self, Knowledge, Known, Prim, reference};
use dlbc_ops::tensor::{Array, DType, Dim, Tensor, TensorType};

/// Integers of this many elements are computed while planning: dimensions and what follows from them.
const SMALL: u64 = 4096;

/// Simplifies a program whose symbols are bound in part. Values that are outputs keep their names.
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
        leave_out(graph, id, &Knowledge(&operands));
        let ty = graph.node(id).types[0].clone();
        if ty.shape.0.iter().any(|d| d.is(0)) {
            known.insert(id, Known::Empty);
            if let Some(dims) = ty.shape.as_known() {
                constant(graph, id, Array::F(ndarray::ArrayD::zeros(dims)).to_tensor(ty.dtype));
            }
        } else if ty.dtype.is_float() && is_zero(graph.op(id), &Knowledge(&operands)) {
            known.insert(id, Known::Zero);
        } else {
            fold(graph, id, &ty);
        }
    }
    zeros(graph, &known);
}

fn constant(graph: &mut Graph<Prim>, id: NodeId, t: Tensor) {
    graph.set_inputs(id, &[]);
    graph.node_mut(id).op = Prim::Const(t);
}

/// The operand that a node is another name for.
fn equal_operand(graph: &Graph<Prim>, id: NodeId, known: &Knowledge) -> Option<Value> {
    let operand = graph.op(id).inner()?.equal_operand(known)?;
    let v = graph.node_inputs(id).get(operand).copied()?;
    (graph.ty(v) == &graph.node(id).types[0]).then_some(v)
}

fn is_zero(prim: &Prim, known: &Knowledge) -> bool {
    prim.inner().is_some_and(|prim| prim.is_zero(known))
}

/// Takes operands away that do not change a node's result, unless one or none would be left.
fn leave_out(graph: &mut Graph<Prim>, id: NodeId, known: &Knowledge) {
    let Some(prim) = graph.op(id).inner() else { return };
    let operands = graph.node_inputs(id);
    let relevant = (0..operands.len()).filter(|k| !prim.can_drop_operand(*k, known));
    let relevant: Vec<Value> = relevant.map(|k| operands[k]).collect();
    if relevant.len() > 1 && relevant.len() < operands.len() {
        graph.set_inputs(id, &relevant);
    }
}

/// Computes small integers and booleans of constants.
fn fold(graph: &mut Graph<Prim>, id: NodeId, ty: &TensorType) {
    if ty.dtype.is_float() || ty.bytes().is_none_or(|b| b > SMALL * 8) {
        return;
    }
    let mut operands = vec![];
    for v in graph.node_inputs(id) {
        match graph.op(v.node) {
            Prim::Const(t) if t.elems() as u64 <= SMALL => operands.push(Array::from_tensor(t)),
            _ => return,
        }
    }
    let operands: Vec<&Array> = operands.iter().collect();
    // What cannot be computed is left for the run to refuse.
    if let Ok(made) = reference::eval(graph.op(id), &operands) {
        constant(graph, id, made.to_tensor(ty.dtype));
    }
}

/// Makes constants of the zeros that something still reads.
fn zeros(graph: &mut Graph<Prim>, known: &HashMap<NodeId, Known>) {
    let mut all: Vec<NodeId> = known.iter().filter(|(_, k)| **k == Known::Zero).map(|(id, _)| *id).collect();
    all.sort();
    for id in all {
        let ty = graph.node(id).types[0].clone();
        if ty.shape.as_known().is_none() {
            continue;
        }
        let zero = Array::F(ndarray::arr0(0.0).into_dyn()).to_tensor(ty.dtype);
        if ty.rank() == 0 {
            constant(graph, id, zero);
            continue;
        }
        let name = format!("{}/zero", graph.node(id).name());
        let (scalar, origin) = (zero.ty(), graph.node(id).origin.clone());
        let zero = graph.add_value(Prim::Const(zero), &name, scalar, origin, &[]);
        graph.set_inputs(id, &[zero]);
        graph.node_mut(id).op = Prim::Expand(prim::Expand { to: ty.shape });
    }
}

/// Whether a node's dimensions are all known.
pub(crate) fn is_known(graph: &Graph<Prim>, id: NodeId) -> bool {
    let node = graph.node(id);
    let known = |d: &Dim| d.as_known().is_some();
    node.op.dims().into_iter().all(known) && node.types.iter().flat_map(|ty| &ty.shape.0).all(known)
}

/// The single integer of a constant.
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
        let said = b.matmul(rows, w);
        let back = b.add(prim::ScatterAdd { axis: 0, to: Dim::known(8) }, &[said, at]);
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
            let back = [(false, then), (true, otherwise)].map(|(second, own)| {
                let r =
                    b.add(prim::MergeTranspose { condition: c.clone(), second, to: to.clone() }, &[merged]);
                b.mul(r, own)
            });
            let y = b.plus(back[0], back[1]);
            let graph = simplified(b, y, &[("c", condition)]);
            let text = graph.to_string();
            assert!(!text.contains(gone) && !text.contains("Merge"), "{text}");
        }
    }
}
