//! The CUDA driver as a [`Device`]. Its library is loaded at run time, so building needs nothing of CUDA, and a machine without it
//! gets an error.
//!
//! The device uses one context and one stream, and captures launches into CUDA graphs. All copies run on that stream, too, so
//! that copies and launches run in the order of the calls. cudarc panics if a symbol is missing; `probe` looks them up before.
//! After an error that leaves the device unusable, every call returns that error again.

mod cubins;
mod failure;
mod jit;
mod kernels;
mod probe;
mod sequence;
mod settings;
mod staging;
mod symbols;
mod watchdog;

use std::mem;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, DriverError, result};
use dlbc_ptx::{Device, DeviceError, Kernel, KernelId, Launch, SequenceId};

use crate::backend::CudaBackend;
use failure::{describe, failed, failed_allocation, is_final};
use kernels::Kernels;
use sequence::{Form, Sequence};
use settings::Settings;
use staging::Staging;
use watchdog::Stopped;

/// Number of graphs that may wait on the stream. A longer queue would make a cancelled run go on.
const QUEUE: usize = 256;

/// Opens a GPU by its ordinal.
///
/// # Errors
/// When the driver or the device is missing or too old, or a variable of the environment has an invalid value.
pub fn open(ordinal: usize) -> Result<CudaBackend, DeviceError> {
    let settings = Settings::from_environment()?;
    let gpu = probe::open(ordinal)?;
    Ok(CudaBackend::new(Box::new(Driver::new(gpu, settings)?)))
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
    /// Chip, driver API and build of the driver, the key of the cache of assembled kernels.
    target: String,
    settings: Settings,
    staging: Staging,
    kernels: Kernels,
    sequences: Vec<Option<Sequence>>,
    /// Graphs that were launched since the last wait, and the last of them.
    queued: usize,
    last: Option<SequenceId>,
    /// Error that left the device unusable.
    failure: Option<DeviceError>,
}

impl Driver {
    fn new(gpu: probe::Gpu, settings: Settings) -> Result<Driver, DeviceError> {
        // Capture is not allowed on the default stream.
        let stream = gpu.context.new_stream().map_err(|e| failed("cuStreamCreate", e))?;
        let (major, minor) = gpu.capability;
        let name = gpu.context.name().map_err(|e| failed("cuDeviceGetName", e))?;
        let staging = Staging::new().map_err(|e| {
            DeviceError::Absent(format!(
                "{} bytes of host memory cannot be pinned: {}",
                staging::BYTES,
                describe(e)
            ))
        })?;
        Ok(Driver {
            stream,
            name: format!("{name} (sm_{major}{minor}, driver API {})", gpu.driver),
            target: format!("sm_{major}{minor} {} {}", gpu.driver, cubins::driver_build()),
            context: gpu.context,
            settings,
            staging,
            kernels: Kernels::default(),
            sequences: vec![],
            queued: 0,
            last: None,
            failure: None,
        })
    }

    /// Runs calls of the driver with the context bound to this thread, unless the device has failed; remembers if it fails now.
    fn call<T>(
        &mut self,
        calls: impl FnOnce(&mut Driver) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        // This also returns errors of destructors, which cannot return them.
        let bound = self.context.bind_to_thread().map_err(|e| failed("cuCtxSetCurrent or a destructor", e));
        let result = bound.and_then(|()| calls(self));
        if let Err(e @ (DeviceError::Lost(_) | DeviceError::Fault { .. } | DeviceError::TimedOut { .. })) =
            &result
        {
            self.failure = Some(e.clone());
        }
        result
    }

    /// Returns what the stream runs, for messages.
    fn running(&self) -> String {
        let last = self.last.and_then(|id| self.sequences.get(id.0)?.as_ref());
        last.map_or_else(|| "a copy".into(), |sequence| sequence.summary.clone())
    }

    /// Converts the error of a call on the stream. A failed launch is reported by any later call.
    fn error(&self, call: &'static str, error: DriverError) -> DeviceError {
        if is_final(error) {
            return DeviceError::Lost(format!("{} in {}", describe(error), self.running()));
        }
        failed(call, error)
    }

    /// Waits for all work of the stream.
    fn wait(&mut self) -> Result<(), DeviceError> {
        match watchdog::wait(&self.stream, self.settings.limit) {
            Ok(()) => {
                self.staging.clear();
                (self.queued, self.last) = (0, None);
                Ok(())
            }
            Err(Stopped::Error(e)) => Err(self.error("cuStreamQuery", e)),
            Err(Stopped::TimedOut(limit)) => {
                Err(DeviceError::TimedOut { seconds: limit.as_secs_f64(), running: self.running() })
            }
        }
    }

    fn start(&mut self, id: SequenceId) -> Result<(), DeviceError> {
        let Some(sequence) = self.sequences.get_mut(id.0).and_then(Option::as_mut) else { return Ok(()) };
        match &mut sequence.form {
            Form::Graph(None) => Ok(()),
            Form::Graph(Some(graph)) => {
                let launched = graph.launch();
                self.last = Some(id);
                self.queued += 1;
                launched.map_err(|e| self.error("cuGraphLaunch", e))?;
                if self.queued < QUEUE { Ok(()) } else { self.wait() }
            }
            Form::OneByOne(launches) => {
                let launches = mem::take(launches);
                let result = launches.iter().try_for_each(|launch| self.start_one(launch));
                if let Some(sequence) = &mut self.sequences[id.0] {
                    sequence.form = Form::OneByOne(launches);
                }
                result
            }
        }
    }

