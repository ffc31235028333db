//! Merge of two branches, and its adjoint: `If`, whose subgraphs read values of the outer graph.

use dlbc_ops::prim::{Merge, MergeTranspose};
use dlbc_ops::tensor::{Array, Dim, Shape};
use dlbc_proto::write::{attr_graph, attr_int, attr_tensor, graph};

use super::contract::*;
use crate::onnx_builder::types::{code, initializer, value_info};

impl OnnxLowering for Merge {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let condition = boolean(builder, &self.condition)?;
        let identity = |v: &str| {
            let v = v.to_string();
            move |builder: &mut OnnxBuilder| builder.add("Identity", &[&v], vec![])
        };
        Ok(branches(
            builder,
            &condition,
            &operands.types[0],
            identity(operands.names[0]),
            identity(operands.names[1]),
        ))
    }
}

impl OnnxLowering for MergeTranspose {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let condition = boolean(builder, &self.condition)?;
        let to = builder.vector(&self.to.0)?;
        let dtype = operands.types[0].dtype;
        let zero = Array::F(ndarray::ArrayD::zeros(vec![1])).to_tensor(dtype);
        let relevance = |builder: &mut OnnxBuilder| builder.add("Identity", &[operands.names[0]], vec![]);
        let zeros = |builder: &mut OnnxBuilder| {
            builder.add("ConstantOfShape", &[&to], vec![attr_tensor("value", initializer("", &zero))])
        };
        debug_assert!(code(dtype) == code(zero.dtype()));
        Ok(match self.second {
            false => branches(builder, &condition, &operands.types[0], relevance, zeros),
            true => branches(builder, &condition, &operands.types[0], zeros, relevance),
        })
    }
}

/// Adds the condition as a boolean.
fn boolean(builder: &mut OnnxBuilder, condition: &Dim) -> Lowered {
    let condition = builder.vector(std::slice::from_ref(condition))?;
    Ok(builder.add("Cast", &[&condition], vec![attr_int("to", 9)]))
}

/// Adds an `If` whose subgraphs compute one value each.
fn branches(
    builder: &mut OnnxBuilder,
    condition: &str,
    ty: &TensorType,
    then: impl FnOnce(&mut OnnxBuilder) -> String,
    otherwise: impl FnOnce(&mut OnnxBuilder) -> String,
) -> String {
    // The shapes of the branches may differ, so only the rank is declared.
    let ty = ty.with_shape((0..ty.rank()).map(|_| Dim::known(-1)).collect::<Shape>());
    let branch = |builder: &mut OnnxBuilder,
                  name: &str,
                  fill: Box<dyn FnOnce(&mut OnnxBuilder) -> String + '_>| {
        let (result, nodes) = builder.in_subgraph(fill);
        attr_graph(name, graph(&builder.name(name), nodes, vec![], vec![], vec![value_info(&result, &ty)]))
    };
    let then = branch(builder, "then_branch", Box::new(then));
    let otherwise = branch(builder, "else_branch", Box::new(otherwise));
    builder.add("If", &[condition], vec![then, otherwise])
}
