//! Products and convolutions. An element may be off by the error of its arithmetic, of the sum of magnitudes that it adds up.

use dlbc_ops::prim::{self, Binary, ConvGeometry, Prim, Transform, Unary, Window};
use dlbc_ops::tensor::{Array, Dim};
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::conv::{ConvParams, ENTRY, Way};
use dlbc_ptx::kernel::epilogue::{Epilogue, Reach};
use dlbc_ptx::kernel::gemm::{GemmParams, Layout, Second, Skinny, Tile};
use dlbc_ptx::kernel::pointwise::Term;
use dlbc_ptx::library::{convs, gemms, skinny};

use super::{Case, Check, Random, Role, check, expected, near, words};

/// Roundings of float32 sums, and of what follows.
const ROUNDING: f64 = 1e-6;

/// A part of a float, in float64.
pub fn part(p: Transform, v: f32) -> f64 {
    let v = f64::from(v);
    match p {
        Transform::Id => v,
        Transform::Abs => v.abs(),
        Transform::Pos => v.max(0.0),
        Transform::Neg => v.min(0.0),
        Transform::Square => v * v,
        Transform::One => 1.0,
    }
}

/// What follows products, in float64.
fn followed(then: &Epilogue, sums: &[f64], operands: &[f64]) -> f64 {
    let mut values: Vec<f64> = vec![];
    for (term, _) in &then.terms {
        let value = match term {
            Term::Operand(i) if *i < sums.len() => sums[*i],
            Term::Operand(i) => operands[i - sums.len()],
            Term::Float(v) => f64::from(*v),
            Term::Binary(Binary::Min, a, b) => values[*a].min(values[*b]),
            Term::Unary(Unary::Abs, a) => values[*a].abs(),
            Term::Unary(Unary::Relu, a) => values[*a].max(0.0),
            Term::Binary(Binary::Add, a, b) => values[*a] + values[*b],
            Term::Binary(Binary::Mul, a, b) => values[*a] * values[*b],
            Term::Binary(Binary::GuardedDiv, _, b) if values[*b] == 0.0 => 0.0,
            Term::Binary(Binary::GuardedDiv, a, b) => values[*a] / values[*b],
            other => panic!("no cases for {other:?}"),
        };
        values.push(value);
    }
    values.last().copied().unwrap_or(sums[0])
}

/// Operands of what follows a product of so many elements, rows and columns, and the element that one of the result reads.
struct Beside {
    buffers: Vec<Vec<f32>>,
    reaches: Vec<Reach>,
}

impl Beside {
    fn new(random: &mut Random, then: &Epilogue, [full, rows, columns]: [usize; 3]) -> Beside {
        let count = |reach: &Reach| match reach {
            Reach::Full => full,
            Reach::Row => rows,
            Reach::Column => columns,
            Reach::One => 1,
        };
        let buffers = then.operands.iter().map(|r| random.floats(&[count(r)]).to_f32()).collect();
        Beside { buffers, reaches: then.operands.clone() }
    }

    fn at(&self, [full, row, column]: [usize; 3]) -> Vec<f64> {
        let index = |reach: &Reach| match reach {
            Reach::Full => full,
            Reach::Row => row,
            Reach::Column => column,
            Reach::One => 0,
        };
        self.buffers.iter().zip(&self.reaches).map(|(b, r)| f64::from(b[index(r)])).collect()
    }

    fn roles(&self) -> impl Iterator<Item = (Role, Vec<u32>)> + '_ {
        self.buffers.iter().map(|b| (Role::Read, b.iter().map(|v| v.to_bits()).collect()))
    }
}

fn error(tile: Option<Tile>) -> f64 {
    ROUNDING + tile.and_then(Tile::math).map_or(0.0, |math| math.error())
}

/// Sums of an element with the magnitudes that each adds up.
type Summed = Vec<(f64, f64)>;

/// Each element lies where the errors of its sums, of the magnitudes beside them, let what follows end.
fn close(then: Epilogue, error: f64, sums: Vec<Summed>, operands: Vec<Vec<f64>>) -> Check {
    let count = sums.len();
    let at = move |i: usize, sides: [f64; 2]| {
        let moved = sums[i].iter().zip(sides).map(|((sum, size), side)| sum + side * error * size);
        followed(&then, &moved.collect::<Vec<_>>(), &operands[i])
    };
    let exact: Vec<f64> = (0..count).map(|i| at(i, [0.0; 2])).collect();
    let bound = move |i: usize, e: f64| {
        let ends = [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]].map(|sides| at(i, sides));
        ends.into_iter().map(|end| (end - e).abs()).fold(0.0, f64::max) + ROUNDING * e.abs()
    };
    Box::new(move |found| near(&found[0], &exact, &bound))
}

