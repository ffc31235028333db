//! A graph that is part of an operation: what a scan does in each step.

use std::fmt;
use std::sync::Arc;

use super::{Graph, Value, Vocabulary};
use crate::tensor::TensorType;

/// A shared graph with one output. Its inputs are the operands of a step, in order.
#[derive(Clone)]
pub struct Body<O: Vocabulary>(Arc<Graph<O>>);

impl<O: Vocabulary> Body<O> {
    /// A body of a graph with one output.
    pub fn new(graph: Graph<O>) -> Body<O> {
        Body(Arc::new(graph))
    }

    /// The graph.
    pub fn graph(&self) -> &Graph<O> {
        &self.0
    }

    /// What a step computes; `None` for a graph without outputs.
    pub fn result(&self) -> Option<Value> {
        self.0.outputs().first().map(|(_, v)| *v)
    }

    /// The type of what a step computes.
    pub fn ty(&self) -> Option<&TensorType> {
        self.result().map(|v| self.0.ty(v))
    }

    /// The types of the inputs.
    pub fn inputs(&self) -> Vec<&TensorType> {
        self.0.inputs().iter().map(|id| &self.0.node(*id).types[0]).collect()
    }
}

/// Bodies are equal when they are the same one, or read the same and hold no constants (whose values do not print).
impl<O: Vocabulary> PartialEq for Body<O> {
    fn eq(&self, other: &Body<O>) -> bool {
        let open = |b: &Body<O>| !b.0.nodes().any(|id| b.0.op(id).is_const());
        Arc::ptr_eq(&self.0, &other.0) || (open(self) && open(other) && self.to_string() == other.to_string())
    }
}

impl<O: Vocabulary> fmt::Display for Body<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All that the body does, with the identity of one that holds constants: equal texts mean equal bodies.
impl<O: Vocabulary> fmt::Debug for Body<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.nodes().any(|id| self.0.op(id).is_const()) {
            write!(f, "{:p} ", Arc::as_ptr(&self.0))?;
        }
        fmt::Display::fmt(self, f)
    }
}

/// The text of a body as an attribute of its node: on lines of its own, indented.
impl<O: Vocabulary> Body<O> {
    /// Each line of the text form, indented by four.
    pub fn indented(&self) -> String {
        self.to_string().lines().map(|line| format!("\n    {line}")).collect()
    }
}
