//! A CUDA driver without a GPU, which fails as the environment variable `FAKE_CUDA` says. Its memory is the host's, its kernels
//! compute nothing. Built by `tests/cuda/fake_driver.rs` and loaded by the program as `libcuda.so.1`.

#![allow(non_snake_case, clippy::all)]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

const OUT_OF_MEMORY: c_int = 2;
const NO_DEVICE: c_int = 100;
const INVALID_PTX: c_int = 218;
const LAUNCH_FAILED: c_int = 719;

fn fails(how: &str) -> bool {
    std::env::var("FAKE_CUDA").is_ok_and(|v| v == how)
}

fn when(how: &str, code: c_int) -> c_int {
    if fails(how) { code } else { 0 }
}

/// Handle of every object; it points nowhere.
const HANDLE: usize = 0x1000;

/// Bytes of memory with `FAKE_CUDA=small`.
const SMALL: usize = 1 << 16;
static TAKEN: AtomicUsize = AtomicUsize::new(0);

macro_rules! driver {
    ($($name:ident($($arg:ident: $ty:ty),*) $body:block)*) => { $(
        #[no_mangle]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> c_int { $body }
    )* };
}

driver! {
    cuInit(_flags: c_uint) { when("no-device", NO_DEVICE) }
    cuDriverGetVersion(version: *mut c_int) { *version = if fails("old") { 11040 } else { 12040 }; 0 }
    cuDeviceGetCount(count: *mut c_int) { *count = 1; 0 }
    cuDeviceGet(device: *mut c_int, ordinal: c_int) { *device = ordinal; 0 }
    cuDeviceGetName(name: *mut c_char, _len: c_int, _device: c_int) {
        std::ptr::copy_nonoverlapping(b"no GPU\0".as_ptr().cast(), name, 7);
        0
    }
    cuDeviceGetUuid_v2(uuid: *mut u8, _device: c_int) { std::ptr::write_bytes(uuid, 7, 16); 0 }
    cuDeviceGetAttribute(value: *mut c_int, which: c_int, _device: c_int) {
        *value = match which {
            75 => if fails("chip") { 7 } else { 8 },
            76 => if fails("chip") { 5 } else { 0 },
            _ => 0,
        };
        0
    }
    cuCtxSetCurrent(_context: *mut c_void) { 0 }
    cuCtxGetCurrent(context: *mut usize) { *context = HANDLE; 0 }
    cuDevicePrimaryCtxRelease_v2(_device: c_int) { 0 }
    cuStreamCreate(stream: *mut usize, _flags: c_uint) { *stream = HANDLE; 0 }
    cuStreamSynchronize(_stream: *mut c_void) { 0 }
    cuStreamDestroy_v2(_stream: *mut c_void) { 0 }
    cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        let all = if fails("small") { SMALL } else { 1 << 30 };
        *total = all;
        *free = all.saturating_sub(TAKEN.load(Ordering::Relaxed));
        0
    }
    cuMemAlloc_v2(address: *mut u64, bytes: usize) {
        let taken = TAKEN.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if fails("memory") || (fails("small") && taken > SMALL) {
            TAKEN.fetch_sub(bytes, Ordering::Relaxed);
            return OUT_OF_MEMORY;
        }
        // Never freed: the program is short.
        *address = Box::leak(vec![0u64; bytes.div_ceil(8)].into_boxed_slice()).as_mut_ptr() as u64;
        0
    }
    cuMemFree_v2(_address: u64) { 0 }
    cuMemcpyHtoD_v2(to: u64, from: *const u8, bytes: usize) {
        std::ptr::copy_nonoverlapping(from, to as *mut u8, bytes);
        0
    }
    cuMemcpyDtoH_v2(to: *mut u8, from: u64, bytes: usize) {
        std::ptr::copy_nonoverlapping(from as *const u8, to, bytes);
        0
    }
    cuLinkCreate_v2(count: c_uint, keys: *const c_int, values: *const *mut c_void, state: *mut usize) {
        *state = HANDLE;
        if fails("ptx") {
            // Key 5 is the buffer of the error log.
            for i in 0..count as usize {
                if *keys.add(i) == 5 {
                    let text = b"line 12: unknown instruction\0";
                    std::ptr::copy_nonoverlapping(text.as_ptr(), (*values.add(i)).cast(), text.len());
                }
            }
        }
        0
    }
    cuLinkAddData_v2(
        _state: *mut c_void, _kind: c_int, _data: *mut c_void, _size: usize, _name: *const c_char, _count: c_uint,
        _keys: *const c_int, _values: *const *mut c_void
    ) { when("ptx", INVALID_PTX) }
    cuLinkComplete(_state: *mut c_void, cubin: *mut *const u8, size: *mut usize) {
        let image: &'static [u8] = b"\x7fELF nothing";
        *cubin = image.as_ptr();
        *size = image.len();
        0
    }
    cuLinkDestroy(_state: *mut c_void) { 0 }
    cuModuleLoadData(module: *mut usize, _image: *const c_void) { *module = HANDLE; 0 }
    cuModuleUnload(_module: *mut c_void) { 0 }
    cuModuleGetFunction(function: *mut usize, _module: *mut c_void, _name: *const c_char) { *function = HANDLE; 0 }
    cuFuncGetAttribute(value: *mut c_int, _which: c_int, _function: *mut c_void) { *value = 0; 0 }
    cuFuncSetAttribute(_function: *mut c_void, _which: c_int, _value: c_int) { 0 }
    cuStreamBeginCapture_v2(_stream: *mut c_void, _mode: c_int) { 0 }
    cuStreamEndCapture(_stream: *mut c_void, graph: *mut usize) { *graph = HANDLE; 0 }
    cuLaunchKernel(
        _f: *mut c_void, _gx: c_uint, _gy: c_uint, _gz: c_uint, _bx: c_uint, _by: c_uint, _bz: c_uint, _shared: c_uint,
        _stream: *mut c_void, _params: *mut *mut c_void, _extra: *mut *mut c_void
    ) { 0 }
    cuGraphInstantiateWithFlags(graph: *mut usize, _from: *mut c_void, _flags: u64) { *graph = HANDLE; 0 }
    cuGraphUpload(_graph: *mut c_void, _stream: *mut c_void) { 0 }
    cuGraphLaunch(_graph: *mut c_void, _stream: *mut c_void) { when("lost", LAUNCH_FAILED) }
    cuGraphDestroy(_graph: *mut c_void) { 0 }
    cuGraphExecDestroy(_graph: *mut c_void) { 0 }
    cuGetErrorName(_code: c_int, text: *mut *const c_char) { *text = b"CUDA_ERROR_FAKE\0".as_ptr().cast(); 0 }
    cuGetErrorString(_code: c_int, text: *mut *const c_char) { *text = b"as planned\0".as_ptr().cast(); 0 }
}

/// A function that is missing in a driver built with `--cfg lacking`.
#[cfg(not(lacking))]
#[no_mangle]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut usize, _device: c_int) -> c_int {
    *context = HANDLE;
    0
}
