//! Detection of a usable GPU, with an error instead of a panic whatever the machine lacks.

use std::sync::Arc;

use cudarc::driver::sys::CUdevice_attribute::{
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
};
use cudarc::driver::{CudaContext, DriverError, result, sys};
use dlbc_ptx::DeviceError;

use super::failure::describe;
use super::symbols::{self, VERSION};

/// Oldest supported driver API, CUDA 12.0, whose symbols are bound.
const OLDEST_DRIVER: i32 = 12000;
/// Oldest supported compute capability, which the kernels target.
const OLDEST_CHIP: (i32, i32) = (8, 0);

/// An open GPU.
pub(super) struct Gpu {
    pub(super) context: Arc<CudaContext>,
    /// Compute capability, major and minor.
    pub(super) capability: (i32, i32),
    /// Version of the driver API, `1000 · major + 10 · minor`.
    pub(super) driver: i32,
}

/// Opens a GPU.
pub(super) fn open(ordinal: usize) -> Result<Gpu, DeviceError> {
    let (driver, capability) = check(ordinal)?;
    create(ordinal, driver, capability)
}

/// Checks that [`open`] would accept the GPU. Creates no context, which costs time and memory.
pub(super) fn find(ordinal: usize) -> Result<(), DeviceError> {
    check(ordinal).map(drop)
}

fn absent(reason: impl Into<String>) -> DeviceError {
    DeviceError::Absent(reason.into())
}

fn failed(e: DriverError) -> DeviceError {
    absent(describe(e))
}

/// Checks that a GPU exists and is new enough; returns the driver's version and the compute capability.
#[allow(unsafe_code)]
fn check(ordinal: usize) -> Result<(i32, (i32, i32)), DeviceError> {
    // SAFETY: this only tries to open the library.
    if !unsafe { sys::is_culib_present() } {
        return Err(absent("expected the driver's library (libcuda.so.1, nvcuda.dll), found none"));
    }
    let lacks = |name: &str| {
        absent(format!("the driver lacks the function `{name}`: expected a driver of CUDA 12.0 or newer"))
    };
    if !symbols::has(VERSION) {
        return Err(lacks(VERSION));
    }
    let mut driver = 0;
    // SAFETY: the driver writes one integer.
    let answer = unsafe { sys::cuDriverGetVersion(&mut driver) }.result();
    // The description of an error is a function of the driver, too, and may be missing.
    answer.map_err(|e| absent(format!("{VERSION}: {:?}", e.0)))?;
    if driver < OLDEST_DRIVER {
        let (major, minor) = (driver / 1000, driver % 1000 / 10);
        return Err(absent(format!("expected a driver for CUDA 12.0 or later, found {major}.{minor}")));
    }
    if let Some(name) = symbols::missing() {
        return Err(lacks(name));
    }
    result::init().map_err(failed)?;
    let count = CudaContext::device_count().map_err(failed)?;
    if ordinal as i64 >= i64::from(count) {
        return Err(absent(format!("expected a device below {count}, found {ordinal}")));
    }
    let device = result::device::get(ordinal as i32).map_err(failed)?;
    // SAFETY: the driver has just named this device.
    let attribute = |name| unsafe { result::device::get_attribute(device, name) }.map_err(failed);
    let capability = (attribute(MAJOR)?, attribute(MINOR)?);
    if capability < OLDEST_CHIP {
        let (major, minor) = capability;
        return Err(absent(format!("expected a GPU of sm_80 or later, found sm_{major}{minor}")));
    }
    Ok((driver, capability))
}

#[allow(unsafe_code)]
fn create(ordinal: usize, driver: i32, capability: (i32, i32)) -> Result<Gpu, DeviceError> {
    let context = CudaContext::new(ordinal).map_err(failed)?;
    // There is one stream, which is synchronised explicitly; events would prevent capture.
    // SAFETY: no buffer of cudarc's is used on two streams.
    unsafe { context.disable_event_tracking() };
    Ok(Gpu { context, capability, driver })
}
