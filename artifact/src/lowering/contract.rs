//! The trait of a primitive's lowering, and the imports that every lowering shares.

pub(super) use dlbc_ops::tensor::TensorType;

pub(super) use crate::onnx_builder::OnnxBuilder;

use dlbc_ops::prim::Transform;

/// Name of the result, or the reason why the primitive has no ONNX form, as a clause such as `its window is empty`.
pub(crate) type Lowered = Result<String, String>;

/// Operands of a primitive.
pub(crate) struct Operands<'a> {
    /// Name of each operand in the graph.
    pub names: &'a [&'a str],
    /// Type of each operand.
    pub types: &'a [TensorType],
}

/// A primitive that lowers to standard ONNX operators.
pub(crate) trait OnnxLowering {
    /// Adds the nodes that compute the primitive, and returns the name of the last node's result.
    ///
    /// # Errors
    /// When ONNX has no operators for these types or attributes.
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered;

    /// Operand transforms, which are part of the name of the primitive's function.
    fn transforms(&self) -> Vec<Transform> {
        vec![]
    }
}
