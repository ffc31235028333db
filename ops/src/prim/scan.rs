//! Recurrence over time.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use ndarray::{ArrayD, Axis};

use super::Prim;
use super::batch::{Operand, batched, rewrite};
use super::contract::*;
use super::reference::layout::{array, float};
use super::reference::run;
use crate::graph::{Body, Graph, NodeId};
use crate::program::Output;
use crate::tensor::Tensor;

/// Recurrence over the first axis of its sequences: `y[t] = body(y[t - 1], x[t] …, captures …)`.
///
/// Operands: the state before the first step, `sequences` tensors `[time, …]`, and captures, which every step reads.
/// The result is the state after each step, `[time, …]`, in the order of time also for a reversed recurrence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// Graph of a step: from state, elements and captures to the next state. Holds no constants; they are captures.
    pub body: Body<Prim>,
    /// Number of sequences.
    pub sequences: usize,
    /// True if the steps run from the last element to the first.
    pub reverse: bool,
}

impl Scan {
    /// Creates a scan from a step's graph. Its constants become captures, which are returned with their names and must
    /// be appended to the operands.
    pub fn from_step(step: Graph<Prim>, sequences: usize, reverse: bool) -> (Scan, Vec<(String, Tensor)>) {
        let mut graph = Graph::default();
        let mut values: HashMap<Value, Value> = HashMap::new();
        let mut constants = vec![];
        let value = |node| Value { node, slot: 0 };
        for id in step.inputs() {
            let input = graph.add_input(Prim::Input, step.node(*id).name(), step.node(*id).types[0].clone());
            values.insert(value(*id), input);
        }
        let order = step.topological();
        for id in &order {
            let node = step.node(*id);
            if let Prim::Const(t) = &node.op {
                values.insert(value(*id), graph.add_input(Prim::Input, node.name(), t.ty()));
                constants.push((node.name().to_string(), t.clone()));
            }
        }
        for id in &order {
            let node = step.node(*id);
            if matches!(node.op, Prim::Input | Prim::Const(_)) {
                continue;
            }
            let inputs: Vec<Value> = step.node_inputs(*id).iter().map(|v| values[v]).collect();
            let origin = node.origin.clone();
            let copy = graph.add_value(node.op.clone(), node.name(), node.types[0].clone(), origin, &inputs);
            values.insert(value(*id), copy);
        }
        graph.set_outputs(step.outputs().iter().map(|(_, v)| (Output::value("next"), values[v])).collect());
        (Scan { body: Body::new(graph), sequences, reverse }, constants)
    }
}

impl fmt::Display for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.reverse { " reverse" } else { "" };
        write!(f, "sequences={}{way} body={}\n   ", self.sequences, self.body.indented())
    }
}

