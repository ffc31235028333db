//! Parts that the readers of `LSTM`, `GRU` and `RNN` share: operands, directions, lengths and layouts.
//!
//! A layer is read as one linear map of all elements at once (`x Wᵀ + b`) and a [`Scan`] whose step computes the rest.
//! A sequence that is shorter than the longest keeps its state after its end, and its results there are 0.

use super::quantise::rounded;
use super::read::Reading;
use super::{
    Activation, Add, Cast, Compare, Concat, Expand, Function, Linear, Mul, Op, Range, Reshape, Scan, Select,
};
use super::{Slice, Transpose};
use crate::OpError;
use crate::graph::{Body, Graph, Value};
use crate::prim::{Binary, Unary};
use crate::tensor::{DType, Dim, Shape, Tensor, TensorType};

/// Kind of recurrent layer.
pub(super) struct Kind {
    /// Number of blocks of rows in the weights.
    pub gates: usize,
    /// Number of states: 1 (hidden), or 2 (hidden and cell).
    pub states: usize,
    /// Default activations of one direction.
    pub activations: &'static [&'static str],
    /// Blocks whose recurrent bias stays in the recurrent product.
    pub recurrent_bias: std::ops::Range<usize>,
    /// True if each step rounds the hidden state to 8 bits before the recurrent product.
    pub rounds_state: bool,
    /// Builds the next state of a step.
    pub step: fn(&mut Step) -> Result<Value, OpError>,
}

/// Step of a layer that is being read.
pub(super) struct Step<'a> {
    /// Reading that adds to the step's graph.
    pub r: Reading<'a>,
    /// Hidden size.
    pub hidden: usize,
    /// States before the step: hidden, cell.
    pub states: Vec<Value>,
    /// Linear map of the element, `[batch, gates · hidden]`.
    pub x: Value,
    /// Recurrent weight of each block, `[hidden, hidden]`.
    pub recurrent: Vec<Value>,
    /// Bias of the recurrent product of the blocks in [`Kind::recurrent_bias`], `[hidden]`.
    pub bias: Option<Value>,
    /// Weights of the cell in the input, output and forget gate, `[3 hidden]`.
    peepholes: Option<Value>,
    /// Activations of the direction.
    pub functions: Vec<Function>,
    clip: Option<f32>,
}

impl Step<'_> {
    /// Returns block `i` of the element's linear map.
    pub fn input(&mut self, i: usize) -> Result<Value, OpError> {
        slice(&mut self.r, self.x, 1, i * self.hidden, self.hidden)
    }

    /// Builds `input(i) + state · recurrentᵀ`.
    pub fn sum(&mut self, i: usize, state: Value) -> Result<Value, OpError> {
        let x = self.input(i)?;
        let h = self.r.add(Linear { transposed: true }, &[state, self.recurrent[i]])?;
        self.r.add(Add, &[x, h])
    }

    /// Builds [`Step::sum`], clipped.
    pub fn gate(&mut self, i: usize, state: Value) -> Result<Value, OpError> {
        let sum = self.sum(i, state)?;
        self.clipped(sum)
    }

    /// Adds the cell times the weights of peephole `i`, if the layer has peepholes.
    pub fn add_peephole(&mut self, sum: Value, i: usize, cell: Value) -> Result<Value, OpError> {
        let Some(peepholes) = self.peepholes else { return Ok(sum) };
        let weights = slice(&mut self.r, peepholes, 0, i * self.hidden, self.hidden)?;
        let seen = self.r.add(Mul, &[cell, weights])?;
        self.r.add(Add, &[sum, seen])
    }

    /// Clips a value to the layer's bounds, if there are any.
    pub fn clipped(&mut self, x: Value) -> Result<Value, OpError> {
        match self.clip {
            Some(c) => self.activate(Function::Unary(Unary::Clip { min: Some(-c), max: Some(c) }), x),
            None => Ok(x),
        }
    }

    /// Adds `f(x)`.
    pub fn activate(&mut self, f: Function, x: Value) -> Result<Value, OpError> {
        self.r.add(Activation { f }, &[x])
    }

    /// Builds `1 - x`.
    pub fn complement(&mut self, x: Value) -> Result<Value, OpError> {
        let unit = self.r.add_scalar(1.0, self.r.ty(x).dtype);
        self.r.add(super::Sub, &[unit, x])
    }

    /// Names a value in printed graphs.
    pub fn name(&mut self, v: Value, name: &str) -> Value {
        self.r.graph.rename(v, name);
        v
    }
}

