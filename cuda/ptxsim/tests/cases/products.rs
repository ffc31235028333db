//! Products and convolutions. The error of an element is bounded by that of its arithmetic times its sum of magnitudes.

use dlbc_ops::prim::{self, ConvGeometry, Prim, Transform, Window};
use dlbc_ops::tensor::{Array, Dim};
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::conv::{Conv, ConvParams, Direction, ENTRY};
use dlbc_ptx::kernel::epilogue::{Broadcast, Epilogue, SideOperand};
use dlbc_ptx::kernel::gemm::{
    Gemm, GemmParams, Layout, STORED_SECOND, SecondProduct, SecondSums, Skinny, Storage, Tile,
};

use super::bounded::{Bounded, evaluate};
use super::{Case, Expected, Random, Role, expected, packed, result, rounded, words};

/// Relative error of float32 sums and epilogues.
const ROUNDING: f64 = 1e-6;

/// Applies an operand transform in float64.
pub fn transform(transform: Transform, v: f32) -> f64 {
    let v = f64::from(v);
    match transform {
        Transform::Id => v,
        Transform::Abs => v.abs(),
        Transform::Pos => v.max(0.0),
        Transform::Neg => v.min(0.0),
        Transform::Square => v * v,
        Transform::One => 1.0,
    }
}

/// Operands of an epilogue.
struct EpilogueOperands {
    buffers: Vec<Vec<f32>>,
    operands: Vec<SideOperand>,
}

impl EpilogueOperands {
    /// Draws operands for a product with this number of elements, rows and columns.
    fn new(random: &mut Random, epilogue: &Epilogue, [full, rows, columns]: [usize; 3]) -> EpilogueOperands {
        let count = |operand: &SideOperand| match operand.broadcast {
            Broadcast::Full => full,
            Broadcast::Row => rows,
            Broadcast::Column => columns,
            Broadcast::Scalar => 1,
        };
        let mut drawn = |o: &SideOperand| rounded(o.storage, &random.floats(&[count(o)]).to_f32());
        let buffers = epilogue.operands.iter().map(&mut drawn).collect();
        EpilogueOperands { buffers, operands: epilogue.operands.clone() }
    }

    /// Returns the operands of the element with this index, row and column.
    fn at(&self, [full, row, column]: [usize; 3]) -> Vec<f64> {
        let index = |operand: &SideOperand| match operand.broadcast {
            Broadcast::Full => full,
            Broadcast::Row => row,
            Broadcast::Column => column,
            Broadcast::Scalar => 0,
        };
        self.buffers.iter().zip(&self.operands).map(|(values, o)| f64::from(values[index(o)])).collect()
    }

    fn roles(&self) -> impl Iterator<Item = (Role, Vec<u32>)> + '_ {
        self.buffers.iter().zip(&self.operands).map(|(values, o)| (Role::Read, packed(o.storage, values)))
    }
}

/// Relative error of a sum of this depth.
fn error(tile: Option<Tile>, depth: usize) -> f64 {
    ROUNDING + tile.and_then(Tile::math).map_or(0.0, |math| math.error(depth))
}

/// Sums of an element, each with its sum of magnitudes.
type Sums = Vec<(f64, f64)>;

/// Expects the epilogue's values for sums that are off by up to `error` times their magnitudes.
fn close(epilogue: &Epilogue, error: f64, sums: &[Sums], operands: &[Vec<f64>]) -> Expected {
    let count = sums.first().map_or(0, Vec::len);
    let sum = |n: usize| {
        let values = sums.iter().map(|s| s[n].0).collect();
        let bounds = sums.iter().map(|s| error * s[n].1 + ROUNDING * s[n].0.abs()).collect();
        Bounded::floats(values, bounds)
    };
    let mut list: Vec<Bounded> = (0..count).map(sum).collect();
    if epilogue.terms.is_empty() {
        return list.remove(0).expected().stored(epilogue.storage);
    }
    for n in 0..operands.first().map_or(0, Vec::len) {
        let values: Vec<f64> = operands.iter().map(|o| o[n]).collect();
        let bounds = vec![0.0; values.len()];
        list.push(Bounded::floats(values, bounds));
    }
    evaluate(&epilogue.terms, &list, sums.len()).result.expected().stored(epilogue.storage)
}

