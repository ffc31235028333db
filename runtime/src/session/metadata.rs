//! Outputs of a session's model.

use dlbc_ops::program::{Output, Program};
use dlbc_ops::tensor::TensorType;

/// An output of a model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OutputInfo {
    /// Name in the model file.
    pub name: String,
    /// Element type and dimensions, known or symbolic.
    pub ty: TensorType,
}

/// The outputs of a program's model, in order.
pub(super) fn outputs(program: &Program) -> Vec<OutputInfo> {
    let graph = &program.graph;
    let typed = program.info.outputs.iter().filter_map(|name| {
        let value = graph.output(&Output::from(name))?;
        Some(OutputInfo { name: name.clone(), ty: graph.ty(value).clone() })
    });
    typed.collect()
}