impl Fields for Scan {
    fn name(&self) -> &'static str {
        "Scan"
    }

    fn fields<'a>(&'a self, visit: &mut dyn FnMut(Field<'a>)) {
        let Scan { body, sequences: _, reverse: _ } = self;
        visit(Field::Body(body));
    }

    fn dims_mut(&mut self, visit: &mut dyn FnMut(&mut Dim)) {
        let mut graph = self.body.graph().clone();
        graph.change_dims(visit);
        self.body = Body::new(graph);
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Primitive for Scan {
    fn arity(&self) -> RangeInclusive<usize> {
        2..=usize::MAX
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<TensorType, OpError> {
        let (operands, Some(next)) = (self.body.inputs(), self.body.ty()) else {
            return Err(missing_result());
        };
        if operands.len() != inputs.len() || operands.len() <= self.sequences || self.sequences == 0 {
            return Err(OpError::Arity { expected: operands.len().to_string(), actual: inputs.len() });
        }
        let time = inputs[1].shape.0.first().cloned().unwrap_or_default();
        for (i, (actual, expected)) in inputs.iter().zip(&operands).enumerate() {
            let scanned = (1..=self.sequences).contains(&i);
            let mut shape = actual.shape.clone();
            if scanned {
                if shape.rank() == 0 || shape.0[0] != time {
                    return Err(OpError::mismatch("steps of a sequence", &time, &actual.shape));
                }
                shape.0.remove(0);
            }
            if !same_kind(actual, expected) || shape != expected.shape {
                return Err(OpError::mismatch("operand of a step", expected, actual.with_shape(shape)));
            }
        }
        if !next.dtype.is_float() {
            return Err(OpError::mismatch("state", "floats", next));
        }
        if !same_kind(next, operands[0]) || next.shape != operands[0].shape {
            return Err(OpError::mismatch("state after a step", operands[0], next));
        }
        self.body.graph().check().map_err(|faults| OpError::Invalid(faults[0].to_string()))?;
        let shape: Shape = [vec![time], inputs[0].shape.0.clone()].concat().into_iter().collect();
        Ok(inputs[0].with_shape(shape))
    }

    fn evaluate(&self, inputs: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let graph = self.body.graph();
        let Some((result, _)) = graph.outputs().first() else {
            return Err(missing_result());
        };
        let names: Vec<&str> = graph.inputs().iter().map(|id| graph.node(*id).name()).collect();
        let mut feed: BTreeMap<String, Array> = BTreeMap::new();
        for (name, x) in names.iter().zip(inputs) {
            feed.insert((*name).into(), (*x).clone());
        }
        let size: usize = dims[1..].iter().product();
        let mut states: Vec<f64> = vec![0.0; dims[0] * size];
        let order: Vec<usize> =
            if self.reverse { (0..dims[0]).rev().collect() } else { (0..dims[0]).collect() };
        for t in order {
            for (name, x) in names.iter().zip(inputs).skip(1).take(self.sequences) {
                feed.insert((*name).into(), element(x, t));
            }
            let mut results =
                run(graph, &feed, std::slice::from_ref(result)).map_err(|e| OpError::in_step(t, &e))?;
            let state = results.remove(result).ok_or_else(missing_result)?;
            for (to, from) in states[t * size..][..size].iter_mut().zip(float(&state)?) {
                *to = *from;
            }
            feed.insert(names[0].into(), state);
        }
        array(dims, states).map(Array::F)
    }

    /// The compiler lowers the reverse of a recurrence itself.
    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        Err(d.unsupported())
    }

    /// The state has the leading axis; in sequences and in the result the axis of time precedes it.
    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        let graph = self.body.graph();
        let batched_inputs = graph.inputs().iter().enumerate().filter(|(k, _)| *k == 0 || t.is_batched(*k));
        let batched_inputs: Vec<NodeId> = batched_inputs.map(|(_, id)| *id).collect();
        let (mut step, values) = rewrite(graph.clone(), &batched_inputs, t.size)?;
        let next = self.body.result().ok_or_else(missing_result)?;
        let next =
            Operand { v: values.get(&next).copied().unwrap_or(next), is_batched: values.contains_key(&next) };
        let next = batched(&mut step, t.size, next);
        step.ok()?;
        step.graph_mut().set_outputs(vec![(Output::value("next"), next)]);
        step.graph_mut().remove_unused();
        let (batched, constants) = Scan::from_step(step.finish(), self.sequences, self.reverse);
        let mut operands = vec![t.batched(0)];
        for k in 1..t.operand_count() {
            let (v, sequence) = (t.value(k), k <= self.sequences && t.is_batched(k));
            operands.push(if sequence { t.move_axis(v, 0, 1) } else { v });
        }
        for (name, constant) in constants {
            operands.push(t.b.constant(&name, constant));
        }
        let y = t.add(batched, &operands);
        Ok(t.move_axis(y, 1, 0))
    }
}

/// Returns the error of a step without a result.
fn missing_result() -> OpError {
    OpError::invalid("results of a step", "at least 1", 0)
}

/// Returns whether two element types are the same to a kernel: both floats, integers or booleans.
fn same_kind(a: &TensorType, b: &TensorType) -> bool {
    let both = |f: fn(&TensorType) -> bool| f(a) && f(b);
    a.dtype == b.dtype || both(|t| t.dtype.is_float()) || both(|t| t.dtype.is_integer())
}

/// Returns row `t` along the first axis.
fn element(x: &Array, t: usize) -> Array {
    fn row<T: Clone>(x: &ArrayD<T>, t: usize) -> ArrayD<T> {
        x.index_axis(Axis(0), t).to_owned()
    }
    match x {
        Array::F(x) => Array::F(row(x, t)),
        Array::I(x) => Array::I(row(x, t)),
        Array::B(x) => Array::B(row(x, t)),
    }
}