/// A matrix in the layout that a variant requires. Padding is NaN.
struct Stored {
    storage: Storage,
    values: Vec<f32>,
    /// Strides along lanes and depth.
    strides: [usize; 2],
    /// Elements per matrix of the batch, with padding.
    words: usize,
}

impl Stored {
    fn new(random: &mut Random, layout: Layout, batches: usize, lanes: usize, depth: usize) -> Stored {
        let (outer, inner) = if layout.depth_first { (lanes, depth) } else { (depth, lanes) };
        let group = layout.storage.group() as usize;
        let line = if layout.vectorised { inner.next_multiple_of(group) + group } else { inner };
        let strides = if layout.depth_first { [line, 1] } else { [1, line] };
        let words = outer * line;
        let element = |i: usize| if i % line < inner { random.float() } else { f32::NAN };
        let values: Vec<f32> = (0..batches * words).map(element).collect();
        Stored { storage: layout.storage, values: rounded(layout.storage, &values), strides, words }
    }

    fn at(&self, batch: usize, lane: usize, depth: usize) -> f32 {
        self.values[batch * self.words + lane * self.strides[0] + depth * self.strides[1]]
    }

    fn role(&self) -> (Role, Vec<u32>) {
        (Role::Read, packed(self.storage, &self.values))
    }
}

/// Sizes of a product.
#[derive(Clone, Copy)]
struct Sizes {
    /// Outer and inner batch dimension.
    batch: [usize; 2],
    /// Rows, columns and depth.
    mnk: [usize; 3],
    slices: usize,
}

impl Sizes {
    /// Rounds lengths up, so that narrow elements fill groups of 16 bytes.
    fn whole(mut self, layouts: &[Layout]) -> Sizes {
        if layouts.iter().any(|l| l.vectorised && l.storage != Storage::F32) {
            self.mnk = self.mnk.map(|d| d.next_multiple_of(8));
        }
        self
    }
}

fn sizes(batch: [usize; 2], mnk: [usize; 3], slices: usize) -> Sizes {
    Sizes { batch, mnk, slices }
}

pub fn gemm(v: &Gemm) -> Vec<Case> {
    let tile = v.tile;
    let (r, c, d) = (tile.rows as usize, tile.columns as usize, tile.depth as usize);
    let slices = if v.epilogue.terms.is_empty() { 2 } else { 1 };
    let sizes = [
        sizes([2, 1], [r + 3, c + 5, 2 * d + 3], 1),
        sizes([1, 3], [1, 1, 1], 1),
        // More depth than the ring's stages, in slices unless there is an epilogue.
        sizes([1, 1], [r, c, 6 * d - 2], slices),
        sizes([2, 2], [3, 2, 0], 1),
    ]
    .map(|s| s.whole(&v.layouts));
    let products = (v.transforms, v.second);
    floats(products, v.layouts, &v.epilogue, [c, d], |k| error(Some(tile), k), &sizes, |p| v.grid(p))
}

pub fn skinny(v: &Skinny) -> Vec<Case> {
    let (r, c, d) = (v.rows as usize, v.columns() as usize, Skinny::DEPTH as usize);
    let slices = if v.epilogue.terms.is_empty() { 2 } else { 1 };
    // Vectorised loads need multiples of four.
    let sizes = [
        sizes([2, 1], [r, c + 8, d + 36], 1),
        sizes([1, 2], [r.div_ceil(2), 4, 4], 1),
        sizes([1, 1], [r, c, 2 * d + 100], slices),
        sizes([2, 2], [1, 4, 0], 1),
    ];
    let (layouts, products) = ([Layout::default(), v.layout], (v.transforms, None));
    floats(products, layouts, &v.epilogue, [c, d], |_| ROUNDING, &sizes, |p| v.grid(p))
}

