//! Batched matrix products `f(a) · g(b)`, where `f` and `g` are operand transforms. Operands may have any strides, so
//! transposed and broadcast operands need no copy.

mod integer;
mod skinny;

use std::mem::offset_of;

use dlbc_ops::prim::Transform;

use super::epilogue::{Broadcast, Epilogue, Writer};
use super::tile::{self, Depths, Source};
use crate::device::Kernel;
use crate::emit::{Emitter, Reg};
use crate::{op, params};

pub use super::storage::Storage;
pub use super::tile::{Math, SecondProduct, SecondSums, Tile, Transfer, Unit};
pub use integer::integer;
pub use skinny::{ROWS, Skinny};

params! {
    /// Parameters of [`Gemm`], [`Skinny`] and [`integer`]. Strides are in elements, modulo 2³².
    pub struct GemmParams {
        /// Address of the left operand.
        a: u64,
        /// Address of the right operand.
        b: u64,
        /// Address of the result, `[slices, batch, m, n]`, contiguous.
        c: u64,
        /// Addresses of the epilogue's operands. The last one is that of the second product's sums, where they are stored.
        epilogue: [u64; 4],
        /// Rows of the result.
        m: u32,
        /// Columns of the result.
        n: u32,
        /// Length of the sums.
        k: u32,
        /// Depth of a slice. Slices run along z, and their sums are stored one after another.
        slice: u32,
        /// Tiles per row of tiles. Blocks along x run through these tiles, one matrix of the batch after another.
        tiles: u32,
        /// Number of matrices in the batch.
        batches: u32,
        /// Strides of `a` along `m` and `k`.
        a_strides: [i32; 2],
        /// Strides of `b` along `n` and `k`.
        b_strides: [i32; 2],
        /// Batch dimensions, outermost first.
        batch: [u32; 4],
        /// Strides of `a` along the batch dimensions.
        a_batch: [i32; 4],
        /// Strides of `b` along the batch dimensions.
        b_batch: [i32; 4],
    }
}

/// Memory layout of an operand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Neighbours along the depth are adjacent in memory (K-major), rather than neighbouring rows or columns.
    pub depth_first: bool,
    /// The adjacent elements of 16 bytes can be loaded at a time: each group starts at a multiple of 16 bytes. Narrow elements
    /// fill all groups, without a remainder.
    pub vectorised: bool,
    /// Type of the elements in memory.
    pub storage: Storage,
}

impl Layout {
    /// Returns the layout's part of a kernel's name.
    fn name(self) -> String {
        let along = if self.depth_first { "_k" } else { "" };
        let vector = if self.vectorised { format!("x{}", self.storage.group()) } else { String::new() };
        format!("{}{along}{vector}", self.storage.name())
    }
}

/// A variant of the tiled product.
#[derive(Clone, Debug, PartialEq)]
pub struct Gemm {
    /// Transforms of the operands, left and right.
    pub transforms: [Transform; 2],
    /// A second product of the same operands under other transforms.
    pub second: Option<SecondProduct>,
    /// Layouts of the operands, left and right.
    pub layouts: [Layout; 2],
    /// Tile of a block.
    pub tile: Tile,
    /// Elementwise expression that is applied to the product before it is stored.
    pub epilogue: Epilogue,
}

/// Index in [`GemmParams::epilogue`] of the address of a second product's sums, where they are stored. The epilogue then has no
/// more operands than that.
pub const STORED_SECOND: usize = 3;

/// Offsets of an operand's parameters in [`GemmParams`].
struct OperandFields {
    /// Offset of the address.
    base: usize,
    /// Offset of the strides along the batch dimensions.
    batches: usize,
    /// Offset of the strides along lanes and depth.
    strides: usize,
}

/// Offset of the address to which a second product's sums are stored, with the layout of `c`.
const SECOND: usize = offset_of!(GemmParams, epilogue) + 8 * STORED_SECOND;

const A: OperandFields = OperandFields {
    base: offset_of!(GemmParams, a),
    batches: offset_of!(GemmParams, a_batch),
    strides: offset_of!(GemmParams, a_strides),
};
const B: OperandFields = OperandFields {
    base: offset_of!(GemmParams, b),
    batches: offset_of!(GemmParams, b_batch),
    strides: offset_of!(GemmParams, b_strides),
};

/// An operand's parameters in registers, for one matrix of the batch.
struct OperandRegs {
    base: Reg,
    /// Offset of the matrix, in elements.
    start: Reg,
    /// Strides along the lanes and the depth.
    strides: [Reg; 2],
}

impl OperandFields {
    /// Loads the operand's parameters for the matrix at the coordinates `batch`.
    fn load(&self, k: &mut Emitter, batch: &[Reg]) -> OperandRegs {
        let batches = k.param_u32s(self.batches, 4);
        OperandRegs {
            base: k.param_u64(self.base),
            start: k.offset(None, batch, &batches),
            strides: [k.param_u32(self.strides), k.param_u32(self.strides + 4)],
        }
    }
}

/// The work of a block, in registers.
struct Block {
    m: Reg,
    n: Reg,
    slice: Reg,
    depths: Depths,
    /// Index of the matrix in the batch.
    image: Reg,
    /// Index of the tile in its row of tiles.
    tile_column: Reg,
}

impl Block {
    fn load(k: &mut Emitter) -> Block {
        let m = k.param_u32(offset_of!(GemmParams, m));
        let n = k.param_u32(offset_of!(GemmParams, n));
        let depth = k.param_u32(offset_of!(GemmParams, k));
        let tiles = k.param_u32(offset_of!(GemmParams, tiles));
        let slice_depth = k.param_u32(offset_of!(GemmParams, slice));
        let slice = k.mov_u32("%ctaid.z");
        let depths = Depths::slice(k, slice, slice_depth, depth);
        let block = k.mov_u32("%ctaid.x");
        let (image, tile_column) = k.div_rem(block, tiles);
        Block { m, n, slice, depths, image, tile_column }
    }
}

