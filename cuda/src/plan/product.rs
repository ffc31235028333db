//! Matrix products: which variant, how operands lie, in how many slices.

use dlbc_ops::prim::Transform;
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::conv::{Conv, ConvParams};
use dlbc_ptx::kernel::epilogue::{Epilogue, Reach};
use dlbc_ptx::kernel::gemm::{Gemm, GemmParams, Layout, Math, ROWS, Second, Skinny, Tile, integer};
use dlbc_ptx::kernel::pointwise::Kind;

use super::expression::Expression;
use super::view::{collapse, words};
use super::{Addresses, Block, Planner, Step, Use, View};
use dlbc_backend::Precision;

/// Blocks that fill a large device.
const MANY_BLOCKS: usize = 132;
/// Elements of a right operand that is worth a kernel of few rows.
const STREAMED: usize = 1 << 15;
/// Slices of the depth, and how deep each is at least. Their sums are added by what follows, which takes a launch of its own, so
/// that two slices are not worth it. Chosen by arithmetic, not yet by measurement.
const MAX_SLICES: usize = 8;
const MIN_SLICE: usize = 256;

/// What is launched.
#[derive(Clone)]
pub(super) enum Work {
    Gemm {
        variant: Gemm,
        params: GemmParams,
        sides: [View; 2],
    },
    /// Of few rows and much else.
    Skinny {
        variant: Skinny,
        params: GemmParams,
        sides: [View; 2],
    },
    Conv {
        variant: Conv,
        params: ConvParams,
        /// Data, weights, table.
        sides: [View; 3],
    },
}

/// A product or a convolution before it is launched.
#[derive(Clone)]
pub(super) struct Product {
    pub(super) work: Work,
    /// Of the result.
    pub(super) dims: Vec<usize>,
}

impl Product {
    /// How an operand of the result's dimensions lies beside it, when kernels know that.
    pub(super) fn reach(&self, view: &View) -> Option<Reach> {
        if view.is_dense() {
            return Some(Reach::Full);
        }
        let moving =
            self.dims.iter().zip(&view.strides).enumerate().filter(|(_, (d, s))| **d != 1 && **s != 0);
        let moving: Vec<(usize, i64)> = moving.map(|(axis, (_, s))| (axis, *s)).collect();
        let rank = self.dims.len();
        match (moving.as_slice(), &self.work) {
            ([], _) => Some(Reach::One),
            ([(axis, 1)], Work::Gemm { .. } | Work::Skinny { .. }) if axis + 1 == rank => Some(Reach::Column),
            ([(axis, 1)], Work::Gemm { .. } | Work::Skinny { .. }) if axis + 2 == rank => Some(Reach::Row),
            ([(1, 1)], Work::Conv { .. }) => Some(Reach::Row),
            _ => None,
        }
    }
}

impl Product {
    /// How many sums it has for what follows.
    pub(super) fn sums(&self) -> usize {
        let second = match &self.work {
            Work::Gemm { variant, .. } => variant.second,
            Work::Conv { variant, .. } => variant.second,
            Work::Skinny { .. } => None,
        };
        if second.is_some_and(|s| s.apart) { 2 } else { 1 }
    }

    /// One kernel for this product and another of other parts of the same operands, when tensor cores compute both.
    pub(super) fn with(&self, other: &Product, apart: bool) -> Option<Product> {
        let plain = |parts: [Transform; 2], second: Option<Second>| {
            second.is_none() && !parts.contains(&Transform::One)
        };
        let mut made = self.clone();
        match (&mut made.work, &other.work) {
            (
                Work::Gemm { variant, params, sides },
                Work::Gemm { variant: theirs, params: their_params, sides: their_sides },
            ) => {
                let same = *params == *their_params && *sides == *their_sides;
                let fits = plain(variant.parts, variant.second) && plain(theirs.parts, theirs.second);
                let math = variant.tile.math().filter(|_| same && fits)?;
                // Sums of both find registers in the smaller tile.
                variant.tile = Tile::tensor(math);
                params.tiles = params.n.div_ceil(variant.tile.columns);
                variant.second = Some(Second { parts: theirs.parts, apart });
            }
            (
                Work::Conv { variant, params, sides },
                Work::Conv { variant: theirs, params: their_params, sides: their_sides },
            ) => {
                let same = *params == *their_params && *sides == *their_sides && variant.way == theirs.way;
                let fits = plain(variant.parts, variant.second) && plain(theirs.parts, theirs.second);
                let math = variant.tile.and_then(Tile::math).filter(|_| same && fits)?;
                variant.tile = Some(Tile::tensor(math));
                variant.second = Some(Second { parts: theirs.parts, apart });
            }
            _ => return None,
        }
        Some(made)
    }