/// Elements of a matrix of so many lanes and depths, as the variant likes it, with its strides along them. Padding is NaN.
struct Stored {
    values: Vec<f32>,
    strides: [usize; 2],
    words: usize,
}

impl Stored {
    fn new(random: &mut Random, layout: Layout, batches: usize, lanes: usize, depth: usize) -> Stored {
        let (outer, inner) = if layout.depth_first { (lanes, depth) } else { (depth, lanes) };
        let line = if layout.wide { inner.next_multiple_of(4) + 4 } else { inner };
        let strides = if layout.depth_first { [line, 1] } else { [1, line] };
        let words = outer * line;
        let element = |i: usize| if i % line < inner { random.float() } else { f32::NAN };
        Stored { values: (0..batches * words).map(element).collect(), strides, words }
    }

    fn at(&self, batch: usize, lane: usize, depth: usize) -> f32 {
        self.values[batch * self.words + lane * self.strides[0] + depth * self.strides[1]]
    }

    fn role(&self) -> (Role, Vec<u32>) {
        (Role::Read, self.values.iter().map(|v| v.to_bits()).collect())
    }
}

/// Batches, rows, columns, depth, slices.
type Sizes = ([usize; 2], usize, usize, usize, usize);

pub fn gemm(name: &str) -> Vec<Case> {
    if let Some(v) = gemms().into_iter().find(|g| g.name() == name) {
        let (r, c, d) = (v.tile.rows as usize, v.tile.columns as usize, v.tile.depth as usize);
        let slices = if v.then.terms.is_empty() { 2 } else { 1 };
        let sizes = [
            ([2, 1], r + 3, c + 5, 2 * d + 3, 1),
            ([1, 3], 1, 1, 1, 1),
            // More steps than a ring has, in slices where nothing follows.
            ([1, 1], r, c, 6 * d - 2, slices),
            ([2, 2], 3, 2, 0, 1),
        ];
        let tile = v.tile;
        let parts = (v.parts, v.second);
        return floats(parts, v.layouts, &v.then, [c, d], error(Some(tile)), &sizes, |p| v.grid(p));
    }
    if let Some(v) = skinny().into_iter().find(|v| v.name() == name) {
        let (r, c, d) = (v.rows as usize, v.columns() as usize, Skinny::DEPTH as usize);
        let slices = if v.then.terms.is_empty() { 2 } else { 1 };
        // Four at a time need as many.
        let sizes = [
            ([2, 1], r, c + 8, d + 36, 1),
            ([1, 2], r.div_ceil(2), 4, 4, 1),
            ([1, 1], r, c, 2 * d + 100, slices),
            ([2, 2], 1, 4, 0, 1),
        ];
        let layouts = [Layout::default(), v.layout];
        return floats((v.parts, None), layouts, &v.then, [c, d], ROUNDING, &sizes, |p| v.grid(p));
    }
    integers()
}

fn floats(
    parts: ([Transform; 2], Option<Second>),
    layouts: [Layout; 2],
    then: &Epilogue,
    [c, d]: [usize; 2],
    error: f64,
    sizes: &[Sizes],
    grid: impl Fn(&GemmParams) -> [u32; 3],
) -> Vec<Case> {
    let mut random = Random::new(11);
    let mut made = vec![];
    for ([outer, inner], m, n, k, slices) in sizes.iter().copied() {
        let slice = k.div_ceil(slices).next_multiple_of(d);
        // `a` lacks the inner batch axis, `b` the outer one: both broadcast.
        let a = Stored::new(&mut random, layouts[0], outer, m, k);
        let b = Stored::new(&mut random, layouts[1], inner, n, k);
        let beside = Beside::new(&mut random, then, [outer * inner * m * n, m, n]);
        let (mut sums, mut operands) = (vec![], vec![]);
        for place in 0..slices * outer * inner * m * n {
            let (column, row, batch) = (place % n, place / n % m, place / n / m % (outer * inner));
            let first = place / n / m / outer / inner * slice;
            let product = |of: [Transform; 2]| {
                let mut sum = (0.0, 0.0);
                for depth in first..(first + slice).min(k) {
                    let left = part(of[0], a.at(batch / inner, row, depth));
                    let right = part(of[1], b.at(batch % inner, column, depth));
                    sum = (sum.0 + left * right, sum.1 + (left * right).abs());
                }
                sum
            };
            sums.push(summed(product(parts.0), parts.1.map(|s| (product(s.parts), s.apart))));
            operands.push(beside.at([place, row, column]));
        }
        let params = GemmParams {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            slice: slice as u32,
            tiles: n.div_ceil(c) as u32,
            batches: (outer * inner) as u32,
            a_strides: a.strides.map(|s| s as i32),
            b_strides: b.strides.map(|s| s as i32),
            batch: [1, 1, outer as u32, inner as u32],
            a_batch: [0, 0, a.words as i32, 0],
            b_batch: [0, 0, 0, b.words as i32],
            ..GemmParams::default()
        };
        let mut buffers = vec![a.role(), b.role(), (Role::Write, vec![0; sums.len()])];
        buffers.extend(beside.roles());
        made.push(Case {
            shape: format!("{outer}x{inner} of {m}x{n}x{k} in {slices}"),
            grid: grid(&params),
            buffers,
            params: Box::new(move |at| {
                let (a, b, c) = (at[0], at[1], at[2]);
                let then = std::array::from_fn(|i| at.get(3 + i).copied().unwrap_or(0));
                GemmParams { a, b, c, then, ..params }.bytes()
            }),
            check: close(then.clone(), error, sums, operands),
        });
    }
    made
}

