//! The runtime: runs lowered programs.
//!
//! A [`Session`] holds a [`Program`](dlbc_ops::program::Program) and a [`Backend`]; it binds shapes, caches plans, seeds the
//! reverse and keeps the books. It never sees an operator, a rule or an ONNX attribute.

mod detection;
mod device;
mod error;
mod explanation;
mod ledger;
mod plan;
mod random;
mod repeat;
mod request;
pub mod rows;
mod seed;
mod session;

pub use dlbc_backend as backend;
pub use dlbc_ops::program::{InputInfo, TrackKind};
pub use dlbc_ops::tensor::{DType, Dim, Shape, Tensor, TensorType};

pub use detection::{Detected, Detections, SAME_OBJECT, overlap};
pub use device::Device;
pub use dlbc_backend::{
    Backend, BackendError, CancelToken, ErrorKind, MemoryReport, Progress, Run, SessionOptions, Tensors,
};
#[cfg(feature = "cpu")]
pub use dlbc_cpu::CpuBackend;
pub use error::RuntimeError;
pub use explanation::{Explanation, Timings, Track};
pub use ledger::expert_relevance::{ExpertLayer, ExpertShare};
pub use ledger::modules::{HeadRow, ModuleRow};
pub use ledger::{Ledger, LedgerRow};
pub use random::Random;
pub use request::{
    BoxLayout, BoxTarget, Detector, ParseTargetError, Pixels, Position, Region, Request, Start, Target, Task,
    WhichBox,
};
pub use session::{OutputInfo, Session};
