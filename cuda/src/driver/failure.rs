//! Errors of the driver, by what they mean: exhausted memory, a lost device, or a call that dlbc should not have made.

use cudarc::driver::{DriverError, sys};
use dlbc_ptx::DeviceError;
use sys::cudaError_enum as Code;

/// Returns the name of an error and the driver's description of it.
pub(super) fn describe(error: DriverError) -> String {
    let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
    format!("{:?} ({})", error.0, text.unwrap_or_else(|_| "no description".into()))
}

/// Returns whether an error leaves the device, or this process's context on it, unusable: a kernel faulted, or the hardware
/// failed.
pub(super) fn is_final(error: DriverError) -> bool {
    matches!(
        error.0,
        Code::CUDA_ERROR_DEINITIALIZED
            | Code::CUDA_ERROR_DEVICE_UNAVAILABLE
            | Code::CUDA_ERROR_NO_DEVICE
            | Code::CUDA_ERROR_ECC_UNCORRECTABLE
            | Code::CUDA_ERROR_NVLINK_UNCORRECTABLE
            | Code::CUDA_ERROR_ILLEGAL_ADDRESS
            | Code::CUDA_ERROR_LAUNCH_TIMEOUT
            | Code::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | Code::CUDA_ERROR_ASSERT
            | Code::CUDA_ERROR_HARDWARE_STACK_ERROR
            | Code::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | Code::CUDA_ERROR_MISALIGNED_ADDRESS
            | Code::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | Code::CUDA_ERROR_INVALID_PC
            | Code::CUDA_ERROR_LAUNCH_FAILED
            | Code::CUDA_ERROR_SYSTEM_NOT_READY
            | Code::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
            | Code::CUDA_ERROR_TIMEOUT
            | Code::CUDA_ERROR_EXTERNAL_DEVICE
            | Code::CUDA_ERROR_UNKNOWN
    )
}

/// Converts the error of a call: `call` is the driver's function, or several of them.
pub(super) fn failed(call: &'static str, error: DriverError) -> DeviceError {
    match error.0 {
        Code::CUDA_ERROR_OUT_OF_MEMORY => DeviceError::OutOfMemory { requested: 0, available: None },
        _ if is_final(error) => DeviceError::Lost(format!("{call}: {}", describe(error))),
        _ => DeviceError::Refused { call: call.into(), message: describe(error) },
    }
}

/// Converts the error of an allocation of `requested` bytes.
pub(super) fn failed_allocation(error: DriverError, requested: u64, available: Option<u64>) -> DeviceError {
    match failed("cuMemAlloc", error) {
        DeviceError::OutOfMemory { .. } => DeviceError::OutOfMemory { requested, available },
        other => other,
    }
}
