//! Attention and its contribution-proportional relevance, head by head, as the formulas read.

use super::layout::{array, broadcast_values, elems, float, values};
use crate::OpError;
use crate::prim::{AttentionGeometry, AttentionPart};
use crate::tensor::Array;

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
pub(super) fn attention(
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

/// The relevance of one operand, or what was dropped: see `Prim::AttentionShare`.
pub(super) fn share(
    geometry: AttentionGeometry,
    value: f32,
    of: AttentionPart,
    data: [&Array; 3],
    (r, mask): (&Array, Option<&Array>),
    dims: &[usize],
) -> Result<Array, OpError> {
    let value = f64::from(value);
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
