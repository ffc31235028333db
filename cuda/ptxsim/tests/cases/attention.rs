//! Attention kernels, against a float64 evaluation that carries an error bound for each value.

use dlbc_ops::prim::Transform;
use dlbc_ops::tensor::Array;
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::attention::mask::{MaskParams, RULED_OUT};
use dlbc_ptx::kernel::attention::{Along, EXTENT, End, Matrix, Operands, Tiled, TiledArgs, Unit};
use dlbc_ptx::kernel::gemm::Math;
use dlbc_ptx::kernel::pointwise::{Kind, Term};

use super::bounded::{self, evaluate};
use super::products::transform;
use super::{Case, Expected, Random, Role};

/// Relative error of a 3xTF32 product or a sum of a few hundred terms, with respect to the sum of magnitudes. Tensor cores
/// truncate when they add.
const ROUNDING: f64 = 3e-6;

/// Returns the same for products by a kernel.
fn rounding(kernel: &Tiled) -> f64 {
    match kernel.unit {
        Unit::Tensor(Operands::Rounded) => Math::Tf32.rounding() + ROUNDING,
        Unit::Tensor(Operands::Split) | Unit::Fma => ROUNDING,
    }
}

/// A few units in the last place.
const ULPS: f64 = 4e-7;

/// A value and its error bound.
type Bounded = (f64, f64);

/// Matrices `[batch, rows, columns]` in memory.
struct Stored {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
    /// One matrix serves the whole batch.
    shared: bool,
    /// Row-major, rather than column-major.
    by_rows: bool,
}

impl Stored {
    fn new(values: Vec<f32>, [rows, columns]: [usize; 2], shared: bool, by_rows: bool) -> Stored {
        Stored { values, rows, columns, shared, by_rows }
    }

    fn matrix(&self) -> Matrix {
        let (rows, columns) = (self.rows as i32, self.columns as i32);
        let batch_stride = if self.shared { 0 } else { rows * columns };
        let strides = if self.by_rows { [columns, 1] } else { [1, rows] };
        Matrix { address: 0, strides, batch: [0, 0, 0, batch_stride] }
    }

    fn at(&self, batch: usize, row: usize, column: usize) -> f32 {
        let m = self.matrix();
        let at = batch as i32 * m.batch[3] + row as i32 * m.strides[0] + column as i32 * m.strides[1];
        self.values[at as usize]
    }
}

/// Sizes of a launch.
#[derive(Clone, Copy)]
struct Shape {
    batch: usize,
    /// Rows of the scores.
    rows: usize,
    /// Columns of the scores.
    columns: usize,
    depths: [usize; 2],
    /// Columns of the result.
    width: usize,
    /// The result is row-major.
    by_rows: bool,
}

pub fn attention(kernel: &Tiled) -> Vec<Case> {
    let shapes = [
        Shape { batch: 2, rows: 67, columns: 70, depths: [36, 9], width: 66, by_rows: true },
        Shape { batch: 1, rows: 1, columns: 1, depths: [1, 1], width: 1, by_rows: true },
        Shape { batch: 1, rows: 16, columns: 128, depths: [40, 8], width: 8, by_rows: false },
    ];
    let wide = Shape { batch: 1, rows: 20, columns: 65, depths: [8, 4], width: 130, by_rows: true };
    let long = Shape { batch: 2, rows: 150, columns: 140, depths: [8, 4], width: 5, by_rows: true };
    let shapes = shapes.into_iter().chain((kernel.spans > 1).then_some(wide));
    let shapes = shapes.chain(kernel.skips.then_some(long));
    shapes.map(|shape| case(kernel, shape)).collect()
}

/// Masks, against the tiles in which they are ruled out.
pub fn mask() -> Vec<Case> {
    [(1, 150, 140), (2, 64, 64), (1, 5, 200)].into_iter().map(|(b, r, c)| mask_case(b, r, c)).collect()
}

