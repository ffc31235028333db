//! Attention and its relevance, computed for one block of queries of a head at a time, so that the weights of all queries are never
//! in memory.
//!
//! Heads run in parallel. Within a head, blocks run in order, so sums have the same order for any number of threads.

use dlbc_ops::prim::AttentionGeometry;
use rayon::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::gemm::{Matrix, gemm, gemm_add};
use super::loops::{guarded_div, softmax_row};
use super::parallel::{Tile, chunks, new_tensor, with_scratch};

/// Number of weights per block.
const BLOCK: usize = 1 << 16;

/// Minimum number of multiplications for which heads run in several threads.
const MIN_PARALLEL: usize = 1 << 16;

/// Shapes and parameters of an attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Leading dimensions: batch and heads.
    pub lead: Vec<usize>,
    /// Number of queries.
    pub m: usize,
    /// Number of keys.
    pub n: usize,
    /// Features of queries and keys.
    pub d: usize,
    /// Features of values.
    pub e: usize,
    /// Scale of the scores, and the treatment of rows that are masked completely.
    pub geometry: AttentionGeometry,
    /// Dimensions of the mask, if there is one.
    pub mask: Option<Vec<usize>>,
}

// The scale of an attention is never NaN.
impl Eq for Shape {}

/// The mask of one head. Element `(i, j)` has the index `base + i·row + j·column`.
#[derive(Clone, Copy)]
struct Mask<'a> {
    data: &'a [f32],
    base: usize,
    row: usize,
    column: usize,
}

/// The operands of one head.
#[derive(Clone, Copy)]
struct Head<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    mask: Option<Mask<'a>>,
}

fn rows(data: &[f32], row: usize) -> Matrix<'_> {
    Matrix::rows(data, row)
}

fn columns(data: &[f32], row: usize) -> Matrix<'_> {
    Matrix::rows(data, row).transposed()
}

impl Shape {
    fn heads(&self) -> usize {
        self.lead.iter().product()
    }

    /// Number of queries per block.
    fn block(&self) -> usize {
        (BLOCK / self.n.max(1)).clamp(8, 256).min(self.m.max(1))
    }

    /// Returns whether heads should run in several threads.
    fn is_parallel(&self) -> bool {
        self.heads() * self.m * self.n * (self.d + self.e) >= MIN_PARALLEL
    }

    fn mask<'a>(&self, head: usize, data: &'a [f32]) -> Option<Mask<'a>> {
        let dims = self.mask.as_ref()?;
        let full = [&self.lead[..], &[self.m, self.n]].concat();
        let skipped = full.len() - dims.len();
        let mut strides = vec![0; full.len()];
        let mut step = 1;
        for (i, dim) in dims.iter().enumerate().rev() {
            strides[skipped + i] = if *dim == 1 { 0 } else { step };
            step *= dim;
        }
        let (mut rest, mut base) = (head, 0);
        for i in (0..self.lead.len()).rev() {
            base += (rest % self.lead[i]) * strides[i];
            rest /= self.lead[i];
        }
        Some(Mask { data, base, row: strides[full.len() - 2], column: strides[full.len() - 1] })
    }

    fn head<'a>(&self, i: usize, [q, k, v]: [&'a [f32]; 3], mask: Option<&'a [f32]>) -> Head<'a> {
        let Shape { m, n, d, e, .. } = *self;
        Head {
            q: &q[i * m * d..][..m * d],
            k: &k[i * n * d..][..n * d],
            v: &v[i * n * e..][..n * e],
            mask: mask.and_then(|mask| self.mask(i, mask)),
        }
    }

    /// Computes the weights of the queries from `first` on into `p [block, n]`.
    fn weights(&self, head: &Head, first: usize, p: &mut [f32]) {
        let (n, d) = (self.n, self.d);
        let block = p.len() / n;
        gemm(d, &mut Tile::whole(p, block, n), rows(&head.q[first * d..], d), columns(head.k, d));
        for (i, p) in p.chunks_mut(n).enumerate() {
            match head.mask {
                None => p.iter_mut().for_each(|s| *s *= self.geometry.scale),
                Some(mask) => {
                    let mask_row = &mask.data[mask.base + (first + i) * mask.row..];
                    if mask.column == 1 {
                        p.iter_mut().zip(mask_row).for_each(|(s, m)| *s = *s * self.geometry.scale + m);
                    } else {
                        p.iter_mut().for_each(|s| *s = *s * self.geometry.scale + mask_row[0]);
                    }
                }
            }
            self.softmax(p);
        }
    }

    fn softmax(&self, p: &mut [f32]) {
        if self.geometry.guard && p.iter().all(|s| *s == f32::NEG_INFINITY) {
            p.fill(0.0);
        } else {
            softmax_row(p);
        }
    }
}

