//! The backend: supported primitives, weights shared by all plans of a device, and plans that fit its memory.

use dlbc_backend::{Backend, BackendError, Plan, Precision, SessionOptions, Unsupported};
use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::prim::{self, Prim};
use dlbc_ops::program::Output;
use dlbc_ops::tensor::DType;
use dlbc_ptx::Device;

use crate::execute::DevicePlan;
use crate::expand::expand;
use crate::plan::{Lowered, lower};
use crate::resident::{Resident, Shared, lock};
use crate::storages::Storages;

/// A backend on a CUDA device or on the interpreter. Clones share the device and the weights on it.
#[derive(Clone)]
pub struct CudaBackend {
    resident: Shared,
    precision: Precision,
}

impl CudaBackend {
    /// Creates a backend on a device.
    pub fn new(device: Box<dyn Device>) -> CudaBackend {
        let resident = Resident::shared(device);
        CudaBackend { resident, precision: Precision::default() }
    }

    /// Returns a backend on the same device with another precision of matrix products.
    pub fn with_precision(self, precision: Precision) -> CudaBackend {
        CudaBackend { precision, ..self }
    }

    /// Returns the name of the device.
    pub fn describe(&self) -> String {
        lock(&self.resident).device.describe()
    }
}

/// Numbers of segments to try for the forward, until the plan fits the memory.
const SEGMENTS: [usize; 6] = [2, 4, 8, 16, 32, 64];

impl CudaBackend {
    /// Lowers the program with the fewest segments that fit the device's memory, or else with the smallest plan.
    fn lower_to_fit(
        &self,
        graph: &Graph<Prim>,
        forward: &[Output],
        reverse: &[Output],
    ) -> Result<Lowered, BackendError> {
        let storages = Storages::new(graph, |key| lock(&self.resident).storage(key));
        let lowered = |segments| lower(graph, forward, reverse, self.precision, &storages, segments);
        let mut best = lowered(1)?;
        let free = lock(&self.resident).device.free_bytes();
        let Some(free) = free.filter(|_| !reverse.is_empty()) else { return Ok(best) };
        // The driver needs a share of the memory.
        let budget = (free - free / 20).saturating_sub(lock(&self.resident).missing_bytes(&best));
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
        let mut unsupported = vec![];
        for id in graph.nodes() {
            if let Some(reason) = unsupported_reason(graph, id) {
                unsupported.push(Unsupported { node: graph.node(id).name().into(), reason });
            }
        }
        unsupported
    }

    fn prepare(
        &self,
        graph: &Graph<Prim>,
        forward: &[Output],
        reverse: &[Output],
        _: &SessionOptions,
    ) -> Result<Box<dyn Plan>, BackendError> {
        let graph = expand(graph)?;
        let lowered = self.lower_to_fit(&graph, forward, reverse)?;
        let plan = DevicePlan::new(self.resident.clone(), lowered)?;
        let weights = lock(&self.resident).weight_bytes();
        Ok(Box::new(plan.with_weights(weights)))
    }
}

/// Returns why a node cannot run on this backend, if it cannot.
fn unsupported_reason(graph: &Graph<Prim>, id: NodeId) -> Option<String> {
    let (op, ty) = (graph.op(id), &graph.node(id).types[0]);
    let boundary = matches!(op, Prim::Input | Prim::Cast(_) | Prim::Const(_));
    if matches!(ty.dtype, DType::F16 | DType::Bf16 | DType::F64) && !boundary {
        return Some(format!("expected arithmetic in f32, found {}", ty.dtype));
    }
    if let Prim::Scan(scan) = op
        && scan.body.graph().nodes().any(|id| matches!(scan.body.graph().op(id), Prim::Scan(_)))
    {
        return Some("expected a recurrence without another one within it".into());
    }
    let spatial = match op {
        Prim::Conv(prim::Conv { geometry, .. })
        | Prim::ConvTranspose(prim::ConvTranspose { geometry, .. }) => geometry.window.rank(),
        Prim::WindowSum(prim::WindowSum(w)) | Prim::WindowMax(prim::WindowMax(w)) => w.rank(),
        Prim::WindowSumTranspose(prim::WindowSumTranspose { window, .. })
        | Prim::WindowMaxShare(prim::WindowMaxShare { window, .. }) => window.rank(),
        _ => 0,
    };
    (spatial > 3).then(|| format!("expected at most 3 spatial axes, found {spatial}"))
}
