//! Backend "cuda": a lowered program as a sequence of our own PTX kernels.
//!
//! `plan` turns a program into launches and places its values in one block of memory; `execute` runs them; a [`Device`]
//! does the work: the CUDA driver ([`open`]), or in tests the interpreter of `dlbc-ptxsim`. Nothing here knows which.
//!
//! Equal inputs give equal bits: no kernel adds floats in an order that depends on the device's schedule.

mod backend;
mod driver;
mod execute;
mod expand;
mod hoist;
mod memory;
mod plan;
mod resident;

pub use backend::CudaBackend;
pub use dlbc_backend::Precision;
pub use dlbc_ptx::kernel::gemm::Math;
pub use dlbc_ptx::{Device, DeviceError};
pub use driver::{find, open};