/// The operator `softmax(scale · q kᵀ + mask) v`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention(pub Shape);

impl Op for Attention {
    fn name(&self) -> StaticName {
        "dlbc.Attention".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Attention {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Shape { m, n, e, .. } = self.0;
        let x = super::slices::slices(&inputs)?;
        let head = |h: usize, y: &mut [f32]| {
            let head = self.0.head(h, [x[0], x[1], x[2]], x.get(3).copied());
            let block = self.0.block();
            with_scratch(block * n, |p| {
                for (i, y) in y.chunks_mut(block * e).enumerate() {
                    let p = &mut p[..y.len() / e * n];
                    self.0.weights(&head, i * block, p);
                    gemm(n, &mut Tile::whole(y, p.len() / n, e), rows(p, n), rows(head.v, e));
                }
            });
        };
        let dims = [&self.0.lead[..], &[m, e]].concat();
        let y = new_tensor(&dims, |y| {
            if self.0.is_parallel() {
                y.par_chunks_mut((m * e).max(1)).enumerate().for_each(|(h, y)| head(h, y));
            } else {
                chunks(y, m * e, head);
            }
        })?;
        Ok(tvec!(y.into()))
    }
}

impl TypedOp for Attention {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact([&self.0.lead[..], &[self.0.m, self.0.e]].concat())))
    }

    as_op!();
}

/// The operator that distributes the relevance of an attention. Operands are q, k, v, r and the mask; results are the relevance of
/// queries, keys and values, and the relevance that each query dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// Shape of the attention.
    pub shape: Shape,
    /// Share of the relevance that goes to the values, within 0..=1.
    pub value: f32,
}

// The share is within 0..=1.
impl Eq for Share {}

impl Op for Share {
    fn name(&self) -> StaticName {
        "dlbc.AttentionShare".into()
    }

    op_as_typed_op!();
}

/// The results of one head.
struct Shares<'a> {
    q: &'a mut [f32],
    k: &'a mut [f32],
    v: &'a mut [f32],
    dropped: &'a mut [f32],
}

impl EvalOp for Share {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Shape { m, n, d, e, .. } = self.shape;
        let x = super::slices::slices(&inputs)?;
        let distribute = |h: usize, y: Shares| {
            let head = self.shape.head(h, [x[0], x[1], x[2]], x.get(4).copied());
            self.head(&head, &x[3][h * m * e..][..m * e], y);
        };
        let lead = &self.shape.lead;
        let facts = [[m, d], [n, d], [n, e]].map(|dims| [&lead[..], &dims].concat());
        let [mut q, mut k, mut v] =
            [new_tensor(&facts[0], |_| ())?, new_tensor(&facts[1], |_| ())?, new_tensor(&facts[2], |_| ())?];
        let mut dropped = new_tensor(&[&lead[..], &[m]].concat(), |_| ())?;
        {
            let (mut q, mut k) = (q.try_as_plain_ram_mut()?, k.try_as_plain_ram_mut()?);
            let (mut v, mut dropped) = (v.try_as_plain_ram_mut()?, dropped.try_as_plain_ram_mut()?);
            let parts = (
                q.as_slice_mut::<f32>()?.par_chunks_mut((m * d).max(1)),
                k.as_slice_mut::<f32>()?.par_chunks_mut((n * d).max(1)),
                v.as_slice_mut::<f32>()?.par_chunks_mut((n * e).max(1)),
                dropped.as_slice_mut::<f32>()?.par_chunks_mut(m.max(1)),
            );
            let heads = parts.into_par_iter().enumerate();
            let min_heads = if self.shape.is_parallel() { 1 } else { usize::MAX };
            heads
                .with_min_len(min_heads)
                .for_each(|(h, (q, k, v, dropped))| distribute(h, Shares { q, k, v, dropped }));
        }
        Ok([q, k, v, dropped].into_iter().map(TValue::from).collect())
    }
}

