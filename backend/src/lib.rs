//! The contract between the runtime and its engines.
//!
//! A [`Backend`] prepares a program of primitives with known shapes as a [`Plan`], and a plan runs its forward and its reverse.
//! [`split_stages`] assigns the nodes to these two stages. [`ReferenceBackend`] computes in float64; tests compare all other
//! engines with it.

mod contract;
mod error;
mod inputs;
mod reference;
mod run_control;
mod stage;

pub use contract::{Backend, MemoryReport, Outputs, Plan, Precision, Saved, SessionOptions};
pub use error::{BackendError, ErrorKind, Unsupported};
pub use inputs::{AsViews, Tensors, Views};
pub use reference::ReferenceBackend;
pub use run_control::{CancelToken, Progress, ProgressReceiver, RunControl};
pub use stage::{Stage, Stages, count_reads, split_stages};
