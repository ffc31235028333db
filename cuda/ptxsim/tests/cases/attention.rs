//! Tiles of scores, against the same expression in float64 that carries with each value how far float32 may be from it.

use dlbc_ops::prim::{Binary, Transform, Unary};
use dlbc_ptx::kernel::attention::{Along, End, Matrix, Tiled, TiledArgs, variants};
use dlbc_ptx::kernel::pointwise::Term;

use super::products::part;
use super::{Case, Random, Role};

/// What a product of float32 by three tf32 ones, or a sum of a few hundred, may be off by, of its magnitudes.
const ROUNDING: f64 = 1e-6;
/// A few units in the last place.
const ULPS: f64 = 4e-7;

/// A value and how far it may be off.
type Near = (f64, f64);

fn binary(f: Binary, (a, ea): Near, (b, eb): Near) -> Near {
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

fn evaluate(terms: &[Term], operands: &[Near]) -> Near {
    let mut values: Vec<Near> = vec![];
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

/// Matrices `[batch, rows, columns]`, some with one batch for all, stored by rows or by columns.
struct Stored {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
    shared: bool,
    by_rows: bool,
}

impl Stored {
    fn new(values: Vec<f32>, [rows, columns]: [usize; 2], shared: bool, by_rows: bool) -> Stored {
        Stored { values, rows, columns, shared, by_rows }
    }

    fn matrix(&self) -> Matrix {
        let (rows, columns) = (self.rows as i32, self.columns as i32);
        let each = if self.shared { 0 } else { rows * columns };
        let strides = if self.by_rows { [columns, 1] } else { [1, rows] };
        Matrix { address: 0, strides, batch: [0, 0, 0, each] }
    }

    fn at(&self, batch: usize, row: usize, column: usize) -> f32 {
        let m = self.matrix();
        let at = batch as i32 * m.batch[3] + row as i32 * m.strides[0] + column as i32 * m.strides[1];
        self.values[at as usize]
    }
}

/// One launch: batch, own rows, other rows, depths, columns, and whether the result is stored by rows.
type Shape = (usize, usize, usize, [usize; 2], usize, bool);

pub fn attention(name: &str) -> Vec<Case> {
    let wanted = name.strip_prefix("attention_").unwrap();
    let (_, kernel) = variants().into_iter().find(|(n, _)| n == wanted).unwrap();
    let shapes: [Shape; 3] =
        [(2, 67, 70, [36, 9], 66, true), (1, 1, 1, [1, 1], 1, true), (1, 16, 128, [40, 8], 8, false)];
    shapes.into_iter().map(|shape| case(&kernel, shape)).collect()
}

fn case(kernel: &Tiled, (batch, own, other, depths, width, by_rows): Shape) -> Case {
    let mut random = Random::new(23);
    let mut floats =
        |count: usize, size: f32| -> Vec<f32> { (0..count).map(|_| random.float() * size).collect() };
    let (mut sources, mut operands) = (vec![], vec![]);
    for (group, depth) in kernel.groups.iter().zip(depths) {
        let mut left = floats(batch * own * depth, 2.0);
        // Rows whose products are all 0.
        let zero = if kernel.end == End::Sum { 2 } else { 11 };
        for (row, values) in left.chunks_mut(depth).enumerate().filter(|(row, _)| row % zero == 1) {
            if own > 1 && group.depth_first[0] {
                values.fill(-0.0 * row as f32);
            }
        }
        sources.push(Stored::new(left, [own, depth], false, group.depth_first[0]));
        sources.push(Stored::new(floats(other * depth, 2.0), [other, depth], true, group.depth_first[1]));
    }
    // The last batch of a masked softmax is masked throughout, the others in places.
    let masks = matches!(kernel.end, End::Softmax { .. } | End::Statistics);
    let guarded = kernel.terms.iter().any(|(t, _)| matches!(t, Term::Float(v) if *v == f32::NEG_INFINITY));
    for (i, (_, along)) in kernel.operands.iter().enumerate() {
        let (rows, columns) = match along {
            Along::Own => (own, 1),
            Along::Other => (1, other),
            Along::Both => (own, other),
        };
        let count = rows * columns;
        let mut values = floats(batch * count, 1.0);
        for (j, v) in values.iter_mut().enumerate() {
            let all = batch > 1 && j / count + 1 == batch;
            if masks && (all || j % 7 == 2) {
                *v = f32::NEG_INFINITY;
            } else if guarded && i == 0 {
                // Maxima: above what any score is, or of a row that is masked.
                *v = if j % 9 == 4 { f32::NEG_INFINITY } else { 3.0 };
            } else if !masks && (guarded && i == 2 || !guarded && i == 1) {
                *v = 2.0 + v.abs();
            }
        }
        operands.push(Stored::new(values, [rows, columns], false, true));
    }
    let mixes = matches!(kernel.end, End::Product { .. } | End::Softmax { .. });
    let (mixed_part, across) = match kernel.end {
        End::Product { part, across } => (part, across),
        End::Softmax { across, .. } => (Transform::Id, across),
        End::Statistics | End::Sum => (Transform::Id, true),
    };
    let width = if mixes { width } else { 1 };
    let weight =
        mixes.then(|| Stored::new(floats(batch * other * width, 1.0), [other, width], false, across));

    let mut results: Vec<Vec<Near>> = vec![vec![(0.0, 0.0); batch * own * width]];
    results.extend([vec![(0.0, 0.0); batch * own], vec![(0.0, 0.0); batch * own]]);
    let terms: Vec<Term> = kernel.terms.iter().map(|(t, _)| t.clone()).collect();
    for b in 0..batch {
        for i in 0..own {
            let scores: Vec<Near> = (0..other)
                .map(|j| {
                    let mut values = vec![];
                    for (g, group) in kernel.groups.iter().enumerate() {
                        for parts in &group.parts {
                            let [left, right] = [&sources[2 * g], &sources[2 * g + 1]];
                            let products = (0..left.columns).map(|d| {
                                part(parts[0], left.at(b, i, d)) * part(parts[1], right.at(b, j, d))
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
            let row = b * own + i;
            let (mut mixed, mut scale) = (scores.clone(), (1.0, 0.0));
            if masks {
                let maximum = scores.iter().fold(f64::NEG_INFINITY, |m, (s, _)| m.max(*s));
                let base = if maximum == f64::NEG_INFINITY { 0.0 } else { maximum };
                let worst = scores.iter().filter(|s| s.0.is_finite()).fold(0.0f64, |m, (_, e)| m.max(*e));
                mixed = scores
                    .iter()
                    .map(|(s, e)| {
                        (
                            (s - base).exp(),
                            (s - base).exp() * (if s.is_finite() { *e } else { 0.0 } + 2.0 * ULPS),
                        )
                    })
                    .collect();
                let sum = mixed.iter().map(|p| p.0).sum::<f64>();
                results[1][row] = (maximum, worst);
                // Exponentials are of differences to the maximum that was found.
                results[2][row] = (sum, mixed.iter().map(|p| p.1).sum::<f64>() + sum * (worst + ROUNDING));
                scale = (sum, worst + 2.0 * ROUNDING);
            }
            for c in 0..width {
                let at = if by_rows { row * width + c } else { (b * width + c) * own + i };
                let mut total: Near = (0.0, 0.0);
                for (j, (x, e)) in mixed.iter().enumerate() {
                    let w = weight.as_ref().map_or(1.0, |w| part(mixed_part, w.at(b, j, c)));
                    total = (total.0 + x * w, total.1 + (e + ROUNDING * x.abs()) * w.abs());
                }
                let nothing = masks && results[1][row].0 == f64::NEG_INFINITY;
                results[0][at] = match kernel.end {
                    End::Softmax { guard: true, .. } if nothing => (0.0, 0.0),
                    _ => (total.0 / scale.0, total.1 / scale.0 + scale.1 * (total.0 / scale.0).abs()),
                };
            }
        }
    }
    let kept: Vec<usize> = match kernel.end {
        End::Product { .. } | End::Sum => vec![0],
        End::Statistics => vec![1, 2],
        End::Softmax { .. } => vec![0, 1, 2],
    };
    let mut matrices: Vec<Matrix> = kept
        .iter()
        .map(|r| {
            let columns = if *r == 0 { width } else { 1 };
            Stored::new(vec![], [own, columns], false, by_rows || *r > 0).matrix()
        })
        .collect();
    let mut buffers: Vec<(Role, Vec<u32>)> =
        kept.iter().map(|r| (Role::Write, vec![0; results[*r].len()])).collect();
    for m in weight.iter().chain(&sources).chain(&operands) {
        matrices.push(m.matrix());
        buffers.push((Role::Read, m.values.iter().map(|v| v.to_bits()).collect()));
    }
    let args = TiledArgs {
        own: own as u32,
        other: other as u32,
        width: width as u32,
        batch: [1, 1, 1, batch as u32],
        depths: kernel.groups.iter().zip(depths).map(|(_, d)| d as u32).collect(),
        matrices,
    };
    let expected: Vec<Vec<Near>> = kept.iter().map(|r| results[*r].clone()).collect();
    let grid = kernel.blocks(&args);
    let kernel = kernel.clone();
    Case {
        shape: format!("{batch} of {own}x{other}, depths {depths:?}, {width} columns"),
        grid,
        buffers,
        params: Box::new(move |at| {
            let mut args = args.clone();
            args.matrices.iter_mut().zip(at).for_each(|(m, at)| m.address = *at);
            kernel.params(&args)
        }),
        check: Box::new(move |found| {
            for (found, expected) in found.iter().zip(&expected) {
                for (word, (e, bound)) in found.iter().zip(expected) {
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
