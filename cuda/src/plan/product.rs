//! Matrix products: choice of variant and tile, layouts of operands, and slices of the depth.

use dlbc_ops::prim::Transform;
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::conv::{Conv, ConvParams};
use dlbc_ptx::kernel::epilogue::{Broadcast, Epilogue};
use dlbc_ptx::kernel::gemm::{
    Gemm, GemmParams, Layout, Math, ROWS, STORED_SECOND, SecondProduct, SecondSums, Skinny, Storage, Tile,
    integer,
};
use dlbc_ptx::kernel::pointwise::Kind;

use super::expression::Expression;
use super::view::{collapse, kernel_strides};
use super::{Addresses, BuildParams, Planner, Step, Use, View};
use dlbc_backend::Precision;

/// Number of blocks that fills a large device.
const MANY_BLOCKS: usize = 132;
/// Minimum size of a right operand, in elements, for the kernel with few rows.
const MIN_STREAMED: usize = 1 << 15;
/// Maximum number of slices of the depth. Their sums are added in another launch, so two slices do not pay. Chosen by arithmetic,
/// not yet by measurement.
const MAX_SLICES: usize = 8;
/// Minimum depth of a slice.
const MIN_SLICE: usize = 256;

/// A function that may add a second product before anything is launched.
pub(super) type Complete<'a> = &'a mut dyn FnMut(&mut Planner, Product) -> Product;

/// Adds no second product.
pub(super) fn unchanged(_: &mut Planner, product: Product) -> Product {
    product
}

/// Kernel and parameters of a product. `operands` are its operands in memory.
#[derive(Clone)]
pub(super) enum Work {
    Gemm {
        variant: Gemm,
        params: GemmParams,
        operands: [View; 2],
    },
    /// A product with few rows and a large right operand.
    Skinny {
        variant: Skinny,
        params: GemmParams,
        operands: [View; 2],
    },
    Conv {
        variant: Conv,
        params: ConvParams,
        /// Data, weights, table.
        operands: [View; 3],
    },
}

/// A product or a convolution that is not computed yet.
#[derive(Clone)]
pub(super) struct Product {
    pub(super) work: Work,
    /// Dimensions of the result.
    pub(super) dims: Vec<usize>,
    /// Result of a second product whose sums the kernel stores.
    pub(super) second: Option<View>,
}

impl Product {
    /// Creates a product whose kernel stores one result.
    pub(super) fn new(work: Work, dims: &[usize]) -> Product {
        Product { work, dims: dims.to_vec(), second: None }
    }

    /// Returns the broadcast of an epilogue's operand, if kernels support it. The operand has the dimensions of the result.
    pub(super) fn broadcast(&self, view: &View) -> Option<Broadcast> {
        if view.is_contiguous() {
            return Some(Broadcast::Full);
        }
        let moving =
            self.dims.iter().zip(&view.strides).enumerate().filter(|(_, (d, s))| **d != 1 && **s != 0);
        let moving: Vec<(usize, i64)> = moving.map(|(axis, (_, s))| (axis, *s)).collect();
        let rank = self.dims.len();
        match (moving.as_slice(), &self.work) {
            ([], _) => Some(Broadcast::Scalar),
            ([(axis, 1)], Work::Gemm { .. } | Work::Skinny { .. }) if axis + 1 == rank => {
                Some(Broadcast::Column)
            }
            ([(axis, 1)], Work::Gemm { .. } | Work::Skinny { .. }) if axis + 2 == rank => {
                Some(Broadcast::Row)
            }
            ([(1, 1)], Work::Conv { .. }) => Some(Broadcast::Row),
            _ => None,
        }
    }
}

impl Product {
    /// Returns the number of slices of the depth.
    pub(super) fn slices(&self) -> usize {
        let (depth, slice) = match &self.work {
            Work::Gemm { params, .. } | Work::Skinny { params, .. } => (params.k, params.slice),
            Work::Conv { params, .. } => (params.k, params.slice),
        };
        depth.div_ceil(slice.max(1)) as usize
    }