/// Returns elements `start .. start + len` along an axis.
fn slice(r: &mut Reading, x: Value, axis: usize, start: usize, len: usize) -> Result<Value, OpError> {
    if start == 0 && r.ty(x).dim(axis).is(len as i64) {
        return Ok(x);
    }
    let (start, len) = (Dim::known(start as i64), Dim::known(len as i64));
    r.add(Slice { axis, start, len, step: 1 }, &[x])
}

/// Reads a layer with operands X, W, R, B?, sequence_lens?, initial_h?, initial_c? and results Y, Y_h, Y_c.
pub(super) fn read(r: &mut Reading, kind: &Kind) -> Result<Vec<Value>, OpError> {
    let layer = Layer::read(r, kind)?;
    let reverse: &[bool] = match layer.direction.as_str() {
        "forward" => &[false],
        "reverse" => &[true],
        _ => &[false, true],
    };
    let (mut sequences, mut last) = (vec![], vec![vec![]; kind.states]);
    for (d, reverse) in reverse.iter().enumerate() {
        let states = layer.direction(r, kind, d, *reverse)?;
        let end = if *reverse { Dim::known(0) } else { &layer.time - &Dim::known(1) };
        let h = layer.hidden as i64;
        for (i, last) in last.iter_mut().enumerate() {
            let state = slice(r, states, 2, i * layer.hidden, layer.hidden)?;
            let at = Slice { axis: 0, start: end.clone(), len: Dim::known(1), step: 1 };
            last.push(r.add(at, &[state])?);
            if i == 0 {
                let mut y = state;
                if let Some(lengths) = layer.lengths {
                    let inside = layer.inside(r, lengths)?;
                    let zero = r.add_scalar(0.0, r.ty(y).dtype);
                    y = r.add(Select, &[inside, y, zero])?;
                }
                let to = vec![layer.time.clone(), Dim::known(1), layer.batch.clone(), Dim::known(h)];
                sequences.push(r.reshape(y, Shape(to))?);
            }
        }
    }
    let mut joined = |parts: &[Value], axis: usize, perm: &[usize]| -> Result<Value, OpError> {
        let all = if parts.len() == 1 { parts[0] } else { r.add(Concat { axis }, parts)? };
        if layer.batch_first { r.add(Transpose { perm: perm.to_vec() }, &[all]) } else { Ok(all) }
    };
    let mut results = vec![joined(&sequences, 1, &[2, 0, 1, 3])?];
    for last in &last {
        results.push(joined(last, 0, &[1, 0, 2])?);
    }
    Ok(results)
}

/// Inputs of a step's graph.
struct StepInputs {
    /// States before the step side by side, `[batch, states · hidden]`.
    state: Value,
    /// Linear map of the element, `[batch, gates · hidden]`.
    x: Value,
    /// Recurrent weight of each block, `[hidden, hidden]`.
    recurrent: Vec<Value>,
    /// Bias of the recurrent product, `[hidden]`.
    bias: Option<Value>,
    /// Weights of the peepholes, `[3 hidden]`.
    peepholes: Option<Value>,
    /// Index of the step, a scalar, and the sequences' lengths, `[batch]`.
    timing: Option<(Value, Value)>,
}

/// Operands and attributes of a layer.
struct Layer {
    direction: String,
    hidden: usize,
    time: Dim,
    batch: Dim,
    batch_first: bool,
    /// Sequences, `[time, batch, features]`.
    x: Value,
    w: Value,
    r: Value,
    b: Option<Value>,
    /// Weights of the peepholes, `[directions, 3 hidden]`.
    peepholes: Option<Value>,
    /// Length of each sequence, int64 `[batch]`.
    lengths: Option<Value>,
    /// Initial states (hidden, cell), `[directions, batch, hidden]`.
    initial: Vec<Option<Value>>,
    /// Activations of all directions, one direction after another.
    functions: Vec<Function>,
    clip: Option<f32>,
}

