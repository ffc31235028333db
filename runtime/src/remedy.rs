//! Remedies: settings of a request or a session that mend an error.

use dlbc_backend::BackendError;

use crate::error::RuntimeError;

/// A setting of a request or a session that mends an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A larger limit on the bytes of a tensor: [`SessionOptions::max_tensor_bytes`](crate::SessionOptions).
    MaxTensorBytes,
    /// A model that is compiled first.
    Compile,
    /// Another kind of target: all of the output, or pixels.
    Target,
    /// Names of the outputs of a detector: [`Detector`](crate::Detector).
    DetectorOutputs,
    /// Layout of the outputs of a detector: [`BoxLayout`](crate::BoxLayout).
    DetectorLayout,
    /// A composite of integrated gradients.
    IntegratedGradients,
    /// A background: [`Request::background`](crate::Request::background).
    Background,
    /// A program that starts at a tensor that is computed from the input.
    StopAt,
    /// Launches one by one, so that the error names the kernel.
    LaunchOneByOne,
    /// A longer wait for the device.
    DeviceTimeout,
}

impl RuntimeError {
    /// Setting of the request or the session that would mend this error, where there is one.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            RuntimeError::Backend(error) => match error {
                BackendError::Limit { .. } => Some(Remedy::MaxTensorBytes),
                BackendError::DeviceLost(_) => Some(Remedy::LaunchOneByOne),
                BackendError::DeviceTimeout(_) => Some(Remedy::DeviceTimeout),
                _ => None,
            },
            RuntimeError::NotCompiled(_) => Some(Remedy::Compile),
            RuntimeError::OutputRank { .. } => Some(Remedy::Target),
            RuntimeError::Detector { readings, .. } if readings.is_empty() => Some(Remedy::DetectorOutputs),
            RuntimeError::Detector { .. } => Some(Remedy::DetectorLayout),
            RuntimeError::NoBaseline { .. } => Some(Remedy::IntegratedGradients),
            RuntimeError::NoBackground { .. } | RuntimeError::NoCover { .. } => Some(Remedy::Background),
            RuntimeError::IntegerInput { .. } => Some(Remedy::StopAt),
            RuntimeError::Load { .. }
            | RuntimeError::OnlyForTrees { .. }
            | RuntimeError::NotForTrees { .. }
            | RuntimeError::UnknownInput { .. }
            | RuntimeError::InputType { .. }
            | RuntimeError::Dimension { .. }
            | RuntimeError::DependentDimension { .. }
            | RuntimeError::NotMultiple { .. }
            | RuntimeError::NotFinite { .. }
            | RuntimeError::Target { .. }
            | RuntimeError::Position { .. }
            | RuntimeError::Task { .. }
            | RuntimeError::NothingAbove { .. }
            | RuntimeError::Class { .. }
            | RuntimeError::NothingWon { .. }
            | RuntimeError::EmptyRegion { .. }
            | RuntimeError::BoxOutOfRange { .. }
            | RuntimeError::TooFewBoxes { .. }
            | RuntimeError::LabelMismatch { .. }
            | RuntimeError::Coordinate(_)
            | RuntimeError::NoDetector
            | RuntimeError::OtherOutput { .. }
            | RuntimeError::OutputShape { .. }
            | RuntimeError::UnknownOutput { .. }
            | RuntimeError::Seed { .. }
            | RuntimeError::ForwardOnly
            | RuntimeError::ZeroSeed { .. }
            | RuntimeError::Targets(_)
            | RuntimeError::UnknownRelevance { .. }
            | RuntimeError::UnfitBranch { .. }
            | RuntimeError::InvalidDimension { .. }
            | RuntimeError::Circular { .. }
            | RuntimeError::Shapes(_)
            | RuntimeError::Batch(_)
            | RuntimeError::AveragedComposite { .. }
            | RuntimeError::Baseline { .. } => None,
        }
    }
}
