//! Graph that is an attribute of an operation, such as the step of a scan.

use std::fmt;
use std::sync::Arc;

use super::{Graph, Value, Vocabulary};
use crate::tensor::TensorType;

/// Shared graph with one output. Its inputs are the operands of a step, in order.
#[derive(Clone)]
pub struct Body<O: Vocabulary>(Arc<Graph<O>>);

impl<O: Vocabulary> Body<O> {
    /// Creates a body from a graph with one output.
    pub fn new(graph: Graph<O>) -> Body<O> {
        Body(Arc::new(graph))
    }

    /// Returns the graph.
    pub fn graph(&self) -> &Graph<O> {
        &self.0
    }

    /// Returns the value that a step computes; `None` if the graph has no output.
    pub fn result(&self) -> Option<Value> {
        self.0.outputs().first().map(|(_, v)| *v)
    }

    /// Returns the type of [`Body::result`].
    pub fn ty(&self) -> Option<&TensorType> {
        self.result().map(|v| self.0.ty(v))
    }

    /// Returns the types of the inputs.
    pub fn inputs(&self) -> Vec<&TensorType> {
        self.0.inputs().iter().map(|id| &self.0.node(*id).types[0]).collect()
    }
}

/// Bodies are equal if they are the same object, or if their texts are equal and neither has constants, whose values
/// are not printed.
impl<O: Vocabulary> PartialEq for Body<O> {
    fn eq(&self, other: &Body<O>) -> bool {
        let no_constants = |b: &Body<O>| !b.0.nodes().any(|id| b.0.op(id).is_const());
        Arc::ptr_eq(&self.0, &other.0)
            || (no_constants(self) && no_constants(other) && self.to_string() == other.to_string())
    }
}

impl<O: Vocabulary> fmt::Display for Body<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Prints the graph, preceded by the address of a body with constants: bodies of equal texts are equal.
impl<O: Vocabulary> fmt::Debug for Body<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.nodes().any(|id| self.0.op(id).is_const()) {
            write!(f, "{:p} ", Arc::as_ptr(&self.0))?;
        }
        fmt::Display::fmt(self, f)
    }
}

impl<O: Vocabulary> Body<O> {
    /// Returns the text form as an attribute of a node: each line on a new line, indented by four spaces.
    pub fn indented(&self) -> String {
        self.to_string().lines().map(|line| format!("\n    {line}")).collect()
    }
}
