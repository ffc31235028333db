//! PTX kernels as text: the [`Emitter`], which appends one instruction per call, the kernel families (`kernel`), and the
//! [`Device`] interface that loads and launches them.
//!
//! `cuda/kernels/manifest.json` lists the kernels of the fixed [`library`] with a digest of each text. Elementwise chains and
//! rarer variants are emitted by the same code when a program is planned. Nothing here needs a GPU or a CUDA toolkit.

mod device;
mod emit;
pub mod kernel;
pub mod library;
mod params;

pub use device::{Device, DeviceError, Kernel, KernelId, Launch, Region, SequenceId};
pub use emit::{Emitter, Reg};
pub use params::{Field, FieldLayout, Params};
