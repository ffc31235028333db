//! Integrated gradients as one program: the points of the quadrature are rows of a batch.

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
    /// Points of the quadrature.
    pub steps: usize,
    /// The start of the line to the inputs.
    pub baseline: Baseline,
    /// The symbol of the batch: the first dimension of every input.
    pub batch: &'a Arc<str>,
    /// The starting relevance, which is that of the inputs as they are.
    pub seed: Value,
    /// The inputs that the model's own normalisation maps to 0, by the name of the input.
    pub scaled: &'a HashMap<String, Value>,
}

/// Replaces the derivatives at the inputs, the outputs `relevance/NAME` of `graph`, by their mean over the straight line
/// from the baseline to the inputs, times their difference.
///
/// # Errors
/// Never for a program of derivatives by float inputs.
pub(crate) fn integrate(graph: &mut Graph<Prim>, info: &Info, quadrature: &Quadrature) -> Result<(), String> {
    let mut rows = Rows { graph, quadrature };
    let mut copies: HashMap<Value, Value> = HashMap::new();
    let mut differences: HashMap<Output, Value> = HashMap::new();
    for input in &info.inputs {
        let Some(x) = rows.input(&input.name) else { continue };
        let moved = if input.explained {
            let (difference, moved) = rows.moved(&input.name, x)?;
            differences.insert(Output::relevance(TrackKind::Single, input.name.as_str()), difference);
            moved
        } else {
            rows.tiled(x)?
        };
        copies.insert(x, moved);
    }
    let tiled = rows.tiled(quadrature.seed)?;
    copies.insert(quadrature.seed, tiled);
    let derivatives: Vec<(Output, Value)> = rows.graph.outputs().to_vec();
    let sources = derivatives.iter().filter(|(name, _)| differences.contains_key(name)).map(|(_, v)| *v);
    rows.copy(sources.collect(), &mut copies)?;
    let mut outputs = vec![];
    for (name, v) in derivatives {
        let Some(difference) = differences.get(&name) else {
            outputs.push((name, v));
            continue;
        };
        let mean = rows.mean(copies.get(&v).copied().unwrap_or(v), v)?;
        let product = rows.steps().add(Prim::Binary(Binary::Mul), &[mean, *difference])?;
        outputs.push((name, product));
    }
    rows.graph.set_outputs(outputs);
    Ok(())
}

struct Rows<'a> {
    graph: &'a mut Graph<Prim>,
    quadrature: &'a Quadrature<'a>,
}

