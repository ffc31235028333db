//! Products of up to 16 rows, whose right operand is read once and from memory straight into registers: there is nothing to
//! share. The left operand is staged in shared memory, a chunk of the depth at a time.
//!
//! Where neighbouring columns lie side by side, lanes are columns and warps take turns along the depth; where neighbours in
//! depth do, lanes are depths and warps have columns. Sums end in shared memory and are added in order.

use std::mem::offset_of;

use dlbc_ops::prim::Transform;

use super::super::epilogue::{Epilogue, Reach, Writer};
use super::super::tile::{self, Source};
use super::{A, B, Block, GemmParams, Layout, Operand};
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::op;

/// The most rows.
pub const ROWS: usize = 16;
const THREADS: u32 = 256;
const WARPS: u32 = THREADS / 32;
/// Depths that are staged at a time.
const CHUNK: u32 = 256;
/// Columns of a warp whose lanes are depths.
const COLUMNS: u32 = 4;

/// A variant of the product of few rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Skinny {
    /// Parts of the operands.
    pub parts: [Transform; 2],
    /// Rows, rounded up to a power of two.
    pub rows: u32,
    /// How the right operand lies. Wide, its columns (of up to 4 rows) or its depth come in fours.
    pub layout: Layout,
    /// What follows.
    pub then: Epilogue,
}

/// Sums of a thread by row, then by column or lane of four.
type Sums = Vec<Vec<Reg>>;

impl Skinny {
    /// Columns of a block.
    pub fn columns(&self) -> u32 {
        if self.layout.depth_first { WARPS * COLUMNS } else { 32 * self.width() }
    }

    /// Elements of the right operand in a load.
    fn width(&self) -> u32 {
        if self.layout.wide { 4 } else { 1 }
    }

    /// Depth that slices are a multiple of.
    pub const DEPTH: u32 = CHUNK;

    /// A name that says all that the text depends on.
    pub fn name(&self) -> String {
        let [a, b] = self.parts.map(tile::part_name);
        let along = if self.layout.depth_first { "_k" } else { "" };
        let wide = if self.layout.wide { "x4" } else { "" };
        format!("gemm_skinny_{a}_{b}{along}{wide}_{}{}", self.rows, self.then.name())
    }

    /// Blocks of a launch with these parameters, whose tiles are [`Skinny::columns`] wide.
    pub fn grid(&self, p: &GemmParams) -> [u32; 3] {
        [p.tiles * p.batches, 1, p.k.div_ceil(p.slice.max(1)).max(1)]
    }

