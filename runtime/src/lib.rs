//! The runtime: runs lowered programs.
//!
//! A [`Session`] holds a [`Program`](dlbc_ops::program::Program) and a [`Backend`]; it binds shapes, caches plans, seeds the
//! reverse and keeps the books. It never sees an operator, a rule or an ONNX attribute.

mod backend;
mod detection;
mod error;
mod ledger;
mod plan;
mod random;
mod reference;
mod repeat;
pub mod rows;
mod seed;
mod session;
mod stage;
mod tract;

pub use dlbc_ops::tensor::{DType, Tensor};

pub use backend::{Backend, MemoryReport, Plan, RunOptions, Saved, Tensors, Unsupported};
pub use detection::{BoxLayout, BoxTarget, Detected, Detections, Detector, SAME_OBJECT, WhichBox, overlap};
pub use error::{ErrorKind, RuntimeError};
pub use ledger::expert_relevance::{ExpertShare, ExpertsLayer};
pub use ledger::modules::{HeadRow, LayerRow};
pub use random::Random;
pub use reference::ReferenceBackend;
pub use seed::{Pixels, Position, Region, Request, Start, Target, Task};
pub use session::{Books, Explanation, LedgerRow, Opposing, Seconds, Session};
pub use stage::{Stage, Stages, split, uses};
pub use tract::CpuBackend;
