//! Integrated gradients as one program: the batch has a row for each quadrature point of each original row.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dlbc_ops::graph::{Graph, Node, NodeId, Value};
use dlbc_ops::prim::{self, Binary, Prim, Reduction};
use dlbc_ops::program::{Baseline, Info, Output, TrackKind};
use dlbc_ops::quadrature::gauss_legendre;
use dlbc_ops::tensor::{Array, Dim, Shape, Tensor};
use ndarray::ArrayD;

use crate::prim_builder::PrimBuilder;

/// Quadrature, baseline and starting relevance of integrated gradients in an exported model.
pub(crate) struct Quadrature<'a> {
    /// Number of quadrature points, which are those of Gauss and Legendre on `[0, 1]`.
    pub points: usize,
    /// Baseline: the point at which the line to the inputs begins.
    pub baseline: Baseline,
    /// Symbol of the batch, the first dimension of every input.
    pub batch: &'a Arc<str>,
    /// Seed of the original rows.
    pub seed: Value,
    /// For each input that the model itself normalises, the value that it maps to 0.
    pub baselines: &'a HashMap<String, Value>,
}

/// Replaces the derivatives at the inputs, the outputs `relevance/NAME` of `graph`, by their mean over the straight line
/// from the baseline to the inputs, multiplied by the difference of input and baseline.
///
/// # Errors
/// When a primitive does not fit the enlarged batch; programs of derivatives by float inputs do.
pub(crate) fn integrate(graph: &mut Graph<Prim>, info: &Info, quadrature: &Quadrature) -> Result<(), String> {
    let mut rows = Rows { graph, quadrature };
    let mut copies: HashMap<Value, Value> = HashMap::new();
    let mut differences: HashMap<Output, Value> = HashMap::new();
    for input in &info.inputs {
        let Some(x) = rows.input(&input.name) else { continue };
        let points = if input.explained {
            let (difference, points) = rows.points_on_line(&input.name, x)?;
            differences.insert(Output::relevance(TrackKind::Single, input.name.as_str()), difference);
            points
        } else {
            rows.repeat(x)?
        };
        copies.insert(x, points);
    }
    let seed = rows.repeat(quadrature.seed)?;
    copies.insert(quadrature.seed, seed);
    let derivatives: Vec<(Output, Value)> = rows.graph.outputs().to_vec();
    let sources = derivatives.iter().filter(|(name, _)| differences.contains_key(name)).map(|(_, v)| *v);
    rows.copy(sources.collect(), &mut copies)?;
    let mut outputs = vec![];
    for (name, v) in derivatives {
        let Some(difference) = differences.get(&name) else {
            outputs.push((name, v));
            continue;
        };
        let mean = rows.weighted_mean(copies.get(&v).copied().unwrap_or(v), v)?;
        let product = rows.b().add(Prim::Binary(Binary::Mul), &[mean, *difference])?;
        outputs.push((name, product));
    }
    rows.graph.set_outputs(outputs);
    Ok(())
}

/// A program under extension to a row for each quadrature point.
struct Rows<'a> {
    graph: &'a mut Graph<Prim>,
    quadrature: &'a Quadrature<'a>,
}

