//! `part(a) · part(b)`, batched, with any strides: transposes and broadcasts cost nothing extra.

mod integer;
mod skinny;

use std::mem::offset_of;

use dlbc_ops::prim::Transform;

use super::epilogue::{Epilogue, Reach, Writer};
use super::tile::{self, Depths, Source};
use crate::device::Kernel;
use crate::emit::{Emitter, Reg};
use crate::{op, params};

pub use super::tile::{Math, Second, Tile};
pub use integer::integer;
pub use skinny::{ROWS, Skinny};

params! {
    /// Parameters of a product. Strides are in elements, modulo 2³².
    pub struct GemmParams {
        /// The left operand.
        a: u64,
        /// The right operand.
        b: u64,
        /// The result, `[slices, batch, m, n]`, dense.
        c: u64,
        /// Operands of what follows.
        then: [u64; 4],
        /// Rows.
        m: u32,
        /// Columns.
        n: u32,
        /// Depth.
        k: u32,
        /// Depth of a slice. Blocks along z count slices, whose sums lie one after another.
        slice: u32,
        /// Tiles along the columns: blocks along x count these for one batch after another.
        tiles: u32,
        /// How many batches.
        batches: u32,
        /// Strides of `a` along m and k.
        a_strides: [i32; 2],
        /// Strides of `b` along n and k.
        b_strides: [i32; 2],
        /// Batch dimensions, outermost first.
        batch: [u32; 4],
        /// Strides of `a` along them.
        a_batch: [i32; 4],
        /// Strides of `b` along them.
        b_batch: [i32; 4],
    }
}

/// How an operand lies in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Whether neighbours in depth lie side by side, rather than neighbouring rows or columns.
    pub depth_first: bool,
    /// Whether that is so from each multiple of 16 bytes on, so that four can be copied at once.
    pub wide: bool,
}

/// A variant of the product.
#[derive(Clone, Debug, PartialEq)]
pub struct Gemm {
    /// Parts of the operands.
    pub parts: [Transform; 2],
    /// A product of other parts of them.
    pub second: Option<Second>,
    /// How the operands lie.
    pub layouts: [Layout; 2],
    /// The tile.
    pub tile: Tile,
    /// What follows.
    pub then: Epilogue,
}

/// Where the parameters of an operand are: its address, its strides along the batches, and along lanes and depth.
struct Fields {
    base: usize,
    batches: usize,
    strides: usize,
}

const A: Fields = Fields {
    base: offset_of!(GemmParams, a),
    batches: offset_of!(GemmParams, a_batch),
    strides: offset_of!(GemmParams, a_strides),
};
const B: Fields = Fields {
    base: offset_of!(GemmParams, b),
    batches: offset_of!(GemmParams, b_batch),
    strides: offset_of!(GemmParams, b_strides),
};

/// An operand's parameters in registers.
struct Loaded {
    base: Reg,
    /// Offset of the batch.
    start: Reg,
    /// Strides along the lanes and the depth.
    strides: [Reg; 2],
}

impl Fields {
    /// Loads them for the batch at these coordinates.
    fn load(&self, k: &mut Emitter, batch: &[Reg]) -> Loaded {
        let batches = k.param_u32s(self.batches, 4);
        Loaded {
            base: k.param_u64(self.base),
            start: k.offset(None, batch, &batches),
            strides: [k.param_u32(self.strides), k.param_u32(self.strides + 4)],
        }
    }
}

/// What a block computes.
struct Block {
    m: Reg,
    n: Reg,
    slice: Reg,
    depths: Depths,
    /// The batch, and the tile along the columns.
    image: Reg,
    tile_column: Reg,
}

impl Block {
    fn load(k: &mut Emitter) -> Block {
        let m = k.param_u32(offset_of!(GemmParams, m));
        let n = k.param_u32(offset_of!(GemmParams, n));
        let depth = k.param_u32(offset_of!(GemmParams, k));
        let tiles = k.param_u32(offset_of!(GemmParams, tiles));
        let each = k.param_u32(offset_of!(GemmParams, slice));
        let slice = k.mov_u32("%ctaid.z");
        let depths = Depths::slice(k, slice, each, depth);
        let block = k.mov_u32("%ctaid.x");
        let (image, tile_column) = k.div_rem(block, tiles);
        Block { m, n, slice, depths, image, tile_column }
    }
}

struct Operand {
    at: Loaded,
    /// Number of lanes.
    limit: Reg,
    layout: Layout,
    part: Transform,
}

