//! Scaled dot-product attention, and the relevance that it passes to its operands.

use std::fmt;

use super::contract::*;
use super::reference::layout::{array, broadcast_values, elems, float, values};

/// Function from scores to weights: `softmax(scale · q kᵀ + mask)` over the keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttentionGeometry {
    /// Factor of the scores.
    pub scale: f32,
    /// Weights of a row whose keys are all masked with -∞: 0 if true, NaN if false.
    pub guard: bool,
}

/// Destination of the relevance that [`AttentionShare`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AttentionPart {
    /// Relevance of the queries, `[…, m, d]`.
    Query,
    /// Relevance of the keys, `[…, n, d]`.
    Key,
    /// Relevance of the values, `[…, n, e]`.
    Value,
    /// Relevance of each query row that no contribution took, `[…, m]`.
    Dropped,
}

/// Scaled dot-product attention. `(q […, m, d], k […, n, d], v […, n, e], mask?)` → `softmax(scale · q kᵀ + mask) v`,
/// `[…, m, e]`; the mask broadcasts to `[…, m, n]`. Engines need not store the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attention(pub AttentionGeometry);

/// Relevance of an attention's operands, shared by contribution magnitude. Operands: `(q, k, v, r […, m, e], mask?)`,
/// where `r` is the relevance of the attention's result. With the weights `p`, the flow through each weight is
/// `f = p ⊙ ((r ⊘ p|v|) |v|ᵀ)`. The values take the share `value` of it; the rest is divided in halves between query
/// and key, among their features by `|q||k|ᵀ`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttentionShare {
    /// Geometry of the forward attention.
    pub geometry: AttentionGeometry,
    /// Share of the values, in 0..=1.
    pub value: f32,
    /// Operand whose relevance this node computes.
    #[serde(rename = "of")]
    pub part: AttentionPart,
}

impl fmt::Display for AttentionGeometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scale={}{}", self.scale, if self.guard { " guard" } else { "" })
    }
}

impl Fields for Attention {
    fn name(&self) -> &'static str {
        "Attention"
    }

    fn fields<'a>(&'a self, visit: &mut dyn FnMut(Field<'a>)) {
        visit(Field::Any);
    }

    fn dims_mut(&mut self, _visit: &mut dyn FnMut(&mut Dim)) {}

    fn text(&self) -> String {
        self.0.to_string()
    }
}

impl Primitive for Attention {
    fn arity(&self) -> RangeInclusive<usize> {
        3..=4
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        infer(&x[..3], x.get(3))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        attention(self.0, [x[0], x[1], x[2]], x.get(3).copied(), dims)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        Err(d.unsupported())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.as_heads(self.clone(), 3))
    }
}

fields!(AttentionShare { geometry: Any, value: Any, part: Any });

impl Primitive for AttentionShare {
    fn arity(&self) -> RangeInclusive<usize> {
        4..=5
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let y = infer(&x[..3], x.get(4))?;
        dims_equal("shape of relevance", &x[3].shape.0, &y.shape.0)?;
        if !(0.0..=1.0).contains(&self.value) {
            return Err(OpError::mismatch("share of the values", "0 to 1", self.value));
        }
        Ok(match self.part {
            AttentionPart::Query => x[0].clone(),
            AttentionPart::Key => x[1].clone(),
            AttentionPart::Value => x[2].clone(),
            AttentionPart::Dropped => y.with_shape(y.shape.0[..y.rank() - 1].to_vec()),
        })
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        share(self, [x[0], x[1], x[2]], (x[3], x.get(4).copied()), dims)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        Err(d.unsupported())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.as_heads(self.clone(), 4))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero(3)
    }

    fn attributes(&self) -> String {
        format!("{} value={} of={:?}", self.geometry, self.value, self.part)
    }
}

/// Infers the type of an attention's result from those of `[q, k, v]`.
fn infer(data: &[TensorType], mask: Option<&TensorType>) -> Result<TensorType, OpError> {
    let [q, k, v] = data else { return Err(OpError::Arity { expected: "3".into(), actual: data.len() }) };
    for t in data {
        want(t, DType::F32).or_else(|e| if t.dtype.is_float() { Ok(()) } else { Err(e) })?;
        if t.rank() < 2 || t.rank() != q.rank() {
            return Err(OpError::mismatch("rank of an operand", "equal, at least 2", t));
        }
        dims_equal("leading axes", &t.shape.0[..t.rank() - 2], &q.shape.0[..q.rank() - 2])?;
    }
    let rank = q.rank();
    dim_equal("features of the keys", k.dim(rank - 1), q.dim(rank - 1))?;
    dim_equal("positions of the values", v.dim(rank - 2), k.dim(rank - 2))?;
    if let Some(mask) = mask {
        let mut scores = q.shape.clone();
        scores.0[rank - 1] = k.dim(rank - 2).clone();
        dims_equal("shape of the masked scores", &broadcast_or(&scores, &mask.shape)?.0, &scores.0)?;
    }
    let mut y = q.shape.clone();
    y.0[rank - 1] = v.dim(rank - 1).clone();
    Ok(q.with_shape(y))
}