impl Layer {
    fn read(r: &mut Reading, kind: &Kind) -> Result<Layer, OpError> {
        let (mut x, w, recurrent, b) = (r.input(0)?, r.input(1)?, r.input(2)?, r.optional(3));
        let direction = r.string_or("direction", "forward")?;
        let directions: i64 = match direction.as_str() {
            "forward" | "reverse" => 1,
            "bidirectional" => 2,
            other => {
                return Err(OpError::mismatch(
                    "direction",
                    "forward, reverse or bidirectional",
                    format!("{other:?}"),
                ));
            }
        };
        let rank = |r: &Reading, v: Value, property: &str, rank: usize| match r.ty(v).rank() {
            actual if actual == rank => Ok(()),
            actual => Err(OpError::mismatch(property, rank, actual)),
        };
        rank(r, x, "rank of X", 3)?;
        rank(r, w, "rank of W", 3)?;
        rank(r, recurrent, "rank of R", 3)?;
        let columns = r.ty(recurrent).dim(2).as_known().and_then(|h| usize::try_from(h).ok()).unwrap_or(0);
        let hidden = r.int("hidden_size")?.map_or(Some(columns), |h| usize::try_from(h).ok()).unwrap_or(0);
        if hidden == 0 {
            return Err(OpError::mismatch("hidden_size", "at least 1", hidden));
        }
        let batch_first = r.flag("layout", false)?;
        if batch_first {
            x = r.add(Transpose { perm: vec![1, 0, 2] }, &[x])?;
        }
        let shape = r.ty(x).shape.0;
        let rows = Dim::known((kind.gates * hidden) as i64);
        let (d, h) = (Dim::known(directions), Dim::known(hidden as i64));
        let expect = |r: &Reading, v: Value, property: &str, dims: Vec<Dim>| match r.ty(v).shape {
            actual if actual.0 == dims => Ok(()),
            actual => Err(OpError::shapes(property, &Shape(dims), &actual)),
        };
        expect(r, w, "shape of W", vec![d.clone(), rows.clone(), shape[2].clone()])?;
        expect(r, recurrent, "shape of R", vec![d.clone(), rows.clone(), h.clone()])?;
        // Only layers with a cell have an eighth operand.
        let peepholes = r.optional(7).filter(|_| kind.states == 2);
        for v in [Some(w), Some(recurrent), b, peepholes].into_iter().flatten() {
            if r.constant(v).is_none() {
                return Err(OpError::unsupported("W, R, B and P", "constants", "a computed tensor"));
            }
        }
        if let Some(b) = b {
            expect(r, b, "shape of B", vec![d.clone(), &rows * &Dim::known(2)])?;
        }
        if let Some(p) = peepholes {
            expect(r, p, "shape of P", vec![d.clone(), &h * &Dim::known(3)])?;
        }
        let mut lengths = r.optional(4);
        if let Some(l) = lengths {
            expect(r, l, "shape of sequence_lens", vec![shape[1].clone()])?;
            lengths = Some(r.add(Cast { to: DType::I64 }, &[l])?);
        }
        let mut initial = vec![];
        for i in 0..kind.states {
            let mut v = r.optional(5 + i);
            if let Some(state) = v {
                if batch_first {
                    rank(r, state, "rank of an initial state", 3)?;
                    v = Some(r.add(Transpose { perm: vec![1, 0, 2] }, &[state])?);
                }
                let dims = vec![d.clone(), shape[1].clone(), h.clone()];
                expect(r, v.unwrap_or(state), "shape of an initial state", dims)?;
            }
            initial.push(v);
        }
        let functions = functions(r, kind, directions as usize)?;
        let clip = r.float("clip")?;
        let (time, batch) = (shape[0].clone(), shape[1].clone());
        Ok(Layer {
            direction,
            hidden,
            time,
            batch,
            batch_first,
            x,
            w,
            r: recurrent,
            b,
            peepholes,
            lengths,
            initial,
            functions,
            clip,
        })
    }