/// A sum with a second one beside it or in it.
fn summed(first: (f64, f64), second: Option<((f64, f64), bool)>) -> Summed {
    match second {
        None => vec![first],
        Some((second, true)) => vec![first, second],
        Some((second, false)) => vec![(first.0 + second.0, first.1 + second.1)],
    }
}

fn integers() -> Vec<Case> {
    let mut random = Random::new(11);
    let mut made = vec![];
    for ([outer, inner], m, n, k) in [([2, 3], 3, 5, 7), ([1, 2], 20, 15, 4), ([1, 1], 1, 1, 0)] {
        let a = random.integers(&[outer, 1, m, k]);
        let b = random.integers(&[1, inner, k, n]);
        let op = Prim::MatMul(prim::MatMul { a: Transform::Id, b: Transform::Id, ta: false, tb: false });
        let params = GemmParams {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            a_strides: [k as i32, 1],
            b_strides: [1, n as i32],
            batch: [1, 1, outer as u32, inner as u32],
            a_batch: [0, 0, (m * k) as i32, 0],
            b_batch: [0, 0, 0, (k * n) as i32],
            ..GemmParams::default()
        };
        let elements = outer * inner * m * n;
        made.push(Case {
            shape: format!("{outer}x{inner} of {m}x{n}x{k}"),
            grid: [(elements as u32).div_ceil(256), 1, 1],
            buffers: vec![
                (Role::Read, words(&a)),
                (Role::Read, words(&b)),
                (Role::Write, vec![0; 2 * elements]),
            ],
            params: Box::new(move |at| GemmParams { a: at[0], b: at[1], c: at[2], ..params }.bytes()),
            check: check(expected(&op, &[&a, &b]), |_, _| 0.0),
        });
    }
    made
}

/// Elements of an array.
fn elements(array: &Array) -> Vec<f64> {
    match array {
        Array::F(a) => a.iter().copied().collect(),
        Array::I(_) | Array::B(_) => vec![],
    }
}

