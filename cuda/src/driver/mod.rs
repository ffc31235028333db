//! The CUDA driver as a [`Device`]. Its library is loaded at run time, so building needs nothing of CUDA, and a machine without it
//! gets an error.
//!
//! The device uses one context and one stream, and captures launches into CUDA graphs. cudarc panics if the library or a symbol is
//! missing; `probe` turns that into an error.

mod cubins;
mod failure;
mod graph;
mod jit;
mod probe;

use std::collections::HashMap;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaFunction, CudaStream, DriverError, result};
use dlbc_ptx::{Device, DeviceError, Kernel, KernelId, Launch, SequenceId};

use crate::backend::CudaBackend;
use failure::{failed_allocation, lost};
use graph::Graph;

/// Opens a GPU by its ordinal.
///
/// # Errors
/// When the driver or the device is missing or too old.
pub fn open(ordinal: usize) -> Result<CudaBackend, DeviceError> {
    let gpu = probe::open(ordinal)?;
    Ok(CudaBackend::new(Box::new(Driver::new(gpu)?)))
}

/// Checks that [`open`] would accept the GPU, without opening it.
///
/// # Errors
/// As [`open`].
pub fn find(ordinal: usize) -> Result<(), DeviceError> {
    probe::find(ordinal)
}

/// A GPU behind the CUDA driver.
struct Driver {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    name: String,
    /// Chip and driver, the key of the cache of assembled kernels.
    target: String,
    kernels: Vec<(Kernel, CudaFunction)>,
    /// Loaded kernels by entry point.
    kernel_ids: HashMap<String, KernelId>,
    sequences: Vec<Option<Graph>>,
}

impl Driver {
    fn new(gpu: probe::Gpu) -> Result<Driver, DeviceError> {
        let absent = |e: DriverError| DeviceError::Absent(e.to_string());
        // Capture is not allowed on the default stream.
        let stream = gpu.context.new_stream().map_err(absent)?;
        let (major, minor) = gpu.capability;
        let name = gpu.context.name().map_err(absent)?;
        Ok(Driver {
            stream,
            name: format!("{name} (sm_{major}{minor}, driver API {})", gpu.driver),
            target: format!("sm_{major}{minor} {}", gpu.driver),
            context: gpu.context,
            kernels: vec![],
            kernel_ids: HashMap::new(),
            sequences: vec![],
        })
    }

    /// Binds the context to the calling thread, since calls may come from any thread.
    fn bind(&self) -> Result<(), DeviceError> {
        self.context.bind_to_thread().map_err(lost)
    }
}

impl Device for Driver {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.bind().ok()?;
        self.context.mem_get_info().ok().map(|(free, _)| free as u64)
    }

    #[allow(unsafe_code)]
    fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        self.bind()?;
        let free = self.free_bytes();
        // SAFETY: the context is current; the driver's allocations are aligned to 256 bytes.
        unsafe { result::malloc_sync(bytes.max(256) as usize) }.map_err(|e| failed_allocation(e, bytes, free))
    }

    #[allow(unsafe_code)]
    fn release(&mut self, address: u64) {
        if self.bind().is_ok() && self.stream.synchronize().is_ok() {
            // SAFETY: the address came from `allocate`, nothing runs, and the caller gives it up.
            let _ = unsafe { result::free_sync(address) };
        }
    }

    #[allow(unsafe_code)]
    fn upload(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.bind()?;
        self.stream.synchronize().map_err(lost)?;
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the caller owns as many bytes at `address`, and nothing runs that reads them.
        unsafe { result::memcpy_htod_sync(address, bytes) }.map_err(lost)
    }

    #[allow(unsafe_code)]
    fn download(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.bind()?;
        self.stream.synchronize().map_err(lost)?;
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the caller owns as many bytes at `address`, and all that writes them is done.
        unsafe { result::memcpy_dtoh_sync(bytes, address) }.map_err(lost)
    }

    fn load(&mut self, kernel: &Kernel) -> Result<KernelId, DeviceError> {
        if let Some(id) = self.kernel_ids.get(&kernel.name) {
            return Ok(*id);
        }
        self.bind()?;
        let function = jit::load(&self.context, &self.target, kernel)?;
        self.kernels.push((Kernel { text: String::new(), ..kernel.clone() }, function));
        let id = KernelId(self.kernels.len() - 1);
        self.kernel_ids.insert(kernel.name.clone(), id);
        Ok(id)
    }

    fn prepare(&mut self, launches: Vec<Launch>) -> Result<SequenceId, DeviceError> {
        self.bind()?;
        let graph = Graph::capture(&self.stream, &self.kernels, &launches)?;
        self.sequences.push(Some(graph));
        Ok(SequenceId(self.sequences.len() - 1))
    }

    fn run(&mut self, sequence: SequenceId) -> Result<(), DeviceError> {
        self.bind()?;
        if let Some(Some(graph)) = self.sequences.get(sequence.0) {
            graph.launch()?;
        }
        // Report errors of destructors, which cannot return them.
        self.context.check_err().map_err(lost)
    }

    fn discard(&mut self, sequence: SequenceId) {
        if self.bind().is_ok()
            && self.stream.synchronize().is_ok()
            && let Some(graph) = self.sequences.get_mut(sequence.0)
        {
            *graph = None;
        }
    }
}
