//! Metadata of the model's outputs.

use dlbc_ops::program::{Output, Program};
use dlbc_ops::tensor::TensorType;

/// Name and type of an output of the model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OutputInfo {
    /// Name in the model file.
    pub name: String,
    /// Element type and dimensions, which are numbers or symbols.
    pub ty: TensorType,
}

/// Returns the outputs of a program's model, in the order of the model file.
pub(super) fn outputs(program: &Program) -> Vec<OutputInfo> {
    let graph = &program.graph;
    let typed = program.info.outputs.iter().filter_map(|name| {
        let value = graph.output(&Output::from(name))?;
        Some(OutputInfo { name: name.clone(), ty: graph.ty(value).clone() })
    });
    typed.collect()
}