pub fn conv(name: &str) -> Vec<Case> {
    let Some(variant) = convs().into_iter().find(|v| v.name() == name) else { return vec![] };
    let way = variant.way;
    let strides = match way {
        Way::Forward => [2, 1, 3],
        Way::Adjoint => [1, 1, 1],
        // Every element of the data lies in some window.
        Way::AdjointStrided => [2, 1, 2],
    };
    let (rows, columns) = variant.tile.map_or((3, 40), |t| (t.rows as usize, t.columns as usize));
    let slices = if variant.then.terms.is_empty() { 2 } else { 1 };
    let mut made = vec![];
    let mut random = Random::new(12);
    // More of both than a tile has.
    let wide = if way == Way::Forward { [4, 6, columns / 4] } else { [2, 4, columns / 8 + 1] };
    for (images, groups, channels, outputs, from, slices) in [
        // Each slice has more steps than a ring.
        (2, 1, 4 * slices, rows + 2, wide, slices),
        (1, 3, 1, 1, [3, 5, 4], 1),
        (3, 2, 5, 2, [2, 6, 5], 1),
    ] {
        let window = Window {
            kernel: vec![2, 3, 2],
            strides: strides.to_vec(),
            before: vec![1, 0, 2],
            after: vec![0, 2, 1],
            dilations: vec![1, 2, 3],
            ceil: false,
        };
        let dims: Vec<Dim> = from.iter().map(|d| Dim::known(*d as i64)).collect();
        let Ok(to) = window.output(&dims) else { continue };
        let to: Vec<usize> = to.iter().map(|d| d.as_known().unwrap() as usize).collect();
        let geometry = ConvGeometry { window, groups };
        // The adjoint has channels where the convolution has outputs.
        let (c, o) = if way == Way::Forward { (channels, outputs) } else { (outputs, channels) };
        let (taps, depth_channels) = (12, if way == Way::Forward { c } else { o });
        let depths = depth_channels * taps;
        let slice = depths.div_ceil(slices).next_multiple_of(4);
        let w = random.floats(&[o * groups, c, 2, 3, 2]);
        let (x_dims, y_dims) =
            ([&[images, c * groups][..], &from].concat(), [&[images, o * groups][..], &to].concat());
        let (data_dims, out) = if way == Way::Forward { (x_dims, y_dims) } else { (y_dims, x_dims) };
        let data = random.floats(&data_dims);
        let of = |p: Transform, data: &[f32], size: bool| {
            let value = |v: &f32| if size { part(p, *v).abs() } else { part(p, *v) } as f32;
            dlbc_ops::tensor::Tensor::from_f32(&data_dims, &data.iter().map(value).collect::<Vec<_>>())
        };
        let mut sums = vec![];
        for turn in 0..slices {
            // The weights that other slices have count for nothing.
            let own = |i: usize| match way {
                Way::Forward => i % depths / slice == turn,
                _ => (i / (c * taps) % o * taps + i % taps) / slice == turn,
            };
            let kept: Vec<f32> =
                w.to_f32().iter().enumerate().map(|(i, v)| if own(i) { *v } else { 0.0 }).collect();
            let kept = dlbc_ops::tensor::Tensor::from_f32(w.dims(), &kept);
            let product = |[weights, read]: [Transform; 2]| -> Vec<(f64, f64)> {
                let op = |w: Transform| match way {
                    Way::Forward => Prim::Conv(prim::Conv { geometry: geometry.clone(), w }),
                    _ => Prim::ConvTranspose(prim::ConvTranspose {
                        geometry: geometry.clone(),
                        w,
                        to: dims.clone(),
                    }),
                };
                let found = elements(&expected(&op(weights), &[&of(read, &data.to_f32(), false), &kept]));
                let sizes = elements(&expected(&op(weights), &[&of(read, &data.to_f32(), true), &kept]));
                found.into_iter().zip(sizes.into_iter().map(f64::abs)).collect()
            };
            let second = variant.second.map(|s| (product(s.parts), s.apart));
            for (i, first) in product(variant.parts).into_iter().enumerate() {
                sums.push(summed(first, second.as_ref().map(|(s, apart)| (s[i], *apart))));
            }
        }
        let size: usize = data.dims()[2..].iter().product();
        let mut table = vec![];
        for depth in 0..depths {
            let (channel, tap) = (depth / taps, depth % taps);
            let far = [tap / 6, tap / 2 % 3 * 2, tap % 2 * 3];
            let weight = channel * c * taps + tap;
            let entry: [usize; ENTRY] = [channel * size, far[0], far[1], far[2], weight, 0, 0, 0];
            table.extend(entry.map(|v| v as u32));
        }
        let positions: usize = out[2..].iter().product();
        let elements: usize = out.iter().product();
        let beside = Beside::new(&mut random, &variant.then, [elements, out[1], 0]);
        let operands: Vec<Vec<f64>> =
            (0..sums.len()).map(|i| beside.at([i, i / positions % out[1], 0])).collect();
        let three = |d: &[usize]| -> [u32; 3] { std::array::from_fn(|i| d[i] as u32) };
        let params = ConvParams {
            m: (out[1] / groups) as u32,
            n: (images * positions) as u32,
            k: depths as u32,
            slice: slice as u32,
            groups: groups as u32,
            elements: elements as u32,
            weight_row: if way == Way::Forward { c * taps } else { taps } as u32,
            weight_group: (o * c * taps) as u32,
            data_image: (data.dims()[1] * size) as u32,
            data_group: (data.dims()[1] / groups * size) as u32,
            positions: positions as u32,
            channels: out[1] as u32,
            from: three(&data.dims()[2..]),
            to: three(&out[2..]),
            strides: strides.map(|s| s as u32),
            before: [1, 0, 2],
            ..ConvParams::default()
        };
        let mut buffers = vec![
            (Role::Read, words(&data)),
            (Role::Read, words(&w)),
            (Role::Read, table),
            (Role::Write, vec![0; slices * elements]),
        ];
        buffers.extend(beside.roles());
        made.push(Case {
            shape: format!("{images} images, {groups} groups, {:?} to {out:?} in {slices}", data.dims()),
            grid: variant.grid(&params),
            buffers,
            params: Box::new(move |at| {
                let [data, weight, table, out] = [at[0], at[1], at[2], at[3]];
                let then = std::array::from_fn(|i| at.get(4 + i).copied().unwrap_or(0));
                ConvParams { data, weight, table, out, then, ..params }.bytes()
            }),
            check: close(variant.then.clone(), error(variant.tile), sums, operands),
        });
    }
    made
}
