//! The CUDA driver as a device, loaded at run time: nothing of CUDA is needed to build, and a machine without it is told so.
//!
//! One context, one stream, launches captured into a CUDA graph. cudarc panics when the library or a symbol is missing, so
//! first contact is guarded (`probe`).

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
use failure::{failed, lost};
use graph::Graph;

/// Opens a GPU by its ordinal.
///
/// # Errors
/// When there is no driver, no such device, or one that is too old; says which.
pub fn open(ordinal: usize) -> Result<CudaBackend, DeviceError> {
    let gpu = probe::open(ordinal)?;
    Ok(CudaBackend::new(Box::new(Driver::new(gpu)?)))
}

/// Whether there is a GPU that [`open`] would take; opens nothing on it.
///
/// # Errors
/// As [`open`].
pub fn find(ordinal: usize) -> Result<(), DeviceError> {
    probe::find(ordinal)
}

struct Driver {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    name: String,
    /// What identifies the device to the cache of assembled kernels.
    target: String,
    kernels: Vec<(Kernel, CudaFunction)>,
    places: HashMap<String, KernelId>,
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
            places: HashMap::new(),
            sequences: vec![],
        })
    }

    /// A call may come from any thread.
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
        unsafe { result::malloc_sync(bytes.max(256) as usize) }.map_err(|e| failed(e, bytes, free))
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
        if let Some(known) = self.places.get(&kernel.name) {
            return Ok(*known);
        }
        self.bind()?;
        let function = jit::load(&self.context, &self.target, kernel)?;
        self.kernels.push((Kernel { text: String::new(), ..kernel.clone() }, function));
        let id = KernelId(self.kernels.len() - 1);
        self.places.insert(kernel.name.clone(), id);
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
        // What a destructor could not report shows here.
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
