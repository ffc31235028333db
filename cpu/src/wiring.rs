//! Builder of a stage's tract model.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{Prim, Transform};
use dlbc_ops::tensor::{Dim, Tensor as Constant};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops;

use super::attention::Share;
use super::weights::Cache;

/// A tract model under construction.
pub struct Wiring<'a> {
    /// The program of the stage.
    pub graph: &'a Graph<Prim>,
    /// Constants of the plan.
    pub cache: &'a mut Cache,
    /// The model so far.
    pub model: TypedModel,
    /// Values of the model by those of the program.
    pub values: HashMap<Value, OutletId>,
    /// Operators for the relevance of attentions that the model has.
    pub shares: Vec<WiredShare>,
    /// Inputs that products borrow from the caller.
    pub borrowed: Vec<Value>,
}

/// An operator for the relevance of an attention in the model. One operator computes all four outputs.
pub struct WiredShare {
    pub op: Share,
    pub operands: Vec<Value>,
    pub outlets: TVec<OutletId>,
}

impl Wiring<'_> {
    /// Returns the name of a value.
    pub fn name(&self, v: Value) -> String {
        self.graph.value_name(v).to_string()
    }

    /// Returns the dimensions of a value.
    pub fn dims(&self, v: Value) -> Vec<usize> {
        self.graph.ty(v).shape.as_known().unwrap_or_default()
    }

    /// Adds an operator with one result.
    pub fn wire(
        &mut self,
        name: &str,
        op: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> TractResult<OutletId> {
        let name = self.unique(name);
        Ok(self.model.wire_node(name, op, inputs)?[0])
    }

    /// Returns the constant that a value is, if it is one.
    pub fn constant(&self, v: Value) -> Option<Constant> {
        match self.graph.op(v.node) {
            Prim::Const(t) => Some(t.clone()),
            _ => None,
        }
    }

    /// Returns a transformed operand: a transformed copy of a constant, or the result of a node.
    pub fn transformed(&mut self, v: Value, transform: Transform) -> TractResult<OutletId> {
        if let Some(t) = self.constant(v) {
            let constant = self.cache.tensor(v.node, transform, &t)?;
            let name = self.unique(&format!("{}.{transform:?}", self.name(v)));
            return self.model.add_const(name, constant);
        }
        let x = self.values[&v];
        let name = self.name(v);
        match transform {
            Transform::Id => Ok(x),
            Transform::Abs => self.wire(&format!("{name}.abs"), ops::math::abs(), &[x]),
            Transform::Pos => self.scalar_binary(&format!("{name}.pos"), ops::math::max(), x, 0.0),
            Transform::Neg => self.scalar_binary(&format!("{name}.neg"), ops::math::min(), x, 0.0),
            Transform::Square => self.wire(&format!("{name}.square"), ops::math::mul(), &[x, x]),
            Transform::One => {
                let zeros = self.scalar_binary(&format!("{name}.none"), ops::math::mul(), x, 0.0)?;
                self.scalar_binary(&format!("{name}.one"), ops::math::add(), zeros, 1.0)
            }
        }
    }

    /// Returns a name that is unique in the model.
    pub fn unique(&self, name: &str) -> String {
        self.model.unique_name(name).into_owned()
    }

    fn scalar_binary(
        &mut self,
        name: &str,
        op: ops::binary::TypedBinOp,
        x: OutletId,
        value: f32,
    ) -> TractResult<OutletId> {
        let rank = self.model.outlet_fact(x)?.rank();
        let scalar = Tensor::from_shape(&vec![1; rank], &[value])?.into_arc_tensor();
        let name_const = self.unique(&format!("{name}.scalar"));
        let scalar = self.model.add_const(name_const, scalar)?;
        self.wire(name, op, &[x, scalar])
    }
}

/// Returns the value of a dimension.
pub fn known(d: &Dim) -> TractResult<usize> {
    d.as_known()
        .and_then(|v| usize::try_from(v).ok())
        .ok_or_else(|| anyhow!("dimension: expected a known number, found {d}"))
}
