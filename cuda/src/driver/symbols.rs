//! Functions of the driver that dlbc calls, by itself or through cudarc, which looks each up at its first use and panics if it is
//! missing. They are all looked up before that.

use std::ffi::c_void;

use cudarc::driver::sys;

/// Name of the function that tells the driver's version.
pub(super) const VERSION: &str = "cuDriverGetVersion";

/// Names of all functions.
const FUNCTIONS: &[&str] = &[
    VERSION,
    "cuInit",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxSetCurrent",
    "cuCtxGetCurrent",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamQuery",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuMemGetInfo_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuLinkCreate_v2",
    "cuLinkAddData_v2",
    "cuLinkComplete",
    "cuLinkDestroy",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuModuleGetFunction",
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuLaunchKernel",
    "cuGraphInstantiateWithFlags",
    "cuGraphUpload",
    "cuGraphLaunch",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGetErrorName",
    "cuGetErrorString",
];

/// Returns whether the driver has a function. The driver's library must be present.
#[allow(unsafe_code)]
pub(super) fn has(name: &str) -> bool {
    // SAFETY: the library is present, so opening it does not panic; the symbol is looked up and not called.
    unsafe { sys::culib().get::<*const c_void>(name.as_bytes()).is_ok() }
}

/// Returns the first function that the driver lacks.
pub(super) fn missing() -> Option<&'static str> {
    FUNCTIONS.iter().copied().find(|name| !has(name))
}
