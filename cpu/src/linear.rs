//! Products with a matrix that is constant or an input of the plan: `y = x · f(B)` for `x [rows, k]`, `B [k, n]` and an operand
//! transform `f`.

use tract_onnx::tract_core::internal::*;

use super::epilogue::{Piece, Step, apply};
use super::gemm::{CompactMatrix, Left, Matrix, Packed, Right, gemm};
use super::parallel::{chunks, new_tensor, tiles, with_scratch};
use super::weights::{Elements, Weight, transformed};
use dlbc_ops::prim::Transform;

/// Maximum number of rows for which the matrix is read once, without packing; memory bandwidth then determines the time.
const MAX_UNPACKED: usize = 4;

/// Elements of a row of the result per task.
const COLUMNS: usize = 512;

/// Terms per partial sum; adding short sums rounds less than one long sum.
const RUN: usize = 64;

/// The operator of a product and its epilogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Number of rows of `x`.
    pub rows: usize,
    /// Number of columns of `x`.
    pub k: usize,
    /// Number of columns of the result.
    pub n: usize,
    /// Dimensions of the result.
    pub dims: Vec<usize>,
    /// The matrix `B`, without its transform.
    pub weight: Weight,
    /// Transform of the elements of `B`.
    pub transform: Transform,
    /// `B` is stored as `[n, k]`.
    pub transposed: bool,
    /// Elementwise steps of the epilogue.
    pub steps: Vec<Step>,
}

impl Op for Linear {
    fn name(&self) -> StaticName {
        "dlbc.Linear".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Linear {
    /// A matrix that is an input of the plan is not available when constants are folded.
    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        if self.weight.is_borrowed() { Ok(None) } else { self.compute(&inputs).map(Some) }
    }

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        if let Some(weight) = self.weight.of_this_run() {
            return Linear { weight, ..self.clone() }.compute(&inputs);
        }
        self.compute(&inputs)
    }
}

impl Linear {
    fn compute(&self, inputs: &TVec<TValue>) -> TractResult<TVec<TValue>> {
        let slices = super::slices::slices(inputs)?;
        let y = new_tensor(&self.dims, |y| {
            if self.rows <= MAX_UNPACKED {
                for (row, y) in y.chunks_mut(self.n.max(1)).enumerate() {
                    self.row(row, &slices, y);
                }
            } else if !y.is_empty() {
                let live: Vec<usize> = (0..self.rows).filter(|row| self.is_live(slices[0], *row)).collect();
                if 2 * live.len() > self.rows {
                    self.product(&slices, y);
                } else {
                    self.product_of_live_rows(&live, &slices, y);
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
        let (x, elements) = (&inputs[0][row * self.k..][..self.k], self.weight.elements());
        let size = if self.transposed { 64 } else { COLUMNS };
        let f = |at: usize, y: &mut [f32]| {
            y.fill(0.0);
            let length = if self.transposed { self.k } else { y.len() };
            with_scratch(elements.buffer(length), |buffer| {
                if self.transposed {
                    for (j, y) in y.iter_mut().enumerate() {
                        let w = elements.line((at + j) * self.k, self.k, buffer);
                        *y = match self.transform {
                            Transform::Id => dot(x, w, |w| w),
                            Transform::Abs => dot(x, w, f32::abs),
                            transform => dot(x, w, |w| transformed(transform, w)),
                        };
                    }
                } else {
                    let mut sum = [0.0f32; COLUMNS];
                    for (block, x) in x.chunks(RUN).enumerate() {
                        let sum = &mut sum[..y.len()];
                        sum.fill(0.0);
                        for (i, x) in x.iter().enumerate() {
                            let w = elements.line((block * RUN + i) * self.n + at, y.len(), buffer);
                            let pairs = sum.iter_mut().zip(w);
                            match self.transform {
                                Transform::Id => pairs.for_each(|(y, w)| *y += x * w),
                                Transform::Abs => pairs.for_each(|(y, w)| *y += x * w.abs()),
                                transform => pairs.for_each(|(y, w)| *y += x * transformed(transform, *w)),
                            }
                        }
                        y.iter_mut().zip(sum).for_each(|(y, s)| *y += *s);
                    }
                }
            });
            apply(&self.steps, inputs, Piece { row, width: self.n, at }, y);
        };
        // A tile is worth a thread if it reads enough elements of B.
        if self.k * self.n < 1 << 16 {
            y.chunks_mut(size).enumerate().for_each(|(i, y)| f(i * size, y));
        } else {
            tiles(y, [1, 1, self.n], (1, size), |mut tile| f(tile.column, tile.line(0)));
        }
    }

    /// Returns whether a row of `x` has a nonzero element.
    fn is_live(&self, x: &[f32], row: usize) -> bool {
        x[row * self.k..][..self.k].iter().any(|v| *v != 0.0)
    }

    /// Computes the product of the nonzero rows `live` of `x` only, and sets the other rows to 0. That pays if at least half of the
    /// rows are 0, such as when relevance starts at one token. It differs from the full product for infinite weights only, which no
    /// model uses.
    fn product_of_live_rows(&self, live: &[usize], inputs: &[&[f32]], y: &mut [f32]) {
        let dense = Linear { rows: live.len(), steps: vec![], ..self.clone() };
        with_scratch(live.len() * (self.k + self.n), |all| {
            let (x, products) = all.split_at_mut(live.len() * self.k);
            for (row, to) in live.iter().zip(x.chunks_exact_mut(self.k.max(1))) {
                to.copy_from_slice(&inputs[0][row * self.k..][..self.k]);
            }
            if dense.rows <= MAX_UNPACKED {
                products.chunks_mut(self.n).enumerate().for_each(|(row, y)| dense.row(row, &[x], y));
            } else {
                dense.product(&[x], products);
            }
            chunks(y, self.n, |row, y| {
                match live.binary_search(&row) {
                    Ok(index) => y.copy_from_slice(&products[index * self.n..][..self.n]),
                    Err(_) => y.fill(0.0),
                }
                apply(&self.steps, inputs, Piece { row, width: self.n, at: 0 }, y);
            });
        });
    }

    fn product(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let (k, n) = (self.k, self.n);
        let (transform, transposed) = (self.transform, self.transposed);
        let b = |column: usize| {
            let (first, line) = if transposed { (column * k, k) } else { (column, n) };
            match self.weight.elements() {
                Elements::Floats(values) => {
                    let rows = Matrix { transform, ..Matrix::rows(&values[first..], line) };
                    Right::Strided(if transposed { rows.transposed() } else { rows })
                }
                Elements::Compact(data) => {
                    Right::Compact(CompactMatrix { data, first, line, transposed, transform })
                }
            }
        };
        let x = Matrix::rows(inputs[0], k);
        let max_tile = (self.rows.min(256).next_multiple_of(Packed::step()), 192);
        Packed::with(x, self.rows, k, |x| {
            tiles(y, [1, self.rows, n], max_tile, |mut tile| {
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

/// Sums `x · f(w)` in sixteen lanes; the order depends on the length alone.
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
