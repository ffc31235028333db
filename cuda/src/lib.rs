//! Backend "cuda": runs a lowered program as a sequence of PTX kernels.
//!
//! The pipeline: `expand` replaces attention by products and hoists work out of recurrences, `plan` lowers the program to launches,
//! `memory` assigns each value an offset in one block of device memory, and `execute` runs the launches on a [`Device`]. The
//! device is the CUDA driver ([`open`]), or in tests the interpreter of `dlbc-ptxsim`; the other modules do not depend on which.
//!
//! Equal inputs give equal bits: no kernel adds floats in an order that depends on the device's schedule.

mod backend;
mod driver;
mod error;
mod execute;
mod expand;
mod hoist;
mod memory;
mod plan;
mod resident;
mod storages;

pub use backend::CudaBackend;
pub use dlbc_backend::Precision;
pub use dlbc_ptx::kernel::gemm::Math;
pub use dlbc_ptx::{Device, DeviceError};
pub use driver::{find, open};
pub use error::backend_error;
