//! Backend `reference`: runs the float64 kernel of each primitive, node by node. Tests compare other engines with it.

use std::collections::HashMap;
use std::sync::Arc;

use dlbc_ops::graph::{Graph, NodeId, PrintOp, Value};
use dlbc_ops::prim::{Prim, reference};
use dlbc_ops::program::{Output, SEED};
use dlbc_ops::tensor::{Array, Tensor};

use crate::contract::{Backend, MemoryReport, Outputs, Plan, Saved, SessionOptions};
use crate::error::{BackendError, Unsupported};
use crate::inputs::Views;
use crate::run_control::{Progress, RunControl};
use crate::stage::{Stage, Stages, count_reads, split_stages};

/// Backend that interprets programs in float64.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReferenceBackend;

impl Backend for ReferenceBackend {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn check(&self, _: &Graph<Prim>) -> Vec<Unsupported> {
        vec![]
    }

    fn prepare(
        &self,
        graph: &Graph<Prim>,
        forward: &[Output],
        reverse: &[Output],
        _: &SessionOptions,
    ) -> Result<Box<dyn Plan>, BackendError> {
        let stages = split_stages(graph, forward, reverse)?;
        Ok(Box::new(Interpreter {
            graph: graph.clone(),
            stages,
            forward: forward.to_vec(),
            reverse: reverse.to_vec(),
        }))
    }
}

/// Plan of the reference backend.
struct Interpreter {
    graph: Graph<Prim>,
    stages: Stages,
    forward: Vec<Output>,
    reverse: Vec<Output>,
}

/// Values that are computed and still needed.
type Values = HashMap<Value, Arc<Array>>;

impl Interpreter {
    /// Computes the nodes of a stage. Calls `check` before each node with the number of finished nodes.
    fn run(
        &self,
        stage: &Stage,
        mut values: Values,
        check: &dyn Fn(usize) -> Result<(), BackendError>,
    ) -> Result<Values, BackendError> {
        let mut remaining_reads = count_reads(&self.graph, stage);
        for (done, id) in stage.nodes.iter().enumerate() {
            check(done)?;
            let prim = self.graph.op(*id);
            if matches!(prim, Prim::Input) {
                continue;
            }
            let operands = self.graph.node_inputs(*id);
            let result = {
                let arrays: Option<Vec<&Array>> =
                    operands.iter().map(|v| values.get(v).map(|a| &**a)).collect();
                let arrays = arrays
                    .ok_or_else(|| self.failed(*id, "expected operands of earlier nodes, found none"))?;
                reference::eval(prim, &arrays).map_err(|e| self.failed(*id, &e.to_string()))?
            };
            values.insert(Value { node: *id, slot: 0 }, Arc::new(result));
            for v in operands {
                if let Some(n) = remaining_reads.get_mut(&v.node) {
                    *n -= 1;
                    if *n == 0 {
                        values.remove(&v);
                    }
                }
            }
        }
        Ok(values)
    }

    /// The error of a node.
    fn failed(&self, id: NodeId, message: &str) -> BackendError {
        let node = self.graph.node(id);
        BackendError::Node(format!("node `{}` ({}): {message}", node.name(), node.op.name()))
    }

    /// Collects the program inputs that a stage reads.
    fn feed(&self, stage: &Stage, inputs: &Views<'_>, seed: Option<&Tensor>) -> Result<Values, BackendError> {
        let mut values = Values::new();
        for v in stage.inputs.iter().filter(|v| matches!(self.graph.op(v.node), Prim::Input)) {
            let name = self.graph.value_name(*v);
            let tensor = if name == SEED { seed.map(Tensor::view) } else { inputs.get(name).cloned() };
            let tensor = tensor.ok_or_else(|| BackendError::MissingInput(name.into()))?;
            values.insert(*v, Arc::new(Array::from_view(&tensor)));
        }
        Ok(values)
    }

    /// Collects the outputs of a stage by name.
    fn results(&self, names: &[Output], outputs: &[Value], values: &Values) -> Outputs {
        let pairs = names.iter().zip(outputs);
        pairs
            .filter_map(|(n, v)| Some((n.clone(), values.get(v)?.to_tensor(self.graph.ty(*v).dtype))))
            .collect()
    }
}

impl Plan for Interpreter {
    fn forward(&self, inputs: &Views<'_>, run: &RunControl<'_>) -> Result<(Outputs, Saved), BackendError> {
        let stage = &self.stages.forward;
        let total = stage.nodes.len();
        let values = self.run(stage, self.feed(stage, inputs, None)?, &|done| {
            run.report(Progress::Forward { done, total });
            run.check()
        })?;
        let outputs = self.results(&self.forward, &stage.outputs, &values);
        let saved: Values =
            self.stages.saved.iter().filter_map(|v| Some((*v, values.get(v)?.clone()))).collect();
        Ok((outputs, Saved::new(saved)))
    }

    fn reverse(
        &self,
        inputs: &Views<'_>,
        saved: Saved,
        seed: &Tensor,
        run: &RunControl<'_>,
    ) -> Result<Outputs, BackendError> {
        let stage = &self.stages.reverse;
        let mut values = self.feed(stage, inputs, Some(seed))?;
        values.extend(saved.take::<Values>().unwrap_or_default());
        let total = stage.nodes.len();
        let values = self.run(stage, values, &|done| {
            run.report(Progress::Reverse { done, total });
            run.check()
        })?;
        Ok(self.results(&self.reverse, &stage.outputs, &values))
    }

    fn memory(&self) -> MemoryReport {
        let bytes = |v: &Value| {
            self.graph.ty(*v).shape.as_known().map_or(0, |d| d.iter().product::<usize>() as u64 * 8)
        };
        let constants = self.graph.nodes().filter(|id| matches!(self.graph.op(*id), Prim::Const(_)));
        MemoryReport {
            constant_bytes: constants.map(|node| bytes(&Value { node, slot: 0 })).sum(),
            saved_bytes: self.stages.saved.iter().map(bytes).sum(),
            ..MemoryReport::default()
        }
    }
}