impl Rows<'_> {
    fn steps(&mut self) -> PrimBuilder<'_> {
        PrimBuilder { graph: self.graph }
    }

    fn input(&self, name: &str) -> Option<Value> {
        let node = self.graph.inputs().iter().find(|id| self.graph.node(**id).name() == name)?;
        Some(Value { node: *node, slot: 0 })
    }

    /// A dimension of as many rows as there are points and rows of the batch.
    fn wide(&self, dim: &Dim) -> Dim {
        let rows = &Dim::known(self.quadrature.steps as i64) * &Dim::symbol(self.quadrature.batch);
        dim.replace(&|symbol| (symbol == &**self.quadrature.batch).then(|| rows.clone()))
    }

    fn wide_shape(&self, shape: &Shape) -> Shape {
        shape.0.iter().map(|dim| self.wide(dim)).collect()
    }

    /// The difference of an input and its baseline, and the input at every point, `[point · row, …]`.
    fn moved(&mut self, name: &str, x: Value) -> Result<(Value, Value), String> {
        let ty = self.graph.ty(x).clone();
        let baseline = match (self.quadrature.baseline, self.quadrature.scaled.get(name)) {
            (Baseline::Scaler, Some(scaled)) => *scaled,
            _ => self.baseline(x)?,
        };
        let difference = self.steps().add(Prim::Binary(Binary::Sub), &[x, baseline])?;
        let lead = lead(1, &ty.shape);
        let [x, line] = [x, difference].map(|v| self.steps().add(prim::Reshape { to: lead.clone() }, &[v]));
        // From the input back: x - (1 - at)(x - baseline).
        let points = gauss_legendre(self.quadrature.steps);
        let back: Vec<f64> = points.iter().map(|(at, _)| 1.0 - at).collect();
        let back = self.column(&back, lead.rank(), ty.dtype);
        let shift = self.steps().add(Prim::Binary(Binary::Mul), &[line?, back])?;
        let moved = self.steps().add(Prim::Binary(Binary::Sub), &[x?, shift])?;
        let to = self.wide_shape(&ty.shape);
        Ok((difference, self.steps().add(prim::Reshape { to }, &[moved])?))
    }

    /// The start of the line, of a shape that broadcasts to the input's.
    fn baseline(&mut self, x: Value) -> Result<Value, String> {
        let ty = self.graph.ty(x).clone();
        let axes: Vec<usize> = (1..ty.rank()).collect();
        let reduced = |rows: &mut Self, kind| {
            rows.steps().add(prim::Reduce { kind, axes: axes.clone(), keep: true }, &[x])
        };
        match self.quadrature.baseline {
            Baseline::Value(value) => Ok(self.steps().scalar(ty.dtype, value)),
            Baseline::Scaler => Ok(self.steps().scalar(ty.dtype, 0.0)),
            Baseline::Smallest => reduced(self, Reduction::Min),
            Baseline::Largest => reduced(self, Reduction::Max),
            Baseline::Mean => {
                let sum = reduced(self, Reduction::Sum)?;
                let count = ty.shape.0.iter().skip(1).fold(Dim::known(1), |n, d| &n * d);
                let count = self.steps().add(prim::Dims { dims: vec![], values: vec![count] }, &[])?;
                let count = self.steps().add(prim::Cast { to: ty.dtype }, &[count])?;
                self.steps().add(Prim::Binary(Binary::Div), &[sum, count])
            }
        }
    }

    /// A value of each row, repeated for every point: `[point · row, …]`.
    fn tiled(&mut self, v: Value) -> Result<Value, String> {
        let shape = self.graph.ty(v).shape.clone();
        if shape.0.first() != Some(&Dim::symbol(self.quadrature.batch)) {
            return Ok(v);
        }
        let lead = lead(1, &shape);
        let v = self.steps().add(prim::Reshape { to: lead }, &[v])?;
        let repeated = self::lead(self.quadrature.steps as i64, &shape);
        let v = self.steps().add(prim::Expand { to: repeated }, &[v])?;
        let to = self.wide_shape(&shape);
        self.steps().add(prim::Reshape { to }, &[v])
    }

    /// The weighted mean over the points of what was made for all of them; `like` has the shape of a result.
    fn mean(&mut self, v: Value, like: Value) -> Result<Value, String> {
        let ty = self.graph.ty(like).clone();
        let apart = lead(self.quadrature.steps as i64, &ty.shape);
        let rank = apart.rank();
        let v = self.steps().add(prim::Reshape { to: apart }, &[v])?;
        let weights: Vec<f64> =
            gauss_legendre(self.quadrature.steps).iter().map(|(_, weight)| *weight).collect();
        let weights = self.column(&weights, rank, ty.dtype);
        let v = self.steps().add(Prim::Binary(Binary::Mul), &[v, weights])?;
        self.steps().add(prim::Reduce { kind: Reduction::Sum, axes: vec![0], keep: false }, &[v])
    }

    /// Numbers along the first of several axes.
    fn column(&mut self, values: &[f64], rank: usize, dtype: dlbc_ops::tensor::DType) -> Value {
        let mut dims = vec![1; rank];
        dims[0] = values.len();
        let array = ArrayD::from_shape_fn(dims, |i| values[i[0]]);
        let tensor: Tensor = Array::F(array).to_tensor(dtype);
        self.steps().constant(tensor)
    }

    /// Adds to `copies` what `sources` are made by, with all rows; what no row has a part in stays as it is.
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
            let mut widened = inputs.iter().any(|v| copies.contains_key(v));
            self.graph.symbols(id, &mut |symbol| widened |= symbol == self.quadrature.batch);
            if !widened {
                continue;
            }
            let node: Node<Prim> = self.graph.node(id).clone();
            if matches!(node.op, Prim::Input) {
                return Err(format!("input {} has no rows", node.name()));
            }
            let op = node.op.replace(&|symbol| {
                (symbol == &**self.quadrature.batch)
                    .then(|| &Dim::known(self.quadrature.steps as i64) * &Dim::symbol(self.quadrature.batch))
            });
            let types = node.types.iter().map(|ty| ty.with_shape(self.wide_shape(&ty.shape))).collect();
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

fn lead(count: i64, shape: &Shape) -> Shape {
    Shape([vec![Dim::known(count)], shape.0.clone()].concat())
}