    /// Returns the number of sums per element that the epilogue gets.
    pub(super) fn sum_count(&self) -> usize {
        let second = match &self.work {
            Work::Gemm { variant, .. } => variant.second,
            Work::Conv { variant, .. } => variant.second,
            Work::Skinny { .. } => None,
        };
        if second.is_some_and(|s| s.sums == SecondSums::Operand) { 2 } else { 1 }
    }

    /// Fuses this product with another of the same operands under other transforms, if tensor cores compute both.
    pub(super) fn fused_with(&self, other: &Product, sums: SecondSums) -> Option<Product> {
        let transforms = match (&self.work, &other.work) {
            (
                Work::Gemm { params, operands, .. },
                Work::Gemm { variant, params: other_params, operands: other_operands },
            ) => {
                let same = params == other_params && operands == other_operands && variant.second.is_none();
                same.then_some(variant.transforms)
            }
            (
                Work::Conv { variant: first, params, operands },
                Work::Conv { variant, params: other_params, operands: other_operands },
            ) => {
                let same = params == other_params && operands == other_operands && variant.second.is_none();
                (same && first.direction == variant.direction).then_some(variant.transforms)
            }
            _ => None,
        };
        self.with_second(transforms?, sums)
    }

    /// Adds a second product of the operands, if tensor cores compute both.
    pub(super) fn with_second(&self, transforms: [Transform; 2], sums: SecondSums) -> Option<Product> {
        let mut fused = self.clone();
        let plain = |first: [Transform; 2], second: Option<SecondProduct>| {
            second.is_none() && !first.iter().chain(&transforms).any(|t| *t == Transform::One)
        };
        match &mut fused.work {
            Work::Gemm { variant, params, .. } => {
                let math = variant.tile.math().filter(|_| plain(variant.transforms, variant.second))?;
                // Only the smaller tile has registers for both sums.
                variant.tile = Tile { transfer: variant.tile.transfer, ..Tile::tensor(math) };
                params.tiles = params.n.div_ceil(variant.tile.columns);
                variant.second = Some(SecondProduct { transforms, sums });
            }
            Work::Conv { variant, .. } => {
                let tile = variant.tile.filter(|_| plain(variant.transforms, variant.second))?;
                variant.tile = Some(Tile { transfer: tile.transfer, ..Tile::tensor(tile.math()?) });
                variant.second = Some(SecondProduct { transforms, sums });
            }
            Work::Skinny { .. } => return None,
        }
        Some(fused)
    }

    /// Splits a product whose epilogue gets a second one into two products; returns any other unchanged.
    pub(super) fn separate(&self) -> Vec<Product> {
        let single = |is_second: bool| {
            let mut product = self.clone();
            let (transforms, second) = match &mut product.work {
                Work::Gemm { variant, .. } => (&mut variant.transforms, &mut variant.second),
                Work::Conv { variant, .. } => (&mut variant.transforms, &mut variant.second),
                Work::Skinny { .. } => return product,
            };
            if let Some(separate) = second.filter(|s| s.sums == SecondSums::Operand) {
                *transforms = if is_second { separate.transforms } else { *transforms };
                *second = None;
            }
            product
        };
        (0..self.sum_count()).map(|i| single(i == 1)).collect()
    }
}

/// Chooses the tile of a product, by shapes alone.
pub(super) fn tile(precision: Precision, [rows, columns, depth]: [usize; 3], batch: usize) -> Tile {
    let math = match precision {
        Precision::Tf32x3 => Some(Math::Split),
        Precision::Tf32 => Some(Math::Tf32),
        Precision::Bf16 => Some(Math::Bf16),
        Precision::Simt => None,
    };
    let fills_device = |t: Tile| blocks(t, [rows, columns], batch) >= MANY_BLOCKS;
    if rows <= 16 {
        Tile::FLAT
    } else if let Some(math) = math.filter(|_| columns >= 32 && depth >= 16) {
        let large = Tile::large_tensor(math);
        if fills_device(large) { large } else { Tile::tensor(math) }
    } else if fills_device(Tile::LARGE) {
        Tile::LARGE
    } else {
        Tile::SMALL
    }
}