fn mask_case(batch: usize, rows: usize, columns: usize) -> Case {
    let mut random = Random::new(41);
    let extent = EXTENT as usize;
    // Causal; the last matrix has a row without any column, and a NaN.
    let mut values: Vec<f32> = vec![];
    for (b, row) in (0..batch).flat_map(|b| (0..rows).map(move |row| (b, row))) {
        for column in 0..columns {
            let empty = batch > 1 && b + 1 == batch && row == 3;
            let out = if random.bits().is_multiple_of(2) { f32::NEG_INFINITY } else { -3e38 };
            values.push(if column > row || empty { out } else { random.float() });
        }
    }
    if columns > 150 {
        values[columns + 150] = f32::NAN;
    }
    let (row_tiles, column_tiles) = (rows.div_ceil(extent), columns.div_ceil(extent));
    let mut expected = vec![];
    for (b, rt) in (0..batch).flat_map(|b| (0..row_tiles).map(move |rt| (b, rt))) {
        let tile_rows = rt * extent..(rt * extent + extent).min(rows);
        let at = |row: usize, column: usize| values[(b * rows + row) * columns + column];
        let rules_out = |v: f32| v <= RULED_OUT;
        let stay = tile_rows.clone().all(|row| {
            (0..columns).any(|c| at(row, c) > RULED_OUT) && (0..columns).all(|c| !at(row, c).is_nan())
        });
        for ct in 0..column_tiles {
            let tile = ct * extent..(ct * extent + extent).min(columns);
            let out = tile_rows.clone().all(|row| tile.clone().all(|c| rules_out(at(row, c))));
            expected.push(u32::from(stay && out));
        }
    }
    let words = values.iter().map(|v| v.to_bits()).collect();
    Case {
        shape: format!("{batch} of {rows}x{columns}"),
        grid: [batch as u32, row_tiles as u32, 1],
        buffers: vec![(Role::Read, words), (Role::Write, vec![0; expected.len()])],
        params: Box::new(move |at| {
            let mut params = MaskParams {
                mask: at[0],
                tiles: at[1],
                rows: rows as u32,
                columns: columns as u32,
                column_tiles: column_tiles as u32,
                row_tiles: row_tiles as u32,
                batch: [1, 1, 1, batch as u32],
                strides: [columns as i32, 1],
                batch_strides: [0; 4],
            };
            params.batch_strides[3] = (rows * columns) as i32;
            params.bytes()
        }),
        expected: vec![Expected::Words(expected)],
    }
}

