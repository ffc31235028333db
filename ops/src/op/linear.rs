//! Linear layer: `y = x · W + b` or `y = x · Wᵀ + b`.
//!
//! Reads ONNX `Gemm`, and `MatMul` with a constant right matrix. Shapes: x `[…, in]`, W `[in, out]` or `[out, in]` as
//! in the file, b `[out]` (optional), y `[…, out]`.

use super::Operator;
use super::read::{Reader, Reading};
use super::role::{LinearMap, Role, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Builder, Factor, Transform};
use crate::tensor::{Dim, Shape};

/// Linear layer. Operands: x, W, b (optional).
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// True if the weight is stored as `[out, in]`.
    pub transposed: bool,
}

impl Linear {
    /// Returns the weights as a factor of `[input, output]`.
    fn weights(&self, w: Value, transform: Transform) -> Factor {
        Factor::transformed(w, transform).transpose_if(self.transposed)
    }
}

impl Operator for Linear {
    fn attributes(&self) -> String {
        if self.transposed { " w=[out,in]".into() } else { String::new() }
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let y = product(b, inputs[0], self.weights(inputs[1], Transform::Id));
        vec![match inputs.get(2) {
            Some(bias) => b.plus(y, *bias),
            None => y,
        }]
    }

    fn role(&self, live: &[bool]) -> Role<'_> {
        if live.get(1) == Some(&true) { Role::NoRelevance } else { Role::Linear(self) }
    }
}

impl LinearMap for Linear {
    fn has_weight(&self) -> bool {
        true
    }

    fn apply(&self, b: &mut Builder, site: &Site, x: Value, transform: Transform) -> Value {
        product(b, x, self.weights(site.inputs[1], transform))
    }

    fn transpose(&self, b: &mut Builder, site: &Site, s: Value, transform: Transform) -> Value {
        product(b, s, self.weights(site.inputs[1], transform).transpose())
    }

    fn bias(&self, _: &mut Builder, site: &Site) -> Option<Value> {
        site.inputs.get(2).copied()
    }
}

/// Builds `x · W` for any number of leading axes of `x`.
fn product(b: &mut Builder, x: Value, w: Factor) -> Value {
    let shape = b.ty(x).shape;
    // Leading axes are merged: engines compute products of two matrices fastest.
    let matrix = if shape.rank() == 2 {
        x
    } else {
        let rows = shape.0[..shape.rank().saturating_sub(1)].iter().fold(Dim::known(1), |n, d| &n * d);
        b.reshape(x, &Shape(vec![rows, shape.0.last().cloned().unwrap_or_default()]))
    };
    let y = b.matmul(matrix, w);
    let mut to = shape;
    if let Some(last) = to.0.last_mut() {
        *last = b.ty(y).dim(1).clone();
    }
    b.reshape(y, &to)
}

/// Returns the reader of `Gemm`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Gemm", 1, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    Ok(vec![read_gemm(r)?])
}

/// Reads `alpha · A B + beta · C`.
pub(super) fn read_gemm(r: &mut Reading) -> Result<Value, OpError> {
    let (alpha, beta) = (r.float_or("alpha", 1.0)?, r.float_or("beta", 1.0)?);
    let (transpose_a, mut transpose_b) = (r.flag("transA", false)?, r.flag("transB", false)?);
    if r.opset < 7 {
        // C broadcasts whether this is set or not.
        r.ignore(&["broadcast"]);
    }
    let (mut x, mut w) = (r.input(0)?, r.input(1)?);
    for v in [x, w] {
        if r.ty(v).rank() != 2 {
            return Err(OpError::mismatch("rank of an operand", 2, r.ty(v)));
        }
    }
    if transpose_a {
        x = r.add(super::Transpose { perm: vec![1, 0] }, &[x])?;
    }
    if let Some(matrix) = super::matmul::transposed_constant(r, w) {
        (w, transpose_b) = (matrix, !transpose_b);
    }
    if alpha != 1.0 {
        // `alpha` is multiplied into the constant operand, where it folds.
        let operand = if r.constant(w).is_some() { &mut w } else { &mut x };
        *operand = scaled(r, *operand, alpha)?;
    }
    let bias = match r.optional(2) {
        Some(c) if beta != 1.0 => Some(scaled(r, c, beta)?),
        c => c,
    };
    if r.constant(w).is_none() {
        if transpose_b {
            w = r.add(super::Transpose { perm: vec![1, 0] }, &[w])?;
        }
        let y = r.add(super::MatMul, &[x, w])?;
        return bias.map_or(Ok(y), |c| r.add(super::Add, &[y, c]));
    }
    let out = r.ty(w).dim(usize::from(!transpose_b)).clone();
    match bias {
        None => r.add(Linear { transposed: transpose_b }, &[x, w]),
        Some(c) if r.constant(c).is_some() && by_feature(&r.ty(c).shape, &out) => {
            let c = r.add(super::Expand { to: with_features(&r.ty(c).shape, &out) }, &[c])?;
            let c = r.reshape(c, Shape(vec![out]))?;
            r.add(Linear { transposed: transpose_b }, &[x, w, c])
        }
        Some(c) => {
            let y = r.add(Linear { transposed: transpose_b }, &[x, w])?;
            let sum = r.add(super::Add, &[y, c])?;
            if r.ty(sum).shape != r.ty(y).shape {
                return Err(OpError::mismatch("C", format!("one that broadcasts to {}", r.ty(y)), r.ty(c)));
            }
            Ok(sum)
        }
    }
}

/// Adds `factor · x`.
fn scaled(r: &mut Reading, x: Value, factor: f32) -> Result<Value, OpError> {
    let dtype = r.ty(x).dtype;
    let factor = r.add_scalar(f64::from(factor), dtype);
    r.add(super::Mul, &[x, factor])
}

/// Returns whether a shape is that of a bias along the last axis: `[out]`, `[1, …, out]` or a single value.
pub fn by_feature(shape: &Shape, out: &Dim) -> bool {
    let (last, lead) = match shape.0.split_last() {
        None => return true,
        Some(parts) => parts,
    };
    lead.iter().all(|d| d.is(1)) && (last == out || last.is(1))
}

/// Returns `shape` with `out` as its last dimension.
fn with_features(shape: &Shape, out: &Dim) -> Shape {
    let mut dims = shape.0.clone();
    match dims.last_mut() {
        Some(last) => *last = out.clone(),
        None => dims.push(out.clone()),
    }
    Shape(dims)
}
