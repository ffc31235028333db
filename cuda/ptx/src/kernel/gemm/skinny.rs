//! Products of up to 16 rows. Each element of the right operand is used by one thread only, so it goes from memory straight
//! into registers. The left operand is staged in shared memory, one chunk of the depth at a time.
//!
//! If neighbouring columns are adjacent in memory, each lane has its columns and warps split the depth. If neighbours along
//! the depth are adjacent, lanes split the depth and each warp has its columns. Partial sums meet in shared memory and are
//! added in a fixed order.

use std::mem::offset_of;

use dlbc_ops::prim::Transform;

use super::super::epilogue::{Broadcast, Epilogue, Writer};
use super::super::tile::{self, Source};
use super::{A, B, Block, GemmParams, Layout, Operand};
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::op;

/// Maximum number of rows.
pub const ROWS: usize = 16;
const THREADS: u32 = 256;
const WARPS: u32 = THREADS / 32;
/// Depth that is staged at a time.
const CHUNK: u32 = 256;
/// Columns per warp if lanes split the depth.
const COLUMNS: u32 = 4;

/// A variant of the product with few rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Skinny {
    /// Transforms of the operands, left and right.
    pub transforms: [Transform; 2],
    /// Rows, rounded up to a power of two.
    pub rows: u32,
    /// Layout of the right operand. A vectorised load takes four neighbours along the depth if `depth_first`, else four
    /// columns, which up to 4 rows allow.
    pub layout: Layout,
    /// Elementwise expression that is applied to the product before it is stored.
    pub epilogue: Epilogue,
}

/// Sums of a thread, by row and then by column.
type Sums = Vec<Vec<Reg>>;

impl Skinny {
    /// Returns the number of columns per block.
    pub fn columns(&self) -> u32 {
        if self.layout.depth_first { WARPS * COLUMNS } else { 32 * self.width() }
    }

    /// Elements of the right operand per load.
    fn width(&self) -> u32 {
        if self.layout.vectorised { 4 } else { 1 }
    }

    /// Granularity of slices: their depth is a multiple of this.
    pub const DEPTH: u32 = CHUNK;

    /// Returns the entry point's name, which determines the text.
    pub fn name(&self) -> String {
        let [a, b] = self.transforms.map(tile::transform_name);
        let storage = self.layout.storage.name();
        let along = if self.layout.depth_first { "_k" } else { "" };
        let vector = if self.layout.vectorised { "x4" } else { "" };
        format!("gemm_skinny_{a}_{b}{storage}{along}{vector}_{}{}", self.rows, self.epilogue.name())
    }

    /// Returns the grid of a launch with these parameters, whose tiles have [`Skinny::columns`] columns.
    pub fn grid(&self, p: &GemmParams) -> [u32; 3] {
        [p.tiles * p.batches, 1, p.k.div_ceil(p.slice.max(1)).max(1)]
    }

    /// Emits the kernel.
    pub fn emit(&self) -> Kernel {
        let mut emitter = Emitter::new();
        let k = &mut emitter;
        let Block { m, n, slice, depths, image, tile_column } = Block::load(k);
        let column = k.r();
        op!(k, "mul.lo.u32 {column}, {tile_column}, {}", self.columns());
        let batch = k.param_inner_dims(offset_of!(GemmParams, batch), 4);
        let coordinates = k.coordinates(image, &batch);
        // Only the right operand's layout matters.
        let [left, right] = self.transforms;
        let a =
            Operand { regs: A.load(k, &coordinates), limit: m, layout: Layout::default(), transform: left };
        let b = Operand { regs: B.load(k, &coordinates), limit: n, layout: self.layout, transform: right };
        let staged = k.shared(4 * self.rows * CHUNK);
        let partials = if self.layout.depth_first { 1 } else { WARPS };
        let ends = k.shared(4 * partials * self.rows * self.columns());

        let (tid, smem) = (k.mov_u32("%tid.x"), k.mov_u32("smem"));
        let (warp, lane) = (k.r(), k.r());
        op!(k, "shr.u32 {warp}, {tid}, 5");
        op!(k, "and.b32 {lane}, {tid}, 31");
        let rows: Vec<Vec<Reg>> = (0..self.rows)
            .map(|row| {
                let row = k.mov_u32(&row.to_string());
                a.lane(k, row)
            })
            .collect();
        let store_address = k.r();
        op!(k, "mad.lo.u32 {store_address}, {tid}, 4, {smem}");
        let columns = self.lanes(k, &b, column, (warp, lane));
        let width = if self.layout.depth_first { columns.len() as u32 } else { self.width() };
        let sums: Sums = (0..self.rows).map(|_| (0..width).map(|_| k.f()).collect()).collect();
        sums.iter().flatten().for_each(|s| op!(k, "mov.f32 {s}, {}", imm(0.0)));

        let at = k.mov_u32(&depths.from.to_string());
        let top = k.label("CHUNK");
        k.place(&top);
        let (depth, inside) = (k.r(), k.p());
        op!(k, "add.u32 {depth}, {at}, {tid}");
        op!(k, "setp.lt.u32 {inside}, {depth}, {}", depths.to);
        let values: Vec<Reg> = rows.iter().map(|row| tile::load(k, &a, row, depth, Some(inside))).collect();
        // All threads have finished the previous chunk.
        op!(k, "bar.sync 0");
        for (row, v) in values.iter().enumerate() {
            op!(k, "st.shared.f32 [{store_address}+{}], {v}", staged + 4 * CHUNK * row as u32);
        }
        op!(k, "bar.sync 0");
        self.chunk(k, &b, &columns, (at, depths.to), (warp, lane, staged), &sums);
        op!(k, "add.u32 {at}, {at}, {CHUNK}");
        let more = k.p();
        op!(k, "setp.lt.u32 {more}, {at}, {}", depths.to);
        op!(k, "@{more} bra {top}");

        self.end(k, (warp, lane, ends), &sums);
        op!(k, "bar.sync 0");
        let (first, batches) = (k.r(), k.param_u32(offset_of!(GemmParams, batches)));
        op!(k, "mad.lo.u32 {first}, {slice}, {batches}, {image}");
        op!(k, "mul.lo.u32 {first}, {first}, {m}");
        self.store(k, (tid, ends, partials), (m, n), (first, column));
        emitter.finish(&self.name(), THREADS, size_of::<GemmParams>()).of_variant(self.clone())
    }

