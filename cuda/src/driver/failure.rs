//! The errors of a driver as those of a device.

use cudarc::driver::{DriverError, sys};
use dlbc_ptx::DeviceError;

/// A driver's error: memory that ran out, or a device that is of no more use.
pub(super) fn failed(error: DriverError, wanted: u64, available: Option<u64>) -> DeviceError {
    match error.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => DeviceError::OutOfMemory { wanted, available },
        _ => DeviceError::Lost(error.to_string()),
    }
}

/// The error of a device that is of no more use, or of memory that ran out.
pub(super) fn lost(error: DriverError) -> DeviceError {
    failed(error, 0, None)
}
