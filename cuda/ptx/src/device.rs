//! The device interface of the planner: memory, kernels, and prepared sequences of launches.

use std::any::Any;
use std::sync::Arc;

use thiserror::Error;

/// A kernel that has been emitted but not loaded: entry point, PTX text and block size.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Name of the entry point.
    pub name: String,
    /// PTX source of the module, which has this one entry point.
    pub text: String,
    /// Threads per block.
    pub threads: u32,
    /// Dynamic shared memory in bytes, which each launch requests; 0 when the text declares its shared memory.
    pub shared: u32,
    /// Description from which the kernel was emitted, of a type of its family; `None` for a family without variants. Tests
    /// build launches from it.
    pub variant: Option<Arc<dyn Any + Send + Sync>>,
}

impl Kernel {
    /// Adds the description from which the kernel was emitted.
    pub(crate) fn of_variant<T: Any + Send + Sync>(self, variant: T) -> Kernel {
        Kernel { variant: Some(Arc::new(variant)), ..self }
    }

    /// Returns the description from which the kernel was emitted, if it is a `T`.
    pub fn variant<T: Any>(&self) -> Option<&T> {
        self.variant.as_ref()?.downcast_ref()
    }
}

/// Kernels are equal if they load as the same code.
impl PartialEq for Kernel {
    fn eq(&self, other: &Kernel) -> bool {
        let parts = |k: &Kernel| (k.threads, k.shared);
        self.name == other.name && self.text == other.text && parts(self) == parts(other)
    }
}

impl Eq for Kernel {}

/// Handle of a kernel that a device has loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelId(pub usize);

/// Handle of a prepared sequence of launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceId(pub usize);

/// A contiguous range of device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region {
    /// Device address of the first byte.
    pub address: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// One kernel launch. The kernel may access only the listed regions; the interpreter checks that, a driver does not.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The loaded kernel.
    pub kernel: KernelId,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// The parameter block, in the layout of the kernel's `*Params` struct.
    pub params: Vec<u8>,
    /// Regions that the kernel reads.
    pub reads: Vec<Region>,
    /// Regions of which the kernel writes every word.
    pub writes: Vec<Region>,
    /// Regions that the kernel writes in part, or both reads and writes.
    pub updates: Vec<Region>,
}

/// Failure of a device operation.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum DeviceError {
    /// The driver or the device is missing, or too old.
    #[error("no CUDA device: {0}")]
    Absent(String),
    /// Device memory is exhausted.
    #[error("out of device memory{}", memory(*requested, *available))]
    OutOfMemory {
        /// Requested bytes; 0 when the driver needs memory of its own.
        requested: u64,
        /// Free bytes, if the device reports them.
        available: Option<u64>,
    },
    /// The device stopped working; its memory and kernels are unusable from now on.
    #[error("the device was lost: {0}")]
    Lost(String),
    /// A kernel that is known by name faulted, after which the device is as unusable as a lost one.
    #[error("kernel `{name}` faulted: {message}")]
    Fault {
        /// Entry point of the kernel.
        name: String,
        /// Error of the driver, size of the launch, parameters and operands.
        message: String,
    },
    /// The device does not finish its work; it counts as lost.
    #[error("the device did not finish within {seconds} s: {running}")]
    TimedOut {
        /// Seconds of waiting.
        seconds: f64,
        /// Work that it was given last.
        running: String,
    },
    /// The driver refused a call, which is a bug in dlbc.
    #[error("the driver refused {call}: {message}")]
    Refused {
        /// Function of the driver.
        call: String,
        /// Error of the driver.
        message: String,
    },
    /// A variable of the environment with an invalid value.
    #[error("{0}")]
    Setting(String),
    /// The driver's assembler rejected a kernel.
    #[error("cannot load kernel `{name}`: {log}")]
    Assembly {
        /// Entry point of the kernel.
        name: String,
        /// Log of the assembler.
        log: String,
    },
    /// A launch failed, which is a bug in dlbc.
    #[error("kernel `{name}` failed: {message}")]
    Launch {
        /// Entry point of the kernel.
        name: String,
        /// Description of the failure.
        message: String,
    },
}

/// Returns the rest of the message about exhausted memory.
fn memory(requested: u64, available: Option<u64>) -> String {
    let free = available.map_or_else(String::new, |n| format!(", {n} free"));
    if requested == 0 { free } else { format!(": {requested} bytes needed{free}") }
}

/// A device that loads and launches kernels: a GPU behind the CUDA driver, or the interpreter.
pub trait Device: Send {
    /// Returns the device's name, for messages.
    fn describe(&self) -> String;

    /// Returns the free memory in bytes, if the device reports it.
    fn free_bytes(&self) -> Option<u64>;

    /// Allocates memory aligned to 256 bytes and returns its address.
    ///
    /// # Errors
    /// When the free memory does not suffice.
    fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError>;

    /// Frees the allocation that begins at `address`.
    fn release(&mut self, address: u64);

    /// Copies `bytes` to the device, before all later launches. May return before they have arrived.
    ///
    /// # Errors
    /// When the device is lost.
    fn upload(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Copies from the device, after all earlier launches have finished.
    ///
    /// # Errors
    /// When the device is lost.
    fn download(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), DeviceError>;

    /// Loads a kernel. A text that is already loaded yields the same handle.
    ///
    /// # Errors
    /// When the assembler rejects the text, or the device is lost.
    fn load(&mut self, kernel: &Kernel) -> Result<KernelId, DeviceError>;

    /// Returns the bytes of local memory of a thread of a loaded kernel, to which registers may be spilled.
    fn local_bytes(&self, _kernel: KernelId) -> u32 {
        0
    }

    /// Prepares launches that will run repeatedly, in the order of the list.
    ///
    /// # Errors
    /// When the device is lost.
    fn prepare(&mut self, launches: Vec<Launch>) -> Result<SequenceId, DeviceError>;

    /// Runs a prepared sequence. May return before its launches have finished.
    ///
    /// # Errors
    /// When a launch fails or the device is lost.
    fn run(&mut self, sequence: SequenceId) -> Result<(), DeviceError>;

    /// Releases a prepared sequence.
    fn discard(&mut self, sequence: SequenceId);
}
