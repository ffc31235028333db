//! Builds a lowered graph. Equal nodes are made once; the first error sticks, so formulas read as formulas.

use crate::prim;
use std::collections::HashMap;

use super::{Binary, ConvGeometry, Part, Prim, Reduction, Unary, Window};
use crate::OpError;
use crate::graph::{Graph, Origin, PrintOp, Value};
use crate::tensor::{DType, Dim, Shape, Tensor, TensorType};

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
    pub fn over(graph: Graph<Prim>) -> Builder {
        Builder { graph, ..Builder::default() }
    }

    /// Nodes made from now on come from `origin`; their names begin with `prefix`.
    pub fn at(&mut self, origin: &Origin, prefix: &str) {
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

    /// An elementwise function.
    pub fn unary(&mut self, f: Unary, x: Value) -> Value {
        self.add(Prim::Unary(f), &[x])
    }

    /// `|x|`; the magnitude of a magnitude or of a value that cannot be negative is itself.
    pub fn abs(&mut self, x: Value) -> Value {
        if self.is_non_negative(x) { x } else { self.unary(Unary::Abs, x) }
    }

    /// Whether no element of `x` can be negative, whatever the inputs.
    pub fn is_non_negative(&self, x: Value) -> bool {
        super::sign::is_non_negative(&self.graph, x)
    }

    /// An elementwise function of two operands.
    pub fn binary(&mut self, f: Binary, a: Value, b: Value) -> Value {
        self.add(Prim::Binary(f), &[a, b])
    }

    /// `a + b`.
    pub fn plus(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Add, a, b)
    }

    /// `a - b`.
    pub fn minus(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Sub, a, b)
    }

    /// `a · b`, elementwise.
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Mul, a, b)
    }

    /// `factor · x`.
    pub fn scale(&mut self, x: Value, factor: f64) -> Value {
        let f = self.scalar_like(factor, x);
        self.mul(x, f)
    }

    /// `condition ? a : b`, elementwise.
    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Value {
        self.add(Prim::Select, &[condition, a, b])
    }

    /// `r / z`, 0 where `z` is 0.
    pub fn guarded_div(&mut self, r: Value, z: Value) -> Value {
        self.binary(Binary::GuardedDiv, r, z)
    }

    /// Matrix product of parts.
    pub fn matmul(&mut self, a: (Value, Part, bool), b: (Value, Part, bool)) -> Value {
        self.add(prim::MatMul { a: a.1, b: b.1, ta: a.2, tb: b.2 }, &[a.0, b.0])
    }

    /// Convolution with a part of `w`.
    pub fn conv(
        &mut self,
        geometry: &ConvGeometry,
        x: Value,
        w: Value,
        part: Part,
        bias: Option<Value>,
    ) -> Value {
        let inputs: Vec<Value> = [x, w].into_iter().chain(bias).collect();
        self.add(prim::Conv { geometry: geometry.clone(), w: part }, &inputs)
    }

    /// The adjoint of a convolution whose operand had spatial dimensions `to`.
    pub fn conv_transpose(
        &mut self,
        geometry: &ConvGeometry,
        s: Value,
        w: Value,
        part: Part,
        to: &[Dim],
    ) -> Value {
        self.add(prim::ConvTranspose { geometry: geometry.clone(), w: part, to: to.to_vec() }, &[s, w])
    }

    /// Sums of windows.
    pub fn window_sum(&mut self, window: &Window, x: Value) -> Value {
        self.add(prim::WindowSum(window.clone()), &[x])
    }

    /// Reduction.
    pub fn reduce(&mut self, kind: Reduction, x: Value, axes: &[usize], keep: bool) -> Value {
        if axes.is_empty() {
            return x;
        }
        self.add(prim::Reduce { kind, axes: axes.to_vec(), keep }, &[x])
    }

    /// The sum of all elements, a scalar.
    pub fn total(&mut self, x: Value) -> Value {
        let axes: Vec<usize> = (0..self.ty(x).rank()).collect();
        self.reduce(Reduction::Sum, x, &axes, false)
    }

    /// Another shape; no node when it is the same.
    pub fn reshape(&mut self, x: Value, to: &Shape) -> Value {
        if self.ty(x).shape == *to { x } else { self.add(prim::Reshape { to: to.clone() }, &[x]) }
    }

    /// A permutation of axes; no node for the identity.
    pub fn transpose(&mut self, x: Value, perm: &[usize]) -> Value {
        if perm.iter().enumerate().all(|(i, p)| i == *p) && perm.len() == self.ty(x).rank() {
            return x;
        }
        self.add(prim::Transpose { perm: perm.to_vec() }, &[x])
    }

    /// Broadcast to a shape; no node when it is the same.
    pub fn expand(&mut self, x: Value, to: &Shape) -> Value {
        if self.ty(x).shape == *to { x } else { self.add(prim::Expand { to: to.clone() }, &[x]) }
    }

    /// Conversion; no node when it is the same type.
    pub fn cast(&mut self, x: Value, to: DType) -> Value {
        if self.ty(x).dtype == to { x } else { self.add(prim::Cast { to }, &[x]) }
    }

    /// Undoes broadcasting: sums `r` over the axes along which a value of shape `to` was repeated.
    pub fn sum_to(&mut self, r: Value, to: &Shape) -> Value {
        let from = self.ty(r).shape;
        let lead = from.rank().saturating_sub(to.rank());
        let axes: Vec<usize> =
            (0..from.rank()).filter(|&i| i < lead || (to.0[i - lead].is(1) && !from.0[i].is(1))).collect();
        let r = self.reduce(Reduction::Sum, r, &axes, true);
        self.reshape(r, to)
    }
}
