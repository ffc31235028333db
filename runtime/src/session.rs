//! A program on a backend: binds shapes, caches plans, seeds, keeps the books.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dlbc_ops::program::Program;
use dlbc_ops::tensor::Bindings;

use crate::backend::{Backend, Plan, RunOptions, Tensors};
use crate::error::RuntimeError;
use crate::inputs::bind;
use crate::seed::{Request, seed};

/// Plans that a session keeps.
const PLANS: usize = 8;

/// A program ready to run. Thread-safe: share it behind an `Arc`.
pub struct Session {
    program: Program,
    backend: Box<dyn Backend>,
    options: RunOptions,
    /// Most recently used first.
    plans: Mutex<Vec<(Key, Arc<dyn Plan>)>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    bindings: Bindings,
    reverse: Vec<String>,
}

/// What a run takes, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seconds {
    /// Binding and planning; next to nothing when the plan is cached.
    pub prepare: f64,
    /// The forward.
    pub forward: f64,
    /// The reverse.
    pub reverse: f64,
}

/// A row of the ledger: `received = passed + absorbed`.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerRow {
    /// The forward node's output tensor.
    pub node: String,
    /// The operator.
    pub op: String,
    /// The rule.
    pub rule: String,
    /// The operands that received relevance.
    pub operands: Vec<String>,
    /// Relevance that came in.
    pub received: f64,
    /// Relevance that went on to operands.
    pub passed: f64,
    /// Relevance that biases, constants and positions without contribution kept.
    pub absorbed: f64,
}

impl LedgerRow {
    /// What the row fails to account for.
    pub fn residual(&self) -> f64 {
        self.received - self.passed - self.absorbed
    }
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The model's outputs by name.
    pub outputs: Tensors,
    /// Relevance by tensor name, of the tensor's shape.
    pub relevance: Tensors,
    /// The greatest unit of each row of the explained output.
    pub argmax: Vec<i64>,
    /// The unit that each row explains; empty when all are.
    pub targets: Vec<i64>,
    /// The sum of the starting relevance.
    pub start: f64,
    /// The sum of the relevance of each explained input.
    pub inputs: BTreeMap<String, f64>,
    /// What was absorbed on the way: the ledger's sum with an audit, else start minus inputs.
    pub absorbed: f64,
    /// The ledger, from the output to the inputs, when asked for.
    pub ledger: Option<Vec<LedgerRow>>,
    /// Times.
    pub seconds: Seconds,
}

impl Session {
    /// A session of a program.
    ///
    /// # Errors
    /// When the backend cannot run one of its nodes: lists them all.
    pub fn new(
        program: Program,
        backend: Box<dyn Backend>,
        options: RunOptions,
    ) -> Result<Session, RuntimeError> {
        let nodes = backend.check(&program.graph);
        if !nodes.is_empty() {
            return Err(RuntimeError::Unsupported { backend: backend.name(), nodes });
        }
        Ok(Session { program, backend, options, plans: Mutex::new(vec![]) })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The backend's name.
    pub fn device(&self) -> &'static str {
        self.backend.name()
    }

    /// Runs the model alone: its outputs by name.
    ///
    /// # Errors
    /// For inputs that do not fit, sizes beyond the limit.
    pub fn predict(&self, inputs: &Tensors) -> Result<Tensors, RuntimeError> {
        let bindings = bind(&self.program.info, inputs)?;
        let plan = self.plan(Key { bindings, reverse: vec![] })?;
        Ok(outputs(plan.forward(inputs)?.0))
    }

    /// Runs the model and explains its output.
    ///
    /// # Errors
    /// For inputs that do not fit, a target out of range, sizes beyond the limit.
    pub fn explain(&self, inputs: &Tensors, request: &Request) -> Result<Explanation, RuntimeError> {
        let clock = Instant::now();
        let info = &self.program.info;
        let reverse = self.wanted(request)?;
        let bindings = bind(info, inputs)?;
        let plan = self.plan(Key { bindings, reverse })?;
        let prepare = clock.elapsed().as_secs_f64();

        let clock = Instant::now();
        let (made, saved) = plan.forward(inputs)?;
        let outputs = outputs(made);
        let forward = clock.elapsed().as_secs_f64();

        let clock = Instant::now();
        let explained =
            outputs.get(&info.explained).ok_or_else(|| RuntimeError::MissingInput(info.explained.clone()))?;
        let seed = seed(&info.explained, explained, request)?;
        let made = plan.reverse(inputs, saved, &seed.tensor)?;
        let seconds = Seconds { prepare, forward, reverse: clock.elapsed().as_secs_f64() };
        Ok(self.account(outputs, made, &seed, request, seconds))
    }

