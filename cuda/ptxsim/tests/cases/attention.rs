//! Attention kernels, against a float64 evaluation that carries an error bound for each value.

use dlbc_ops::prim::{Binary, Transform, Unary};
use dlbc_ptx::kernel::attention::{Along, End, Matrix, Tiled, TiledArgs, variants};
use dlbc_ptx::kernel::pointwise::Term;

use super::products::transform;
use super::{Case, Random, Role};

/// Relative error of a 3xTF32 product or a sum of a few hundred terms, with respect to the sum of magnitudes.
const ROUNDING: f64 = 1e-6;
/// A few units in the last place.
const ULPS: f64 = 4e-7;

/// A value and its error bound.
type Bounded = (f64, f64);

fn binary(f: Binary, (a, ea): Bounded, (b, eb): Bounded) -> Bounded {
    let with = |y: f64, e: f64| (y, e + ULPS * y.abs());
    match f {
        Binary::Add => with(a + b, ea + eb),
        Binary::Sub => with(a - b, ea + eb),
        Binary::Mul => with(a * b, a.abs() * eb + b.abs() * ea + ea * eb),
        Binary::GuardedDiv if b == 0.0 => (0.0, 0.0),
        Binary::Div | Binary::GuardedDiv => {
            with(a / b, (ea + (a / b).abs() * eb) / (b.abs() - eb).max(1e-30))
        }
        Binary::Equal => (f64::from(u8::from(a == b)), 0.0),
        other => panic!("{other:?}"),
    }
}

fn evaluate(terms: &[Term], operands: &[Bounded]) -> Bounded {
    let mut values: Vec<Bounded> = vec![];
    for term in terms {
        values.push(match term {
            Term::Operand(i) => operands[*i],
            Term::Float(v) => (f64::from(*v), 0.0),
            Term::Unary(Unary::Exp, a) => {
                let (x, e) = values[*a];
                (x.exp(), x.exp() * (e + ULPS))
            }
            Term::Binary(f, a, b) => binary(*f, values[*a], values[*b]),
            Term::Select(c, a, b) => values[if values[*c].0 != 0.0 { *a } else { *b }],
            other => panic!("{other:?}"),
        });
    }
    *values.last().unwrap()
}

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

pub fn attention(name: &str) -> Vec<Case> {
    let variant = name.strip_prefix("attention_").unwrap();
    let (_, kernel) = variants().into_iter().find(|(n, _)| n == variant).unwrap();
    let shapes = [
        Shape { batch: 2, rows: 67, columns: 70, depths: [36, 9], width: 66, by_rows: true },
        Shape { batch: 1, rows: 1, columns: 1, depths: [1, 1], width: 1, by_rows: true },
        Shape { batch: 1, rows: 16, columns: 128, depths: [40, 8], width: 8, by_rows: false },
    ];
    shapes.into_iter().map(|shape| case(&kernel, shape)).collect()
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
            if masks && (all || j % 7 == 2) {
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
    let terms: Vec<Term> = kernel.terms.iter().map(|(t, _)| t.clone()).collect();
    for b in 0..batch {
        for i in 0..rows {
            let scores: Vec<Bounded> = (0..columns)
                .map(|j| {
                    let mut values = vec![];
                    for (g, group) in kernel.groups.iter().enumerate() {
                        for transforms in &group.parts {
                            let [left, right] = [&sources[2 * g], &sources[2 * g + 1]];
                            let products = (0..left.columns).map(|d| {
                                transform(transforms[0], left.at(b, i, d))
                                    * transform(transforms[1], right.at(b, j, d))
                            });
                            let (sum, size) = products.fold((0.0, 0.0), |(s, m), p| (s + p, m + p.abs()));
                            values.push((sum, ROUNDING * size));
                        }
                    }
                    for (m, (_, along)) in operands.iter().zip(&kernel.operands) {
                        values.push(match along {
                            Along::Own => (f64::from(m.at(b, i, 0)), 0.0),
                            Along::Other => (f64::from(m.at(b, 0, j)), 0.0),
                            Along::Both => (f64::from(m.at(b, i, j)), 0.0),
                        });
                    }
                    evaluate(&terms, &values)
                })
                .collect();
            let row = b * rows + i;
            let (mut weights, mut scale) = (scores.clone(), (1.0, 0.0));
            if masks {
                let maximum = scores.iter().fold(f64::NEG_INFINITY, |m, (s, _)| m.max(*s));
                let base = if maximum == f64::NEG_INFINITY { 0.0 } else { maximum };
                let worst = scores.iter().filter(|s| s.0.is_finite()).fold(0.0f64, |m, (_, e)| m.max(*e));
                weights = scores
                    .iter()
                    .map(|(s, e)| {
                        (
                            (s - base).exp(),
                            (s - base).exp() * (if s.is_finite() { *e } else { 0.0 } + 2.0 * ULPS),
                        )
                    })
                    .collect();
                let sum = weights.iter().map(|p| p.0).sum::<f64>();
                results[1][row] = (maximum, worst);
                // The kernel's exponentials refer to its own, inexact maximum.
                results[2][row] = (sum, weights.iter().map(|p| p.1).sum::<f64>() + sum * (worst + ROUNDING));
                scale = (sum, worst + 2.0 * ROUNDING);
            }
            for c in 0..width {
                let at = if by_rows { row * width + c } else { (b * width + c) * rows + i };
                let mut total: Bounded = (0.0, 0.0);
                for (j, (x, e)) in weights.iter().enumerate() {
                    let w = weight.as_ref().map_or(1.0, |w| transform(weight_transform, w.at(b, j, c)));
                    total = (total.0 + x * w, total.1 + (e + ROUNDING * x.abs()) * w.abs());
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
    for m in weight.iter().chain(&sources).chain(&operands) {
        matrices.push(m.matrix());
        buffers.push((Role::Read, m.values.iter().map(|v| v.to_bits()).collect()));
    }
    let args = TiledArgs {
        rows: rows as u32,
        columns: columns as u32,
        width: width as u32,
        batch: [1, 1, 1, batch as u32],
        depths: kernel.groups.iter().zip(depths).map(|(_, d)| d as u32).collect(),
        matrices,
    };
    let expected: Vec<Vec<Bounded>> = stored.iter().map(|r| results[*r].clone()).collect();
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
        check: Box::new(move |results| {
            for (words, expected) in results.iter().zip(&expected) {
                for (word, (e, bound)) in words.iter().zip(expected) {
                    let f = f64::from(f32::from_bits(*word));
                    let same = f == *e || (f.is_nan() && e.is_nan()) || (f - e).abs() <= *bound + 1e-30;
                    if !same {
                        return Err("wrong numbers".into());
                    }
                }
            }
            Ok(())
        }),
    }
}
