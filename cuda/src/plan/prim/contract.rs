//! The contract that every primitive fulfils on a device, and the names with which its file begins.

pub(super) use dlbc_backend::BackendError;
use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::prim::Transform;
use dlbc_ptx::kernel::pointwise::Kind;

pub(super) use super::super::expression::Expression;
pub(super) use super::super::{Made, Planner, Use, View};
use super::super::{Scope, wrong};

/// A primitive as launches.
pub(in crate::plan) trait CudaPrimitive {
    /// Lowers a node whose operands are there.
    ///
    /// # Errors
    /// What no kernel can do.
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError>;
}

/// The node being lowered.
pub(in crate::plan) struct At<'a, 'g> {
    pub(in crate::plan) scope: &'a mut Scope<'g>,
    pub(in crate::plan) id: NodeId,
    pub(in crate::plan) inputs: Vec<Value>,
    /// Dimensions of the result.
    pub(in crate::plan) dims: Vec<usize>,
}

impl At<'_, '_> {
    /// Operand `i` in memory.
    pub(super) fn view(&mut self, p: &mut Planner, i: usize) -> View {
        p.view(self.scope, self.inputs[i])
    }

    /// Operand `i` in memory, dense.
    pub(super) fn dense(&mut self, p: &mut Planner, i: usize) -> View {
        p.dense_view(self.scope, self.inputs[i])
    }

    /// Operand `i` of a product, and the part of it that counts.
    pub(super) fn part(&mut self, p: &mut Planner, i: usize, part: Transform) -> (View, Transform) {
        p.part(self.scope, self.inputs[i], part)
    }

    /// Operand `i` of a product that must lie dense, and the part of it that counts.
    pub(super) fn dense_part(&mut self, p: &mut Planner, i: usize) -> (View, Transform) {
        p.dense_part(self.scope, self.inputs[i])
    }

    /// An expression as the node's result.
    pub(super) fn made(&mut self, p: &mut Planner, e: Expression) -> Made {
        p.made(self.scope, self.id, e)
    }

    /// The word that the node sets when a value is out of range.
    pub(super) fn status(&mut self, p: &mut Planner, message: &str) -> View {
        p.status(self.scope, self.id, message)
    }

    /// The kind of operand `i`'s elements.
    pub(super) fn kind(&self, i: usize) -> Kind {
        Kind::of(self.scope.graph.ty(self.inputs[i]).dtype)
    }

    /// Refuses what the reference refuses by kind of the first operand, when the program is planned.
    pub(super) fn defined(&self, fits: bool) -> Result<(), BackendError> {
        let dtype = self.scope.graph.ty(self.inputs[0]).dtype;
        if fits { Ok(()) } else { Err(self.wrong(format!("not defined for {dtype}"))) }
    }

    /// The error of this node.
    pub(super) fn wrong(&self, message: impl std::fmt::Display) -> BackendError {
        wrong(self.scope, self.id, message)
    }
}
