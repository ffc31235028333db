//! What a scan repeats.

use std::collections::HashMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Prim;
use crate::OpError;
use crate::graph::{Body, Graph, NodeId, Origin, Value};
use crate::tensor::{Dim, Shape, Tensor, TensorType};

/// A recurrence over the first axis of its sequences: `y[t] = body(y[t - 1], x[t] …, captures …)`.
///
/// Operands: the state before the first step, `sequences` tensors `[time, …]`, and what every step reads as it is. The
/// result is the state after each step, `[time, …]`, at the step's own place in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// A step: state, elements and captures to the next state. Holds no constants: they are captures.
    pub body: Body<Prim>,
    /// How many sequences.
    pub sequences: usize,
    /// From the last element to the first.
    pub reverse: bool,
}

impl Scan {
    /// Takes the constants out of a step's graph: they become captures, appended to the operands.
    pub fn of(step: Graph<Prim>, sequences: usize, reverse: bool) -> (Scan, Vec<(String, Tensor)>) {
        let mut graph = Graph::default();
        let mut values: HashMap<Value, Value> = HashMap::new();
        let mut constants = vec![];
        let value = |node| Value { node, slot: 0 };
        for id in step.inputs() {
            let made = graph.add_input(Prim::Input, step.node(*id).name(), step.node(*id).types[0].clone());
            values.insert(value(*id), made);
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
            let made = graph.add_value(node.op.clone(), node.name(), node.types[0].clone(), origin, &inputs);
            values.insert(value(*id), made);
        }
        graph.set_outputs(step.outputs().iter().map(|(_, v)| ("next".into(), values[v])).collect());
        (Scan { body: Body::new(graph), sequences, reverse }, constants)
    }

    /// The type of the result.
    pub(super) fn infer(&self, inputs: &[TensorType]) -> Result<TensorType, OpError> {
        let (taken, Some(next)) = (self.body.inputs(), self.body.ty()) else {
            return Err(OpError::Invalid("a step without a result".into()));
        };
        if taken.len() != inputs.len() || taken.len() <= self.sequences || self.sequences == 0 {
            return Err(OpError::Arity { expected: taken.len().to_string(), found: inputs.len() });
        }
        let time = inputs[1].shape.0.first().cloned().unwrap_or_default();
        for (i, (found, expected)) in inputs.iter().zip(&taken).enumerate() {
            let scanned = (1..=self.sequences).contains(&i);
            let mut shape = found.shape.clone();
            if scanned {
                if shape.rank() == 0 || shape.0[0] != time {
                    return Err(OpError::mismatch("steps of a sequence", &time, &found.shape));
                }
                shape.0.remove(0);
            }
            if !alike(found, expected) || shape != expected.shape {
                return Err(OpError::mismatch("operand of a step", expected, found.with_shape(shape)));
            }
        }
        if !next.dtype.is_float() {
            return Err(OpError::mismatch("state", "floats", next));
        }
        if !alike(next, taken[0]) || next.shape != taken[0].shape {
            return Err(OpError::mismatch("state after a step", taken[0], next));
        }
        self.body.graph().check().map_err(|faults| OpError::Invalid(faults[0].to_string()))?;
        let shape: Shape = [vec![time], inputs[0].shape.0.clone()].concat().into_iter().collect();
        Ok(inputs[0].with_shape(shape))
    }

    pub(super) fn replace(&self, by: &impl Fn(&str) -> Option<Dim>) -> Scan {
        Scan { body: Body::new(self.body.graph().replace_symbols(by)), ..self.clone() }
    }
}

impl fmt::Display for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.reverse { " reverse" } else { "" };
        write!(f, "sequences={}{way} body={}\n   ", self.sequences, self.body.indented())
    }
}

/// Whether two element types are one to a kernel: floats, integers, booleans.
fn alike(a: &TensorType, b: &TensorType) -> bool {
    let both = |f: fn(&TensorType) -> bool| f(a) && f(b);
    a.dtype == b.dtype || both(|t| t.dtype.is_float()) || both(|t| t.dtype.is_integer())
}

/// A node of a body in writing.
#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    prim: Prim,
    ty: TensorType,
    /// Places of the operands in the list.
    operands: Vec<usize>,
}

/// A body in writing; the lines stand in [`Body::order`].
#[derive(Serialize, Deserialize)]
struct Written {
    lines: Vec<Line>,
    result: usize,
}

impl Body<Prim> {
    /// The nodes as they are written: inputs first and in order, each node after its operands.
    pub fn order(&self) -> Vec<NodeId> {
        let graph = self.graph();
        let rest = graph.topological().into_iter().filter(|id| !graph.inputs().contains(id));
        graph.inputs().iter().copied().chain(rest).collect()
    }
}

impl Serialize for Body<Prim> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let graph = self.graph();
        let order = self.order();
        let places: HashMap<NodeId, usize> = order.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        let line = |id: &NodeId| Line {
            name: graph.node(*id).name().into(),
            prim: graph.op(*id).clone(),
            ty: graph.node(*id).types[0].clone(),
            operands: graph.node_inputs(*id).iter().map(|v| places[&v.node]).collect(),
        };
        let result = self.result().and_then(|v| places.get(&v.node).copied()).unwrap_or(usize::MAX);
        Written { lines: order.iter().map(line).collect(), result }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Body<Prim> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Body<Prim>, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let mut graph = Graph::default();
        let mut values: Vec<Value> = vec![];
        for line in written.lines {
            let operands =
                line.operands.iter().map(|i| values.get(*i).copied()).collect::<Option<Vec<Value>>>();
            let operands = operands.ok_or_else(|| D::Error::custom("a step reads what is not made yet"))?;
            values.push(match line.prim {
                Prim::Input => graph.add_input(Prim::Input, &line.name, line.ty),
                prim => graph.add_value(prim, &line.name, line.ty, Origin::default(), &operands),
            });
        }
        let result = values.get(written.result).copied();
        graph.add_output("next", result.ok_or_else(|| D::Error::custom("a step without a result"))?);
        Ok(Body::new(graph))
    }
}