    /// Builds the states after each step of direction `d`, `[time, batch, states · hidden]`.
    fn direction(&self, r: &mut Reading, kind: &Kind, d: usize, reverse: bool) -> Result<Value, OpError> {
        let (h, gates) = (self.hidden, kind.gates);
        let rows = gates * h;
        let block = |r: &mut Reading, v: Value, to: &[usize]| -> Result<Value, OpError> {
            let v = slice(r, v, 0, d, 1)?;
            let to = to.iter().map(|n| Dim::known(*n as i64)).collect();
            r.reshape(v, to)
        };
        let features = r.ty(self.w).dim(2).as_known().unwrap_or(0) as usize;
        let w = block(r, self.w, &[rows, features])?;
        let mut operands = vec![self.x, w];
        let mut recurrent_bias = None;
        if let Some(b) = self.b {
            let both = block(r, b, &[2, rows])?;
            let biases = r.constant(both).map(|t| t.to_f32()).unwrap_or_default();
            let (input, recurrent) = biases.split_at(rows);
            let separate = kind.recurrent_bias.start * h..kind.recurrent_bias.end * h;
            let sum = |i: usize| if separate.contains(&i) { input[i] } else { input[i] + recurrent[i] };
            let sums: Vec<f32> = (0..rows).map(sum).collect();
            operands.push(r.add_constant(Tensor::from_f32(&[rows], &sums)));
            if !separate.is_empty() {
                recurrent_bias =
                    Some(r.add_constant(Tensor::from_f32(&[separate.len()], &recurrent[separate.clone()])));
            }
        }
        let x = r.add(Linear { transposed: true }, &operands)?;
        let title = r.origin.names();
        let direction = if reverse { "backward" } else { "forward" };
        r.graph.rename(x, &format!("{title}/{direction}/elements"));
        let recurrent = block(r, self.r, &[rows, h])?;
        let mut blocks = vec![];
        for i in 0..gates {
            blocks.push(slice(r, recurrent, 0, i * h, h)?);
        }
        let state = self.initial_state(r, d, kind.states)?;

        let mut graph = Graph::default();
        let mut input = |name: &str, ty: TensorType| graph.add_input(Op::Input, name, ty);
        let element = |r: &Reading, v: Value| {
            let ty = r.ty(v);
            ty.with_shape(ty.shape.0[1..].to_vec())
        };
        let mut operands = vec![state, x];
        let mut inputs = vec![input("state", r.ty(state)), input("x", element(r, x))];
        let mut timing = None;
        if let Some(lengths) = self.lengths {
            let time = r.add(Range { start: Dim::known(0), step: 1, len: self.time.clone() }, &[])?;
            timing = Some((input("time", element(r, time)), lengths));
            operands.push(time);
            inputs.extend(timing.map(|(time, _)| time));
        }
        let sequences = operands.len() - 1;
        let names: Vec<String> = (0..gates).map(|i| format!("recurrent_{i}")).collect();
        let weights: Vec<Value> = blocks.iter().zip(&names).map(|(v, name)| input(name, r.ty(*v))).collect();
        operands.extend(&blocks);
        inputs.extend(&weights);
        let bias = recurrent_bias.map(|v| input("recurrent_bias", r.ty(v)));
        operands.extend(recurrent_bias);
        inputs.extend(bias);
        let mut peepholes = None;
        if let Some(p) = self.peepholes {
            let p = block(r, p, &[3 * h])?;
            peepholes = Some(input("peepholes", r.ty(p)));
            operands.push(p);
            inputs.extend(peepholes);
        }
        let timing = timing.map(|(time, lengths)| {
            let step_lengths = input("lengths", r.ty(lengths));
            operands.push(lengths);
            inputs.push(step_lengths);
            (time, step_lengths)
        });
        let step_inputs =
            StepInputs { state: inputs[0], x: inputs[1], recurrent: weights, bias, peepholes, timing };
        let next = self.step(r.within(&mut graph), kind, d, step_inputs)?;
        graph.add_output("next", next);
        let states = r.add(Scan { body: Body::new(graph), sequences, reverse }, &operands)?;
        r.graph.rename(states, &format!("{title}/{direction}/states"));
        Ok(states)
    }