fn blocks(tile: Tile, [rows, columns]: [usize; 2], batch: usize) -> usize {
    rows.div_ceil(tile.rows as usize) * columns.div_ceil(tile.columns as usize) * batch
}

/// Chooses the depth of a slice, by shapes alone: if blocks are few and deep, several share the depth of one.
pub(super) fn slice(tile: Tile, [rows, columns, depth]: [usize; 3], batch: usize) -> usize {
    let spare = MANY_BLOCKS / blocks(tile, [rows, columns], batch).max(1);
    let slices = match depth / MIN_SLICE {
        0..3 => 1,
        max => spare.min(max).clamp(1, MAX_SLICES),
    };
    depth.div_ceil(slices).next_multiple_of(tile.depth as usize)
}

/// Returns the layout of an operand with these strides along lanes, depth and batch; `lengths` are its lanes and its depth.
fn layout(
    v: &View,
    depth_first: bool,
    [lanes, depth]: [i64; 2],
    batches: &[i64],
    lengths: [usize; 2],
) -> Layout {
    let (near, far) = if depth_first { (depth, lanes) } else { (lanes, depth) };
    let group = i64::from(v.storage.group());
    let aligned = v.offset % group == 0 && far % group == 0 && batches.iter().all(|s| s % group == 0);
    // Narrow elements have no remainder.
    let whole = v.storage == Storage::F32 || lengths[usize::from(depth_first)].is_multiple_of(group as usize);
    Layout { depth_first, vectorised: near == 1 && aligned && whole, storage: v.storage }
}

/// Returns the variant for few rows. `lanes`, `depth` and `batches` are the strides of `b`.
fn skinny(
    transforms: [Transform; 2],
    rows: usize,
    b: &View,
    [lanes, depth]: [i64; 2],
    batches: &[i64],
) -> Skinny {
    let rows = rows.next_power_of_two() as u32;
    let rank = b.dims.len();
    let lengths = [b.dims[rank - 1], b.dims[rank - 2]];
    let layout = layout(b, depth == 1 && lanes != 1, [lanes, depth], batches, lengths);
    // Vectorised if no remainder is left and the registers suffice for four times as many sums.
    let (axis, fits) = if layout.depth_first { (rank - 2, true) } else { (rank - 1, rows <= 4) };
    let vectorised =
        layout.vectorised && fits && b.dims[axis].is_multiple_of(4) && transforms[1] != Transform::One;
    Skinny { transforms, rows, layout: Layout { vectorised, ..layout }, epilogue: Epilogue::default() }
}

/// Returns the last `N` values, with `fill` in front if there are fewer.
fn array<const N: usize, T: Copy>(values: &[T], fill: T) -> [T; N] {
    std::array::from_fn(|i| values.get((i + values.len()).wrapping_sub(N)).copied().unwrap_or(fill))
}

impl Planner {
    /// Lowers the matrix product of two transformed operands; each may be transposed.
    pub(super) fn product(
        &mut self,
        operands: [View; 2],
        transforms: [Transform; 2],
        transposed: [bool; 2],
        dims: &[usize],
    ) -> Expression {
        self.product_with(operands, transforms, transposed, dims, &mut unchanged)
    }