/// Row-major matrices of one head: q `[m, d]`, k `[n, d]`, v `[n, e]`.
struct Head<'a> {
    m: usize,
    n: usize,
    d: usize,
    e: usize,
    q: &'a [f64],
    k: &'a [f64],
    v: &'a [f64],
}

impl Head<'_> {
    /// Returns the weights `[m, n]`; each row sums to 1.
    fn weights(&self, geometry: AttentionGeometry, mask: Option<&[f64]>) -> Vec<f64> {
        let mut p = vec![0.0; self.m * self.n];
        for i in 0..self.m {
            let row = &mut p[i * self.n..][..self.n];
            for (j, s) in row.iter_mut().enumerate() {
                *s = f64::from(geometry.scale)
                    * dot(&self.q[i * self.d..][..self.d], &self.k[j * self.d..][..self.d]);
                *s += mask.map_or(0.0, |mask| mask[i * self.n + j]);
            }
            let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if geometry.guard && max == f64::NEG_INFINITY {
                row.fill(0.0);
                continue;
            }
            row.iter_mut().for_each(|s| *s = (*s - max).exp());
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|s| *s /= sum);
        }
        p
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Calls `f` with the index, matrices and mask of each head.
fn heads(
    [q, k, v]: [&Array; 3],
    mask: Option<&Array>,
    mut f: impl FnMut(usize, &Head, Option<&[f64]>),
) -> Result<(), OpError> {
    let (dq, dk, dv) = (q.dims(), k.dims(), v.dims());
    let rank = dq.len();
    let (m, d, n, e) = (dq[rank - 2], dq[rank - 1], dk[rank - 2], dv[rank - 1]);
    let (q, k, v) = (values(float(q)?), values(float(k)?), values(float(v)?));
    let full = [&dq[..rank - 2], &[m, n]].concat();
    let mask = mask.map(|mask| Ok::<_, OpError>(broadcast_values(float(mask)?, &full, &0.0))).transpose()?;
    let count: usize = dq[..rank - 2].iter().product();
    for h in 0..count {
        let head = Head {
            m,
            n,
            d,
            e,
            q: &q[h * m * d..][..m * d],
            k: &k[h * n * d..][..n * d],
            v: &v[h * n * e..][..n * e],
        };
        f(h, &head, mask.as_ref().map(|mask| &mask[h * m * n..][..m * n]));
    }
    Ok(())
}

/// Evaluates `softmax(scale · q kᵀ + mask) v`.
fn attention(
    geometry: AttentionGeometry,
    data: [&Array; 3],
    mask: Option<&Array>,
    dims: &[usize],
) -> Result<Array, OpError> {
    let mut y = vec![0.0; elems(dims)?];
    heads(data, mask, |h, head, mask| {
        let p = head.weights(geometry, mask);
        for i in 0..head.m {
            for c in 0..head.e {
                y[(h * head.m + i) * head.e + c] =
                    (0..head.n).map(|j| p[i * head.n + j] * head.v[j * head.e + c]).sum();
            }
        }
    })?;
    array(dims, y).map(Array::F)
}

/// Evaluates [`AttentionShare`].
fn share(
    share: &AttentionShare,
    data: [&Array; 3],
    (r, mask): (&Array, Option<&Array>),
    dims: &[usize],
) -> Result<Array, OpError> {
    let (geometry, part, value) = (share.geometry, share.part, f64::from(share.value));
    let r: Vec<f64> = values(float(r)?).to_vec();
    let mut y = vec![0.0; elems(dims)?];
    let ratio = |a: f64, b: f64| if b == 0.0 { 0.0 } else { a / b };
    heads(data, mask, |h, head, mask| {
        let (m, n, d, e) = (head.m, head.n, head.d, head.e);
        let p = head.weights(geometry, mask);
        for i in 0..m {
            // Relevance that flows through the weight of each key.
            let mut through = vec![0.0; n];
            for c in 0..e {
                let r = r[(h * m + i) * e + c];
                let z: f64 = (0..n).map(|j| p[i * n + j] * head.v[j * e + c].abs()).sum();
                if part == AttentionPart::Dropped && z == 0.0 {
                    y[h * m + i] += r;
                }
                for j in 0..n {
                    let flow = p[i * n + j] * head.v[j * e + c].abs() * ratio(r, z);
                    through[j] += flow;
                    if part == AttentionPart::Value {
                        y[(h * n + j) * e + c] += value * flow;
                    }
                }
            }
            if value == 1.0 || part == AttentionPart::Value {
                continue;
            }
            // The rest passes on to the query and the key, half each.
            for j in 0..n {
                let weight = (1.0 - value) * through[j];
                let products: Vec<f64> =
                    (0..d).map(|t| (head.q[i * d + t] * head.k[j * d + t]).abs()).collect();
                let all: f64 = products.iter().sum();
                if part == AttentionPart::Dropped && all == 0.0 {
                    y[h * m + i] += weight;
                }
                for (t, product) in products.iter().enumerate() {
                    let half = 0.5 * weight * ratio(*product, all);
                    match part {
                        AttentionPart::Query => y[(h * m + i) * d + t] += half,
                        AttentionPart::Key => y[(h * n + j) * d + t] += half,
                        AttentionPart::Value | AttentionPart::Dropped => {}
                    }
                }
            }
        }
    })?;
    array(dims, y).map(Array::F)
}
