//! The branch that is taken, and its adjoint: `If`, whose branches read the values around them.

use dlbc_ops::prim::{Merge, MergeTranspose};
use dlbc_ops::tensor::{Array, Dim, Shape};
use dlbc_proto::write::{attr_graph, attr_int, attr_tensor, graph};

use super::contract::*;
use crate::onnx_builder::types::{code, initializer, value_info};

impl OnnxLowering for Merge {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let condition = boolean(s, &self.condition)?;
        let same = |v: &str| {
            let v = v.to_string();
            move |s: &mut OnnxBuilder| s.add("Identity", &[&v], vec![])
        };
        Ok(branches(s, &condition, &at.types[0], same(at.x[0]), same(at.x[1])))
    }
}

impl OnnxLowering for MergeTranspose {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let condition = boolean(s, &self.condition)?;
        let to = s.vector(&self.to.0)?;
        let dtype = at.types[0].dtype;
        let zero = Array::F(ndarray::ArrayD::zeros(vec![1])).to_tensor(dtype);
        let taken = |s: &mut OnnxBuilder| s.add("Identity", &[at.x[0]], vec![]);
        let none = |s: &mut OnnxBuilder| {
            s.add("ConstantOfShape", &[&to], vec![attr_tensor("value", initializer("", &zero))])
        };
        debug_assert!(code(dtype) == code(zero.dtype()));
        Ok(match self.second {
            false => branches(s, &condition, &at.types[0], taken, none),
            true => branches(s, &condition, &at.types[0], none, taken),
        })
    }
}

/// The condition as `If` takes it.
fn boolean(s: &mut OnnxBuilder, condition: &Dim) -> Lowered {
    let condition = s.vector(std::slice::from_ref(condition))?;
    Ok(s.add("Cast", &[&condition], vec![attr_int("to", 9)]))
}

/// `If`, each of whose branches makes one value.
fn branches(
    s: &mut OnnxBuilder,
    condition: &str,
    ty: &TensorType,
    then: impl FnOnce(&mut OnnxBuilder) -> String,
    otherwise: impl FnOnce(&mut OnnxBuilder) -> String,
) -> String {
    // The branches' shapes may differ: only the rank is told.
    let ty = ty.with_shape((0..ty.rank()).map(|_| Dim::known(-1)).collect::<Shape>());
    let branch = |s: &mut OnnxBuilder, name: &str, fill: Box<dyn FnOnce(&mut OnnxBuilder) -> String + '_>| {
        let (made, nodes) = s.in_subgraph(fill);
        attr_graph(name, graph(&s.name(name), nodes, vec![], vec![], vec![value_info(&made, &ty)]))
    };
    let then = branch(s, "then_branch", Box::new(then));
    let otherwise = branch(s, "else_branch", Box::new(otherwise));
    s.add("If", &[condition], vec![then, otherwise])
}