fn floats(
    (transforms, second): ([Transform; 2], Option<SecondProduct>),
    layouts: [Layout; 2],
    epilogue: &Epilogue,
    [c, d]: [usize; 2],
    error: impl Fn(usize) -> f64,
    sizes: &[Sizes],
    grid: impl Fn(&GemmParams) -> [u32; 3],
) -> Vec<Case> {
    let mut random = Random::new(11);
    let mut cases = vec![];
    for Sizes { batch: [outer, inner], mnk: [m, n, k], slices } in sizes.iter().copied() {
        let slice = k.div_ceil(slices).next_multiple_of(d);
        // `a` broadcasts along the inner batch axis, `b` along the outer one.
        let a = Stored::new(&mut random, layouts[0], outer, m, k);
        let b = Stored::new(&mut random, layouts[1], inner, n, k);
        let epilogue_operands = EpilogueOperands::new(&mut random, epilogue, [outer * inner * m * n, m, n]);
        let (mut sums, mut operands) = (vec![], vec![]);
        for place in 0..slices * outer * inner * m * n {
            let (column, row, batch) = (place % n, place / n % m, place / n / m % (outer * inner));
            let first = place / n / m / outer / inner * slice;
            let product = |transforms: [Transform; 2]| {
                let mut sum = (0.0, 0.0);
                for depth in first..(first + slice).min(k) {
                    let left = transform(transforms[0], a.at(batch / inner, row, depth));
                    let right = transform(transforms[1], b.at(batch % inner, column, depth));
                    sum = (sum.0 + left * right, sum.1 + (left * right).abs());
                }
                sum
            };
            sums.push(combined(product(transforms), second.map(|s| (product(s.transforms), s.sums))));
            operands.push(epilogue_operands.at([place, row, column]));
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
        let mut buffers = vec![a.role(), b.role(), result(epilogue.storage, sums.len())];
        buffers.extend(epilogue_operands.roles());
        let stored = stored_second(second, &mut sums, error(k));
        let stores_second = stored.is_some();
        buffers.extend(stored.iter().map(|(storage, _)| result(*storage, sums.len())));
        let first = close(epilogue, error(k), &sums, &operands);
        cases.push(Case {
            shape: format!("{outer}x{inner} of {m}x{n}x{k} in {slices}"),
            grid: grid(&params),
            buffers,
            params: Box::new(move |at| {
                let (a, b, c) = (at[0], at[1], at[2]);
                let epilogue = epilogue_addresses(&at[3..], stores_second);
                GemmParams { a, b, c, epilogue, ..params }.bytes()
            }),
            expected: std::iter::once(first).chain(stored.map(|(_, second)| second)).collect(),
        });
    }
    cases
}

/// Takes the sums of a second product that are stored from those of each element; returns their storage and their expectation.
fn stored_second(
    second: Option<SecondProduct>,
    sums: &mut [Sums],
    error: f64,
) -> Option<(Storage, Expected)> {
    let Some(SecondProduct { sums: SecondSums::Stored(storage), .. }) = second else { return None };
    let second: Vec<Sums> = sums.iter_mut().filter_map(|s: &mut Sums| Some(vec![s.pop()?])).collect();
    let bare = Epilogue { storage, ..Epilogue::default() };
    Some((storage, close(&bare, error, &second, &[])))
}

/// Returns the addresses of an epilogue's operands; with a stored second product, that of its sums is the last of `at`.
fn epilogue_addresses(at: &[u64], stores_second: bool) -> [u64; 4] {
    let mut addresses = std::array::from_fn(|i| at.get(i).copied().unwrap_or(0));
    if let Some(second) = at.last().filter(|_| stores_second) {
        addresses[STORED_SECOND] = *second;
    }
    addresses
}

/// Combines a sum with a second one.
fn combined(first: (f64, f64), second: Option<((f64, f64), SecondSums)>) -> Sums {
    match second {
        None => vec![first],
        Some((second, SecondSums::Operand | SecondSums::Stored(_))) => vec![first, second],
        Some((second, SecondSums::Added)) => vec![(first.0 + second.0, first.1 + second.1)],
    }
}

pub fn integers() -> Vec<Case> {
    let mut random = Random::new(11);
    let mut cases = vec![];
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
        cases.push(Case {
            shape: format!("{outer}x{inner} of {m}x{n}x{k}"),
            grid: [(elements as u32).div_ceil(256), 1, 1],
            buffers: vec![
                (Role::Read, words(&a)),
                (Role::Read, words(&b)),
                (Role::Write, vec![0; 2 * elements]),
            ],
            params: Box::new(move |at| GemmParams { a: at[0], b: at[1], c: at[2], ..params }.bytes()),
            expected: vec![Expected::array(&expected(&op, &[&a, &b]), |_, _| 0.0)],
        });
    }
    cases
}