    fn account(
        &self,
        outputs: Tensors,
        made: Tensors,
        seed: &crate::seed::Seed,
        request: &Request,
        seconds: Seconds,
    ) -> Explanation {
        let info = &self.program.info;
        let scalar = |name: String| made.get(&name).map_or(0.0, |t| t.to_f64().iter().sum());
        let ledger: Option<Vec<LedgerRow>> = request.audit.then(|| {
            let rows = info.audit.iter().enumerate().map(|(i, row)| LedgerRow {
                node: row.node.clone(),
                op: row.op.clone(),
                rule: row.rule.clone(),
                operands: row.operands.clone(),
                received: scalar(format!("audit/{i}/in")),
                passed: scalar(format!("audit/{i}/out")),
                absorbed: scalar(format!("audit/{i}/absorbed")),
            });
            rows.collect()
        });
        let relevance: Tensors = made
            .iter()
            .filter_map(|(k, v)| Some((k.strip_prefix("relevance/")?.to_string(), v.clone())))
            .collect();
        let explained = info.inputs.iter().filter(|i| i.explained);
        let inputs: BTreeMap<String, f64> = explained
            .filter_map(|i| Some((i.name.clone(), relevance.get(&i.name)?.to_f64().iter().sum())))
            .collect();
        let absorbed = match &ledger {
            Some(rows) => rows.iter().map(|r| r.absorbed).sum(),
            None => seed.total - inputs.values().sum::<f64>(),
        };
        Explanation {
            outputs,
            relevance,
            argmax: seed.argmax.clone(),
            targets: seed.targets.clone(),
            start: seed.total,
            inputs,
            absorbed,
            ledger,
            seconds,
        }
    }

    /// The program outputs of the reverse stage that a request needs.
    fn wanted(&self, request: &Request) -> Result<Vec<String>, RuntimeError> {
        let info = &self.program.info;
        let all: Vec<&String> = self.program.graph.outputs().iter().map(|(n, _)| n).collect();
        let mut wanted: Vec<String> =
            info.inputs.iter().filter(|i| i.explained).map(|i| format!("relevance/{}", i.name)).collect();
        for name in &request.keep {
            let full = format!("relevance/{name}");
            if !all.contains(&&full) {
                let known = all
                    .iter()
                    .filter_map(|n| n.strip_prefix("relevance/"))
                    .take(20)
                    .map(|n| format!("`{n}`"));
                return Err(RuntimeError::UnknownRelevance { name: name.clone(), known: known.collect() });
            }
            wanted.push(full);
        }
        let rest =
            |prefix: &'static str| all.iter().filter(move |n| n.starts_with(prefix)).map(|n| n.to_string());
        if request.keep_all {
            wanted.extend(rest("relevance/"));
        }
        if request.audit {
            wanted.extend(rest("audit/"));
        }
        let mut seen = std::collections::HashSet::new();
        wanted.retain(|n| seen.insert(n.clone()));
        Ok(wanted)
    }

    fn plan(&self, key: Key) -> Result<Arc<dyn Plan>, RuntimeError> {
        {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = plans.iter().position(|(k, _)| *k == key) {
                let hit = plans.remove(at);
                plans.insert(0, hit.clone());
                return Ok(hit.1);
            }
        }
        // Two threads may plan the same shapes at once; both plans are right.
        let graph = self.program.graph.bind(&key.bindings);
        graph.check().map_err(RuntimeError::Shapes)?;
        for id in graph.nodes() {
            let ty = &graph.node(id).types[0];
            let bytes = ty.bytes().unwrap_or(u64::MAX);
            if bytes > self.options.max_tensor_bytes {
                let node = graph.node(id).name().to_string();
                return Err(RuntimeError::Limit { node, bytes, limit: self.options.max_tensor_bytes });
            }
        }
        let forward: Vec<String> = self.program.info.outputs.iter().map(|n| format!("output/{n}")).collect();
        let plan: Arc<dyn Plan> =
            Arc::from(self.backend.prepare(&graph, &forward, &key.reverse, &self.options)?);
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.insert(0, (key, plan.clone()));
        plans.truncate(PLANS);
        Ok(plan)
    }
}

/// The model's outputs under their own names.
fn outputs(made: Tensors) -> Tensors {
    made.into_iter().map(|(k, v)| (k.strip_prefix("output/").map(str::to_string).unwrap_or(k), v)).collect()
}
