//! Remedies: settings of a call that resolve an error, in the terms of the library.

use dlbc_compiler::{CompileError, Remedy as CompileRemedy};
use dlbc_proto::{LocationFault, ModelFault, ProtoError, TensorFault};
use dlbc_runtime::{Remedy as RuntimeRemedy, RuntimeError};

use crate::content::Content;
use crate::input::Layout;

/// Setting of a call that resolves an error, or that a note is about. A program with other terms, such as flags, translates
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Known dimensions of an input: [`ExplainerBuilder::shape`](crate::ExplainerBuilder::shape).
    FixShape,
    /// A larger limit on the bytes of a tensor: [`ExplainerBuilder::max_tensor_bytes`](crate::ExplainerBuilder::max_tensor_bytes).
    MaxTensorBytes,
    /// A larger limit on the bytes of a model: [`ExplainerBuilder::max_model_bytes`](crate::ExplainerBuilder::max_model_bytes).
    MaxModelBytes,
    /// A larger limit on the nodes of a model: [`ExplainerBuilder::max_nodes`](crate::ExplainerBuilder::max_nodes).
    MaxNodes,
    /// Permission to follow links to external data.
    AllowLinks,
    /// Inputs that should carry relevance, if known: [`ExplainerBuilder::live`](crate::ExplainerBuilder::live).
    LiveInputs(Vec<String>),
    /// A known composite: [`ExplainerBuilder::composite`](crate::ExplainerBuilder::composite).
    KnownComposite,
    /// A composite that starts from a baseline.
    IntegratedGradients,
    /// Rows that Shapley values are taken against: [`Request::background`](dlbc_runtime::Request::background).
    Background,
    /// A baseline in the file of a composite.
    BaselineInComposite,
    /// A mean or a median of the rows of a table as the baseline.
    BaselineOfRows,
    /// Several rows: a table, a folder of pictures or a batch.
    SeveralRows,
    /// Another explained output: [`ExplainerBuilder::output`](crate::ExplainerBuilder::output).
    ExplainedOutput,
    /// A compilation of the model: [`Explainer::save_artifact`](crate::Explainer::save_artifact).
    Compile,
    /// Another compilation of the model, which explains this output.
    CompileForOutput(String),
    /// A program that starts at a tensor that is computed from an input: [`ExplainerBuilder::stop_at`](crate::ExplainerBuilder::stop_at).
    StopAt,
    /// Launches one by one on the device, so that the error names the kernel.
    LaunchOneByOne,
    /// A longer wait for the device.
    DeviceTimeout,
    /// A file of another kind, which is in the place of a model.
    NotModel(Content),
    /// A file of another kind, which is in the place of an input.
    NotInput(Content),
    /// Other weights of a folder of models.
    Weights,
    /// A file in place of a folder of several models.
    FileOfFolder,
    /// Inputs of the model.
    Inputs,
    /// The name of the input for an array, and the array's file.
    InputName {
        /// Name of an input.
        input: String,
        /// File of the array.
        file: String,
    },
    /// Arrays in place of a picture.
    Arrays,
    /// Texts in place of arrays of ids.
    Texts,
    /// A tokenizer: [`TextOptions::tokenizer`](crate::TextOptions::tokenizer).
    Tokenizer,
    /// Another position of the channels of a picture: [`PictureOptions::layout`](crate::PictureOptions::layout).
    PictureLayout(Layout),
    /// Pixels from 0 to 255: [`PictureOptions::pixel_range`](crate::PictureOptions::pixel_range).
    PixelRange,
    /// Pixels from 0 to 255 without mean, deviation and preset.
    RawPixels,
    /// A picture that is stretched and not cut off: the way of resizing in [`PictureOptions`](crate::PictureOptions).
    StretchPicture,
    /// Names of the classes: [`Classes`](crate::Classes).
    ClassNames,
    /// Another kind of target: all of the output, or pixels.
    OtherTarget,
    /// All units as the target.
    AllUnits,
    /// Names of the outputs with boxes: [`DetectorHints::outputs`](crate::DetectorHints::outputs).
    BoxOutputs,
    /// Layout of the outputs with boxes, where it is known: [`DetectorHints::layout`](crate::DetectorHints::layout).
    BoxLayout(Option<&'static str>),
    /// Meaning of the coordinates of a box: [`DetectorHints::format`](crate::DetectorHints::format).
    BoxFormat,
}

