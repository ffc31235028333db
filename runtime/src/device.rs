//! Names of devices, and how to open them.

use dlbc_backend::{Backend, Precision, ReferenceBackend};

use crate::error::RuntimeError;

/// A device that runs programs. Every variant exists in every build, so that code that names a device compiles without the
/// feature of its engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// The CPU; in a build without the feature `cpu`, the first GPU.
    #[default]
    Auto,
    /// The CPU, in float32. Needs feature `cpu`.
    Cpu,
    /// The float64 reference kernels: slow, for comparisons.
    Reference,
    /// An NVIDIA GPU. Needs feature `cuda`.
    Cuda {
        /// Index of the GPU in the driver's list, from 0.
        ordinal: usize,
        /// Precision of matrix products and convolutions.
        precision: Precision,
    },
}

impl Device {
    /// Opens the device.
    ///
    /// # Errors
    /// When the device is absent, or this build does not have its engine
    /// ([`ErrorKind::Device`](dlbc_backend::ErrorKind::Device)).
    ///
    /// # Examples
    ///
    /// ```
    /// let backend = dlbc_runtime::Device::Reference.open()?;
    /// assert_eq!(backend.name(), "reference");
    /// # Ok::<(), dlbc_runtime::RuntimeError>(())
    /// ```
    pub fn open(&self) -> Result<Box<dyn Backend>, RuntimeError> {
        Ok(self.open_shared()?.backend())
    }

    /// Opens the device for several sessions, which share what is on it.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn open_shared(&self) -> Result<OpenDevice, RuntimeError> {
        let engine = match *self {
            Device::Auto if cfg!(feature = "cpu") => cpu(),
            Device::Auto => cuda(0, Precision::default()),
            Device::Cpu => cpu(),
            Device::Reference => Ok(Engine::Reference),
            Device::Cuda { ordinal, precision } => cuda(ordinal, precision),
        };
        Ok(OpenDevice(engine?))
    }
}

/// Open device, whose backends share memory, weights and kernels.
pub struct OpenDevice(Engine);

/// Engine of an open device.
enum Engine {
    #[cfg(feature = "cpu")]
    Cpu,
    Reference,
    #[cfg(feature = "cuda")]
    Cuda(dlbc_cuda::CudaBackend),
}

impl OpenDevice {
    /// Returns a backend of the device.
    pub fn backend(&self) -> Box<dyn Backend> {
        match &self.0 {
            #[cfg(feature = "cpu")]
            Engine::Cpu => Box::new(dlbc_cpu::CpuBackend),
            Engine::Reference => Box::new(ReferenceBackend),
            #[cfg(feature = "cuda")]
            Engine::Cuda(backend) => Box::new(backend.clone()),
        }
    }
}

#[cfg(feature = "cpu")]
fn cpu() -> Result<Engine, RuntimeError> {
    Ok(Engine::Cpu)
}

#[cfg(not(feature = "cpu"))]
fn cpu() -> Result<Engine, RuntimeError> {
    Err(missing_feature("the CPU", "cpu"))
}

#[cfg(feature = "cuda")]
fn cuda(ordinal: usize, precision: Precision) -> Result<Engine, RuntimeError> {
    let device = dlbc_cuda::open(ordinal).map_err(dlbc_cuda::backend_error)?;
    Ok(Engine::Cuda(device.with_precision(precision)))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize, _: Precision) -> Result<Engine, RuntimeError> {
    Err(missing_feature("CUDA", "cuda"))
}

/// Returns the error for an engine that this build leaves out.
#[cfg(not(all(feature = "cpu", feature = "cuda")))]
fn missing_feature(engine: &str, feature: &str) -> RuntimeError {
    dlbc_backend::BackendError::Device(format!(
        "{engine} is not available: built without feature `{feature}`"
    ))
    .into()
}