    /// Does the same, with a second product that `complete` adds.
    pub(super) fn product_with(
        &mut self,
        [a, b]: [View; 2],
        transforms: [Transform; 2],
        [a_transposed, b_transposed]: [bool; 2],
        dims: &[usize],
        complete: Complete<'_>,
    ) -> Expression {
        if dims.contains(&0) {
            return Expression::from_view(self.buffer(a.kind, dims));
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
        let (a, b) = (matrix(&a, a_transposed), matrix(&b, b_transposed));
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
            // Too many batch axes whose strides do not merge; those of contiguous copies do.
            let whole = |p: &mut Planner, v: &View| {
                let r = v.dims.len();
                let full = [batch, &v.dims[r - 2..]].concat();
                p.contiguous(&v.broadcast(&full))
            };
            let (a, b) = (whole(self, &a), whole(self, &b));
            return self.product_with([a, b], transforms, [false, false], dims, complete);
        }
        let last = |v: &View| [v.strides[v.strides.len() - 2], v.strides[v.strides.len() - 1]];
        // Strides along lanes and depth.
        let (a_strides, [b_depth, b_columns]) = (last(&a), last(&b));
        let b_strides = [b_columns, b_depth];
        let count: usize = batch_dims.iter().product();
        let mut params = GemmParams {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            batches: count as u32,
            a_strides: array(&kernel_strides(&a_strides), 0),
            b_strides: array(&kernel_strides(&b_strides), 0),
            batch: array(&batch_dims.iter().map(|d| *d as u32).collect::<Vec<_>>(), 1),
            a_batch: array(&kernel_strides(&lists[0]), 0),
            b_batch: array(&kernel_strides(&lists[1]), 0),
            ..GemmParams::default()
        };
        if a.kind != Kind::F {
            return Expression::from_view(self.integer_product([a, b], transforms, params, dims));
        }
        // Rows of the left operand are staged as float32.
        if m <= ROWS && k * n >= MIN_STREAMED {
            let a = self.wide(a);
            let variant = skinny(transforms, m, &b, b_strides, &lists[1]);
            params.tiles = params.n.div_ceil(variant.columns());
            let tile =
                Tile { rows: ROWS as u32, columns: variant.columns(), depth: Skinny::DEPTH, ..Tile::FLAT };
            params.slice = slice(tile, [m, n, k], count) as u32;
            let product = Product::new(Work::Skinny { variant, params, operands: [a, b] }, dims);
            let product = complete(self, product);
            return self.defer(product);
        }
        let tile = tile(self.precision, [m, n, k], count);
        params.tiles = params.n.div_ceil(tile.columns);
        params.slice = slice(tile, [m, n, k], count) as u32;
        // If neither axis is contiguous, copies of `a` run along the depth and those of `b` along the columns.
        let depth_first = [a_strides[1] == 1 || a_strides[0] != 1, b_strides[1] == 1 && b_strides[0] != 1];
        let layouts = [
            layout(&a, depth_first[0], a_strides, &lists[0], [m, k]),
            layout(&b, depth_first[1], b_strides, &lists[1], [n, k]),
        ];
        let tile = tile.copying(&layouts.map(|l| (l.storage, l.vectorised)));
        let variant = Gemm { transforms, second: None, layouts, tile, epilogue: Epilogue::default() };
        let product = Product::new(Work::Gemm { variant, params, operands: [a, b] }, dims);
        let product = complete(self, product);
        self.defer(product)
    }

    fn integer_product(
        &mut self,
        [a, b]: [View; 2],
        transforms: [Transform; 2],
        params: GemmParams,
        dims: &[usize],
    ) -> View {
        let out = self.buffer(a.kind, dims);
        let uses = vec![(Use::Read, a), (Use::Read, b), (Use::Write, out.clone())];
        let blocks = (out.elems() as u32).div_ceil(256);
        self.launch(integer(transforms), blocks, uses, move |at| GemmParams {
            a: at[0],
            b: at[1],
            c: at[2],
            ..params
        });
        out
    }

    /// Defers a product until its epilogue is known. A product with several slices is computed, and its slices are summed.
    pub(super) fn defer(&mut self, mut product: Product) -> Expression {
        let slices = product.slices();
        if slices <= 1 {
            return Expression::deferred(product);
        }
        let dims = [&[slices][..], &product.dims].concat();
        let space = self.buffer(Kind::F, &dims);
        let second = product.second.take().map(|result| (self.buffer(Kind::F, &dims), result));
        product.second = second.as_ref().map(|(space, _)| space.clone());
        self.compute(&product, &space, Use::Write, (Epilogue::default(), vec![]));
        if let Some((space, result)) = second {
            self.emit_into(&sum_of_slices(&space), &result, Use::Write);
        }
        sum_of_slices(&space)
    }

    /// Computes a product into a new buffer.
    pub(super) fn result(&mut self, product: &Product) -> View {
        let out = self.buffer(Kind::F, &product.dims);
        self.compute(product, &out, Use::Write, (Epilogue::default(), vec![]));
        out
    }

