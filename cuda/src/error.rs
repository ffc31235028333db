//! Conversion of errors of a device to those of a backend.

use dlbc_backend::BackendError;
use dlbc_ptx::DeviceError;

/// Converts an error of the device.
pub fn backend_error(error: DeviceError) -> BackendError {
    let message = error.to_string();
    match error {
        DeviceError::Absent(_) | DeviceError::Fault { .. } => BackendError::Device(message),
        DeviceError::Lost(_) => BackendError::DeviceLost(message),
        DeviceError::TimedOut { .. } => BackendError::DeviceTimeout(message),
        DeviceError::OutOfMemory { .. } => BackendError::DeviceMemory(message),
        DeviceError::Setting(_) => BackendError::Setting(message),
        DeviceError::Assembly { .. } | DeviceError::Launch { .. } | DeviceError::Refused { .. } => {
            BackendError::Engine { backend: "cuda", stage: "running", message }
        }
    }
}
