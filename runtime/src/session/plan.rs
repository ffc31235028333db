//! Plans of a session: bound, planned, kept.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use dlbc_ops::prim::batch;
use dlbc_ops::program::{MEASURED, SEED};
use dlbc_ops::tensor::Bindings;

use super::{Key, PLANS, Session};
use crate::backend::{MemoryReport, Plan, Tensors};
use crate::error::RuntimeError;
use crate::inputs::bind;
use crate::measure::{self, Rest, Step, check, has_measures, measures};

/// A step of a run, planned; most programs have one.
pub(super) struct Planned {
    pub plan: Box<dyn Plan>,
    /// Symbols that this step found known.
    bound: Bindings,
    /// What comes after it.
    rest: Option<Rest>,
}

/// The last step of a run, with what the steps before it made.
pub(super) struct Ready {
    pub step: Arc<Planned>,
    pub inputs: Tensors,
    pub prepare: f64,
    pub forward: f64,
}

impl Session {
    /// Takes the steps that measure dimensions, and plans the last one.
    pub(super) fn ready(
        &self,
        inputs: &Tensors,
        reverse: Vec<String>,
        targets: usize,
    ) -> Result<Ready, RuntimeError> {
        let clock = Instant::now();
        let bindings = bind(&self.program.info, inputs)?;
        let mut key = Key { bindings, reverse, targets };
        let mut step = self.plan(&key, None)?;
        let mut ready = Ready {
            step: step.clone(),
            inputs: inputs.clone(),
            prepare: clock.elapsed().as_secs_f64(),
            forward: 0.0,
        };
        while let Some(rest) = &step.rest {
            let clock = Instant::now();
            let (mut made, _) = step.plan.forward(&ready.inputs)?;
            ready.forward += clock.elapsed().as_secs_f64();

            let clock = Instant::now();
            let mut found = Bindings::new();
            for symbol in &rest.symbols {
                let value = made.remove(&format!("{MEASURED}{symbol}"));
                found.extend(value.and_then(|t| t.to_i64().first().map(|v| (symbol.clone(), *v))));
            }
            check(&rest.graph, &measures(&rest.graph), &found)?;
            key.bindings.extend(found);
            key.bindings.extend(step.bound.clone());
            ready.inputs.extend(made);
            step = self.plan(&key, Some(&step))?;
            ready.prepare += clock.elapsed().as_secs_f64();
            ready.step = step.clone();
        }
        Ok(ready)
    }

    /// The same for as many of the targets as the device's memory holds at once, and how many these are.
    pub(super) fn ready_for(
        &self,
        inputs: &Tensors,
        reverse: Vec<String>,
        targets: usize,
    ) -> Result<(Ready, usize), RuntimeError> {
        let mut at_once = targets;
        loop {
            match self.ready(inputs, reverse.clone(), at_once) {
                Err(RuntimeError::DeviceMemory(_)) if at_once > 1 => at_once = at_once.div_ceil(2),
                ready => return Ok((ready?, at_once)),
            }
        }
    }

    /// What the last plan that ran holds, and how many targets share its reverse.
    pub fn memory(&self) -> Option<(MemoryReport, usize)> {
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.first().map(|(key, planned)| (planned.plan.memory(), key.targets))
    }

    /// Gives up the plans that are kept; whether there were any.
    fn forget(&self) -> bool {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let had = !plans.is_empty();
        plans.clear();
        had
    }

    /// The plan of the step that follows `before`, or of the first.
    fn plan(&self, key: &Key, before: Option<&Planned>) -> Result<Arc<Planned>, RuntimeError> {
        {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = plans.iter().position(|(k, _)| k == key) {
                let hit = plans.remove(at);
                plans.insert(0, hit.clone());
                return Ok(hit.1);
            }
        }
        // Two threads may plan the same shapes at once; both plans are right.
        let program = before.and_then(|b| b.rest.as_ref()).map_or(&self.program.graph, |r| &r.graph);
        let forward: Vec<String> = self.program.info.outputs.iter().map(|n| format!("output/{n}")).collect();
        let step = match has_measures(&self.program.graph) {
            true => measure::next(program, &key.bindings, &[&forward[..], &key.reverse].concat())?,
            false => Step { graph: program.bind(&key.bindings), bound: Bindings::new(), rest: None },
        };
        let mut graph = step.graph;
        graph.check().map_err(RuntimeError::Shapes)?;
        if step.rest.is_none() && key.targets > 1 {
            graph = batch(&graph, &[SEED], key.targets).map_err(RuntimeError::Batch)?;
            graph.check().map_err(RuntimeError::Shapes)?;
        }
        for id in graph.nodes() {
            let ty = &graph.node(id).types[0];
            let bytes = ty.bytes().unwrap_or(u64::MAX);
            if bytes > self.options.max_tensor_bytes {
                let node = graph.node(id).name().to_string();
                return Err(RuntimeError::Limit { node, bytes, limit: self.options.max_tensor_bytes });
            }
        }
        let all = || graph.outputs().iter().map(|(n, _)| n.clone()).collect();
        let (first, second) = match step.rest {
            None => (forward, key.reverse.clone()),
            Some(_) => (all(), vec![]),
        };
        let prepare = || self.backend.prepare(&graph, &first, &second, &self.options);
        let plan = match prepare() {
            // Other plans hold memory, too.
            Err(RuntimeError::DeviceMemory(_)) if self.forget() => prepare()?,
            plan => plan?,
        };
        let steps = self.program.graph.outputs().iter().filter(|(n, _)| n.starts_with(MEASURED)).count();
        let planned = Arc::new(Planned { plan, bound: step.bound, rest: step.rest });
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.insert(0, (key.clone(), planned.clone()));
        plans.truncate(PLANS + steps);
        Ok(planned)
    }
}
