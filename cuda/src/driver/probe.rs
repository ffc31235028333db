//! Whether there is a GPU that can be used, without a panic whatever the machine lacks.

use std::panic;
use std::sync::Arc;

use cudarc::driver::{CudaContext, DriverError, result, sys};
use dlbc_ptx::DeviceError;

/// The oldest driver interface whose symbols we bind, CUDA 12.0.
const OLDEST_DRIVER: i32 = 12000;
/// The oldest chip that the kernels are written for.
const OLDEST_CHIP: (i32, i32) = (8, 0);

/// An open device.
pub(super) struct Gpu {
    pub(super) context: Arc<CudaContext>,
    pub(super) capability: (i32, i32),
    pub(super) driver: i32,
}

/// Opens a device.
#[allow(unsafe_code)]
pub(super) fn open(ordinal: usize) -> Result<Gpu, DeviceError> {
    // SAFETY: this only tries to open the library.
    if !unsafe { sys::is_culib_present() } {
        return Err(absent("the driver's library (libcuda.so.1, nvcuda.dll) is not on this machine"));
    }
    // A driver that lacks a symbol panics in cudarc; the message becomes an error instead of standing on the terminal.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let opened = panic::catch_unwind(|| contact(ordinal));
    panic::set_hook(hook);
    opened.unwrap_or_else(|message| {
        let text = message.downcast_ref::<String>().cloned();
        let text = text.or_else(|| message.downcast_ref::<&str>().map(ToString::to_string));
        Err(absent(text.unwrap_or_else(|| "the driver could not be loaded".into())))
    })
}

fn absent(reason: impl Into<String>) -> DeviceError {
    DeviceError::Absent(reason.into())
}

#[allow(unsafe_code)]
fn contact(ordinal: usize) -> Result<Gpu, DeviceError> {
    let failed = |e: DriverError| absent(e.to_string());
    let mut driver = 0;
    // SAFETY: the driver writes one integer.
    unsafe { sys::cuDriverGetVersion(&mut driver) }.result().map_err(failed)?;
    if driver < OLDEST_DRIVER {
        let (major, minor) = (driver / 1000, driver % 1000 / 10);
        return Err(absent(format!("the driver supports CUDA {major}.{minor}, 12.0 is needed")));
    }
    result::init().map_err(failed)?;
    let count = CudaContext::device_count().map_err(failed)?;
    if ordinal as i64 >= i64::from(count) {
        return Err(absent(format!("device {ordinal} is not among {count}")));
    }
    let context = CudaContext::new(ordinal).map_err(failed)?;
    let capability = context.compute_capability().map_err(failed)?;
    if capability < OLDEST_CHIP {
        let (major, minor) = capability;
        return Err(absent(format!("the GPU is an sm_{major}{minor}, sm_80 is needed")));
    }
    // We have one stream and wait for it ourselves; events would stand in the way of capture.
    // SAFETY: no buffer of cudarc's is used on two streams.
    unsafe { context.disable_event_tracking() };
    Ok(Gpu { context, capability, driver })
}
