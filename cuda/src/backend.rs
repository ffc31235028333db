//! The backend: what it runs, weights that are resident once, plans.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::prim::Prim;
use dlbc_ops::tensor::{DType, Tensor};
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::{Device, DeviceError};
use dlbc_runtime::{Backend, Plan, RunOptions, RuntimeError, Unsupported};

use crate::execute::{DevicePlan, to_device};
use crate::expand::expand;
use crate::plan::lower;

/// A device with the weights that are on it.
pub(crate) struct Resident {
    pub(crate) device: Box<dyn Device>,
    /// By where the bytes lie on the host, which the tensor beside the address keeps there.
    weights: HashMap<(usize, usize, DType), (Arc<Tensor>, u64)>,
}

/// A shared device.
pub(crate) type Shared = Arc<Mutex<Resident>>;

/// Exclusive use of a device.
pub(crate) fn lock(shared: &Shared) -> MutexGuard<'_, Resident> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resident {
    /// The address of a constant's values, uploaded at its first use; they stay while somebody holds the tensor.
    pub(crate) fn constant(&mut self, tensor: &Tensor) -> Result<(Arc<Tensor>, u64), DeviceError> {
        let key = (tensor.bytes().as_ptr() as usize, tensor.bytes().len(), tensor.dtype());
        if let Some(known) = self.weights.get(&key) {
            return Ok(known.clone());
        }
        let bytes = to_device(tensor);
        let address = self.device.allocate(bytes.len().max(4) as u64)?;
        let made = (Arc::new(tensor.clone()), address);
        self.weights.insert(key, made.clone());
        self.device.upload(address, &bytes)?;
        Ok(made)
    }

    /// Gives back the constants that nobody holds any more.
    pub(crate) fn sweep(&mut self) {
        let device = &mut self.device;
        self.weights.retain(|_, (tensor, address)| {
            let held = Arc::strong_count(tensor) > 1;
            if !held {
                device.release(*address);
            }
            held
        });
    }

    fn weight_bytes(&self) -> u64 {
        let bytes = |t: &Tensor| t.elems() as u64 * u64::from(Kind::of(t.dtype()).bytes());
        self.weights.values().map(|(t, _)| bytes(t)).sum()
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

/// A CUDA device, or what stands in for one.
#[derive(Clone)]
pub struct CudaBackend {
    resident: Shared,
    precision: Precision,
}

impl CudaBackend {
    /// A backend on a device.
    pub fn new(device: Box<dyn Device>) -> CudaBackend {
        let resident = Arc::new(Mutex::new(Resident { device, weights: HashMap::new() }));
        CudaBackend { resident, precision: Precision::default() }
    }

    /// The same device with another precision.
    pub fn with_precision(self, precision: Precision) -> CudaBackend {
        CudaBackend { precision, ..self }
    }

    /// What the device calls itself.
    pub fn describe(&self) -> String {
        lock(&self.resident).device.describe()
    }
}

impl Backend for CudaBackend {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn check(&self, graph: &Graph<Prim>) -> Vec<Unsupported> {
        let mut found = vec![];
        for id in graph.nodes() {
            if let Some(reason) = refused(graph, id) {
                found.push(Unsupported { node: graph.node(id).name().into(), reason });
            }
        }
        found
    }

    fn prepare(
        &self,
        graph: &Graph<Prim>,
        forward: &[String],
        reverse: &[String],
        _: &RunOptions,
    ) -> Result<Box<dyn Plan>, RuntimeError> {
        let graph = expand(graph)?;
        let lowered = lower(&graph, forward, reverse, self.precision)?;
        let plan = DevicePlan::new(self.resident.clone(), lowered)?;
        let weights = lock(&self.resident).weight_bytes();
        Ok(Box::new(plan.with_weights(weights)))
    }
}

/// Why a node cannot run here.
fn refused(graph: &Graph<Prim>, id: NodeId) -> Option<String> {
    let (op, ty) = (graph.op(id), &graph.node(id).types[0]);
    let boundary = matches!(op, Prim::Input | Prim::Cast { .. } | Prim::Const(_));
    if matches!(ty.dtype, DType::F16 | DType::Bf16 | DType::F64) && !boundary {
        return Some(format!("arithmetic in {}", ty.dtype));
    }
    if let Prim::Scan(scan) = op
        && scan.body.graph().nodes().any(|id| matches!(scan.body.graph().op(id), Prim::Scan(_)))
    {
        return Some("a recurrence within a recurrence is not supported on this device yet".into());
    }
    let spatial = match op {
        Prim::Conv { geometry, .. } | Prim::ConvTranspose { geometry, .. } => geometry.window.rank(),
        Prim::WindowSum(w) | Prim::WindowMax(w) => w.rank(),
        Prim::WindowSumTranspose { window, .. } | Prim::WindowMaxShare { window, .. } => window.rank(),
        _ => 0,
    };
    (spatial > 3).then(|| format!("{spatial} spatial axes; up to 3 are supported"))
}
