//! What a backend is.

use std::any::Any;
use std::collections::BTreeMap;

use dlbc_ops::graph::Graph;
use dlbc_ops::prim::Prim;
use dlbc_ops::tensor::Tensor;

use crate::error::{BackendError, Unsupported};

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Options of a run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Threads; all cores when `None`.
    pub threads: Option<usize>,
    /// A tensor above this many bytes is refused.
    pub max_tensor_bytes: u64,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions { threads: None, max_tensor_bytes: 8 << 30 }
    }
}

/// How products of floats are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Three tf32 products on tensor cores, where a product is large enough: float32 but for some 2⁻²² of each.
    #[default]
    Split,
    /// Operands of large products are rounded to tf32, 11 bits.
    Tf32,
    /// Operands of large products are rounded to bfloat16, 8 bits.
    Bf16,
    /// Float32 multiply-adds throughout.
    Simt,
}

/// What a plan holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// Bytes of constants, every copy counted.
    pub constant_bytes: u64,
    /// Bytes of the values that the forward keeps for the reverse.
    pub saved_bytes: u64,
    /// Bytes of the block in which all other values lie; 0 where there is no such block.
    pub plan_bytes: u64,
    /// Segments of the forward that the reverse computes again, for want of memory; 0 and 1 are none.
    pub segments: usize,
}

/// Runs programs whose types are all known.
pub trait Backend: Send + Sync {
    /// The name that `--device` takes.
    fn name(&self) -> &'static str;

    /// Everything this backend cannot run, at once; empty means that `prepare` refuses no node.
    fn check(&self, graph: &Graph<Prim>) -> Vec<Unsupported>;

    /// Whether its products read matrices that are inputs of a plan where the caller's tensors lie. Programs that differ in their
    /// weights alone then share plans.
    fn reads_in_place(&self) -> bool {
        false
    }

    /// Runs `f`, in which many plans run one after the other: where threads are to be entered, once for all of them.
    ///
    /// # Errors
    /// When there are no threads to be had.
    fn within(&self, _: &RunOptions, f: &mut (dyn FnMut() + Send)) -> Result<(), BackendError> {
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
        forward: &[String],
        reverse: &[String],
        options: &RunOptions,
    ) -> Result<Box<dyn Plan>, BackendError>;
}

/// Forward values that the reverse reads. Cheap to clone; a reverse that owns the only clone frees them as it goes.
pub struct Saved(Box<dyn SavedValues>);

/// What a backend keeps between the stages.
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
    /// What a backend keeps; only the backend that saved it knows its type.
    pub fn new<T: Any + Clone + Send>(values: T) -> Saved {
        Saved(Box::new(values))
    }

    /// The values, when `T` is what the backend saved.
    pub fn take<T: 'static>(self) -> Option<T> {
        self.0.into_any().downcast::<T>().ok().map(|b| *b)
    }
}

/// A prepared program. Thread-safe.
pub trait Plan: Send + Sync {
    /// Computes the forward outputs.
    ///
    /// # Errors
    /// When a value is out of range for a node.
    fn forward(&self, inputs: &Tensors) -> Result<(Tensors, Saved), BackendError>;

    /// Computes the reverse outputs from a seed of the explained output's shape.
    ///
    /// # Errors
    /// When a value is out of range for a node.
    fn reverse(&self, inputs: &Tensors, saved: Saved, seed: &Tensor) -> Result<Tensors, BackendError>;

    /// What the plan holds.
    fn memory(&self) -> MemoryReport;
}
