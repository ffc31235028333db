//! Assembly of PTX to machine code by the driver's linker, and loading of kernels.

use std::ffi::{CString, c_void};
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaFunction, DriverError, sys};
use cudarc::nvrtc::Ptx;
use dlbc_ptx::{DeviceError, Kernel};

use super::cubins::Cubins;
use super::failure::{describe, failed};

/// Loads a kernel for a target, from the cache of machine code or newly assembled. Also returns the bytes of local memory that
/// a thread takes.
pub(super) fn load(
    context: &Arc<CudaContext>,
    target: &str,
    kernel: &Kernel,
) -> Result<(CudaFunction, u32), DeviceError> {
    Cubins::in_user_cache().load(
        target,
        &kernel.text,
        |cubin| function(context, kernel, cubin),
        || assemble(kernel),
    )
}

fn refused(kernel: &Kernel, log: impl ToString) -> DeviceError {
    DeviceError::Assembly { name: kernel.name.clone(), log: log.to_string() }
}

/// Converts an error of the driver. Exhausted memory and a lost device are not the kernel's fault.
fn broken(kernel: &Kernel, error: DriverError) -> DeviceError {
    match failed("cuModuleLoadData", error) {
        DeviceError::Refused { .. } => refused(kernel, describe(error)),
        other => other,
    }
}

fn function(
    context: &Arc<CudaContext>,
    kernel: &Kernel,
    cubin: Vec<u8>,
) -> Result<(CudaFunction, u32), DeviceError> {
    let module = context.load_module(Ptx::from_binary(cubin)).map_err(|e| broken(kernel, e))?;
    let function = module.load_function(&kernel.name).map_err(|e| broken(kernel, e))?;
    if kernel.shared > 0 {
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(attribute, kernel.shared as i32).map_err(|e| broken(kernel, e))?;
    }
    let local = function.local_size_bytes().map_err(|e| broken(kernel, e))?;
    Ok((function, local.unsigned_abs()))
}

/// Assembles a kernel for the current device.
#[allow(unsafe_code)]
fn assemble(kernel: &Kernel) -> Result<Vec<u8>, DeviceError> {
    use sys::CUjit_option as Option_;
    let mut errors = vec![0u8; 16 << 10];
    let mut keys = [Option_::CU_JIT_ERROR_LOG_BUFFER, Option_::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    // The driver takes a number where a pointer stands.
    let mut values = [errors.as_mut_ptr().cast::<c_void>(), errors.len() as *mut c_void];
    let name = CString::new(kernel.name.as_str()).map_err(|e| refused(kernel, e))?;
    let mut source =
        CString::new(kernel.text.as_str()).map_err(|e| refused(kernel, e))?.into_bytes_with_nul();
    let mut state = std::ptr::null_mut();
    // SAFETY: `keys`, `values` and the log that they name outlive the link state, which is destroyed below.
    unsafe { sys::cuLinkCreate_v2(keys.len() as u32, keys.as_mut_ptr(), values.as_mut_ptr(), &mut state) }
        .result()
        .map_err(|e| broken(kernel, e))?;
    let (mut cubin, mut size) = (std::ptr::null_mut(), 0usize);
    // SAFETY: `state` is alive; `source` ends with a zero and is as long as said.
    let added = unsafe {
        sys::cuLinkAddData_v2(
            state,
            sys::CUjitInputType::CU_JIT_INPUT_PTX,
            source.as_mut_ptr().cast(),
            source.len(),
            name.as_ptr(),
            0,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    };
    // SAFETY: `state` is alive.
    let linked =
        added.result().and_then(|()| unsafe { sys::cuLinkComplete(state, &mut cubin, &mut size) }.result());
    let code = match linked {
        // SAFETY: the driver says that it put as many bytes there; they belong to `state`.
        Ok(()) => Ok(unsafe { std::slice::from_raw_parts(cubin.cast::<u8>(), size) }.to_vec()),
        Err(e) => Err(e),
    };
    // SAFETY: `state` is not used any more.
    let _ = unsafe { sys::cuLinkDestroy(state) };
    code.map_err(|e| {
        let end = errors.iter().position(|c| *c == 0).unwrap_or(errors.len());
        match broken(kernel, e) {
            DeviceError::Assembly { name, log } => DeviceError::Assembly {
                name,
                log: format!("{log}\n{}", String::from_utf8_lossy(&errors[..end])),
            },
            other => other,
        }
    })
}
