//! Sequences of launches as CUDA graphs, which are captured once and launched many times.

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaGraph, CudaStream, DeviceRepr, LaunchConfig, PushKernelArg, sys};
use dlbc_ptx::{DeviceError, Kernel, Launch};

use super::failure::lost;

/// Size of the largest parameter block in bytes.
const MAX_PARAMS_BYTES: usize = 1024;

/// A parameter block of any size. The driver copies as many bytes of it as the kernel declares.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Block([u8; MAX_PARAMS_BYTES]);

// SAFETY: plain bytes, aligned as the kernels declare.
#[allow(unsafe_code)]
unsafe impl DeviceRepr for Block {}

/// A captured sequence; `None` without launches.
pub(super) struct Graph(Option<CudaGraph>);

// SAFETY: the driver's handles may be used from any thread to which the context is bound; `Driver` binds it before each
// call, and a mutex lets in one thread at a time.
#[allow(unsafe_code)]
unsafe impl Send for Graph {}

impl Graph {
    /// Captures launches, to be run in the order of the list.
    pub(super) fn capture(
        stream: &Arc<CudaStream>,
        kernels: &[(Kernel, CudaFunction)],
        launches: &[Launch],
    ) -> Result<Graph, DeviceError> {
        if launches.is_empty() {
            return Ok(Graph(None));
        }
        stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).map_err(lost)?;
        let recorded = launches.iter().try_for_each(|l| record(stream, kernels, l));
        // The capture ends whether or not a launch was refused.
        let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0));
        recorded?;
        let graph = graph.map_err(lost)?;
        if let Some(graph) = &graph {
            graph.upload().map_err(lost)?;
        }
        Ok(Graph(graph))
    }

    /// Launches the sequence.
    pub(super) fn launch(&self) -> Result<(), DeviceError> {
        self.0.as_ref().map_or(Ok(()), |g| g.launch().map_err(lost))
    }
}

#[allow(unsafe_code)]
fn record(
    stream: &Arc<CudaStream>,
    kernels: &[(Kernel, CudaFunction)],
    launch: &Launch,
) -> Result<(), DeviceError> {
    let (kernel, function) = &kernels[launch.kernel.0];
    let failed = |message: String| DeviceError::Launch { name: kernel.name.clone(), message };
    if launch.params.len() > MAX_PARAMS_BYTES {
        return Err(failed(format!(
            "{} bytes of parameters, more than {MAX_PARAMS_BYTES}",
            launch.params.len()
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
    unsafe { builder.launch(config) }.map(|_| ()).map_err(|e| failed(e.to_string()))
}
