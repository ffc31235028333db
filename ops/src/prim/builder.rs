//! Builder of lowered graphs. Equal nodes are made once; the first error sticks, so formulas read as formulas. Methods that
//! build a primitive stand in its file.

use std::collections::HashMap;

use super::Prim;
use crate::OpError;
use crate::graph::{Graph, Origin, PrintOp, Value};
use crate::tensor::{Tensor, TensorType};

/// Builds a `Graph<Prim>`.
#[derive(Default)]
pub struct Builder {
    graph: Graph<Prim>,
    made: HashMap<(String, Vec<Value>), Value>,
    origin: Origin,
    prefix: String,
    error: Option<OpError>,
}

impl Builder {
    /// An empty program.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Goes on with a program.
    pub fn from_graph(graph: Graph<Prim>) -> Builder {
        Builder { graph, ..Builder::default() }
    }

    /// Nodes made from now on come from `origin`; their names begin with `prefix`.
    pub fn set_origin(&mut self, origin: &Origin, prefix: &str) {
        self.origin = origin.clone();
        self.prefix = prefix.to_string();
    }

    /// The first error since the last call, which this clears.
    ///
    /// # Errors
    /// That error.
    pub fn ok(&mut self) -> Result<(), OpError> {
        self.error.take().map_or(Ok(()), Err)
    }

    /// The graph so far.
    pub fn graph(&self) -> &Graph<Prim> {
        &self.graph
    }

    /// The finished graph.
    pub fn finish(self) -> Graph<Prim> {
        self.graph
    }

    /// Mutable access, for outputs and names.
    pub fn graph_mut(&mut self) -> &mut Graph<Prim> {
        &mut self.graph
    }

    /// The type of a value.
    pub fn ty(&self, v: Value) -> TensorType {
        self.graph.ty(v).clone()
    }

    /// A program input.
    pub fn input(&mut self, name: &str, ty: TensorType) -> Value {
        self.graph.add_input(Prim::Input, name, ty)
    }

    /// Records an error; the first one counts.
    pub fn fail(&mut self, error: OpError) {
        self.error.get_or_insert(error);
    }

    /// Adds a primitive. On a type error the first operand stands in for the result until [`Builder::ok`] is asked.
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
        if let Some(v) = self.made.get(&key) {
            return *v;
        }
        let name = format!("{}/{}", self.prefix, op.name());
        let v = self.graph.add_value(op, &name, ty, self.origin.clone(), inputs);
        self.made.insert(key, v);
        v
    }

    fn push(&mut self, op: Prim, inputs: &[Value]) -> Value {
        let ty = op.infer(&[]).unwrap_or_else(|_| Tensor::scalar(0.0).ty());
        let name = format!("{}/{}", self.prefix, op.name());
        self.graph.add_value(op, &name, ty, self.origin.clone(), inputs)
    }

    /// A constant.
    pub fn constant(&mut self, name: &str, t: Tensor) -> Value {
        let ty = t.ty();
        self.graph.add_value(Prim::Const(t), name, ty, self.origin.clone(), &[])
    }

    /// A scalar of `like`'s element type; equal scalars are made once.
    pub fn scalar_like(&mut self, value: f64, like: Value) -> Value {
        let dtype = self.ty(like).dtype;
        let key = (format!("scalar {value} {dtype}"), vec![]);
        if let Some(v) = self.made.get(&key) {
            return *v;
        }
        let t = crate::tensor::Array::F(ndarray::arr0(value).into_dyn()).to_tensor(dtype);
        let v = self.constant(&format!("scalar_{value}"), t);
        self.made.insert(key, v);
        v
    }

    /// Whether no element of `x` can be negative, whatever the inputs.
    pub fn is_non_negative(&self, x: Value) -> bool {
        super::sign::is_non_negative(&self.graph, x)
    }
}
