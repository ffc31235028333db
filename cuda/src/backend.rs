//! The backend: what it runs, weights that are resident once, plans.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dlbc_backend::{Backend, BackendError, Plan, Precision, SessionOptions, Unsupported};
use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::prim::{self, Prim};
use dlbc_ops::tensor::{DType, Tensor};
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::{Device, DeviceError};

use crate::execute::{DevicePlan, to_device};
use crate::expand::expand;
use crate::plan::{Buffer, Home, Lowered, lower};

/// A device with the weights that are on it.
pub(crate) struct Resident {
    pub(crate) device: Box<dyn Device>,
    /// By where the bytes lie on the host, which the tensor beside the address keeps there.
    weights: HashMap<(usize, usize, DType), (Arc<Tensor>, u64)>,
}

/// Where a tensor's bytes lie on the host.
fn place_of(tensor: &Tensor) -> (usize, usize, DType) {
    (tensor.bytes().as_ptr() as usize, tensor.bytes().len(), tensor.dtype())
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
        let key = place_of(tensor);
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

    /// Bytes of a program's constants that are not here yet.
    fn missing(&self, lowered: &Lowered) -> u64 {
        let mut seen = HashSet::new();
        let mut absent = |b: &&Buffer| match &b.home {
            Home::Constant(t) => !self.weights.contains_key(&place_of(t)) && seen.insert(place_of(t)),
            Home::Arena | Home::Table(_) => false,
        };
        lowered.buffers.iter().filter(|b| absent(b)).map(|b| b.bytes.max(4)).sum()
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

/// Segments that a forward is cut into, until the plan fits.
const SEGMENTS: [usize; 6] = [2, 4, 8, 16, 32, 64];

impl CudaBackend {
    /// The program as launches that fit the device's memory, or as many of them as there are ways to save it.
    fn fitting(
        &self,
        graph: &Graph<Prim>,
        forward: &[String],
        reverse: &[String],
    ) -> Result<Lowered, BackendError> {
        let lowered = |segments| lower(graph, forward, reverse, self.precision, segments);
        let mut best = lowered(1)?;
        let free = lock(&self.resident).device.free_bytes();
        let Some(free) = free.filter(|_| !reverse.is_empty()) else { return Ok(best) };
        // The driver takes some for itself.
        let budget = (free - free / 20).saturating_sub(lock(&self.resident).missing(&best));
        for segments in SEGMENTS {
            if best.bytes <= budget {
                break;
            }
            let other = lowered(segments)?;
            if other.bytes < best.bytes {
                best = other;
            }
        }
        Ok(best)
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
        _: &SessionOptions,
    ) -> Result<Box<dyn Plan>, BackendError> {
        let graph = expand(graph)?;
        let lowered = self.fitting(&graph, forward, reverse)?;
        let plan = DevicePlan::new(self.resident.clone(), lowered)?;
        let weights = lock(&self.resident).weight_bytes();
        Ok(Box::new(plan.with_weights(weights)))
    }
}

/// Why a node cannot run here.
fn refused(graph: &Graph<Prim>, id: NodeId) -> Option<String> {
    let (op, ty) = (graph.op(id), &graph.node(id).types[0]);
    let boundary = matches!(op, Prim::Input | Prim::Cast(_) | Prim::Const(_));
    if matches!(ty.dtype, DType::F16 | DType::Bf16 | DType::F64) && !boundary {
        return Some(format!("arithmetic in {}", ty.dtype));
    }
    if let Prim::Scan(scan) = op
        && scan.body.graph().nodes().any(|id| matches!(scan.body.graph().op(id), Prim::Scan(_)))
    {
        return Some("a recurrence within a recurrence is not supported on this device yet".into());
    }
    let spatial = match op {
        Prim::Conv(prim::Conv { geometry, .. })
        | Prim::ConvTranspose(prim::ConvTranspose { geometry, .. }) => geometry.window.rank(),
        Prim::WindowSum(prim::WindowSum(w)) | Prim::WindowMax(prim::WindowMax(w)) => w.rank(),
        Prim::WindowSumTranspose(prim::WindowSumTranspose { window, .. })
        | Prim::WindowMaxShare(prim::WindowMaxShare { window, .. }) => window.rank(),
        _ => 0,
    };
    (spatial > 3).then(|| format!("{spatial} spatial axes; up to 3 are supported"))
}