fn case(kernel: &Tiled, Shape { batch, rows, columns, depths, width, by_rows }: Shape) -> Case {
    let mut random = Random::new(23);
    let mut floats =
        |count: usize, size: f32| -> Vec<f32> { (0..count).map(|_| random.float() * size).collect() };
    let (mut sources, mut operands) = (vec![], vec![]);
    for (group, depth) in kernel.groups.iter().zip(depths) {
        let mut left = floats(batch * rows * depth, 2.0);
        // Some rows whose products are all 0.
        let zero = if kernel.end == End::Sum { 2 } else { 11 };
        for (row, values) in left.chunks_mut(depth).enumerate().filter(|(row, _)| row % zero == 1) {
            if rows > 1 && group.depth_first[0] {
                values.fill(-0.0 * row as f32);
            }
        }
        sources.push(Stored::new(left, [rows, depth], false, group.depth_first[0]));
        let right = floats(columns * depth, 2.0);
        sources.push(Stored::new(right, [columns, depth], true, group.depth_first[1]));
    }
    // A masked softmax is masked completely in the last batch and partially in the others.
    let masks = matches!(kernel.end, End::Softmax { .. } | End::Statistics);
    let guarded = kernel.terms.iter().any(|(t, _)| matches!(t, Term::Float(v) if *v == f32::NEG_INFINITY));
    let is_mask = |(kind, along): &(Kind, Along)| *kind == Kind::F && *along == Along::Both;
    let skipped = kernel.operands.iter().position(is_mask).filter(|_| kernel.skips);
    // A causal mask; it may be transposed.
    let is_later = |row: usize, column: usize| if masks { column > row } else { row > column };
    for (i, (_, along)) in kernel.operands.iter().enumerate() {
        let dims = match along {
            Along::Own => [rows, 1],
            Along::Other => [1, columns],
            Along::Both => [rows, columns],
        };
        let count = dims[0] * dims[1];
        let mut values = floats(batch * count, 1.0);
        for (j, v) in values.iter_mut().enumerate() {
            let all = batch > 1 && j / count + 1 == batch;
            if skipped == Some(i) {
                *v = if is_later(j / columns % rows, j % columns) { -3e38 } else { 0.0 };
            } else if masks && !kernel.skips && (all || j % 7 == 2) {
                *v = f32::NEG_INFINITY;
            } else if guarded && i == 0 {
                // Row maxima: larger than any score, or -∞ for a masked row.
                *v = if j % 9 == 4 { f32::NEG_INFINITY } else { 3.0 };
            } else if !masks && (guarded && i == 2 || !guarded && i == 1) {
                *v = 2.0 + v.abs();
            }
        }
        operands.push(Stored::new(values, dims, false, true));
    }
    let multiplies = matches!(kernel.end, End::Product { .. } | End::Softmax { .. });
    let (weight_transform, across) = match kernel.end {
        End::Product { part, across } => (part, across),
        End::Softmax { across, .. } => (Transform::Id, across),
        End::Statistics | End::Sum => (Transform::Id, true),
    };
    let width = if multiplies { width } else { 1 };
    let weight = multiplies
        .then(|| Stored::new(floats(batch * columns * width, 1.0), [columns, width], false, across));

    let mut results: Vec<Vec<Bounded>> = vec![vec![(0.0, 0.0); batch * rows * width]];
    results.extend([vec![(0.0, 0.0); batch * rows], vec![(0.0, 0.0); batch * rows]]);
    for b in 0..batch {
        for i in 0..rows {
            let mut values: Vec<bounded::Bounded> = vec![];
            for (g, group) in kernel.groups.iter().enumerate() {
                let [left, right] = [&sources[2 * g], &sources[2 * g + 1]];
                for transforms in &group.parts {
                    let score = |j: usize| {
                        let products = (0..left.columns).map(|d| {
                            transform(transforms[0], left.at(b, i, d))
                                * transform(transforms[1], right.at(b, j, d))
                        });
                        products.fold((0.0, 0.0), |(s, m), p| (s + p, m + p.abs()))
                    };
                    let (sums, sizes): (Vec<f64>, Vec<f64>) = (0..columns).map(score).unzip();
                    let bounds = sizes.iter().map(|s| rounding(kernel) * s).collect();
                    values.push(bounded::Bounded::floats(sums, bounds));
                }
            }
            for (m, (kind, along)) in operands.iter().zip(&kernel.operands) {
                let at = |j: usize| match along {
                    Along::Own => m.at(b, i, 0),
                    Along::Other => m.at(b, 0, j),
                    Along::Both => m.at(b, i, j),
                };
                values.push(match kind {
                    Kind::B => {
                        let bools: Vec<bool> = (0..columns).map(|j| at(j) > 0.0).collect();
                        bounded::Bounded::exact(Array::B(ndarray::Array1::from(bools).into_dyn()))
                    }
                    _ => bounded::Bounded::floats(
                        (0..columns).map(|j| f64::from(at(j))).collect(),
                        vec![0.0; columns],
                    ),
                });
            }
            let result = evaluate(&kernel.terms, &values, columns).result;
            let scores: Vec<Bounded> = result.to_floats().into_iter().zip(result.bounds).collect();
            let row = b * rows + i;
            let (mut weights, mut scale) = (scores.clone(), (1.0, 0.0));
            if masks {
                let maximum = scores.iter().fold(f64::NEG_INFINITY, |m, (s, _)| m.max(*s));
                let base = if maximum == f64::NEG_INFINITY { 0.0 } else { maximum };
                let worst =
                    scores.iter().filter(|s| f64::from(RULED_OUT) < s.0).fold(0.0f64, |m, (_, e)| m.max(*e));
                weights = scores
                    .iter()
                    .map(|(s, e)| {
                        (
                            (s - base).exp(),
                            (s - base).exp()
                                * (if f64::from(RULED_OUT) < *s { *e } else { 0.0 } + 2.0 * ULPS),
                        )
                    })
                    .collect();
                let sum = weights.iter().map(|p| p.0).sum::<f64>();
                results[1][row] = (maximum, worst);
                // The kernel's exponentials refer to its own, inexact maximum.
                let error = weights.iter().map(|p| p.1).sum::<f64>() + sum * (worst + ROUNDING);
                results[2][row] = (1.0 / sum, if sum == 0.0 { 0.0 } else { error / (sum * (sum - error)) });
                scale = (sum, worst + 2.0 * ROUNDING + 2.0 * ULPS);
            }
            for c in 0..width {
                let at = if by_rows { row * width + c } else { (b * width + c) * rows + i };
                let mut total: Bounded = (0.0, 0.0);
                for (j, (x, e)) in weights.iter().enumerate() {
                    let w = weight.as_ref().map_or(1.0, |w| transform(weight_transform, w.at(b, j, c)));
                    total = (total.0 + x * w, total.1 + (e + rounding(kernel) * x.abs()) * w.abs());
                }
                let is_masked = masks && results[1][row].0 == f64::NEG_INFINITY;
                results[0][at] = match kernel.end {
                    End::Softmax { guard: true, .. } if is_masked => (0.0, 0.0),
                    _ => (total.0 / scale.0, total.1 / scale.0 + scale.1 * (total.0 / scale.0).abs()),
                };
            }
        }
    }
    let stored: Vec<usize> = match kernel.end {
        End::Product { .. } | End::Sum => vec![0],
        End::Statistics => vec![1, 2],
        End::Softmax { .. } => vec![0, 1, 2],
    };
    let mut matrices: Vec<Matrix> = stored
        .iter()
        .map(|r| {
            let result_columns = if *r == 0 { width } else { 1 };
            Stored::new(vec![], [rows, result_columns], false, by_rows || *r > 0).matrix()
        })
        .collect();
    let mut buffers: Vec<(Role, Vec<u32>)> =
        stored.iter().map(|r| (Role::Write, vec![0; results[*r].len()])).collect();
    let kinds = kernel.operands.iter().map(|(kind, _)| *kind);
    let floats = std::iter::repeat_n(Kind::F, weight.iter().count() + sources.len());
    for (m, kind) in weight.iter().chain(&sources).chain(&operands).zip(floats.chain(kinds)) {
        matrices.push(m.matrix());
        let word = |v: &f32| if kind == Kind::B { u32::from(*v > 0.0) } else { v.to_bits() };
        buffers.push((Role::Read, m.values.iter().map(word).collect()));
    }
    if kernel.skips {
        let extent = EXTENT as usize;
        let (row_tiles, column_tiles) = (rows.div_ceil(extent), columns.div_ceil(extent));
        // Of the tile's elements, the last to be ruled out: the lower left, or the upper right.
        let is_out = |t: usize| {
            let (row, column) = (t / column_tiles * extent, t % column_tiles * extent);
            if masks { is_later(row + extent - 1, column) } else { is_later(row, column + extent - 1) }
        };
        let words: Vec<u32> = (0..row_tiles * column_tiles).map(|t| u32::from(is_out(t))).collect();
        matrices.push(Matrix { address: 0, strides: [column_tiles as i32, 1], batch: [0; 4] });
        buffers.push((Role::Read, words));
    }
    let args = TiledArgs {
        rows: rows as u32,
        columns: columns as u32,
        width: width as u32,
        batch: [1, 1, 1, batch as u32],
        depths: kernel.groups.iter().zip(depths).map(|(_, d)| d as u32).collect(),
        matrices,
    };
    let expected = stored.iter().map(|r| {
        let (values, bounds) = results[*r].iter().map(|(e, bound)| (*e, bound + 1e-30)).unzip();
        Expected::Floats(values, bounds)
    });
    let expected = expected.collect();
    let grid = kernel.blocks(&args);
    let kernel = kernel.clone();
    Case {
        shape: format!("{batch} of {rows}x{columns}, depths {depths:?}, {width} columns"),
        grid,
        buffers,
        params: Box::new(move |at| {
            let mut args = args.clone();
            args.matrices.iter_mut().zip(at).for_each(|(m, at)| m.address = *at);
            kernel.params(&args)
        }),
        expected,
    }
}
