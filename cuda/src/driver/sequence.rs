//! Sequences of launches: captured once as a CUDA graph and launched many times, or launched one by one.

use std::fmt::Write;
use std::sync::Arc;

use cudarc::driver::{CudaGraph, CudaStream, DeviceRepr, DriverError, LaunchConfig, PushKernelArg, sys};
use dlbc_ptx::{DeviceError, Kernel, KernelId, Launch, Region};

use super::failure::{describe, failed, is_final};
use super::kernels::{Kernels, Loaded};

/// Size of the largest parameter block in bytes.
const MAX_PARAMS_BYTES: usize = 1024;

/// A parameter block of any size. The driver copies as many bytes of it as the kernel declares.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Block([u8; MAX_PARAMS_BYTES]);

// SAFETY: plain bytes, aligned as the kernels declare.
#[allow(unsafe_code)]
unsafe impl DeviceRepr for Block {}

/// Form of a sequence on the device.
pub(super) enum Form {
    /// A captured graph; `None` without launches.
    Graph(Option<CudaGraph>),
    /// Launches that the host waits for, each in its turn.
    OneByOne(Vec<Launch>),
}

/// A prepared sequence.
pub(super) struct Sequence {
    pub(super) form: Form,
    /// Kernels that it launches, each once.
    pub(super) kernels: Vec<KernelId>,
    /// Number of launches, and the names of the first and the last kernel, for messages.
    pub(super) summary: String,
}

// SAFETY: the driver's handles may be used from any thread to which the context is bound; `Driver` binds it before each
// call, and a mutex lets in one thread at a time.
#[allow(unsafe_code)]
unsafe impl Send for Sequence {}

impl Sequence {
    /// Prepares launches, to be run in the order of the list.
    pub(super) fn new(
        stream: &Arc<CudaStream>,
        kernels: &Kernels,
        launches: Vec<Launch>,
        one_by_one: bool,
    ) -> Result<Sequence, DeviceError> {
        let summary = summary(kernels, &launches)?;
        let mut ids: Vec<KernelId> = launches.iter().map(|l| l.kernel).collect();
        ids.sort_unstable_by_key(|id| id.0);
        ids.dedup();
        let form = if one_by_one {
            Form::OneByOne(launches)
        } else {
            Form::Graph(capture(stream, kernels, &launches)?)
        };
        Ok(Sequence { form, kernels: ids, summary })
    }
}

fn summary(kernels: &Kernels, launches: &[Launch]) -> Result<String, DeviceError> {
    let name = |launch: &Launch| kernels.get(launch.kernel).map(|loaded| loaded.kernel.name.clone());
    Ok(match launches {
        [] => "no launch".into(),
        [only] => format!("kernel `{}`", name(only)?),
        [first, .., last] => {
            format!("one of {} launches, from kernel `{}` to `{}`", launches.len(), name(first)?, name(last)?)
        }
    })
}

fn capture(
    stream: &Arc<CudaStream>,
    kernels: &Kernels,
    launches: &[Launch],
) -> Result<Option<CudaGraph>, DeviceError> {
    if launches.is_empty() {
        return Ok(None);
    }
    let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    stream.begin_capture(mode).map_err(|e| failed("cuStreamBeginCapture", e))?;
    let recorded = launches.iter().try_for_each(|l| start(stream, kernels.get(l.kernel)?, l));
    // The capture ends whether or not a launch was refused.
    let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0));
    recorded?;
    let graph = graph.map_err(|e| failed("cuStreamEndCapture or cuGraphInstantiate", e))?;
    if let Some(graph) = &graph {
        graph.upload().map_err(|e| failed("cuGraphUpload", e))?;
    }
    Ok(graph)
}

/// Launches a kernel on the stream, or records it if the stream captures.
#[allow(unsafe_code)]
pub(super) fn start(stream: &Arc<CudaStream>, loaded: &Loaded, launch: &Launch) -> Result<(), DeviceError> {
    let Loaded { kernel, function, .. } = loaded;
    let refused = |message: String| DeviceError::Launch { name: kernel.name.clone(), message };
    if launch.params.len() > MAX_PARAMS_BYTES {
        let bytes = launch.params.len();
        return Err(refused(format!(
            "expected at most {MAX_PARAMS_BYTES} bytes of parameters, found {bytes}"
        )));
    }
    let mut block = Block([0; MAX_PARAMS_BYTES]);
    block.0[..launch.params.len()].copy_from_slice(&launch.params);
    let config = LaunchConfig {
        grid_dim: launch.grid.into(),
        block_dim: (kernel.threads, 1, 1),
        shared_mem_bytes: kernel.shared,
    };
    let mut builder = stream.launch_builder(function);
    builder.arg(&block);
    // SAFETY: the block is at least as large as the kernel's parameters, whose addresses lie in the plan's own memory; the
    // interpreter has proven that such a launch touches nothing else.
    let launched = unsafe { builder.launch(config) };
    launched.map(drop).map_err(|e| match failed("cuLaunchKernel", e) {
        // An earlier launch of the stream has failed.
        DeviceError::Lost(_) => DeviceError::Lost(describe(e)),
        DeviceError::OutOfMemory { requested, available } => {
            DeviceError::OutOfMemory { requested, available }
        }
        _ => refused(format!("{}: {}", describe(e), shape(kernel, launch))),
    })
}

/// Converts the error that a launch ended in, which is known to be this one.
pub(super) fn fault(kernel: &Kernel, launch: &Launch, error: DriverError) -> DeviceError {
    if !is_final(error) {
        return failed("cuStreamQuery", error);
    }
    let message = format!("{}: {}", describe(error), details(kernel, launch));
    DeviceError::Fault { name: kernel.name.clone(), message }
}

/// Returns the size of a launch as text.
fn shape(kernel: &Kernel, launch: &Launch) -> String {
    let [x, y, z] = launch.grid;
    format!("{x} x {y} x {z} blocks of {} threads, {} bytes of shared memory", kernel.threads, kernel.shared)
}

/// Returns the size, the parameters and the operands of a launch as text.
pub(super) fn details(kernel: &Kernel, launch: &Launch) -> String {
    let mut text = shape(kernel, launch);
    let words = launch.params.chunks(8).map(|word| {
        word.iter().rev().fold(String::from("0x"), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    });
    let _ = write!(text, "; parameters {}", words.collect::<Vec<_>>().join(" "));
    let lists = [("reads", &launch.reads), ("writes", &launch.writes), ("updates", &launch.updates)];
    for (what, regions) in lists.into_iter().filter(|(_, regions)| !regions.is_empty()) {
        let region = |r: &Region| format!("{:#x}+{}", r.address, r.bytes);
        let _ = write!(text, "; {what} {}", regions.iter().map(region).collect::<Vec<_>>().join(" "));
    }
    text
}