impl Source for Operand {
    fn depth_first(&self) -> bool {
        self.layout.depth_first
    }

    fn wide(&self) -> bool {
        self.layout.wide
    }

    fn part(&self) -> Transform {
        self.part
    }

    fn lanes(&self) -> Reg {
        self.limit
    }

    fn lane(&self, k: &mut Emitter, lane: Reg) -> Vec<Reg> {
        let (offset, exists) = (k.r(), k.p());
        op!(k, "mad.lo.u32 {offset}, {lane}, {}, {}", self.at.strides[0], self.at.start);
        op!(k, "setp.lt.u32 {exists}, {lane}, {}", self.limit);
        vec![offset, exists]
    }

    fn address(&self, k: &mut Emitter, lane: &[Reg], depth: Reg, inside: Option<Reg>) -> (Reg, Option<Reg>) {
        let (exists, index) = (tile::both(k, lane[1], inside), k.r());
        op!(k, "mad.lo.u32 {index}, {depth}, {}, {}", self.at.strides[1], lane[0]);
        (k.address(self.at.base, index, 4), exists)
    }
}

impl Gemm {
    /// A name that says all that the text depends on.
    pub fn name(&self) -> String {
        let side = |i: usize| {
            let layout = self.layouts[i];
            let along = if layout.depth_first { "_k" } else { "" };
            format!("{}{along}{}", tile::part_name(self.parts[i]), if layout.wide { "x4" } else { "" })
        };
        let second = self.second.map_or(String::new(), Second::name);
        format!("gemm_{}_{}{second}_{}{}", side(0), side(1), self.tile.name(), self.then.name())
    }

    /// Blocks of a launch with these parameters.
    pub fn grid(&self, p: &GemmParams) -> [u32; 3] {
        let slices = p.k.div_ceil(p.slice.max(1)).max(1);
        [p.tiles * p.batches, p.m.div_ceil(self.tile.rows), slices]
    }

    /// The kernel.
    pub fn emit(&self) -> Kernel {
        let mut emitter = Emitter::new();
        let k = &mut emitter;
        let Block { m, n, slice, depths, image, tile_column } = Block::load(k);
        let (row, column) = (k.r(), k.r());
        let block = k.mov_u32("%ctaid.y");
        op!(k, "mul.lo.u32 {row}, {block}, {}", self.tile.rows);
        op!(k, "mul.lo.u32 {column}, {tile_column}, {}", self.tile.columns);
        let batch = k.param_inner(offset_of!(GemmParams, batch), 4);
        let place = k.coordinates(image, &batch);
        let [a, b] = [(A, m), (B, n)].map(|(fields, limit)| (fields.load(k, &place), limit));
        let operand =
            |(at, limit), i: usize| Operand { at, limit, layout: self.layouts[i], part: self.parts[i] };
        let (a, b) = (operand(a, 0), operand(b, 1));
        let sums = tile::multiply(k, (self.tile, self.second), (&a, &b), (row, column), depths);

        let (first, batches) = (k.r(), k.param_u32(offset_of!(GemmParams, batches)));
        op!(k, "mad.lo.u32 {first}, {slice}, {batches}, {image}");
        op!(k, "mul.lo.u32 {first}, {first}, {m}");
        let writer = Writer::new(k, &self.then, offset_of!(GemmParams, c), offset_of!(GemmParams, then));
        let beside = |k: &mut Emitter, column: &Reg| {
            let inside = k.p();
            op!(k, "setp.lt.u32 {inside}, {column}, {n}");
            writer.along(k, Reach::Column, *column, inside)
        };
        let columns: Vec<Vec<Reg>> = sums.columns.iter().map(|c| beside(k, c)).collect();
        for (i, row) in sums.rows.iter().enumerate() {
            let (inside, start) = (k.p(), k.r());
            op!(k, "setp.lt.u32 {inside}, {row}, {m}");
            op!(k, "add.u32 {start}, {first}, {row}");
            op!(k, "mul.lo.u32 {start}, {start}, {n}");
            let own = writer.along(k, Reach::Row, *row, inside);
            for (j, column) in sums.columns.iter().enumerate() {
                let (exists, index) = (k.p(), k.r());
                op!(k, "setp.lt.and.u32 {exists}, {column}, {n}, {inside}");
                op!(k, "add.u32 {index}, {start}, {column}");
                writer.put(k, &sums.at(i, j), (index, exists), [&own, &columns[j]]);
            }
        }
        emitter.finish(&self.name(), self.tile.threads(), size_of::<GemmParams>())
    }
}