    /// Launches a kernel and waits for it, so that a fault is known to be its own.
    fn start_one(&mut self, launch: &Launch) -> Result<(), DeviceError> {
        // Errors of copies are not those of the kernel.
        self.wait()?;
        let loaded = self.kernels.get(launch.kernel)?;
        sequence::start(&self.stream, loaded, launch)?;
        match watchdog::wait(&self.stream, self.settings.limit) {
            Ok(()) => Ok(()),
            Err(Stopped::Error(e)) => Err(sequence::fault(&loaded.kernel, launch, e)),
            Err(Stopped::TimedOut(limit)) => {
                let (name, details) = (&loaded.kernel.name, sequence::details(&loaded.kernel, launch));
                let running = format!("kernel `{name}`: {details}");
                Err(DeviceError::TimedOut { seconds: limit.as_secs_f64(), running })
            }
        }
    }
}

impl Device for Driver {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn free_bytes(&self) -> Option<u64> {
        if self.failure.is_some() {
            return None;
        }
        self.context.bind_to_thread().ok()?;
        self.context.mem_get_info().ok().map(|(free, _)| free as u64)
    }

    #[allow(unsafe_code)]
    fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        self.call(|driver| {
            let free = driver.free_bytes();
            // SAFETY: the context is current; the driver's allocations are aligned to 256 bytes.
            unsafe { result::malloc_sync(bytes.max(256) as usize) }
                .map_err(|e| failed_allocation(e, bytes, free))
        })
    }

    #[allow(unsafe_code)]
    fn release(&mut self, address: u64) {
        let _ = self.call(|driver| {
            driver.wait()?;
            // SAFETY: the address came from `allocate`, nothing runs, and the caller gives it up.
            unsafe { result::free_sync(address) }.map_err(|e| failed("cuMemFree", e))
        });
    }

    #[allow(unsafe_code)]
    fn upload(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.call(|driver| {
            for (i, chunk) in bytes.chunks(staging::CHUNK).enumerate() {
                if !driver.staging.fits(chunk.len()) {
                    driver.wait()?;
                }
                let target = address + (i * staging::CHUNK) as u64;
                // SAFETY: the chunk fits, and the caller owns as many bytes at the target.
                unsafe { driver.staging.upload(&driver.stream, target, chunk) }
                    .map_err(|e| driver.error("cuMemcpyHtoDAsync", e))?;
            }
            Ok(())
        })
    }

    #[allow(unsafe_code)]
    fn download(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.call(|driver| {
            for (i, piece) in bytes.chunks_mut(staging::BYTES).enumerate() {
                let source = address + (i * staging::BYTES) as u64;
                // SAFETY: the piece fits, and the caller owns as many bytes at the source.
                unsafe { driver.staging.download(&driver.stream, source, piece.len()) }
                    .map_err(|e| driver.error("cuMemcpyDtoHAsync", e))?;
                driver.wait()?;
                driver.staging.read(piece);
            }
            Ok(())
        })
    }

    fn load(&mut self, kernel: &Kernel) -> Result<KernelId, DeviceError> {
        if let Some(id) = self.kernels.find(&kernel.name) {
            return Ok(id);
        }
        self.call(|driver| {
            let (function, local_bytes) = jit::load(&driver.context, &driver.target, kernel)?;
            Ok(driver.kernels.insert(kernel, function, local_bytes))
        })
    }

    fn local_bytes(&self, kernel: KernelId) -> u32 {
        self.kernels.get(kernel).map_or(0, |loaded| loaded.local_bytes)
    }

    fn prepare(&mut self, launches: Vec<Launch>) -> Result<SequenceId, DeviceError> {
        self.call(|driver| {
            let one_by_one = driver.settings.one_by_one;
            let sequence = Sequence::new(&driver.stream, &driver.kernels, launches, one_by_one)?;
            driver.kernels.acquire(&sequence.kernels);
            driver.sequences.push(Some(sequence));
            Ok(SequenceId(driver.sequences.len() - 1))
        })
    }

    fn run(&mut self, sequence: SequenceId) -> Result<(), DeviceError> {
        self.call(|driver| driver.start(sequence))
    }

    fn discard(&mut self, sequence: SequenceId) {
        let _ = self.call(|driver| {
            driver.wait()?;
            if let Some(sequence) = driver.sequences.get_mut(sequence.0).and_then(Option::take) {
                let Sequence { form, kernels, .. } = sequence;
                // A graph goes before the kernels that it launches.
                drop(form);
                driver.kernels.release(&kernels);
            }
            Ok(())
        });
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let idle = self.call(|driver| {
            driver.wait()?;
            driver.staging.free().map_err(|e| failed("cuMemFreeHost", e))
        });
        if idle.is_err() {
            // A device that does not answer would make the destructors wait for it.
            mem::forget(mem::take(&mut self.sequences));
            mem::forget(mem::take(&mut self.kernels));
            mem::forget((self.stream.clone(), self.context.clone()));
        }
    }
}