    /// Loads the lane registers of each column that a thread reads.
    fn lanes(&self, k: &mut Emitter, b: &Operand, column: Reg, (warp, lane): (Reg, Reg)) -> Vec<Vec<Reg>> {
        let first = k.r();
        let (count, index, pitch) =
            if self.layout.depth_first { (COLUMNS, warp, COLUMNS) } else { (1, lane, self.width()) };
        op!(k, "mad.lo.u32 {first}, {index}, {pitch}, {column}");
        (0..count)
            .map(|i| {
                let lane_column = k.r();
                op!(k, "add.u32 {lane_column}, {first}, {i}");
                b.lane(k, lane_column)
            })
            .collect()
    }

    /// Loads the elements from a column and depth on: four if vectorised, else one.
    fn load(&self, k: &mut Emitter, b: &Operand, lane: &[Reg], depth: Reg, end: Reg) -> Vec<Reg> {
        let inside = k.p();
        op!(k, "setp.lt.u32 {inside}, {depth}, {end}");
        if !self.layout.vectorised {
            return vec![tile::load(k, b, lane, depth, Some(inside))];
        }
        let (address, exists) = b.address(k, lane, depth, Some(inside));
        let values = self.layout.storage.load_four(k, "global", address, exists);
        values.into_iter().map(|v| tile::transform(k, b.transform, v)).collect()
    }

    /// Adds the products of a staged chunk that begins at depth `at` and ends before `to`.
    fn chunk(
        &self,
        k: &mut Emitter,
        b: &Operand,
        columns: &[Vec<Reg>],
        (at, to): (Reg, Reg),
        (warp, lane, staged): (Reg, Reg, u32),
        sums: &Sums,
    ) {
        // Depth of an iteration over all lanes of the warp, and the range of the chunk that this thread covers.
        let (step, first, end) = (k.r(), k.r(), k.r());
        if self.layout.depth_first {
            op!(k, "mov.u32 {step}, {}", 32 * self.width());
            op!(k, "mul.lo.u32 {first}, {lane}, {}", self.width());
            op!(k, "mov.u32 {end}, {CHUNK}");
        } else {
            op!(k, "mov.u32 {step}, 4");
            op!(k, "mul.lo.u32 {first}, {warp}, {}", CHUNK / WARPS);
            op!(k, "add.u32 {end}, {first}, {}", CHUNK / WARPS);
        }
        let (top, smem) = (k.label("DEPTH"), k.mov_u32("smem"));
        k.place(&top);
        let (depth, read) = (k.r(), k.r());
        op!(k, "add.u32 {depth}, {at}, {first}");
        op!(k, "mad.lo.u32 {read}, {first}, 4, {smem}");
        // Elements of the right operand, by depth within the iteration and by column.
        let right: Vec<Vec<Reg>> = if self.layout.depth_first {
            let by_column: Vec<Vec<Reg>> = columns.iter().map(|c| self.load(k, b, c, depth, to)).collect();
            (0..self.width() as usize).map(|u| by_column.iter().map(|c| c[u]).collect()).collect()
        } else {
            (0..4)
                .map(|u| {
                    let depth_u = k.r();
                    op!(k, "add.u32 {depth_u}, {depth}, {u}");
                    self.load(k, b, &columns[0], depth_u, to)
                })
                .collect()
        };
        for (row, sums) in sums.iter().enumerate() {
            let left: Vec<Reg> = right.iter().map(|_| k.f()).collect();
            let staged_row = staged + 4 * CHUNK * row as u32;
            match left.as_slice() {
                [x, y, z, w] => op!(k, "ld.shared.v4.f32 {{{x}, {y}, {z}, {w}}}, [{read}+{staged_row}]"),
                several => several.iter().for_each(|v| op!(k, "ld.shared.f32 {v}, [{read}+{staged_row}]")),
            }
            for (left, right) in left.iter().zip(&right) {
                for (sum, right) in sums.iter().zip(right) {
                    op!(k, "fma.rn.f32 {sum}, {left}, {right}, {sum}");
                }
            }
        }
        let more = k.p();
        op!(k, "add.u32 {first}, {first}, {step}");
        op!(k, "setp.lt.u32 {more}, {first}, {end}");
        op!(k, "@{more} bra {top}");
    }

