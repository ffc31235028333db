//! The backend and its plans, which run each stage of a program as a tract model.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use dlbc_backend::{
    Backend, BackendError, CancelToken, MemoryReport, Outputs, Plan, Progress, RunControl, Saved,
    SessionOptions, Stage, Unsupported, Views, split_stages,
};
use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::{Output, SEED};
use dlbc_ops::tensor::{DType, Tensor};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tract_linalg::multithread::{Executor, multithread_tract_scope};
use tract_onnx::tract_core::internal as tr;
use tract_onnx::tract_core::plan::eval;

use crate::products::BorrowInputs;
use crate::scan::with_token;
use crate::weights::{self, from_tract, to_tract, with_borrowed};
use crate::{kernel, wire};

/// The CPU engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuBackend;

impl Backend for CpuBackend {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn borrows_weights(&self) -> bool {
        true
    }

    fn with_thread_pool(
        &self,
        options: &SessionOptions,
        f: &mut (dyn FnMut() + Send),
    ) -> Result<(), BackendError> {
        guarded("threads", || pool(threads(options)))?.install(f);
        Ok(())
    }

    fn check(&self, graph: &Graph<Prim>) -> Vec<Unsupported> {
        let narrow = |dtype: DType| matches!(dtype, DType::F16 | DType::Bf16 | DType::F64);
        graph
            .nodes()
            .filter(|id| narrow(graph.node(*id).types[0].dtype) && !boundary(graph, *id))
            .map(|id| Unsupported {
                node: graph.node(id).name().into(),
                reason: format!("expected arithmetic in f32, found {}", graph.node(id).types[0].dtype),
            })
            .collect()
    }

    fn prepare(
        &self,
        graph: &Graph<Prim>,
        forward: &[Output],
        reverse: &[Output],
        options: &SessionOptions,
    ) -> Result<Box<dyn Plan>, BackendError> {
        check_readers(graph)?;
        let stages = split_stages(graph, forward, reverse)?;
        let pool = guarded("threads", || pool(threads(options)))?;
        let mut cache = weights::Cache::default();
        let plan = |stage: &Stage, cache: &mut weights::Cache| {
            guarded("planning", || Runnable::new(graph, stage, cache))
        };
        let saved_bytes = stages.saved.iter().filter_map(|v| graph.ty(*v).bytes()).sum();
        let plan = TractPlan {
            forward: plan(&stages.forward, &mut cache)?,
            reverse: plan(&stages.reverse, &mut cache)?,
            forward_names: forward.to_vec(),
            reverse_names: reverse.to_vec(),
            pool,
            memory: MemoryReport { constant_bytes: cache.bytes(), saved_bytes, ..MemoryReport::default() },
        };
        Ok(Box::new(plan))
    }
}

fn threads(options: &SessionOptions) -> usize {
    options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Returns the thread pool with this number of threads, which all plans share.
fn pool(threads: usize) -> tr::TractResult<Arc<ThreadPool>> {
    static POOLS: Mutex<BTreeMap<usize, Weak<ThreadPool>>> = Mutex::new(BTreeMap::new());
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = pools.get(&threads).and_then(Weak::upgrade) {
        return Ok(pool);
    }
    let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("dlbc-{i}")).build()?;
    let pool = Arc::new(pool);
    pools.insert(threads, Arc::downgrade(&pool));
    Ok(pool)
}

/// Maximum number of readers of a value. tract compares them pair by pair, so more take seconds.
const MAX_READERS: usize = 8192;

/// Rejects programs in which a value has too many readers.
fn check_readers(graph: &Graph<Prim>) -> Result<(), BackendError> {
    let mut readers = std::collections::HashMap::new();
    for id in graph.nodes() {
        let mut inputs = graph.node_inputs(id);
        inputs.sort();
        inputs.dedup();
        for v in inputs {
            *readers.entry(v).or_insert(0usize) += 1;
        }
    }
    let excess = readers.into_iter().filter(|(_, n)| *n > MAX_READERS).min();
    match excess {
        None => Ok(()),
        Some((v, readers)) => {
            let node = graph.value_name(v).to_string();
            Err(BackendError::Readers { node, readers, limit: MAX_READERS })
        }
    }
}

/// Returns whether a node may have a float type other than float32: at the boundary of the program, and in conversions.
fn boundary(graph: &Graph<Prim>, id: dlbc_ops::graph::NodeId) -> bool {
    matches!(graph.op(id), Prim::Input | Prim::Cast(_) | Prim::Const(_))
}

/// Runs `f` and converts an error or a panic of tract to a backend error.
fn guarded<T>(stage: &'static str, f: impl FnOnce() -> tr::TractResult<T>) -> Result<T, BackendError> {
    let failed = |message: String| BackendError::Engine { backend: "cpu", stage, message };
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => match e.downcast_ref::<kernel::ValueError>() {
            Some(error) => Err(BackendError::Node(error.to_string())),
            None => Err(e.downcast().unwrap_or_else(|e| failed(format!("{e:#}")))),
        },
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Err(failed(text.unwrap_or_else(|| "the engine panicked".into())))
        }
    }
}

/// A stage as a tract plan.
struct Runnable {
    plan: Arc<tr::TypedSimplePlan>,
    /// Program inputs of the model, in order; saved values follow them.
    inputs: Vec<String>,
    /// Program inputs that products read from the caller's tensors.
    borrowed: Vec<String>,
    /// Element types of the outputs.
    outputs: Vec<DType>,
}

