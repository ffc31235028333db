//! Remedies: options of a compilation that mend an error.

use dlbc_ops::OpError;

use crate::error::CompileError;

/// An option of the compilation that mends an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Known dimensions of an input: [`Options::shapes`](crate::Options::shapes).
    FixShape,
    /// A larger limit on the bytes of a tensor: [`Options::max_tensor_bytes`](crate::Options::max_tensor_bytes).
    MaxTensorBytes,
    /// A larger limit on the number of nodes: [`Options::max_nodes`](crate::Options::max_nodes).
    MaxNodes,
    /// An input that is to carry relevance: [`Options::live`](crate::Options::live).
    LiveInput,
    /// The name of a built-in composite; [`built_in_names`](crate::built_in_names) lists them.
    KnownComposite,
}

impl CompileError {
    /// Option of the compilation that would mend this error, where there is one.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            CompileError::Node { source, .. } => match source {
                OpError::TensorBytes { .. } => Some(Remedy::MaxTensorBytes),
                OpError::Symbolic(_) => Some(Remedy::FixShape),
                _ => None,
            },
            CompileError::Unsupported(items) => {
                items.iter().any(|item| item.symbolic).then_some(Remedy::FixShape)
            }
            CompileError::TooManyNodes(_) => Some(Remedy::MaxNodes),
            CompileError::NothingToExplain(_) => Some(Remedy::LiveInput),
            CompileError::UnknownComposite { .. } => Some(Remedy::KnownComposite),
            CompileError::Proto(_)
            | CompileError::MissingTensor { .. }
            | CompileError::MissingOutput(_)
            | CompileError::DuplicateResult { .. }
            | CompileError::DuplicateOutput(_)
            | CompileError::Cycle(_)
            | CompileError::DuplicateTensor(_)
            | CompileError::NoOutputs
            | CompileError::Input { .. }
            | CompileError::RecursiveFunction(_)
            | CompileError::NoOpset { .. }
            | CompileError::UnknownName { .. }
            | CompileError::InvalidComposite { .. }
            | CompileError::NotContrastive { .. }
            | CompileError::BrokenGraph { .. } => None,
        }
    }
}
