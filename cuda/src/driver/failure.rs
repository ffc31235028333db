//! Conversion of driver errors to device errors.

use cudarc::driver::{DriverError, sys};
use dlbc_ptx::DeviceError;

/// Converts the error of an allocation of `requested` bytes.
pub(super) fn failed_allocation(error: DriverError, requested: u64, available: Option<u64>) -> DeviceError {
    match error.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => DeviceError::OutOfMemory { requested, available },
        _ => DeviceError::Lost(error.to_string()),
    }
}

/// Converts the error of any other call: memory is exhausted, or the device is lost.
pub(super) fn lost(error: DriverError) -> DeviceError {
    failed_allocation(error, 0, None)
}