impl Share {
    /// Distributes the relevance `r` of one head.
    fn head(&self, head: &Head, r: &[f32], y: Shares) {
        let Shape { m, n, d, e, .. } = self.shape;
        let block = self.shape.block();
        let rest = 1.0 - self.value;
        let sizes = [block * n, block * n, block * n, block * e, block * e, n * d, n * e, block * d];
        with_scratch(sizes.iter().sum(), |all| {
            let mut left = all;
            let [p, flow, all_products, z, u, abs_k, abs_v, abs_q] = sizes.map(|size| {
                let (now, later) = std::mem::take(&mut left).split_at_mut(size);
                left = later;
                now
            });
            magnitudes(head.k, abs_k);
            magnitudes(head.v, abs_v);
            y.k.fill(0.0);
            y.v.fill(0.0);
            for first in (0..m).step_by(block) {
                let b = block.min(m - first);
                let (p, flow) = (&mut p[..b * n], &mut flow[..b * n]);
                let (z, u) = (&mut z[..b * e], &mut u[..b * e]);
                self.shape.weights(head, first, p);
                gemm(n, &mut Tile::whole(z, b, e), rows(p, n), rows(abs_v, e));
                let r = &r[first * e..][..b * e];
                for (i, dropped) in y.dropped[first..first + b].iter_mut().enumerate() {
                    *dropped = 0.0;
                    for c in i * e..(i + 1) * e {
                        u[c] = guarded_div(r[c], z[c]);
                        *dropped += if z[c] == 0.0 { r[c] } else { 0.0 };
                    }
                }
                gemm_add(b, &mut Tile::whole(y.v, n, e), columns(p, n), rows(u, e));
                let out = &mut y.q[first * d..][..b * d];
                if rest == 0.0 {
                    out.fill(0.0);
                    continue;
                }
                gemm(e, &mut Tile::whole(flow, b, n), rows(u, e), columns(abs_v, e));
                let (abs_q, products) = (&mut abs_q[..b * d], &mut all_products[..b * n]);
                magnitudes(&head.q[first * d..][..b * d], abs_q);
                gemm(d, &mut Tile::whole(products, b, n), rows(abs_q, d), columns(abs_k, d));
                for (i, dropped) in y.dropped[first..first + b].iter_mut().enumerate() {
                    for j in i * n..(i + 1) * n {
                        let through = flow[j] * p[j];
                        *dropped += if products[j] == 0.0 { rest * through } else { 0.0 };
                        flow[j] = guarded_div(through, products[j]);
                    }
                }
                gemm(n, &mut Tile::whole(out, b, d), rows(flow, n), rows(abs_k, d));
                out.iter_mut().zip(abs_q.iter()).for_each(|(y, q)| *y *= q * (0.5 * rest));
                gemm_add(b, &mut Tile::whole(y.k, n, d), columns(flow, n), rows(abs_q, d));
            }
            y.k.iter_mut().zip(abs_k.iter()).for_each(|(y, k)| *y *= k * (0.5 * rest));
            y.v.iter_mut().zip(abs_v.iter()).for_each(|(y, v)| *y *= v * self.value);
        });
    }
}

impl TypedOp for Share {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let Shape { m, n, d, e, ref lead, .. } = self.shape;
        let fact = |dims: &[usize]| f32::fact([&lead[..], dims].concat());
        Ok(tvec!(fact(&[m, d]), fact(&[n, d]), fact(&[n, e]), fact(&[m])))
    }

    as_op!();
}

fn magnitudes(x: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y = x.abs());
}
