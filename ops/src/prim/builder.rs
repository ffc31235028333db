//! Builder of lowered graphs. Equal nodes are created once, and the first error is kept until [`Builder::ok`], so that
//! formulas read as formulas. Methods that build a primitive are in its file.

use std::collections::HashMap;

use super::Prim;
use crate::OpError;
use crate::graph::{Graph, Origin, PrintOp, Value};
use crate::tensor::{Tensor, TensorType};

/// Builder of a `Graph<Prim>`.
#[derive(Default)]
pub struct Builder {
    graph: Graph<Prim>,
    /// Nodes by their operation and operands, so that equal nodes are created once.
    nodes: HashMap<(String, Vec<Value>), Value>,
    origin: Origin,
    prefix: String,
    error: Option<OpError>,
}

impl Builder {
    /// Creates a builder with an empty graph.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Creates a builder that adds to an existing graph.
    pub fn from_graph(graph: Graph<Prim>) -> Builder {
        Builder { graph, ..Builder::default() }
    }

    /// Sets the origin of the nodes that are added from now on, and the prefix of their names.
    pub fn set_origin(&mut self, origin: &Origin, prefix: &str) {
        self.origin = origin.clone();
        self.prefix = prefix.to_string();
    }

    /// Returns and clears the first error since the last call.
    ///
    /// # Errors
    /// The first error that was recorded with [`Builder::fail`] or by a node that could not be typed.
    pub fn ok(&mut self) -> Result<(), OpError> {
        self.error.take().map_or(Ok(()), Err)
    }

    /// Returns the graph built so far.
    pub fn graph(&self) -> &Graph<Prim> {
        &self.graph
    }

    /// Returns the finished graph.
    pub fn finish(self) -> Graph<Prim> {
        self.graph
    }

    /// Returns the graph for editing, to add outputs and rename values.
    pub fn graph_mut(&mut self) -> &mut Graph<Prim> {
        &mut self.graph
    }

    /// Returns the type of a value.
    pub fn ty(&self, v: Value) -> TensorType {
        self.graph.ty(v).clone()
    }

    /// Adds a program input.
    pub fn input(&mut self, name: &str, ty: TensorType) -> Value {
        self.graph.add_input(Prim::Input, name, ty)
    }

    /// Records an error; only the first one is kept.
    pub fn fail(&mut self, error: OpError) {
        self.error.get_or_insert(error);
    }

    /// Adds a node. If its type cannot be inferred, the error is recorded and the first operand is returned in place of
    /// the result.
    pub fn add(&mut self, op: impl Into<Prim>, inputs: &[Value]) -> Value {
        self.add_prim(op.into(), inputs)
    }

    fn add_prim(&mut self, op: Prim, inputs: &[Value]) -> Value {
        let types: Vec<TensorType> = inputs.iter().map(|v| self.ty(*v)).collect();
        let ty = match op.infer(&types) {
            Ok(ty) => ty,
            Err(e) => {
                self.fail(e);
                return inputs
                    .first()
                    .copied()
                    .unwrap_or_else(|| self.push(Prim::Const(Tensor::scalar(0.0)), &[]));
            }
        };
        if let Prim::Const(_) = op {
            return self.push(op, inputs);
        }
        let key = (format!("{op:?}"), inputs.to_vec());
        if let Some(v) = self.nodes.get(&key) {
            return *v;
        }
        let name = format!("{}/{}", self.prefix, op.name());
        let v = self.graph.add_value(op, &name, ty, self.origin.clone(), inputs);
        self.nodes.insert(key, v);
        v
    }

    fn push(&mut self, op: Prim, inputs: &[Value]) -> Value {
        let ty = op.infer(&[]).unwrap_or_else(|_| Tensor::scalar(0.0).ty());
        let name = format!("{}/{}", self.prefix, op.name());
        self.graph.add_value(op, &name, ty, self.origin.clone(), inputs)
    }

    /// Adds a constant.
    pub fn constant(&mut self, name: &str, t: Tensor) -> Value {
        let ty = t.ty();
        self.graph.add_value(Prim::Const(t), name, ty, self.origin.clone(), &[])
    }

    /// Adds a scalar constant with the element type of `like`; equal scalars are created once.
    pub fn scalar_like(&mut self, value: f64, like: Value) -> Value {
        let dtype = self.ty(like).dtype;
        let key = (format!("scalar {value} {dtype}"), vec![]);
        if let Some(v) = self.nodes.get(&key) {
            return *v;
        }
        let t = crate::tensor::Array::F(ndarray::arr0(value).into_dyn()).to_tensor(dtype);
        let v = self.constant(&format!("scalar_{value}"), t);
        self.nodes.insert(key, v);
        v
    }

    /// Returns whether no element of `x` can be negative for any input.
    pub fn is_non_negative(&self, x: Value) -> bool {
        super::sign::is_non_negative(&self.graph, x)
    }
}
