//! Products with a matrix that is constant, or given to a run: `y = x · part(B)` for `x [rows, k]`, `B [k, n]`.

use tract_onnx::tract_core::internal::*;

use super::epilogue::{Piece, Step, apply};
use super::gemm::{Left, Matrix, Packed, gemm};
use super::parallel::{chunks, made, tiles, with_scratch};
use super::weights::{Weight, part_of};
use dlbc_ops::prim::Transform;

/// Rows up to which the matrix is read once, in place, and its part taken on the way: the time is that of the memory.
const FEW: usize = 4;

/// Elements of a row of the result that one task makes.
const COLUMNS: usize = 512;

/// Terms that are summed before they join the whole: two short sums round less than a long one.
const RUN: usize = 64;

/// A product with a constant, and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Rows of `x`.
    pub rows: usize,
    /// Columns of `x`.
    pub k: usize,
    /// Columns of the result.
    pub n: usize,
    /// Dimensions of the result.
    pub dims: Vec<usize>,
    /// `B`, as it is.
    pub weight: Weight,
    /// The part that is taken of `B`.
    pub part: Transform,
    /// Whether `B` is stored as `[n, k]`.
    pub transposed: bool,
    /// What follows.
    pub steps: Vec<Step>,
}

impl Op for Linear {
    fn name(&self) -> StaticName {
        "dlbc.Linear".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Linear {
    /// A matrix that runs are given is not there when constants are folded.
    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        match self.weight.is_given() {
            true => Ok(None),
            false => self.made(&inputs).map(Some),
        }
    }

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        if let Some(weight) = self.weight.filled() {
            return Linear { weight, ..self.clone() }.made(&inputs);
        }
        self.made(&inputs)
    }
}

impl Linear {
    fn made(&self, inputs: &TVec<TValue>) -> TractResult<TVec<TValue>> {
        let slices = super::slices::slices(inputs)?;
        let y = made(&self.dims, |y| {
            if self.rows <= FEW {
                for (row, y) in y.chunks_mut(self.n.max(1)).enumerate() {
                    self.row(row, &slices, y);
                }
            } else if !y.is_empty() {
                let live: Vec<usize> = (0..self.rows).filter(|row| self.is_live(slices[0], *row)).collect();
                if 2 * live.len() > self.rows {
                    self.product(&slices, y);
                } else {
                    self.product_of_some(&live, &slices, y);
                }
            }
        })?;
        Ok(tvec!(y.into()))
    }
}

impl TypedOp for Linear {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&self.dims)))
    }

    as_op!();
}

impl Linear {
    fn row(&self, row: usize, inputs: &[&[f32]], y: &mut [f32]) {
        let x = &inputs[0][row * self.k..][..self.k];
        let size = if self.transposed { 64 } else { COLUMNS };
        let f = |at: usize, y: &mut [f32]| {
            y.fill(0.0);
            if self.transposed {
                for (j, y) in y.iter_mut().enumerate() {
                    let w = self.weight.values((at + j) * self.k, self.k);
                    *y = match self.part {
                        Transform::Id => dot(x, w, |w| w),
                        Transform::Abs => dot(x, w, f32::abs),
                        part => dot(x, w, |w| part_of(part, w)),
                    };
                }
            } else {
                let mut sum = [0.0f32; COLUMNS];
                for (block, x) in x.chunks(RUN).enumerate() {
                    let sum = &mut sum[..y.len()];
                    sum.fill(0.0);
                    for (i, x) in x.iter().enumerate() {
                        let w = self.weight.values((block * RUN + i) * self.n + at, y.len());
                        let pairs = sum.iter_mut().zip(w);
                        match self.part {
                            Transform::Id => pairs.for_each(|(y, w)| *y += x * w),
                            Transform::Abs => pairs.for_each(|(y, w)| *y += x * w.abs()),
                            part => pairs.for_each(|(y, w)| *y += x * part_of(part, *w)),
                        }
                    }
                    y.iter_mut().zip(sum).for_each(|(y, s)| *y += *s);
                }
            }
            apply(&self.steps, inputs, Piece { row, width: self.n, at }, y);
        };
        // A tile is worth a thread by the elements of B that it reads.
        if self.k * self.n < 1 << 16 {
            y.chunks_mut(size).enumerate().for_each(|(i, y)| f(i * size, y));
        } else {
            tiles(y, [1, 1, self.n], (1, size), |mut tile| f(tile.column, tile.line(0)));
        }
    }

    /// Whether a row of `x` has anything but zeros.
    fn is_live(&self, x: &[f32], row: usize) -> bool {
        x[row * self.k..][..self.k].iter().any(|v| *v != 0.0)
    }

    /// The product where at least half of the rows of `x` are zero, as where relevance starts at one token: that of the others
    /// alone. Zeros times weights are 0, an infinite weight apart, by which no model computes anything.
    fn product_of_some(&self, live: &[usize], inputs: &[&[f32]], y: &mut [f32]) {
        let dense = Linear { rows: live.len(), steps: vec![], ..self.clone() };
        with_scratch(live.len() * (self.k + self.n), |all| {
            let (x, made) = all.split_at_mut(live.len() * self.k);
            for (row, to) in live.iter().zip(x.chunks_exact_mut(self.k.max(1))) {
                to.copy_from_slice(&inputs[0][row * self.k..][..self.k]);
            }
            if dense.rows <= FEW {
                made.chunks_mut(self.n).enumerate().for_each(|(row, y)| dense.row(row, &[x], y));
            } else {
                dense.product(&[x], made);
            }
            chunks(y, self.n, |row, y| {
                match live.binary_search(&row) {
                    Ok(at) => y.copy_from_slice(&made[at * self.n..][..self.n]),
                    Err(_) => y.fill(0.0),
                }
                apply(&self.steps, inputs, Piece { row, width: self.n, at: 0 }, y);
            });
        });
    }

    fn product(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let (k, n) = (self.k, self.n);
        let b = |column: usize| match self.transposed {
            true => Matrix { part: self.part, ..Matrix::rows(self.weight.from(column * k), k).turned() },
            false => Matrix { part: self.part, ..Matrix::rows(self.weight.from(column), n) },
        };
        let x = Matrix::rows(inputs[0], k);
        let most = (self.rows.min(256).next_multiple_of(Packed::step()), 192);
        Packed::with(x, self.rows, k, |x| {
            tiles(y, [1, self.rows, n], most, |mut tile| {
                let (b, first) = (b(tile.column), tile.row);
                gemm(k, &mut tile, Left::Packed(x, first), b);
                for i in 0..tile.rows {
                    let piece = Piece { row: tile.row + i, width: n, at: tile.column };
                    apply(&self.steps, inputs, piece, tile.line(i));
                }
            });
        });
    }
}

/// The sum of `x · f(w)`, in sixteen lanes: the order depends on the length alone.
fn dot(x: &[f32], w: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0f32; LANES];
    let (xs, ws) = (x.chunks_exact(LANES), w.chunks_exact(LANES));
    let rest: f32 = xs.remainder().iter().zip(ws.remainder()).map(|(x, w)| x * f(*w)).sum();
    for (x, w) in xs.zip(ws) {
        for i in 0..LANES {
            lanes[i] += x[i] * f(w[i]);
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0] + rest
}
