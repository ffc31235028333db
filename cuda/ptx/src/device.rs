//! What a device is to the planner: memory, kernels, and sequences of launches.

use thiserror::Error;

/// A kernel: its entry point, its text, and how many threads a block has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The name of the entry point.
    pub name: String,
    /// PTX.
    pub text: String,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory that a launch asks for, beyond what the text declares.
    pub shared: u32,
}

/// A kernel that a device has loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelId(pub usize);

/// A prepared sequence of launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceId(pub usize);

/// Bytes of device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region {
    /// The first byte.
    pub address: u64,
    /// How many.
    pub bytes: u64,
}

/// One launch. A kernel reads and writes nothing but what is listed; a driver does not check that, the interpreter does.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The kernel.
    pub kernel: KernelId,
    /// Blocks by axis.
    pub grid: [u32; 3],
    /// The parameter block.
    pub params: Vec<u8>,
    /// What it reads.
    pub reads: Vec<Region>,
    /// What it writes, every word of it.
    pub writes: Vec<Region>,
    /// What it writes in part, or reads and writes.
    pub updates: Vec<Region>,
}

/// Why a device did not do what it was asked to.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DeviceError {
    /// There is no driver, no such device, or one that is too old.
    #[error("no CUDA device: {0}")]
    Absent(String),
    /// Memory ran out.
    #[error("out of device memory: {wanted} bytes needed{}", available.map_or_else(String::new, |n| format!(", {n} free")))]
    OutOfMemory {
        /// What was asked for.
        wanted: u64,
        /// What was there, when the device says so.
        available: Option<u64>,
    },
    /// The device stopped working; nothing on it can be used any more.
    #[error("the device was lost: {0}")]
    Lost(String),
    /// A kernel that the driver's assembler refused, with its log.
    #[error("cannot load kernel `{name}`: {log}")]
    Assembly {
        /// The kernel.
        name: String,
        /// What the assembler said.
        log: String,
    },
    /// A launch that went wrong: a bug in dlbc.
    #[error("kernel `{name}` failed: {message}")]
    Launch {
        /// The kernel.
        name: String,
        /// What happened.
        message: String,
    },
}

/// A device: a CUDA driver's, or the interpreter's.
pub trait Device: Send {
    /// What it calls itself, for messages.
    fn describe(&self) -> String;

    /// Bytes of memory that are free, when it knows.
    fn free_bytes(&self) -> Option<u64>;

    /// Takes memory, aligned to 256 bytes.
    ///
    /// # Errors
    /// When there is not enough.
    fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError>;

    /// Gives memory back.
    fn release(&mut self, address: u64);

    /// Copies to the device.
    ///
    /// # Errors
    /// When the device is lost.
    fn upload(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Copies from the device, after all that was launched before.
    ///
    /// # Errors
    /// When the device is lost.
    fn download(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), DeviceError>;

    /// Loads a kernel. The same text is loaded once.
    ///
    /// # Errors
    /// When the assembler refuses it.
    fn load(&mut self, kernel: &Kernel) -> Result<KernelId, DeviceError>;

    /// Prepares launches that will run again and again, in order.
    ///
    /// # Errors
    /// When the device is lost.
    fn prepare(&mut self, launches: Vec<Launch>) -> Result<SequenceId, DeviceError>;

    /// Runs a prepared sequence.
    ///
    /// # Errors
    /// When a launch fails or the device is lost.
    fn run(&mut self, sequence: SequenceId) -> Result<(), DeviceError>;

    /// Forgets a sequence.
    fn discard(&mut self, sequence: SequenceId);
}