impl Rows<'_> {
    /// A builder of primitives in the graph.
    fn b(&mut self) -> PrimBuilder<'_> {
        PrimBuilder { graph: self.graph }
    }

    /// Returns the value of a program input.
    fn input(&self, name: &str) -> Option<Value> {
        let node = self.graph.inputs().iter().find(|id| self.graph.node(**id).name() == name)?;
        Some(Value { node: *node, slot: 0 })
    }

    /// Multiplies the batch symbol in a dimension by the number of points.
    fn enlarge(&self, dim: &Dim) -> Dim {
        let rows = &Dim::known(self.quadrature.points as i64) * &Dim::symbol(self.quadrature.batch);
        dim.replace(&|symbol| (symbol == &**self.quadrature.batch).then(|| rows.clone()))
    }

    fn enlarge_shape(&self, shape: &Shape) -> Shape {
        shape.0.iter().map(|dim| self.enlarge(dim)).collect()
    }

    /// Returns the difference of an input and its baseline, `[row, …]`, and the input at every point, `[point · row, …]`.
    fn points_on_line(&mut self, name: &str, x: Value) -> Result<(Value, Value), String> {
        let ty = self.graph.ty(x).clone();
        let baseline = match (self.quadrature.baseline, self.quadrature.baselines.get(name)) {
            (Baseline::Scaler, Some(scaled)) => *scaled,
            _ => self.baseline(x)?,
        };
        let difference = self.b().add(Prim::Binary(Binary::Sub), &[x, baseline])?;
        let shape = prepend_axis(1, &ty.shape);
        let [x, line] = [x, difference].map(|v| self.b().add(prim::Reshape { to: shape.clone() }, &[v]));
        // The point at t is computed from the input: x - (1 - t)(x - baseline).
        let points = gauss_legendre(self.quadrature.points);
        let factors: Vec<f64> = points.iter().map(|(t, _)| 1.0 - t).collect();
        let factors = self.column(&factors, shape.rank(), ty.dtype);
        let shift = self.b().add(Prim::Binary(Binary::Mul), &[line?, factors])?;
        let points = self.b().add(Prim::Binary(Binary::Sub), &[x?, shift])?;
        let to = self.enlarge_shape(&ty.shape);
        Ok((difference, self.b().add(prim::Reshape { to }, &[points])?))
    }

    /// Returns the baseline of an input, of a shape that broadcasts to the input's.
    fn baseline(&mut self, x: Value) -> Result<Value, String> {
        let ty = self.graph.ty(x).clone();
        let axes: Vec<usize> = (1..ty.rank()).collect();
        let reduced =
            |rows: &mut Self, kind| rows.b().add(prim::Reduce { kind, axes: axes.clone(), keep: true }, &[x]);
        match self.quadrature.baseline {
            Baseline::Value(value) => Ok(self.b().scalar(ty.dtype, value)),
            Baseline::Scaler => Ok(self.b().scalar(ty.dtype, 0.0)),
            Baseline::Smallest => reduced(self, Reduction::Min),
            Baseline::Largest => reduced(self, Reduction::Max),
            Baseline::Mean => {
                let sum = reduced(self, Reduction::Sum)?;
                let count = ty.shape.0.iter().skip(1).fold(Dim::known(1), |n, d| &n * d);
                let count = self.b().add(prim::Dims { dims: vec![], values: vec![count] }, &[])?;
                let count = self.b().add(prim::Cast { to: ty.dtype }, &[count])?;
                self.b().add(Prim::Binary(Binary::Div), &[sum, count])
            }
        }
    }

    /// Repeats the rows of a value for every point: `[point · row, …]`. A value without batch axis stays.
    fn repeat(&mut self, v: Value) -> Result<Value, String> {
        let shape = self.graph.ty(v).shape.clone();
        if shape.0.first() != Some(&Dim::symbol(self.quadrature.batch)) {
            return Ok(v);
        }
        let v = self.b().add(prim::Reshape { to: prepend_axis(1, &shape) }, &[v])?;
        let repeated = prepend_axis(self.quadrature.points as i64, &shape);
        let v = self.b().add(prim::Expand { to: repeated }, &[v])?;
        let to = self.enlarge_shape(&shape);
        self.b().add(prim::Reshape { to }, &[v])
    }

    /// Returns the mean over the points, weighted by the quadrature, of a value `[point · row, …]`; `like` has the shape of the
    /// result.
    fn weighted_mean(&mut self, v: Value, like: Value) -> Result<Value, String> {
        let ty = self.graph.ty(like).clone();
        let by_point = prepend_axis(self.quadrature.points as i64, &ty.shape);
        let rank = by_point.rank();
        let v = self.b().add(prim::Reshape { to: by_point }, &[v])?;
        let weights: Vec<f64> =
            gauss_legendre(self.quadrature.points).iter().map(|(_, weight)| *weight).collect();
        let weights = self.column(&weights, rank, ty.dtype);
        let v = self.b().add(Prim::Binary(Binary::Mul), &[v, weights])?;
        self.b().add(prim::Reduce { kind: Reduction::Sum, axes: vec![0], keep: false }, &[v])
    }

    /// Adds a constant of `rank` axes with these numbers along the first.
    fn column(&mut self, values: &[f64], rank: usize, dtype: dlbc_ops::tensor::DType) -> Value {
        let mut dims = vec![1; rank];
        dims[0] = values.len();
        let array = ArrayD::from_shape_fn(dims, |i| values[i[0]]);
        let tensor: Tensor = Array::F(array).to_tensor(dtype);
        self.b().constant(tensor)
    }

    /// Adds to `copies` an enlarged copy of each node that `sources` depend on. Nodes without batch axis are not copied.
    fn copy(&mut self, sources: Vec<Value>, copies: &mut HashMap<Value, Value>) -> Result<(), String> {
        let mut needed: HashSet<NodeId> = HashSet::new();
        let mut stack: Vec<Value> = sources;
        while let Some(v) = stack.pop() {
            if !copies.contains_key(&v) && needed.insert(v.node) {
                stack.extend(self.graph.node_inputs(v.node));
            }
        }
        let order: Vec<NodeId> =
            self.graph.topological().into_iter().filter(|id| needed.contains(id)).collect();
        for id in order {
            let inputs = self.graph.node_inputs(id);
            let mut has_rows = inputs.iter().any(|v| copies.contains_key(v));
            self.graph.symbols(id, &mut |symbol| has_rows |= symbol == self.quadrature.batch);
            if !has_rows {
                continue;
            }
            let node: Node<Prim> = self.graph.node(id).clone();
            if matches!(node.op, Prim::Input) {
                return Err(format!("input {}: expected one with rows of the batch", node.name()));
            }
            let op = node.op.replace(&|symbol| {
                (symbol == &**self.quadrature.batch)
                    .then(|| &Dim::known(self.quadrature.points as i64) * &Dim::symbol(self.quadrature.batch))
            });
            let types = node.types.iter().map(|ty| ty.with_shape(self.enlarge_shape(&ty.shape))).collect();
            let names = node.names.iter().map(|name| format!("{name}/points")).collect();
            let inputs: Vec<Value> = inputs.iter().map(|v| copies.get(v).copied().unwrap_or(*v)).collect();
            let copy = self.graph.add(Node { op, names, types, origin: node.origin }, &inputs);
            for slot in 0..node.names.len() {
                copies.insert(Value { node: id, slot }, Value { node: copy, slot });
            }
        }
        Ok(())
    }
}

/// Prepends an axis of `count` elements to a shape.
fn prepend_axis(count: i64, shape: &Shape) -> Shape {
    Shape([vec![Dim::known(count)], shape.0.clone()].concat())
}