/// Elements of an array.
fn elements(array: &Array) -> Vec<f64> {
    match array {
        Array::F(a) => a.iter().copied().collect(),
        Array::I(_) | Array::B(_) => vec![],
    }
}

pub fn conv(variant: &Conv) -> Vec<Case> {
    let direction = variant.direction;
    let strides = match direction {
        Direction::Forward => [2, 1, 3],
        Direction::Adjoint => [1, 1, 1],
        // Strides at which windows cover all of the data.
        Direction::AdjointStrided => [2, 1, 2],
    };
    let (rows, columns) = variant.tile.map_or((3, 40), |t| (t.rows as usize, t.columns as usize));
    let slices = if variant.epilogue.terms.is_empty() { 2 } else { 1 };
    let mut cases = vec![];
    let mut random = Random::new(12);
    // More rows and columns than a tile.
    let large = if direction == Direction::Forward { [4, 6, columns / 4] } else { [2, 4, columns / 8 + 1] };
    for (images, groups, channels, outputs, in_dims, slices) in [
        // Each slice has more depth than the ring's stages.
        (2, 1, 4 * slices, rows + 2, large, slices),
        (1, 3, 1, 1, [3, 5, 4], 1),
        (3, 2, 5, 2, [2, 6, 5], 1),
    ] {
        // Narrow weights fill groups of 16 bytes: 12 taps of an even number of channels do.
        let even = variant.vectorised && variant.weights != Storage::F32;
        let channels = if even { usize::next_multiple_of(channels, 2) } else { channels };
        let window = Window {
            kernel: vec![2, 3, 2],
            strides: strides.to_vec(),
            before: vec![1, 0, 2],
            after: vec![0, 2, 1],
            dilations: vec![1, 2, 3],
            ceil: false,
        };
        let dims: Vec<Dim> = in_dims.iter().map(|d| Dim::known(*d as i64)).collect();
        let Ok(out_dims) = window.output(&dims) else { continue };
        let out_dims: Vec<usize> = out_dims.iter().map(|d| d.as_known().unwrap() as usize).collect();
        let geometry = ConvGeometry { window, groups };
        // Channels of the adjoint's data are outputs of the convolution.
        let (c, o) = if direction == Direction::Forward { (channels, outputs) } else { (outputs, channels) };
        let (taps, depth_channels) = (12, if direction == Direction::Forward { c } else { o });
        let depths = depth_channels * taps;
        let slice = depths.div_ceil(slices).next_multiple_of(4);
        let w = random.floats(&[o * groups, c, 2, 3, 2]);
        let w = dlbc_ops::tensor::Tensor::from_f32(w.dims(), &rounded(variant.weights, &w.to_f32()));
        let (x_dims, y_dims) =
            ([&[images, c * groups][..], &in_dims].concat(), [&[images, o * groups][..], &out_dims].concat());
        let (data_dims, out) =
            if direction == Direction::Forward { (x_dims, y_dims) } else { (y_dims, x_dims) };
        let data = random.floats(&data_dims);
        let transformed = |p: Transform, data: &[f32], magnitude: bool| {
            let value = |v: &f32| if magnitude { transform(p, *v).abs() } else { transform(p, *v) } as f32;
            dlbc_ops::tensor::Tensor::from_f32(&data_dims, &data.iter().map(value).collect::<Vec<_>>())
        };
        let mut sums = vec![];
        for slice_index in 0..slices {
            // Set the weights of other slices to 0.
            let in_slice = |i: usize| match direction {
                Direction::Forward => i % depths / slice == slice_index,
                _ => (i / (c * taps) % o * taps + i % taps) / slice == slice_index,
            };
            let masked: Vec<f32> =
                w.to_f32().iter().enumerate().map(|(i, v)| if in_slice(i) { *v } else { 0.0 }).collect();
            let masked = dlbc_ops::tensor::Tensor::from_f32(w.dims(), &masked);
            let product = |[weights, read]: [Transform; 2]| -> Vec<(f64, f64)> {
                let op = |w: Transform| match direction {
                    Direction::Forward => Prim::Conv(prim::Conv { geometry: geometry.clone(), w }),
                    _ => Prim::ConvTranspose(prim::ConvTranspose {
                        geometry: geometry.clone(),
                        w,
                        to: dims.clone(),
                    }),
                };
                let sizes: Vec<f32> =
                    masked.to_f32().iter().map(|w| transform(weights, *w).abs() as f32).collect();
                let sizes = dlbc_ops::tensor::Tensor::from_f32(masked.dims(), &sizes);
                let sums = transformed(read, &data.to_f32(), false);
                let sums = elements(&expected(&op(weights), &[&sums, &masked]));
                let data = transformed(read, &data.to_f32(), true);
                let sizes = elements(&expected(&op(Transform::Id), &[&data, &sizes]));
                sums.into_iter().zip(sizes).collect()
            };
            let second = variant.second.map(|s| (product(s.transforms), s.sums));
            for (i, first) in product(variant.transforms).into_iter().enumerate() {
                sums.push(combined(first, second.as_ref().map(|(s, sums)| (s[i], *sums))));
            }
        }
        let size: usize = data.dims()[2..].iter().product();
        let mut table = vec![];
        for depth in 0..depths {
            let (channel, tap) = (depth / taps, depth % taps);
            let [z, y, x] = [tap / 6, tap / 2 % 3 * 2, tap % 2 * 3];
            let weight = channel * c * taps + tap;
            let entry: [usize; ENTRY] = [channel * size, z, y, x, weight, 0, 0, 0];
            table.extend(entry.map(|v| v as u32));
        }
        let positions: usize = out[2..].iter().product();
        let elements: usize = out.iter().product();
        let epilogue_operands = EpilogueOperands::new(&mut random, &variant.epilogue, [elements, out[1], 0]);
        let operands: Vec<Vec<f64>> =
            (0..sums.len()).map(|i| epilogue_operands.at([i, i / positions % out[1], 0])).collect();
        let three = |d: &[usize]| -> [u32; 3] { std::array::from_fn(|i| d[i] as u32) };
        let params = ConvParams {
            m: (out[1] / groups) as u32,
            n: (images * positions) as u32,
            k: depths as u32,
            slice: slice as u32,
            groups: groups as u32,
            elements: elements as u32,
            weight_row: if direction == Direction::Forward { c * taps } else { taps } as u32,
            weight_group: (o * c * taps) as u32,
            data_image: (data.dims()[1] * size) as u32,
            data_group: (data.dims()[1] / groups * size) as u32,
            positions: positions as u32,
            channels: out[1] as u32,
            data_dims: three(&data.dims()[2..]),
            out_dims: three(&out[2..]),
            strides: strides.map(|s| s as u32),
            before: [1, 0, 2],
            ..ConvParams::default()
        };
        let mut buffers = vec![
            (Role::Read, words(&data)),
            (Role::Read, packed(variant.weights, &w.to_f32())),
            (Role::Read, table),
            result(variant.epilogue.storage, slices * elements),
        ];
        buffers.extend(epilogue_operands.roles());
        let stored = stored_second(variant.second, &mut sums, error(variant.tile, depths));
        let stores_second = stored.is_some();
        buffers.extend(stored.iter().map(|(storage, _)| result(*storage, slices * elements)));
        let first = close(&variant.epilogue, error(variant.tile, depths), &sums, &operands);
        cases.push(Case {
            shape: format!("{images} images, {groups} groups, {:?} to {out:?} in {slices}", data.dims()),
            grid: variant.grid(&params),
            buffers,
            params: Box::new(move |at| {
                let [data, weight, table, out] = [at[0], at[1], at[2], at[3]];
                let epilogue = epilogue_addresses(&at[4..], stores_second);
                ConvParams { data, weight, table, out, epilogue, ..params }.bytes()
            }),
            expected: std::iter::once(first).chain(stored.map(|(_, second)| second)).collect(),
        });
    }
    cases
}
