//! Runs and explains compiled models.
//!
//! **Program → [`Session`] → [`Request`] → [`Explanation`].** A session takes a [`Program`](dlbc_ops::program::Program), which
//! `dlbc compile` writes to a file, and a [`Backend`]. For each set of input shapes it binds the program's symbolic dimensions,
//! plans it and caches the plan. A run computes the model's outputs, builds the seed (the starting relevance) that the request
//! asks for, propagates it back to the inputs, and reads relevance and ledger from the results. The runtime sees primitives only:
//! no operator, no rule, no attribute of a model file.
//!
//! # A complete program
//!
//! ```
//! # #[cfg(feature = "cpu")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("digits.dlbc.onnx");
//! # let model = dlbc_proto::read_model("../fixtures/digits_cnn/model.onnx".as_ref(), &Default::default())?;
//! # let compiled = dlbc_compiler::compile(&model, &Default::default())?;
//! # dlbc_proto::write_model(&path, &dlbc_artifact::write(&compiled.program)?)?;
//! use dlbc_runtime::{Request, Session, SessionOptions, Target, Tensor, Tensors};
//!
//! let session = Session::load(&path, SessionOptions::new().threads(2))?;
//! for input in session.inputs() {
//!     println!("{}: {}", input.name, input.ty); // input: f32[batch,1,8,8]
//! }
//! let digit = Tensor::from_f32(&[1, 1, 8, 8], &[0.5; 64]);
//! let inputs = Tensors::from([("input".to_string(), digit)]);
//! let request = Request::new().target(Target::Difference(3, 5)).ledger();
//! let explanation = session.explain(&inputs, &request)?;
//!
//! let track = &explanation.supporting;
//! println!("relevance of the pixels: {:?}", track.relevance["input"].to_f32());
//! for row in track.ledger.iter().flatten() {
//!     println!("{} by {}: received {}, absorbed {}", row.node, row.rule, row.received, row.absorbed);
//! }
//! # assert!(track.ledger.as_ref().is_some_and(|ledger| ledger.worst_residual() < 1e-2));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "cpu"))]
//! # fn main() {}
//! ```
//!
//! # Where to go next
//!
//! - [`Request`] sets the target and the results to return: [`Target`], [`SeedValue`], [`Position`], [`Task`], [`Pixels`],
//!   [`Detector`].
//! - [`Session::explain_targets`] explains several targets with one forward; [`Session::predict`] runs the model only.
//! - [`Explanation`] has one [`Track`] of relevance, or two in contrastive mode; a [`Ledger`] accounts for all of it.
//! - [`Device`] opens the CPU, a GPU or the float64 reference by name.
//! - [`Request::cancel`] lets another thread end a run; [`SessionOptions::progress`] reports its progress.
//! - [`RuntimeError::kind`] tells who can mend an error.
//! - [`backend`] is the contract of a custom backend.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod detection;
mod device;
mod error;
mod explanation;
mod ledger;
mod plan;
mod random;
mod remedy;
mod repeat;
mod request;
pub mod rows;
mod seed;
mod session;
mod shapley;

pub use dlbc_backend as backend;
pub use dlbc_ops::program::{InputInfo, TrackKind};
pub use dlbc_ops::tensor::{DType, Dim, Element, Shape, Tensor, TensorError, TensorType, TensorView};

pub use detection::{Detected, Detections, SAME_OBJECT, overlap};
pub use device::{Device, OpenDevice};
pub use dlbc_backend::{
    AsViews, Backend, BackendError, CancelToken, ErrorKind, MemoryReport, Progress, RunControl,
    SessionOptions, Tensors, Views,
};
#[cfg(feature = "cpu")]
pub use dlbc_cpu::CpuBackend;
pub use error::RuntimeError;
pub use explanation::{AtPositions, Explanation, Timings, Track};
pub use ledger::expert_relevance::{ExpertLayer, ExpertShare};
pub use ledger::modules::{HeadRow, ModuleRow};
pub use ledger::{Ledger, LedgerRow};
pub use random::Random;
pub use remedy::Remedy;
pub use request::{
    BoxLayout, BoxSelector, BoxTarget, Detector, MIN_BACKGROUND, ParseTargetError, Pixels, Position, Region,
    Request, SeedValue, Target, Task,
};
pub use session::{OutputInfo, Session};
