//! The functions of the driver.

#![allow(unsafe_code, unused_unsafe, non_snake_case)]

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::{LazyLock, Mutex, PoisonError};

use dlbc_ptxsim::parse;

use crate::codes::{Code, INVALID_CONTEXT, INVALID_DEVICE, INVALID_HANDLE, INVALID_PTX, INVALID_VALUE};
use crate::faults::Faults;
use crate::host;
use crate::machine::{LEGACY, Machine};

static MACHINE: LazyLock<Mutex<Machine>> = LazyLock::new(|| {
    let faults = std::env::var("FAKE_CUDA").unwrap_or_default();
    Mutex::new(Machine::new(Faults::parse(&faults)))
});

/// Texts that are being assembled, and the buffer of the error log, by handle.
static LINKS: LazyLock<Mutex<HashMap<usize, Link>>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Link {
    /// Address and size of the buffer for errors.
    log: (usize, usize),
    /// Machine code: a mark, the text and a zero.
    code: Vec<u8>,
}

/// First bytes of machine code, which is the text behind them.
const MARK: &[u8] = b"\x7fELF of the fake driver\n";

/// Handle of the one context.
const CONTEXT: usize = 0x100;

thread_local! {
    /// Context of the thread; 0 for none.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// Runs a call: an injected error, the error of a failed device, or `body`.
fn call(name: &str, body: impl FnOnce(&mut Machine) -> Result<(), Code>) -> Code {
    let mut machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(code) = machine.faults.of_call(name) {
        return code;
    }
    let anywhere = ["cuInit", "cuDriver", "cuDevice", "cuCtx", "cuGetError"];
    if !anywhere.iter().any(|start| name.starts_with(start)) {
        if CURRENT.get() != CONTEXT {
            return INVALID_CONTEXT;
        }
        if machine.failure != 0 {
            return machine.failure;
        }
    }
    body(&mut machine).err().unwrap_or(0)
}

/// Defines the functions: each has the driver's state under the name before the `|`, and ends with `Ok(())` or a code.
macro_rules! driver {
    ($($name:ident($machine:ident $(, $arg:ident: $ty:ty)*) $body:block)*) => {
        /// Names of the functions.
        pub const SYMBOLS: &[&str] = &[$(stringify!($name)),*];
        $(
            #[doc = concat!("`", stringify!($name), "` of the driver API.")]
            ///
            /// # Safety
            /// As the driver API says.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($arg: $ty),*) -> c_int {
                // SAFETY: the caller keeps to the driver API.
                call(stringify!($name), |$machine: &mut Machine| unsafe { $body })
            }
        )*
    };
}