    /// Each of the products whose sums are apart.
    pub(super) fn apart(&self) -> Vec<Product> {
        let alone = |of_second: bool| {
            let mut made = self.clone();
            let (parts, second) = match &mut made.work {
                Work::Gemm { variant, .. } => (&mut variant.parts, &mut variant.second),
                Work::Conv { variant, .. } => (&mut variant.parts, &mut variant.second),
                Work::Skinny { .. } => return made,
            };
            if let Some(own) = second.filter(|s| s.apart) {
                *parts = if of_second { own.parts } else { *parts };
                *second = None;
            }
            made
        };
        (0..self.sums()).map(|i| alone(i == 1)).collect()
    }
}

/// The tile for a product of so many rows, columns and depth; by shapes alone.
pub(super) fn tile(precision: Precision, [rows, columns, depth]: [usize; 3], batch: usize) -> Tile {
    let math = match precision {
        Precision::Tf32x3 => Some(Math::Split),
        Precision::Tf32 => Some(Math::Tf32),
        Precision::Bf16 => Some(Math::Bf16),
        Precision::Simt => None,
    };
    let many = |t: Tile| blocks(t, [rows, columns], batch) >= MANY_BLOCKS;
    if rows <= 16 {
        Tile::FLAT
    } else if let Some(math) = math.filter(|_| columns >= 32 && depth >= 16) {
        let large = Tile::large_tensor(math);
        if many(large) { large } else { Tile::tensor(math) }
    } else if many(Tile::LARGE) {
        Tile::LARGE
    } else {
        Tile::SMALL
    }
}

fn blocks(tile: Tile, [rows, columns]: [usize; 2], batch: usize) -> usize {
    rows.div_ceil(tile.rows as usize) * columns.div_ceil(tile.columns as usize) * batch
}

/// The depth of a slice: where blocks are few and deep, several share the depth of one. By shapes alone.
pub(super) fn slice(tile: Tile, [rows, columns, depth]: [usize; 3], batch: usize) -> usize {
    let spare = MANY_BLOCKS / blocks(tile, [rows, columns], batch).max(1);
    let slices = match depth / MIN_SLICE {
        0..3 => 1,
        many => spare.min(many).clamp(1, MAX_SLICES),
    };
    depth.div_ceil(slices).next_multiple_of(tile.depth as usize)
}

/// How an operand lies, with its strides along lanes and depth and along the batches.
fn layout(v: &View, depth_first: bool, [lanes, depth]: [i64; 2], batches: &[i64]) -> Layout {
    let (near, far) = if depth_first { (depth, lanes) } else { (lanes, depth) };
    let aligned = v.offset % 4 == 0 && far % 4 == 0 && batches.iter().all(|s| s % 4 == 0);
    Layout { depth_first, wide: near == 1 && aligned }
}

/// The variant for few rows. `lanes` and `depth` are the strides of `b`.
fn few(parts: [Transform; 2], rows: usize, b: &View, [lanes, depth]: [i64; 2], batches: &[i64]) -> Skinny {
    let rows = rows.next_power_of_two() as u32;
    let own = layout(b, depth == 1 && lanes != 1, [lanes, depth], batches);
    // Four at a time, where no rest is left and so many sums find registers.
    let rank = b.dims.len();
    let (axis, fits) = if own.depth_first { (rank - 2, true) } else { (rank - 1, rows <= 4) };
    let wide = own.wide && fits && b.dims[axis].is_multiple_of(4) && parts[1] != Transform::One;
    Skinny { parts, rows, layout: Layout { wide, ..own }, then: Epilogue::default() }
}

