//! The backend and its plans: a stage of a program as a tract model.

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

use crate::scan::with_token;
use crate::weights::{self, from_tract, to_tract, with_given};
use crate::{kernel, wire};

/// The CPU through tract.
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
                reason: format!("arithmetic in {}", graph.node(id).types[0].dtype),
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
        few_readers(graph)?;
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

/// The threads of every plan of this number of them.
fn pool(threads: usize) -> tr::TractResult<Arc<ThreadPool>> {
    static POOLS: Mutex<BTreeMap<usize, Weak<ThreadPool>>> = Mutex::new(BTreeMap::new());
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = pools.get(&threads).and_then(Weak::upgrade) {
        return Ok(pool);
    }
    let made = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("dlbc-{i}")).build()?;
    let made = Arc::new(made);
    pools.insert(threads, Arc::downgrade(&made));
    Ok(made)
}

/// Readers of one value. The engine compares them pair by pair: so many take it seconds.
const MOST_READERS: usize = 8192;

/// Refuses a value with too many readers.
fn few_readers(graph: &Graph<Prim>) -> Result<(), BackendError> {
    let mut readers = std::collections::HashMap::new();
    for id in graph.nodes() {
        let mut inputs = graph.node_inputs(id);
        inputs.sort();
        inputs.dedup();
        for v in inputs {
            *readers.entry(v).or_insert(0usize) += 1;
        }
    }
    let most = readers.into_iter().filter(|(_, n)| *n > MOST_READERS).min();
    match most {
        None => Ok(()),
        Some((v, readers)) => {
            let node = graph.value_name(v).to_string();
            Err(BackendError::Readers { node, readers, limit: MOST_READERS })
        }
    }
}

/// Whether a node only carries a wide or narrow float across the program's boundary, or converts it.
fn boundary(graph: &Graph<Prim>, id: dlbc_ops::graph::NodeId) -> bool {
    matches!(graph.op(id), Prim::Input | Prim::Cast(_) | Prim::Const(_))
}

/// Runs `f`; an error or a panic of the engine becomes an error of ours.
fn guarded<T>(stage: &'static str, f: impl FnOnce() -> tr::TractResult<T>) -> Result<T, BackendError> {
    let failed = |message: String| BackendError::Engine { backend: "cpu", stage, message };
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => match e.downcast_ref::<kernel::Refused>() {
            Some(refused) => Err(BackendError::Node(refused.to_string())),
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
    /// Names of the program inputs that it takes, in order; saved values follow.
    inputs: Vec<String>,
    /// Names of the program inputs that its products read in place.
    given: Vec<String>,
    /// The element types of its outputs.
    outputs: Vec<DType>,
}

impl Runnable {
    fn new(graph: &Graph<Prim>, stage: &Stage, cache: &mut weights::Cache) -> tr::TractResult<Runnable> {
        let (model, given) = wire::model(graph, stage, cache, true)?;
        let plan = tr::TypedSimplePlan::new(model.into_optimized()?)?;
        let named = stage.inputs.iter().filter(|v| matches!(graph.op(v.node), Prim::Input));
        let name = |v: &Value| graph.value_name(*v).to_string();
        Ok(Runnable {
            plan,
            inputs: named.filter(|v| !given.contains(v)).map(name).collect(),
            given: given.iter().map(name).collect(),
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
        let given = self.given.iter().map(|name| find(name).map(|tensor| tensor.to_tensor()));
        Ok(Feed { values: named.collect::<Result<_, _>>()?, given: given.collect::<Result<_, _>>()? })
    }

    /// Runs the plan; `check` runs before each of its nodes, with the number of those done and of all.
    fn run(
        &self,
        stage: &'static str,
        feed: Feed,
        cancel: Option<&CancelToken>,
        check: &dyn Fn(usize, usize) -> Result<(), BackendError>,
    ) -> Result<tr::TVec<tr::TValue>, BackendError> {
        let (mut done, total) = (0, self.plan.order_without_consts().len());
        let run = || {
            self.plan.spawn()?.run_plan_with_eval(feed.values, |context, state, node, inputs| {
                check(done, total)?;
                done += 1;
                eval(context, state, node, inputs)
            })
        };
        guarded(stage, || with_token(cancel, || with_given(feed.given, run)))
    }

    fn results(&self, names: &[Output], values: &[tr::TValue]) -> Result<Outputs, BackendError> {
        let mut tensors = Outputs::new();
        for ((name, value), dtype) in names.iter().zip(values).zip(&self.outputs) {
            tensors.insert(name.clone(), guarded("output", || from_tract(value, *dtype))?);
        }
        Ok(tensors)
    }
}

/// What a stage runs on.
struct Feed {
    values: tr::TVec<tr::TValue>,
    given: Vec<Tensor>,
}

struct TractPlan {
    forward: Runnable,
    reverse: Runnable,
    forward_names: Vec<Output>,
    reverse_names: Vec<Output>,
    pool: Arc<ThreadPool>,
    memory: MemoryReport,
}

/// Saved values cross threads as shared tensors.
type Kept = Vec<Arc<tr::Tensor>>;

impl TractPlan {
    /// Runs `f` in the plan's threads, tract's operators among them.
    fn within<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let executor = match self.pool.current_num_threads() {
            1 => Executor::SingleThread,
            _ => Executor::MultiThread(self.pool.clone()),
        };
        self.pool.install(|| multithread_tract_scope(executor, f))
    }
}

impl Plan for TractPlan {
    fn forward(&self, inputs: &Views<'_>, run: &RunControl<'_>) -> Result<(Outputs, Saved), BackendError> {
        self.within(|| {
            let feed = self.forward.feed(inputs, None)?;
            let mut values = self.forward.run("forward", feed, run.cancel, &|done, total| {
                run.report(Progress::Forward { done, total });
                run.check()
            })?;
            let outputs = self.forward.results(&self.forward_names, &values)?;
            let saved: Kept =
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
        self.within(|| {
            let mut feed = self.reverse.feed(inputs, Some(seed))?;
            let saved = saved.take::<Kept>().unwrap_or_default();
            // A value that nobody else holds is moved, so that the plan frees it after its last use.
            feed.values.extend(saved.into_iter().map(|t| match Arc::try_unwrap(t) {
                Ok(own) => tr::TValue::from(own),
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