driver! {
    cuInit(_m, _flags: c_uint) { Ok(()) }
    cuDriverGetVersion(m, version: *mut c_int) { *version = m.faults.property("version", 12040); Ok(()) }
    cuDeviceGetCount(_m, count: *mut c_int) { *count = 1; Ok(()) }
    cuDeviceGet(_m, device: *mut c_int, ordinal: c_int) {
        *device = ordinal;
        if ordinal == 0 { Ok(()) } else { Err(INVALID_DEVICE) }
    }
    cuDeviceGetName(_m, name: *mut c_char, len: c_int, _device: c_int) {
        let text = b"no GPU\0";
        if (len as usize) < text.len() { return Err(INVALID_VALUE); }
        host::write(name as usize, text);
        Ok(())
    }
    cuDeviceGetAttribute(m, value: *mut c_int, which: c_int, _device: c_int) {
        let chip: c_int = m.faults.property("chip", 80);
        *value = match which {
            75 => chip / 10,
            76 => chip % 10,
            _ => 0,
        };
        Ok(())
    }
    cuDevicePrimaryCtxRetain(_m, context: *mut usize, _device: c_int) { *context = CONTEXT; Ok(()) }
    cuDevicePrimaryCtxRelease_v2(m, _device: c_int) { m.idle() }
    cuCtxSetCurrent(_m, context: usize) { CURRENT.set(context); Ok(()) }
    cuCtxGetCurrent(_m, context: *mut usize) { *context = CURRENT.get(); Ok(()) }
    cuStreamCreate(m, stream: *mut usize, _flags: c_uint) { *stream = m.create_stream(); Ok(()) }
    cuStreamDestroy_v2(m, stream: usize) { m.destroy_stream(stream) }
    cuStreamQuery(m, stream: usize) { m.query(stream) }
    cuStreamSynchronize(m, stream: usize) { m.finish(stream) }
    cuMemGetInfo_v2(m, free: *mut usize, total: *mut usize) {
        (*free, *total) = (m.free_bytes() as usize, m.capacity as usize);
        Ok(())
    }
    cuMemAlloc_v2(m, address: *mut u64, bytes: usize) { *address = m.allocate(bytes as u64)?; Ok(()) }
    cuMemFree_v2(m, address: u64) { m.release(address) }
    cuMemHostAlloc(m, address: *mut usize, bytes: usize, _flags: c_uint) { *address = m.pin(bytes); Ok(()) }
    cuMemFreeHost(m, address: usize) { m.unpin(address) }
    cuMemcpyHtoD_v2(m, to: u64, from: usize, bytes: usize) { m.upload(LEGACY, to, from, bytes) }
    cuMemcpyDtoH_v2(m, to: usize, from: u64, bytes: usize) { m.download(LEGACY, to, from, bytes) }
    cuMemcpyHtoDAsync_v2(m, to: u64, from: usize, bytes: usize, stream: usize) {
        m.upload(stream, to, from, bytes)
    }
    cuMemcpyDtoHAsync_v2(m, to: usize, from: u64, bytes: usize, stream: usize) {
        m.download(stream, to, from, bytes)
    }
    cuLinkCreate_v2(m, count: c_uint, keys: *const c_int, values: *const usize, state: *mut usize) {
        *state = m.handle();
        let mut link = Link::default();
        for i in 0..count as usize {
            match *keys.add(i) {
                // The buffer for errors and its size, which stands where a pointer does.
                5 => link.log.0 = *values.add(i),
                6 => link.log.1 = *values.add(i),
                _ => {}
            }
        }
        LINKS.lock().unwrap_or_else(PoisonError::into_inner).insert(*state, link);
        Ok(())
    }
    cuLinkAddData_v2(
        m, state: usize, _kind: c_int, data: *const c_void, _size: usize, _name: *const c_char, _count: c_uint,
        _keys: *const c_int, _values: *const *mut c_void
    ) {
        let mut links = LINKS.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.get_mut(&state).ok_or(INVALID_HANDLE)?;
        let text = host::text(data);
        let refused = m.faults.text("assembler").map(|_| "line 12: unknown instruction".to_string());
        if let Some(reason) = refused.or_else(|| parse(&text).err().map(|fault| fault.to_string())) {
            let log = [reason.as_bytes(), &[0]].concat();
            if log.len() <= link.log.1 {
                host::write(link.log.0, &log);
            }
            return Err(INVALID_PTX);
        }
        link.code = [MARK, text.as_bytes(), &[0]].concat();
        Ok(())
    }
    cuLinkComplete(_m, state: usize, code: *mut *const u8, size: *mut usize) {
        let links = LINKS.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.get(&state).ok_or(INVALID_HANDLE)?;
        (*code, *size) = (link.code.as_ptr(), link.code.len());
        Ok(())
    }
    cuLinkDestroy(_m, state: usize) {
        let mut links = LINKS.lock().unwrap_or_else(PoisonError::into_inner);
        links.remove(&state).map(drop).ok_or(INVALID_HANDLE)
    }
    cuModuleLoadData(m, module: *mut usize, image: *const c_void) {
        m.refuse_during_capture()?;
        let text = host::text(image);
        let text = text.strip_prefix(std::str::from_utf8(MARK).unwrap_or_default()).ok_or(INVALID_PTX)?;
        *module = m.handle();
        m.kernels.load(*module, text.into())
    }
    cuModuleUnload(m, module: usize) { m.idle()?; m.kernels.unload(module) }
    cuModuleGetFunction(m, function: *mut usize, module: usize, name: *const c_void) {
        *function = m.handle();
        m.kernels.find(*function, module, &host::text(name))
    }
    cuFuncGetAttribute(m, value: *mut c_int, which: c_int, function: usize) {
        m.kernels.parameter_bytes(function)?;
        // Attribute 3 is the size of local memory.
        *value = if which == 3 { m.faults.property("local", 0) } else { 0 };
        Ok(())
    }
    cuFuncSetAttribute(m, function: usize, which: c_int, value: c_int) {
        // Attribute 8 is the largest size of dynamic shared memory.
        if which == 8 { m.kernels.permit_shared(function, value) } else { Err(INVALID_VALUE) }
    }
    cuStreamBeginCapture_v2(m, stream: usize, _mode: c_int) { m.begin_capture(stream) }
    cuStreamEndCapture(m, stream: usize, graph: *mut usize) { *graph = m.end_capture(stream)?; Ok(()) }
    cuLaunchKernel(
        m, function: usize, gx: c_uint, gy: c_uint, gz: c_uint, bx: c_uint, by: c_uint, bz: c_uint,
        shared: c_uint, stream: usize, params: *const usize, _extra: *const c_void
    ) {
        let bytes = m.kernels.parameter_bytes(function)?;
        let params = if bytes == 0 { vec![] } else { host::read(*params, bytes) };
        let node = m.kernels.node(function, ([gx, gy, gz], [bx, by, bz], shared), params)?;
        m.launch(stream, node)
    }
    cuGraphInstantiateWithFlags(m, executable: *mut usize, graph: usize, _flags: u64) {
        *executable = m.instantiate(graph)?;
        Ok(())
    }
    cuGraphUpload(m, executable: usize, _stream: usize) { m.has_executable(executable) }
    cuGraphLaunch(m, executable: usize, stream: usize) { m.launch_graph(executable, stream) }
    cuGraphDestroy(m, graph: usize) { m.destroy_graph(graph) }
    cuGraphExecDestroy(m, executable: usize) { m.destroy_executable(executable) }
    cuGetErrorName(_m, code: c_int, text: *mut *const c_char) { *text = error_name(code).as_ptr().cast(); Ok(()) }
    cuGetErrorString(_m, code: c_int, text: *mut *const c_char) {
        *text = error_text(code).as_ptr().cast();
        Ok(())
    }
}

fn error_name(code: Code) -> &'static [u8] {
    match code {
        1 => b"CUDA_ERROR_INVALID_VALUE\0",
        2 => b"CUDA_ERROR_OUT_OF_MEMORY\0",
        100 => b"CUDA_ERROR_NO_DEVICE\0",
        700 => b"CUDA_ERROR_ILLEGAL_ADDRESS\0",
        716 => b"CUDA_ERROR_MISALIGNED_ADDRESS\0",
        719 => b"CUDA_ERROR_LAUNCH_FAILED\0",
        _ => b"CUDA_ERROR_OF_THE_FAKE_DRIVER\0",
    }
}

fn error_text(code: Code) -> &'static [u8] {
    match code {
        1 => b"invalid argument\0",
        2 => b"out of memory\0",
        100 => b"no CUDA-capable device is detected\0",
        700 => b"an illegal memory access was encountered\0",
        716 => b"misaligned address\0",
        719 => b"unspecified launch failure\0",
        _ => b"an error of the fake driver\0",
    }
}