impl Runnable {
    fn new(graph: &Graph<Prim>, stage: &Stage, cache: &mut weights::Cache) -> tr::TractResult<Runnable> {
        let (model, borrowed) = wire::model(graph, stage, cache, BorrowInputs::Allowed)?;
        let plan = tr::TypedSimplePlan::new(model.into_optimized()?)?;
        let named = stage.inputs.iter().filter(|v| matches!(graph.op(v.node), Prim::Input));
        let name = |v: &Value| graph.value_name(*v).to_string();
        Ok(Runnable {
            plan,
            inputs: named.filter(|v| !borrowed.contains(v)).map(name).collect(),
            borrowed: borrowed.iter().map(name).collect(),
            outputs: stage.outputs.iter().map(|v| graph.ty(*v).dtype).collect(),
        })
    }

    fn feed(&self, inputs: &Views<'_>, seed: Option<&Tensor>) -> Result<Feed, BackendError> {
        let find = |name: &String| {
            let tensor = if name == SEED { seed.map(Tensor::view) } else { inputs.get(name).cloned() };
            tensor.ok_or_else(|| BackendError::MissingInput(name.clone()))
        };
        let named = self.inputs.iter().map(|name| {
            let tensor = find(name)?;
            guarded("input", || Ok(tr::TValue::from(to_tract(&tensor)?)))
        });
        let borrowed = self.borrowed.iter().map(|name| find(name).map(|tensor| tensor.to_tensor()));
        Ok(Feed { values: named.collect::<Result<_, _>>()?, borrowed: borrowed.collect::<Result<_, _>>()? })
    }

    /// Runs the plan. Before each node it calls `check` with the number of finished nodes and of all.
    fn run(
        &self,
        stage: &'static str,
        feed: Feed,
        cancel: Option<&CancelToken>,
        check: &dyn Fn(usize, usize) -> Result<(), BackendError>,
    ) -> Result<tr::TVec<tr::TValue>, BackendError> {
        let (mut finished, total) = (0, self.plan.order_without_consts().len());
        let run = || {
            self.plan.spawn()?.run_plan_with_eval(feed.values, |context, state, node, inputs| {
                check(finished, total)?;
                finished += 1;
                eval(context, state, node, inputs)
            })
        };
        guarded(stage, || with_token(cancel, || with_borrowed(feed.borrowed, run)))
    }

    fn results(&self, names: &[Output], values: &[tr::TValue]) -> Result<Outputs, BackendError> {
        let mut tensors = Outputs::new();
        for ((name, value), dtype) in names.iter().zip(values).zip(&self.outputs) {
            tensors.insert(name.clone(), guarded("output", || from_tract(value, *dtype))?);
        }
        Ok(tensors)
    }
}

/// Inputs of a run.
struct Feed {
    values: tr::TVec<tr::TValue>,
    /// Matrices that products read from the caller's tensors.
    borrowed: Vec<Tensor>,
}

struct TractPlan {
    forward: Runnable,
    reverse: Runnable,
    forward_names: Vec<Output>,
    reverse_names: Vec<Output>,
    pool: Arc<ThreadPool>,
    memory: MemoryReport,
}

/// Saved values, which cross threads as shared tensors.
type SavedTensors = Vec<Arc<tr::Tensor>>;

impl TractPlan {
    /// Runs `f` in the plan's thread pool, which tract's operators then use, too.
    fn in_pool<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let executor = match self.pool.current_num_threads() {
            1 => Executor::SingleThread,
            _ => Executor::MultiThread(self.pool.clone()),
        };
        self.pool.install(|| multithread_tract_scope(executor, f))
    }
}

impl Plan for TractPlan {
    fn forward(&self, inputs: &Views<'_>, run: &RunControl<'_>) -> Result<(Outputs, Saved), BackendError> {
        self.in_pool(|| {
            let feed = self.forward.feed(inputs, None)?;
            let mut values = self.forward.run("forward", feed, run.cancel, &|done, total| {
                run.report(Progress::Forward { done, total });
                run.check()
            })?;
            let outputs = self.forward.results(&self.forward_names, &values)?;
            let saved: SavedTensors =
                values.drain(self.forward_names.len()..).map(tr::IntoArcTensor::into_arc_tensor).collect();
            Ok((outputs, Saved::new(saved)))
        })
    }

    fn reverse(
        &self,
        inputs: &Views<'_>,
        saved: Saved,
        seed: &Tensor,
        run: &RunControl<'_>,
    ) -> Result<Outputs, BackendError> {
        self.in_pool(|| {
            let mut feed = self.reverse.feed(inputs, Some(seed))?;
            let saved = saved.take::<SavedTensors>().unwrap_or_default();
            // An unshared value is moved, so that the plan frees it after its last use.
            feed.values.extend(saved.into_iter().map(|t| match Arc::try_unwrap(t) {
                Ok(tensor) => tr::TValue::from(tensor),
                Err(shared) => tr::TValue::from_const(shared),
            }));
            let values = self.reverse.run("reverse", feed, run.cancel, &|done, total| {
                run.report(Progress::Reverse { done, total });
                run.check()
            })?;
            self.reverse.results(&self.reverse_names, &values)
        })
    }

    fn memory(&self) -> MemoryReport {
        self.memory
    }
}