    /// Builds the next state of direction `d` in the step's graph.
    fn step(&self, r: Reading, kind: &Kind, d: usize, inputs: StepInputs) -> Result<Value, OpError> {
        let count = kind.activations.len();
        let mut step = Step {
            r,
            hidden: self.hidden,
            states: vec![],
            x: inputs.x,
            recurrent: inputs.recurrent,
            bias: inputs.bias,
            peepholes: inputs.peepholes,
            functions: self.functions[d * count..][..count].to_vec(),
            clip: self.clip,
        };
        for i in 0..kind.states {
            let state = slice(&mut step.r, inputs.state, 1, i * self.hidden, self.hidden)?;
            step.states.push(state);
        }
        if kind.rounds_state {
            step.states[0] = rounded(&mut step.r, step.states[0])?;
        }
        let next = (kind.step)(&mut step)?;
        let Some((time, lengths)) = inputs.timing else { return Ok(next) };
        let r = &mut step.r;
        let inside = r.add(Compare { f: Some(Binary::Less), swap: false }, &[time, lengths])?;
        let inside = r.add(Reshape { to: Shape(vec![self.batch.clone(), Dim::known(1)]) }, &[inside])?;
        r.add(Select, &[inside, next, inputs.state])
    }

    /// Builds the state before the first step, `[batch, states · hidden]`.
    fn initial_state(&self, r: &mut Reading, d: usize, states: usize) -> Result<Value, OpError> {
        let shape = Shape(vec![self.batch.clone(), Dim::known(self.hidden as i64)]);
        let mut parts = vec![];
        for state in &self.initial {
            parts.push(match state {
                Some(v) => {
                    let v = slice(r, *v, 0, d, 1)?;
                    r.reshape(v, shape.clone())?
                }
                None => {
                    let zero = r.add_constant(Tensor::from_f32(&[1, 1], &[0.0]));
                    r.add(Expand { to: shape.clone() }, &[zero])?
                }
            });
        }
        if states == 1 { Ok(parts[0]) } else { r.add(Concat { axis: 1 }, &parts) }
    }

    /// Builds the mask of the results inside of their sequence, `[time, batch, 1]`.
    fn inside(&self, r: &mut Reading, lengths: Value) -> Result<Value, OpError> {
        let time = r.add(Range { start: Dim::known(0), step: 1, len: self.time.clone() }, &[])?;
        let time = r.reshape(time, Shape(vec![self.time.clone(), Dim::known(1)]))?;
        let inside = r.add(Compare { f: Some(Binary::Less), swap: false }, &[time, lengths])?;
        r.reshape(inside, Shape(vec![self.time.clone(), self.batch.clone(), Dim::known(1)]))
    }
}

/// Names of the activations that [`functions`] reads, for a message.
const ACTIVATIONS: &str = "Relu, Tanh, Sigmoid, Softsign, Softplus, LeakyRelu, Elu or HardSigmoid";

/// Reads the activations of all directions, with their parameters.
fn functions(r: &Reading, kind: &Kind, directions: usize) -> Result<Vec<Function>, OpError> {
    let count = kind.activations.len() * directions;
    let defaults = || kind.activations.iter().cycle().take(count).map(ToString::to_string).collect();
    let names: Vec<String> = r.strings("activations")?.unwrap_or_else(defaults);
    if names.len() != count {
        return Err(OpError::mismatch("activations", count, names.len()));
    }
    let mut alphas = r.floats("activation_alpha")?.unwrap_or_default().into_iter();
    let mut betas = r.floats("activation_beta")?.unwrap_or_default().into_iter();
    let mut function = |name: &String| {
        // ONNX compares the names case-insensitively.
        let f = match name.to_ascii_lowercase().as_str() {
            "relu" => Unary::Relu,
            "tanh" => Unary::Tanh,
            "sigmoid" => Unary::Sigmoid,
            "softsign" => Unary::Softsign,
            "softplus" => Unary::Softplus,
            "leakyrelu" => Unary::LeakyRelu { alpha: alphas.next().unwrap_or(0.01) },
            "elu" => Unary::Elu { alpha: alphas.next().unwrap_or(1.0) },
            "hardsigmoid" => {
                Unary::HardSigmoid { alpha: alphas.next().unwrap_or(0.2), beta: betas.next().unwrap_or(0.5) }
            }
            _ => return Err(OpError::unsupported("activations", ACTIVATIONS, format!("{name:?}"))),
        };
        Ok(Function::Unary(f))
    };
    names.iter().map(&mut function).collect()
}