fn array<const N: usize, T: Copy>(values: &[T], fill: T) -> [T; N] {
    std::array::from_fn(|i| values.get((i + values.len()).wrapping_sub(N)).copied().unwrap_or(fill))
}

impl Planner {
    /// `part(a) · part(b)`.
    pub(super) fn product(
        &mut self,
        [a, b]: [View; 2],
        parts: [Transform; 2],
        [ta, tb]: [bool; 2],
        dims: &[usize],
    ) -> Expression {
        if dims.contains(&0) {
            return Expression::of(self.buffer(a.kind, dims));
        }
        let rank = dims.len();
        let (m, n, batch) = (dims[rank - 2], dims[rank - 1], &dims[..rank - 2]);
        let matrix = |v: &View, swap: bool| {
            let mut v = v.clone();
            let r = v.dims.len();
            if swap {
                v.dims.swap(r - 2, r - 1);
                v.strides.swap(r - 2, r - 1);
            }
            v
        };
        let (a, b) = (matrix(&a, ta), matrix(&b, tb));
        let k = a.dims[a.dims.len() - 1];
        let batches = |v: &View| {
            let r = v.dims.len() - 2;
            View { dims: v.dims[..r].to_vec(), strides: v.strides[..r].to_vec(), ..v.clone() }
                .broadcast(batch)
                .strides
        };
        let (a_batch, b_batch) = (batches(&a), batches(&b));
        let (batch_dims, lists) = collapse(batch, &[&a_batch, &b_batch]);
        if batch_dims.len() > 4 {
            // So many axes that lie unevenly: copies lie evenly.
            let whole = |p: &mut Planner, v: &View| {
                let r = v.dims.len();
                let full = [batch, &v.dims[r - 2..]].concat();
                p.dense(&v.broadcast(&full))
            };
            let (a, b) = (whole(self, &a), whole(self, &b));
            return self.product([a, b], parts, [false, false], dims);
        }
        let last = |v: &View| [v.strides[v.strides.len() - 2], v.strides[v.strides.len() - 1]];
        // Along the rows or columns, and along the depth.
        let (a_strides, [b_depth, b_columns]) = (last(&a), last(&b));
        let b_strides = [b_columns, b_depth];
        let count: usize = batch_dims.iter().product();
        let mut params = GemmParams {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            batches: count as u32,
            a_strides: array(&words(&a_strides), 0),
            b_strides: array(&words(&b_strides), 0),
            batch: array(&batch_dims.iter().map(|d| *d as u32).collect::<Vec<_>>(), 1),
            a_batch: array(&words(&lists[0]), 0),
            b_batch: array(&words(&lists[1]), 0),
            ..GemmParams::default()
        };
        if a.kind != Kind::F {
            return Expression::of(self.integer_product([a, b], parts, params, dims));
        }
        if m <= ROWS && k * n >= STREAMED {
            let variant = few(parts, m, &b, b_strides, &lists[1]);
            params.tiles = params.n.div_ceil(variant.columns());
            let tile =
                Tile { rows: ROWS as u32, columns: variant.columns(), depth: Skinny::DEPTH, ..Tile::FLAT };
            params.slice = slice(tile, [m, n, k], count) as u32;
            let work = Work::Skinny { variant, params, sides: [a, b] };
            return self.wait(Product { work, dims: dims.to_vec() });
        }
        let tile = tile(self.precision, [m, n, k], count);
        params.tiles = params.n.div_ceil(tile.columns);
        params.slice = slice(tile, [m, n, k], count) as u32;
        // Neighbours in depth of `a` where neither lies side by side, of `b` only where they do.
        let depth_first = [a_strides[1] == 1 || a_strides[0] != 1, b_strides[1] == 1 && b_strides[0] != 1];
        let layouts = [
            layout(&a, depth_first[0], a_strides, &lists[0]),
            layout(&b, depth_first[1], b_strides, &lists[1]),
        ];
        let variant = Gemm { parts, second: None, layouts, tile, then: Epilogue::default() };
        self.wait(Product { work: Work::Gemm { variant, params, sides: [a, b] }, dims: dims.to_vec() })
    }