    /// The kernel.
    pub fn emit(&self) -> Kernel {
        let mut emitter = Emitter::new();
        let k = &mut emitter;
        let Block { m, n, slice, depths, image, tile_column } = Block::load(k);
        let column = k.r();
        op!(k, "mul.lo.u32 {column}, {tile_column}, {}", self.columns());
        let batch = k.param_inner(offset_of!(GemmParams, batch), 4);
        let place = k.coordinates(image, &batch);
        // Only the right operand's layout matters.
        let a = Operand { at: A.load(k, &place), limit: m, layout: Layout::default(), part: self.parts[0] };
        let b = Operand { at: B.load(k, &place), limit: n, layout: self.layout, part: self.parts[1] };
        let staged = k.shared(4 * self.rows * CHUNK);
        let parts = if self.layout.depth_first { 1 } else { WARPS };
        let ends = k.shared(4 * parts * self.rows * self.columns());

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
        let own = k.r();
        op!(k, "mad.lo.u32 {own}, {tid}, 4, {smem}");
        let columns = self.lanes(k, &b, column, (warp, lane));
        let width = if self.layout.depth_first { columns.len() as u32 } else { self.width() };
        let sums: Sums = (0..self.rows).map(|_| (0..width).map(|_| k.f()).collect()).collect();
        sums.iter().flatten().for_each(|s| op!(k, "mov.f32 {s}, {}", imm(0.0)));

        let at = k.mov_u32(&depths.from.to_string());
        let top = k.label("CHUNK");
        k.place(&top);
        let (mine, inside) = (k.r(), k.p());
        op!(k, "add.u32 {mine}, {at}, {tid}");
        op!(k, "setp.lt.u32 {inside}, {mine}, {}", depths.to);
        let values: Vec<Reg> = rows.iter().map(|row| tile::load(k, &a, row, mine, Some(inside))).collect();
        // All are done with the chunk before.
        op!(k, "bar.sync 0");
        for (row, v) in values.iter().enumerate() {
            op!(k, "st.shared.f32 [{own}+{}], {v}", staged + 4 * CHUNK * row as u32);
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
        self.store(k, (tid, ends, parts), (m, n), (first, column));
        emitter.finish(&self.name(), THREADS, size_of::<GemmParams>())
    }

    /// Registers of the columns that a thread loads.
    fn lanes(&self, k: &mut Emitter, b: &Operand, column: Reg, (warp, lane): (Reg, Reg)) -> Vec<Vec<Reg>> {
        let first = k.r();
        let (count, index, apart) =
            if self.layout.depth_first { (COLUMNS, warp, COLUMNS) } else { (1, lane, self.width()) };
        op!(k, "mad.lo.u32 {first}, {index}, {apart}, {column}");
        (0..count)
            .map(|i| {
                let own = k.r();
                op!(k, "add.u32 {own}, {first}, {i}");
                b.lane(k, own)
            })
            .collect()
    }

    /// Elements side by side from a column and depth on.
    fn load(&self, k: &mut Emitter, b: &Operand, lane: &[Reg], depth: Reg, to: Reg) -> Vec<Reg> {
        let inside = k.p();
        op!(k, "setp.lt.u32 {inside}, {depth}, {to}");
        if !self.layout.wide {
            return vec![tile::load(k, b, lane, depth, Some(inside))];
        }
        let (address, exists) = b.address(k, lane, depth, Some(inside));
        let [x, y, z, w] = [k.f(), k.f(), k.f(), k.f()];
        [x, y, z, w].iter().for_each(|v| op!(k, "mov.f32 {v}, {}", imm(0.0)));
        let guard = exists.map_or(String::new(), |p| format!("@{p} "));
        op!(k, "{guard}ld.global.v4.f32 {{{x}, {y}, {z}, {w}}}, [{address}]");
        [x, y, z, w].map(|v| tile::part(k, b.part, v)).to_vec()
    }

    /// The products of a chunk that lies in shared memory and begins at depth `at`.
    fn chunk(
        &self,
        k: &mut Emitter,
        b: &Operand,
        columns: &[Vec<Reg>],
        (at, to): (Reg, Reg),
        (warp, lane, staged): (Reg, Reg, u32),
        sums: &Sums,
    ) {
        // Depths of a turn, of all the warp's lanes; and where in the chunk this thread begins and its warp ends.
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
        // By depth within the turn and column.
        let right: Vec<Vec<Reg>> = if self.layout.depth_first {
            let by_column: Vec<Vec<Reg>> = columns.iter().map(|c| self.load(k, b, c, depth, to)).collect();
            (0..self.width() as usize).map(|u| by_column.iter().map(|c| c[u]).collect()).collect()
        } else {
            (0..4)
                .map(|u| {
                    let here = k.r();
                    op!(k, "add.u32 {here}, {depth}, {u}");
                    self.load(k, b, &columns[0], here, to)
                })
                .collect()
        };
        for (row, sums) in sums.iter().enumerate() {
            let left: Vec<Reg> = right.iter().map(|_| k.f()).collect();
            let from = staged + 4 * CHUNK * row as u32;
            match left.as_slice() {
                [x, y, z, w] => op!(k, "ld.shared.v4.f32 {{{x}, {y}, {z}, {w}}}, [{read}+{from}]"),
                several => several.iter().for_each(|v| op!(k, "ld.shared.f32 {v}, [{read}+{from}]")),
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

    /// Puts the sums where the threads that store find them: each warp's, or of warps that have columns the lanes' together.
    fn end(&self, k: &mut Emitter, (warp, lane, ends): (Reg, Reg, u32), sums: &Sums) {
        let (to, smem) = (k.r(), k.mov_u32("smem"));
        let line = 4 * self.columns();
        if !self.layout.depth_first {
            op!(k, "mad.lo.u32 {to}, {warp}, {}, {smem}", line * self.rows);
            op!(k, "mad.lo.u32 {to}, {lane}, {}, {to}", 4 * self.width());
            for (row, sums) in sums.iter().enumerate() {
                let at = ends + line * row as u32;
                match sums.as_slice() {
                    [x, y, z, w] => op!(k, "st.shared.v4.f32 [{to}+{at}], {{{x}, {y}, {z}, {w}}}"),
                    several => several.iter().for_each(|v| op!(k, "st.shared.f32 [{to}+{at}], {v}")),
                }
            }
            return;
        }
        op!(k, "mad.lo.u32 {to}, {warp}, {}, {smem}", 4 * COLUMNS);
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
                op!(k, "@{leads} st.shared.f32 [{to}+{}], {sum}", ends + line * row as u32 + 4 * i as u32);
            }
        }
    }

    /// Adds what the warps have in order, and stores it.
    fn store(
        &self,
        k: &mut Emitter,
        (tid, ends, parts): (Reg, u32, u32),
        (m, n): (Reg, Reg),
        (first, column): (Reg, Reg),
    ) {
        let writer = Writer::new(k, &self.then, offset_of!(GemmParams, c), offset_of!(GemmParams, then));
        let (element, smem) = (k.mov_u32(&tid.to_string()), k.mov_u32("smem"));
        let all = self.rows * self.columns();
        let (top, done) = (k.label("ELEMENT"), k.label("DONE"));
        k.place(&top);
        k.branch_ge(element, all, &done);
        let (row, own, from) = (k.r(), k.r(), k.r());
        op!(k, "shr.u32 {row}, {element}, {}", self.columns().trailing_zeros());
        op!(k, "and.b32 {own}, {element}, {}", self.columns() - 1);
        op!(k, "add.u32 {own}, {own}, {column}");
        op!(k, "mad.lo.u32 {from}, {element}, 4, {smem}");
        let sum = k.f();
        op!(k, "ld.shared.f32 {sum}, [{from}+{ends}]");
        for part in 1..parts {
            let v = k.f();
            op!(k, "ld.shared.f32 {v}, [{from}+{}]", ends + 4 * all * part);
            op!(k, "add.rn.f32 {sum}, {sum}, {v}");
        }
        let (beside, below, exists, index) = (k.p(), k.p(), k.p(), k.r());
        op!(k, "setp.lt.u32 {beside}, {own}, {n}");
        op!(k, "setp.lt.u32 {below}, {row}, {m}");
        op!(k, "and.pred {exists}, {beside}, {below}");
        op!(k, "add.u32 {index}, {first}, {row}");
        op!(k, "mad.lo.u32 {index}, {index}, {n}, {own}");
        let by_row = writer.along(k, Reach::Row, row, below);
        let by_column = writer.along(k, Reach::Column, own, beside);
        writer.put(k, &[sum], (index, exists), [&by_row, &by_column]);
        op!(k, "add.u32 {element}, {element}, {THREADS}");
        op!(k, "bra {top}");
        k.place(&done);
    }
}
