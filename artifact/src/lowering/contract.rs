//! The contract of a primitive's lowering, and the names with which its file begins.

pub(super) use dlbc_ops::tensor::TensorType;

pub(super) use crate::onnx_builder::OnnxBuilder;

use dlbc_ops::prim::Transform;

/// The name of a result, or why there is none.
pub(crate) type Lowered = Result<String, String>;

/// The operands of a primitive.
pub(crate) struct Operands<'a> {
    /// Their names.
    pub x: &'a [&'a str],
    /// Their types.
    pub types: &'a [TensorType],
}

/// A primitive in standard operators.
pub(crate) trait OnnxLowering {
    /// Adds the nodes that compute the primitive, its result last.
    ///
    /// # Errors
    /// The reason why it cannot be lowered for these types, as a clause about it.
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered;

    /// The transforms of operands, which the name of its function has.
    fn parts(&self) -> Vec<Transform> {
        vec![]
    }
}