    fn integer_product(
        &mut self,
        [a, b]: [View; 2],
        parts: [Transform; 2],
        params: GemmParams,
        dims: &[usize],
    ) -> View {
        let out = self.buffer(a.kind, dims);
        let uses = vec![(Use::Read, a), (Use::Read, b), (Use::Write, out.clone())];
        let blocks = (out.elems() as u32).div_ceil(256);
        self.launch(integer(parts), blocks, uses, move |at| GemmParams {
            a: at[0],
            b: at[1],
            c: at[2],
            ..params
        });
        out
    }

    /// A product that waits for what follows; the sum of its slices when it has several.
    pub(super) fn wait(&mut self, product: Product) -> Expression {
        let (depth, slice) = match &product.work {
            Work::Gemm { params, .. } | Work::Skinny { params, .. } => (params.k, params.slice),
            Work::Conv { params, .. } => (params.k, params.slice),
        };
        let slices = depth.div_ceil(slice.max(1)) as usize;
        if slices <= 1 {
            return Expression::waiting(product);
        }
        let space = self.buffer(Kind::F, &[&[slices][..], &product.dims].concat());
        self.compute(&product, &space, true, (Epilogue::default(), vec![]));
        let sums = (1..slices).map(|i| Expression::of(space.at(0, i)));
        sums.fold(Expression::of(space.at(0, 0)), |e, next| e.plus(&next))
    }

    /// A product into a buffer of its own.
    pub(super) fn result(&mut self, product: &Product) -> View {
        let out = self.buffer(Kind::F, &product.dims);
        self.compute(product, &out, true, (Epilogue::default(), vec![]));
        out
    }

    /// Launches a product with what follows it; `whole` when `out` is all of its buffer.
    pub(super) fn compute(
        &mut self,
        product: &Product,
        out: &View,
        whole: bool,
        (then, beside): (Epilogue, Vec<View>),
    ) {
        let (kernel, grid, params, mut reads): (_, _, Block, Vec<View>) = match product.work.clone() {
            Work::Gemm { variant, params, sides } => {
                let variant = Gemm { then, ..variant };
                let kernel = self.kernel(variant.name(), || variant.emit());
                (kernel, variant.grid(&params), gemm_block(params, &sides, out, &beside), sides.to_vec())
            }
            Work::Skinny { variant, params, sides } => {
                let variant = Skinny { then, ..variant };
                let kernel = self.kernel(variant.name(), || variant.emit());
                (kernel, variant.grid(&params), gemm_block(params, &sides, out, &beside), sides.to_vec())
            }
            Work::Conv { variant, params, sides } => {
                let variant = Conv { then, ..variant };
                let grid = variant.grid(&params);
                let params = conv_block(params, &sides, out, &beside);
                let kernel = self.kernel(variant.name(), || variant.emit());
                (kernel, grid, params, sides.to_vec())
            }
        };
        reads.extend(beside);
        let out = vec![out.clone()];
        let (writes, updates) = if whole { (out, vec![]) } else { (vec![], out) };
        self.push(Step { kernel, grid, params, reads, writes, updates });
    }
}

/// The parameter block of a product into `out` with the operands of what follows.
fn gemm_block(params: GemmParams, sides: &[View; 2], out: &View, beside: &[View]) -> Block {
    let ([left, right], out, beside) = (sides.clone(), out.clone(), beside.to_vec());
    Box::new(move |at| {
        let (a, b, c, then) = (at.of(&left), at.of(&right), at.of(&out), four(at, &beside));
        GemmParams { a, b, c, then, ..params }.bytes()
    })
}

/// The same of a convolution.
fn conv_block(params: ConvParams, sides: &[View; 3], out: &View, beside: &[View]) -> Block {
    let (sides, out, beside) = (sides.clone(), out.clone(), beside.to_vec());
    Box::new(move |at| {
        let [data, weight, table] = sides.each_ref().map(|v| at.of(v));
        let (out, then) = (at.of(&out), four(at, &beside));
        ConvParams { data, weight, table, out, then, ..params }.bytes()
    })
}

/// Addresses of up to four views.
fn four(at: &Addresses, views: &[View]) -> [u64; 4] {
    std::array::from_fn(|i| views.get(i).map_or(0, |v| at.of(v)))
}
