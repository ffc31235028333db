//! The trait that lowers a primitive, and the names that every primitive's file imports.

pub(super) use dlbc_backend::BackendError;
use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::prim::Transform;
use dlbc_ptx::kernel::pointwise::Kind;

pub(super) use super::super::expression::Expression;
pub(super) use super::super::{LoweredValue, Planner, Use, View};
use super::super::{Scope, node_error};

/// A primitive that can be lowered to launches.
pub(in crate::plan) trait CudaPrimitive {
    /// Lowers a node whose operands are lowered.
    ///
    /// # Errors
    /// When no kernel supports the node.
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError>;
}

/// The node that is being lowered.
pub(in crate::plan) struct NodeContext<'a, 'g> {
    pub(in crate::plan) scope: &'a mut Scope<'g>,
    pub(in crate::plan) id: NodeId,
    pub(in crate::plan) inputs: Vec<Value>,
    /// Dimensions of the result.
    pub(in crate::plan) dims: Vec<usize>,
}

impl NodeContext<'_, '_> {
    /// Returns operand `i` in memory.
    pub(super) fn view(&mut self, p: &mut Planner, i: usize) -> View {
        p.view(self.scope, self.inputs[i])
    }

    /// Returns operand `i` in memory, which may be narrow.
    pub(super) fn stored(&mut self, p: &mut Planner, i: usize) -> View {
        p.stored_view(self.scope, self.inputs[i])
    }

    /// Returns operand `i` in contiguous memory, which may be narrow.
    pub(super) fn stored_contiguous(&mut self, p: &mut Planner, i: usize) -> View {
        let view = self.stored(p, i);
        if view.is_contiguous() { view } else { self.contiguous(p, i) }
    }

    /// Returns operand `i` in contiguous memory.
    pub(super) fn contiguous(&mut self, p: &mut Planner, i: usize) -> View {
        p.contiguous_view(self.scope, self.inputs[i])
    }

    /// Returns operand `i` of a product and the transform that the kernel applies.
    pub(super) fn product_operand(
        &mut self,
        p: &mut Planner,
        i: usize,
        transform: Transform,
    ) -> (View, Transform) {
        p.product_operand(self.scope, self.inputs[i], transform)
    }

    /// Returns operand `i` of a product in contiguous memory and the transform that the kernel applies.
    pub(super) fn contiguous_operand(&mut self, p: &mut Planner, i: usize) -> (View, Transform) {
        p.contiguous_operand(self.scope, self.inputs[i])
    }

    /// Returns an expression as the node's value: deferred for its reader to fuse, or computed.
    pub(super) fn fuse_or_store(&mut self, p: &mut Planner, e: Expression) -> LoweredValue {
        p.fuse_or_store(self.scope, self.id, e)
    }

    /// Returns a new status word, which the node's kernel sets to report the error `message`.
    pub(super) fn status(&mut self, p: &mut Planner, message: &str) -> View {
        p.status(self.scope, self.id, message)
    }

    /// Returns the element type of operand `i`.
    pub(super) fn kind(&self, i: usize) -> Kind {
        Kind::of(self.scope.graph.ty(self.inputs[i]).dtype)
    }

    /// Rejects the node, like the reference, unless its function supports the element type of the first operand.
    pub(super) fn require_support(&self, supported: bool) -> Result<(), BackendError> {
        let dtype = self.scope.graph.ty(self.inputs[0]).dtype;
        if supported {
            Ok(())
        } else {
            Err(self
                .error(format!("element type: expected one that the function is defined for, found {dtype}")))
        }
    }

    /// Returns an error that names the node.
    pub(super) fn error(&self, message: impl std::fmt::Display) -> BackendError {
        node_error(self.scope, self.id, message)
    }
}
