//! A model while it is built from a stage.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{Prim, Transform};
use dlbc_ops::tensor::{Dim, Tensor as Constant};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops;

use super::attention::Share;
use super::weights::Cache;

/// A model and the values of the program that it has.
pub struct Wiring<'a> {
    /// The program.
    pub graph: &'a Graph<Prim>,
    /// Constants in the forms that operators read.
    pub cache: &'a mut Cache,
    /// The model so far.
    pub model: TypedModel,
    /// Its values by those of the program.
    pub values: HashMap<Value, OutletId>,
    /// Relevance of attentions that the model has, with its operands.
    pub shares: Vec<(Share, Vec<Value>, TVec<OutletId>)>,
    /// Matrices that a run gives to products.
    pub given: Vec<Value>,
}

impl Wiring<'_> {
    /// The name of a value.
    pub fn name(&self, v: Value) -> String {
        self.graph.value_name(v).to_string()
    }

    /// The dimensions of a value.
    pub fn dims(&self, v: Value) -> Vec<usize> {
        self.graph.ty(v).shape.as_known().unwrap_or_default()
    }

    /// Adds an operator of one result.
    pub fn wire(
        &mut self,
        name: &str,
        op: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> TractResult<OutletId> {
        let name = self.unique(name);
        Ok(self.model.wire_node(name, op, inputs)?[0])
    }

    /// The constant behind a value.
    pub fn constant(&self, v: Value) -> Option<Constant> {
        match self.graph.op(v.node) {
            Prim::Const(t) => Some(t.clone()),
            _ => None,
        }
    }

    /// A part of an operand: made at plan time for a constant, a node otherwise.
    pub fn part(&mut self, v: Value, part: Transform) -> TractResult<OutletId> {
        if let Some(t) = self.constant(v) {
            let made = self.cache.tensor(v.node, part, &t)?;
            let name = format!("{}.{part:?}", self.name(v));
            return {
                let name = self.unique(&name);
                self.model.add_const(name, made)
            };
        }
        let x = self.values[&v];
        let name = self.name(v);
        match part {
            Transform::Id => Ok(x),
            Transform::Abs => self.wire(&format!("{name}.abs"), ops::math::abs(), &[x]),
            Transform::Pos => self.scalar_binary(&format!("{name}.pos"), ops::math::max(), x, 0.0),
            Transform::Neg => self.scalar_binary(&format!("{name}.neg"), ops::math::min(), x, 0.0),
            Transform::Square => self.wire(&format!("{name}.square"), ops::math::mul(), &[x, x]),
            Transform::One => {
                let none = self.scalar_binary(&format!("{name}.none"), ops::math::mul(), x, 0.0)?;
                self.scalar_binary(&format!("{name}.one"), ops::math::add(), none, 1.0)
            }
        }
    }

    /// A name that no node of the model has.
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

/// The value of a dimension.
pub fn known(d: &Dim) -> TractResult<usize> {
    d.as_known().and_then(|v| usize::try_from(v).ok()).ok_or_else(|| anyhow!("dimension {d} is not known"))
}
