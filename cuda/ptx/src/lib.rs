//! PTX kernels as text: an emitter that writes one instruction a call, the kernel families, and what a device is.
//!
//! The kernels of the fixed library are listed in `cuda/kernels/manifest.json`, by a digest of their text; elementwise chains and rarer variants are emitted
//! by the same code when a program is planned. Nothing here needs a GPU or CUDA.

mod device;
mod emit;
pub mod kernel;
pub mod library;
mod params;

pub use device::{Device, DeviceError, Kernel, KernelId, Launch, Region, SequenceId};
pub use emit::{Emitter, Reg};
pub use params::{Field, Params};