impl Remedy {
    /// Returns the remedy of an error of the compiler.
    pub fn of_compile(error: &CompileError) -> Option<Remedy> {
        if let CompileError::Proto(error) = error {
            return Remedy::of_proto(error);
        }
        Some(match error.remedy()? {
            CompileRemedy::FixShape => Remedy::FixShape,
            CompileRemedy::MaxTensorBytes => Remedy::MaxTensorBytes,
            CompileRemedy::MaxNodes => Remedy::MaxNodes,
            CompileRemedy::LiveInput => Remedy::LiveInputs(vec![]),
            CompileRemedy::KnownComposite => Remedy::KnownComposite,
        })
    }

    /// Returns the remedy of an error of a run.
    pub fn of_run(error: &RuntimeError) -> Option<Remedy> {
        Some(match error.remedy()? {
            RuntimeRemedy::MaxTensorBytes => Remedy::MaxTensorBytes,
            RuntimeRemedy::Compile => Remedy::Compile,
            RuntimeRemedy::Target => Remedy::OtherTarget,
            RuntimeRemedy::DetectorOutputs => Remedy::BoxOutputs,
            RuntimeRemedy::DetectorLayout => Remedy::BoxLayout(None),
            RuntimeRemedy::Background => Remedy::Background,
            RuntimeRemedy::IntegratedGradients => Remedy::IntegratedGradients,
            RuntimeRemedy::StopAt => Remedy::StopAt,
            RuntimeRemedy::LaunchOneByOne => Remedy::LaunchOneByOne,
            RuntimeRemedy::DeviceTimeout => Remedy::DeviceTimeout,
        })
    }

    /// Returns the remedy of an error of a model's file.
    pub fn of_proto(error: &ProtoError) -> Option<Remedy> {
        match error {
            ProtoError::Model { fault, .. } => match fault {
                ModelFault::TooLarge { .. } => Some(Remedy::MaxModelBytes),
                ModelFault::TooManyNodes { .. } => Some(Remedy::MaxNodes),
                ModelFault::NotAFile
                | ModelFault::Malformed { .. }
                | ModelFault::NoGraph
                | ModelFault::TwoGraphs
                | ModelFault::NoIrVersion
                | ModelFault::IrVersion { .. }
                | ModelFault::NoOpset
                | ModelFault::OpsetVersion { .. }
                | ModelFault::TwoOpsets { .. }
                | ModelFault::TwoFunctions { .. }
                | ModelFault::TooDeep { .. }
                | ModelFault::MessagesTooDeep { .. } => None,
            },
            ProtoError::Tensor { fault, .. } => match fault.as_ref() {
                TensorFault::TooLarge { .. } => Some(Remedy::MaxTensorBytes),
                TensorFault::Location { fault: LocationFault::TooLarge { .. }, .. } => {
                    Some(Remedy::MaxModelBytes)
                }
                TensorFault::Location {
                    fault: LocationFault::Link | LocationFault::HardLink { .. }, ..
                } => Some(Remedy::AllowLinks),
                TensorFault::UnsupportedType { .. }
                | TensorFault::UnknownType { .. }
                | TensorFault::Segment
                | TensorFault::NegativeDim { .. }
                | TensorFault::TooManyDims { .. }
                | TensorFault::TooManyElements { .. }
                | TensorFault::NoMemory { .. }
                | TensorFault::TwoEncodings { .. }
                | TensorFault::NoElements
                | TensorFault::WrongEncoding { .. }
                | TensorFault::ByteCount { .. }
                | TensorFault::ElementCount { .. }
                | TensorFault::OutOfRange { .. }
                | TensorFault::External(_)
                | TensorFault::Location { .. }
                | TensorFault::Sparse(_) => None,
            },
            ProtoError::Read { .. }
            | ProtoError::Write { .. }
            | ProtoError::Message { .. }
            | ProtoError::External { .. } => None,
        }
    }
}
