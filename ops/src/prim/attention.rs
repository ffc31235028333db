//! Attention and the relevance that it gives back.

use std::fmt;

use super::contract::*;
use super::reference::layout::{array, broadcast_values, elems, float, values};

/// The function from scores to weights: `softmax(scale · q kᵀ + mask)` over the keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttentionGeometry {
    /// The factor of the scores.
    pub scale: f32,
    /// A row in which every key is masked with -∞ has weights 0; else they are NaN.
    pub guard: bool,
}

/// A part of the relevance that an attention gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AttentionPart {
    /// To the queries, of their shape.
    Query,
    /// To the keys, of their shape.
    Key,
    /// To the values, of their shape.
    Value,
    /// What each query row could give to nobody: `[…, m]`.
    Dropped,
}

/// `(q […, m, d], k […, n, d], v […, n, e], mask?)` → `softmax(scale · q kᵀ + mask) v`, `[…, m, e]`; the mask broadcasts to
/// `[…, m, n]`. No backend need keep the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attention(pub AttentionGeometry);

/// `(q, k, v, r […, m, e], mask?)`: `r`, the relevance of an attention's result, shared by contribution magnitude. With
/// the weights `p`, the flow through each is `f = p ⊙ ((r ⊘ p|v|) |v|ᵀ)`; the values get the share `value` of it, and each
/// weight passes the rest on to its query and its key, half each, by `|q||k|ᵀ`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttentionShare {
    /// Geometry of the forward attention.
    pub geometry: AttentionGeometry,
    /// The share of the values, in 0..=1.
    pub value: f32,
    /// The part that this computes.
    pub of: AttentionPart,
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
        Ok(t.heads(self.clone(), 3))
    }
}

fields!(AttentionShare { geometry: Any, value: Any, of: Any });

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
        Ok(match self.of {
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
        Ok(t.heads(self.clone(), 4))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.zero(3)
    }

    fn attributes(&self) -> String {
        format!("{} value={} of={:?}", self.geometry, self.value, self.of)
    }
}

/// The result of an attention of `[q, k, v]`.
fn infer(data: &[TensorType], mask: Option<&TensorType>) -> Result<TensorType, OpError> {
    let [q, k, v] = data else { return Err(OpError::Arity { expected: "3".into(), found: data.len() }) };
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

/// A head's matrices, row-major.
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
    /// `[m, n]`, each row summing to 1.
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

/// Calls `f` with the matrices of each head and its mask.
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

/// `softmax(scale · q kᵀ + mask) v`.
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

/// The relevance of one operand, or what was dropped.
fn share(
    share: &AttentionShare,
    data: [&Array; 3],
    (r, mask): (&Array, Option<&Array>),
    dims: &[usize],
) -> Result<Array, OpError> {
    let (geometry, of, value) = (share.geometry, share.of, f64::from(share.value));
    let r: Vec<f64> = values(float(r)?).to_vec();
    let mut y = vec![0.0; elems(dims)?];
    let ratio = |a: f64, b: f64| if b == 0.0 { 0.0 } else { a / b };
    heads(data, mask, |h, head, mask| {
        let (m, n, d, e) = (head.m, head.n, head.d, head.e);
        let p = head.weights(geometry, mask);
        for i in 0..m {
            // What flows through each weight.
            let mut through = vec![0.0; n];
            for c in 0..e {
                let r = r[(h * m + i) * e + c];
                let z: f64 = (0..n).map(|j| p[i * n + j] * head.v[j * e + c].abs()).sum();
                if of == AttentionPart::Dropped && z == 0.0 {
                    y[h * m + i] += r;
                }
                for j in 0..n {
                    let given = p[i * n + j] * head.v[j * e + c].abs() * ratio(r, z);
                    through[j] += given;
                    if of == AttentionPart::Value {
                        y[(h * n + j) * e + c] += value * given;
                    }
                }
            }
            if value == 1.0 || of == AttentionPart::Value {
                continue;
            }
            // The weight's own share goes on to the query and the key, half each.
            for j in 0..n {
                let weight = (1.0 - value) * through[j];
                let products: Vec<f64> =
                    (0..d).map(|t| (head.q[i * d + t] * head.k[j * d + t]).abs()).collect();
                let all: f64 = products.iter().sum();
                if of == AttentionPart::Dropped && all == 0.0 {
                    y[h * m + i] += weight;
                }
                for (t, product) in products.iter().enumerate() {
                    let part = 0.5 * weight * ratio(*product, all);
                    match of {
                        AttentionPart::Query => y[(h * m + i) * d + t] += part,
                        AttentionPart::Key => y[(h * n + j) * d + t] += part,
                        AttentionPart::Value | AttentionPart::Dropped => {}
                    }
                }
            }
        }
    })?;
    array(dims, y).map(Array::F)
}