    /// Stores the sums to shared memory: one partial sum per warp if warps split the depth, else the sum over the lanes.
    fn end(&self, k: &mut Emitter, (warp, lane, ends): (Reg, Reg, u32), sums: &Sums) {
        let (target, smem) = (k.r(), k.mov_u32("smem"));
        let line = 4 * self.columns();
        if !self.layout.depth_first {
            op!(k, "mad.lo.u32 {target}, {warp}, {}, {smem}", line * self.rows);
            op!(k, "mad.lo.u32 {target}, {lane}, {}, {target}", 4 * self.width());
            for (row, sums) in sums.iter().enumerate() {
                let offset = ends + line * row as u32;
                match sums.as_slice() {
                    [x, y, z, w] => op!(k, "st.shared.v4.f32 [{target}+{offset}], {{{x}, {y}, {z}, {w}}}"),
                    several => several.iter().for_each(|v| op!(k, "st.shared.f32 [{target}+{offset}], {v}")),
                }
            }
            return;
        }
        op!(k, "mad.lo.u32 {target}, {warp}, {}, {smem}", 4 * COLUMNS);
        let leads = k.p();
        op!(k, "setp.eq.u32 {leads}, {lane}, 0");
        for (row, sums) in sums.iter().enumerate() {
            for (i, sum) in sums.iter().enumerate() {
                for distance in [16, 8, 4, 2, 1] {
                    let (bits, other, v) = (k.r(), k.r(), k.f());
                    op!(k, "mov.b32 {bits}, {sum}");
                    op!(k, "shfl.sync.bfly.b32 {other}, {bits}, {distance}, 31, 0xffffffff");
                    op!(k, "mov.b32 {v}, {other}");
                    op!(k, "add.rn.f32 {sum}, {sum}, {v}");
                }
                op!(
                    k,
                    "@{leads} st.shared.f32 [{target}+{}], {sum}",
                    ends + line * row as u32 + 4 * i as u32
                );
            }
        }
    }

    /// Adds the partial sums of the warps in order, applies the epilogue and stores the result.
    fn store(
        &self,
        k: &mut Emitter,
        (tid, ends, partials): (Reg, u32, u32),
        (m, n): (Reg, Reg),
        (first, column): (Reg, Reg),
    ) {
        let writer =
            Writer::new(k, &self.epilogue, offset_of!(GemmParams, c), offset_of!(GemmParams, epilogue));
        let (element, smem) = (k.mov_u32(&tid.to_string()), k.mov_u32("smem"));
        let all = self.rows * self.columns();
        let (top, finished) = (k.label("ELEMENT"), k.label("DONE"));
        k.place(&top);
        k.branch_ge(element, all, &finished);
        let (row, lane_column, source) = (k.r(), k.r(), k.r());
        op!(k, "shr.u32 {row}, {element}, {}", self.columns().trailing_zeros());
        op!(k, "and.b32 {lane_column}, {element}, {}", self.columns() - 1);
        op!(k, "add.u32 {lane_column}, {lane_column}, {column}");
        op!(k, "mad.lo.u32 {source}, {element}, 4, {smem}");
        let sum = k.f();
        op!(k, "ld.shared.f32 {sum}, [{source}+{ends}]");
        for partial in 1..partials {
            let v = k.f();
            op!(k, "ld.shared.f32 {v}, [{source}+{}]", ends + 4 * all * partial);
            op!(k, "add.rn.f32 {sum}, {sum}, {v}");
        }
        let (column_exists, row_exists, exists, index) = (k.p(), k.p(), k.p(), k.r());
        op!(k, "setp.lt.u32 {column_exists}, {lane_column}, {n}");
        op!(k, "setp.lt.u32 {row_exists}, {row}, {m}");
        op!(k, "and.pred {exists}, {column_exists}, {row_exists}");
        op!(k, "add.u32 {index}, {first}, {row}");
        op!(k, "mad.lo.u32 {index}, {index}, {n}, {lane_column}");
        let by_row = writer.load(k, Broadcast::Row, row, row_exists);
        let by_column = writer.load(k, Broadcast::Column, lane_column, column_exists);
        writer.store(k, &[sum], (index, exists), [&by_row, &by_column]);
        op!(k, "add.u32 {element}, {element}, {THREADS}");
        op!(k, "bra {top}");
        k.place(&finished);
    }
}