    /// Launches a product with its epilogue and the epilogue's operands. `access` is [`Use::Write`] if `out` covers its buffer, else
    /// [`Use::Update`].
    pub(super) fn compute(
        &mut self,
        product: &Product,
        out: &View,
        access: Use,
        (epilogue, epilogue_operands): (Epilogue, Vec<View>),
    ) {
        let epilogue = Epilogue { storage: out.storage, ..epilogue };
        let (kernel, grid, params, mut reads): (_, _, BuildParams, Vec<View>) = match product.work.clone() {
            Work::Gemm { variant, params, operands } => {
                let variant = Gemm { epilogue, ..variant };
                let kernel = self.kernel(variant.name(), || variant.emit());
                let build =
                    gemm_params(params, (&operands, out, product.second.as_ref()), &epilogue_operands);
                (kernel, variant.grid(&params), build, operands.to_vec())
            }
            Work::Skinny { variant, params, operands } => {
                let variant = Skinny { epilogue, ..variant };
                let kernel = self.kernel(variant.name(), || variant.emit());
                let build = gemm_params(params, (&operands, out, None), &epilogue_operands);
                (kernel, variant.grid(&params), build, operands.to_vec())
            }
            Work::Conv { variant, params, operands } => {
                let variant = Conv { epilogue, ..variant };
                let grid = variant.grid(&params);
                let build =
                    conv_params(params, (&operands, out, product.second.as_ref()), &epilogue_operands);
                let kernel = self.kernel(variant.name(), || variant.emit());
                (kernel, grid, build, operands.to_vec())
            }
        };
        reads.extend(epilogue_operands);
        let out = vec![out.clone()];
        let (mut writes, updates) = if access == Use::Write { (out, vec![]) } else { (vec![], out) };
        writes.extend(product.second.clone());
        self.push(Step { kernel, grid, params, reads, writes, updates });
    }
}

/// Returns the sum of a view along its first axis, in order.
fn sum_of_slices(space: &View) -> Expression {
    let slices = (1..space.dims[0]).map(|i| Expression::from_view(space.index_axis(0, i)));
    slices.fold(Expression::from_view(space.index_axis(0, 0)), |e, next| e.plus(&next))
}

/// Completes the parameter block of a product by the addresses of its operands, its result, the result of a second product, and
/// its epilogue's operands.
fn gemm_params(
    params: GemmParams,
    (operands, out, second): (&[View; 2], &View, Option<&View>),
    epilogue: &[View],
) -> BuildParams {
    let ([left, right], out, second) = (operands.clone(), out.clone(), second.cloned());
    let epilogue = epilogue.to_vec();
    Box::new(move |at| {
        let [a, b, c] = [&left, &right, &out].map(|v| at.address_of(v));
        let epilogue = addresses(at, &epilogue, second.as_ref());
        GemmParams { a, b, c, epilogue, ..params }.bytes()
    })
}

/// Completes the parameter block of a convolution in the same way.
fn conv_params(
    params: ConvParams,
    (operands, out, second): (&[View; 3], &View, Option<&View>),
    epilogue: &[View],
) -> BuildParams {
    let (operands, out, second) = (operands.clone(), out.clone(), second.cloned());
    let epilogue = epilogue.to_vec();
    Box::new(move |at| {
        let [data, weight, table] = operands.each_ref().map(|v| at.address_of(v));
        let (out, epilogue) = (at.address_of(&out), addresses(at, &epilogue, second.as_ref()));
        ConvParams { data, weight, table, out, epilogue, ..params }.bytes()
    })
}

/// Returns the addresses of an epilogue's operands and of the second product's sums, padded with 0.
fn addresses(at: &Addresses, epilogue: &[View], second: Option<&View>) -> [u64; 4] {
    let mut addresses = std::array::from_fn(|i| epilogue.get(i).map_or(0, |v| at.address_of(v)));
    if let Some(second) = second {
        addresses[STORED_SECOND] = at.address_of(second);
    }
    addresses
}
