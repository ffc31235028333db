//! The traits of backends and plans, and the data that pass between them and the runtime.

use std::any::Any;
use std::collections::BTreeMap;

use dlbc_ops::graph::Graph;
use dlbc_ops::prim::Prim;
use dlbc_ops::program::Output;
use dlbc_ops::tensor::Tensor;

use crate::error::{BackendError, Unsupported};
use crate::inputs::Views;
use crate::run_control::{Progress, ProgressReceiver, RunControl};

/// Tensors by the program output that they are.
pub type Outputs = BTreeMap<Output, Tensor>;

/// Number of threads, memory limit and progress receiver of a session's runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Number of threads; `None` stands for as many as the machine has cores.
    pub threads: Option<usize>,
    /// Largest tensor allowed, in bytes: 8 GiB unless set.
    pub max_tensor_bytes: u64,
    /// Receiver of reports on each run.
    pub progress: Option<ProgressReceiver>,
}

impl SessionOptions {
    /// The default options.
    pub fn new() -> SessionOptions {
        SessionOptions::default()
    }

    /// Sets the number of threads; `None` stands for as many as the machine has cores.
    pub fn threads(self, threads: impl Into<Option<usize>>) -> SessionOptions {
        SessionOptions { threads: threads.into(), ..self }
    }

    /// Sets the largest tensor allowed, in bytes.
    pub fn max_tensor_bytes(self, max_tensor_bytes: u64) -> SessionOptions {
        SessionOptions { max_tensor_bytes, ..self }
    }

    /// Sets a function that is called as each run proceeds, on the thread that runs.
    pub fn progress(self, receiver: impl Fn(Progress) + Send + Sync + 'static) -> SessionOptions {
        SessionOptions { progress: Some(ProgressReceiver::new(receiver)), ..self }
    }
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions { threads: None, max_tensor_bytes: 8 << 30, progress: None }
    }
}

/// Arithmetic of float products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Large products as three tf32 products on tensor cores: float32 accuracy up to a relative error of about 2⁻²².
    #[default]
    Tf32x3,
    /// Operands of large products are rounded to tf32, 11 bits.
    Tf32,
    /// Operands of large products are rounded to bfloat16, 8 bits.
    Bf16,
    /// Float32 multiply-adds throughout.
    Simt,
}

/// Memory that a plan holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// Bytes of constants, every copy counted.
    pub constant_bytes: u64,
    /// Bytes of the values that the forward keeps for the reverse.
    pub saved_bytes: u64,
    /// Bytes of the block that holds all other values; 0 for engines that allocate each value by itself.
    pub plan_bytes: u64,
    /// Number of segments of the forward that the reverse computes again to save memory; 0 and 1 stand for none.
    pub segments: usize,
    /// Number of kernels of which the device keeps registers in memory, which makes them slower.
    pub spilled_kernels: usize,
}

/// An engine that runs programs without symbolic dimensions.
pub trait Backend: Send + Sync {
    /// The name that `--device` takes.
    fn name(&self) -> &'static str;

    /// Lists all nodes that this backend cannot run. If there are none, `prepare` accepts every node.
    fn check(&self, graph: &Graph<Prim>) -> Vec<Unsupported>;

    /// Returns whether matrix products read weights that are inputs of a plan from the caller's memory, without a copy. Blocks that
    /// differ only in weights then share one plan.
    fn borrows_weights(&self) -> bool {
        false
    }

    /// Calls `f`, which runs several plans, inside the thread pool of those plans, so that the pool is entered once and not
    /// once per plan.
    ///
    /// # Errors
    /// When the threads cannot be started.
    fn with_thread_pool(&self, _: &SessionOptions, f: &mut (dyn FnMut() + Send)) -> Result<(), BackendError> {
        f();
        Ok(())
    }

    /// Plans the computation of the `forward` outputs from the inputs, and of the `reverse` outputs from the inputs, the
    /// seed and what the forward computed.
    ///
    /// # Errors
    /// When planning fails.
    fn prepare(
        &self,
        graph: &Graph<Prim>,
        forward: &[Output],
        reverse: &[Output],
        options: &SessionOptions,
    ) -> Result<Box<dyn Plan>, BackendError>;
}

/// Forward values that the reverse reads. Cheap to clone; a reverse that owns the only clone frees them as it goes.
pub struct Saved(Box<dyn SavedValues>);

/// State of a backend between the stages, with its type erased.
trait SavedValues: Any + Send {
    fn duplicate(&self) -> Box<dyn SavedValues>;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Any + Clone + Send> SavedValues for T {
    fn duplicate(&self) -> Box<dyn SavedValues> {
        Box::new(self.clone())
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Clone for Saved {
    fn clone(&self) -> Saved {
        Saved(self.0.duplicate())
    }
}

impl Saved {
    /// Wraps the state of a backend.
    pub fn new<T: Any + Clone + Send>(values: T) -> Saved {
        Saved(Box::new(values))
    }

    /// Returns the state if it has the type `T`.
    pub fn take<T: 'static>(self) -> Option<T> {
        self.0.into_any().downcast::<T>().ok().map(|b| *b)
    }
}

/// A program that a backend has prepared. Several threads may run it at the same time.
pub trait Plan: Send + Sync {
    /// Computes the forward outputs, and returns them with the values that the reverse needs.
    ///
    /// # Errors
    /// When a value is out of range for a node, and when `run` is cancelled.
    fn forward(&self, inputs: &Views<'_>, run: &RunControl<'_>) -> Result<(Outputs, Saved), BackendError>;

    /// Computes the reverse outputs from a seed of the explained output's shape.
    ///
    /// # Errors
    /// When a value is out of range for a node, and when `run` is cancelled.
    fn reverse(
        &self,
        inputs: &Views<'_>,
        saved: Saved,
        seed: &Tensor,
        run: &RunControl<'_>,
    ) -> Result<Outputs, BackendError>;

    /// Returns the memory that the plan occupies.
    fn memory(&self) -> MemoryReport;
}
