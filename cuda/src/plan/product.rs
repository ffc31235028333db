//! Matrix products: which variant, and how operands lie.

use dlbc_ops::prim::Part;
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::epilogue::Epilogue;
use dlbc_ptx::kernel::gemm::{Gemm, GemmParams, Layout, Math, Tile, integer};
use dlbc_ptx::kernel::pointwise::Kind;

use super::view::{collapse, words};
use super::{Planner, Step, View};
use crate::backend::Precision;

/// Blocks that fill a large device.
const MANY_BLOCKS: usize = 132;

/// The tile for a product of so many rows, columns and depth; by shapes alone.
pub(super) fn tile(precision: Precision, [rows, columns, depth]: [usize; 3], batch: usize) -> Tile {
    let blocks = |t: Tile| rows.div_ceil(t.rows as usize) * columns.div_ceil(t.columns as usize) * batch;
    let math = match precision {
        Precision::Split => Some(Math::Split),
        Precision::Tf32 => Some(Math::Tf32),
        Precision::Bf16 => Some(Math::Bf16),
        Precision::Simt => None,
    };
    if rows <= 16 {
        Tile::FLAT
    } else if let Some(math) = math.filter(|_| columns >= 32 && depth >= 16) {
        let large = Tile::large_tensor(math);
        if blocks(large) >= MANY_BLOCKS { large } else { Tile::tensor(math) }
    } else if blocks(Tile::LARGE) >= MANY_BLOCKS {
        Tile::LARGE
    } else {
        Tile::SMALL
    }
}

/// How an operand lies, with its strides along lanes and depth and along the batches.
fn layout(v: &View, depth_first: bool, [lanes, depth]: [i64; 2], batches: &[i64]) -> Layout {
    let (near, far) = if depth_first { (depth, lanes) } else { (lanes, depth) };
    let aligned = v.offset % 4 == 0 && far % 4 == 0 && batches.iter().all(|s| s % 4 == 0);
    Layout { depth_first, wide: near == 1 && aligned }
}

fn array<const N: usize, T: Copy>(values: &[T], fill: T) -> [T; N] {
    std::array::from_fn(|i| values.get((i + values.len()).wrapping_sub(N)).copied().unwrap_or(fill))
}

impl Planner {
    /// `part(a) · part(b)` into a new buffer.
    pub(super) fn product(
        &mut self,
        [a, b]: [View; 2],
        parts: [Part; 2],
        [ta, tb]: [bool; 2],
        dims: &[usize],
    ) -> View {
        let out = self.buffer(a.kind, dims);
        if out.elems() == 0 {
            return out;
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
        let params = GemmParams {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            slice: k as u32,
            batches: count as u32,
            a_strides: array(&words(&a_strides), 0),
            b_strides: array(&words(&b_strides), 0),
            batch: array(&batch_dims.iter().map(|d| *d as u32).collect::<Vec<_>>(), 1),
            a_batch: array(&words(&lists[0]), 0),
            b_batch: array(&words(&lists[1]), 0),
            ..GemmParams::default()
        };
        let (kernel, grid, tiles) = if a.kind == Kind::F {
            let tile = tile(self.precision, [m, n, k], count);
            // Neighbours in depth of `a` where neither lies side by side, of `b` only where they do.
            let depth_first =
                [a_strides[1] == 1 || a_strides[0] != 1, b_strides[1] == 1 && b_strides[0] != 1];
            let layouts = [
                layout(&a, depth_first[0], a_strides, &lists[0]),
                layout(&b, depth_first[1], b_strides, &lists[1]),
            ];
            let gemm = Gemm { parts, layouts, tile, then: Epilogue::default() };
            let tiles = (n as u32).div_ceil(tile.columns);
            let kernel = self.kernel(gemm.name(), || gemm.emit());
            (kernel, [tiles * count as u32, (m as u32).div_ceil(tile.rows), 1], tiles)
        } else {
            let kernel = integer(parts);
            let kernel = self.kernel(kernel.name.clone(), || kernel);
            (kernel, [(out.elems() as u32).div_ceil(256), 1, 1], 1)
        };
        let (left, right, own) = (a.clone(), b.clone(), out.clone());
        let params = move |at: &super::Addresses| {
            let (a, b, c) = (at.of(&left), at.of(&right), at.of(&own));
            GemmParams { a, b, c, tiles, ..params }.bytes()
        };
        let step = Step {
            kernel,
            grid,
            params: Box::new(params),
            reads: vec![a, b],
            writes: vec![out.clone()],
            updates: vec![],
        };
        self.push(step);
        out
    }
}