/// An operand as a source of tiles.
struct Operand {
    regs: OperandRegs,
    /// Number of lanes.
    limit: Reg,
    layout: Layout,
    transform: Transform,
}

impl Source for Operand {
    fn depth_first(&self) -> bool {
        self.layout.depth_first
    }

    fn vectorised(&self) -> bool {
        self.layout.vectorised
    }

    fn storage(&self) -> Storage {
        self.layout.storage
    }

    fn transform(&self) -> Transform {
        self.transform
    }

    fn lanes(&self) -> Reg {
        self.limit
    }

    fn lane(&self, k: &mut Emitter, lane: Reg) -> Vec<Reg> {
        let (offset, exists) = (k.r(), k.p());
        op!(k, "mad.lo.u32 {offset}, {lane}, {}, {}", self.regs.strides[0], self.regs.start);
        op!(k, "setp.lt.u32 {exists}, {lane}, {}", self.limit);
        vec![offset, exists]
    }

    fn address(&self, k: &mut Emitter, lane: &[Reg], depth: Reg, inside: Option<Reg>) -> (Reg, Option<Reg>) {
        let (exists, index) = (tile::both_exist(k, lane[1], inside), k.r());
        op!(k, "mad.lo.u32 {index}, {depth}, {}, {}", self.regs.strides[1], lane[0]);
        (k.address(self.regs.base, index, self.layout.storage.bytes()), exists)
    }
}

impl Gemm {
    /// Returns the entry point's name, which determines the text.
    pub fn name(&self) -> String {
        let side =
            |i: usize| format!("{}{}", tile::transform_name(self.transforms[i]), self.layouts[i].name());
        let second = self.second.map_or(String::new(), SecondProduct::name);
        format!("gemm_{}_{}{second}_{}{}", side(0), side(1), self.tile.name(), self.epilogue.name())
    }

    /// Returns the grid of a launch with these parameters.
    pub fn grid(&self, p: &GemmParams) -> [u32; 3] {
        let slices = p.k.div_ceil(p.slice.max(1)).max(1);
        [p.tiles * p.batches, p.m.div_ceil(self.tile.rows), slices]
    }

    /// Emits the kernel.
    pub fn emit(&self) -> Kernel {
        let mut emitter = Emitter::new();
        let k = &mut emitter;
        let Block { m, n, slice, depths, image, tile_column } = Block::load(k);
        let (row, column) = (k.r(), k.r());
        let block = k.mov_u32("%ctaid.y");
        op!(k, "mul.lo.u32 {row}, {block}, {}", self.tile.rows);
        op!(k, "mul.lo.u32 {column}, {tile_column}, {}", self.tile.columns);
        let batch = k.param_inner_dims(offset_of!(GemmParams, batch), 4);
        let coordinates = k.coordinates(image, &batch);
        let [a, b] = [(A, m), (B, n)].map(|(fields, limit)| (fields.load(k, &coordinates), limit));
        let operand = |(regs, limit), i: usize| Operand {
            regs,
            limit,
            layout: self.layouts[i],
            transform: self.transforms[i],
        };
        let (a, b) = (operand(a, 0), operand(b, 1));
        let sums = tile::multiply(k, (self.tile, self.second), (&a, &b), (row, column), depths);

        let (first, batches) = (k.r(), k.param_u32(offset_of!(GemmParams, batches)));
        op!(k, "mad.lo.u32 {first}, {slice}, {batches}, {image}");
        op!(k, "mul.lo.u32 {first}, {first}, {m}");
        let writer =
            Writer::new(k, &self.epilogue, offset_of!(GemmParams, c), offset_of!(GemmParams, epilogue));
        let second = match self.second.map(|second| second.sums) {
            Some(SecondSums::Stored(storage)) => Some((k.param_u64(SECOND), storage)),
            _ => None,
        };
        let column_operands = |k: &mut Emitter, column: &Reg| {
            let inside = k.p();
            op!(k, "setp.lt.u32 {inside}, {column}, {n}");
            writer.load(k, Broadcast::Column, *column, inside)
        };
        let columns: Vec<Vec<Reg>> = sums.columns.iter().map(|c| column_operands(k, c)).collect();
        for (i, row) in sums.rows.iter().enumerate() {
            let (inside, start) = (k.p(), k.r());
            op!(k, "setp.lt.u32 {inside}, {row}, {m}");
            op!(k, "add.u32 {start}, {first}, {row}");
            op!(k, "mul.lo.u32 {start}, {start}, {n}");
            let row_operands = writer.load(k, Broadcast::Row, *row, inside);
            for (j, column) in sums.columns.iter().enumerate() {
                let (exists, index) = (k.p(), k.r());
                op!(k, "setp.lt.and.u32 {exists}, {column}, {n}, {inside}");
                op!(k, "add.u32 {index}, {start}, {column}");
                let mut values = sums.at(i, j);
                if let Some((base, storage)) = second
                    && let Some(value) = values.pop()
                {
                    let address = k.address(base, index, storage.bytes());
                    storage.store(k, address, value, Some(exists));
                }
                writer.store(k, &values, (index, exists), [&row_operands, &columns[j]]);
            }
        }
        emitter.finish(&self.name(), self.tile.threads(), size_of::<GemmParams>()).of_variant(self.clone())
    }
}
