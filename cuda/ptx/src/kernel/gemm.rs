//! `part(a) · part(b)`, batched, with any strides: transposes and broadcasts cost nothing extra.

use std::mem::offset_of;

use dlbc_ops::prim::Part;

use super::tile::{self, Source};
use crate::device::Kernel;
use crate::emit::{Emitter, Reg};
use crate::{op, params};

pub use super::tile::Tile;

params! {
    /// Parameters of a product. Strides are in elements, modulo 2³².
    pub struct GemmParams {
        /// The left operand.
        a: u64,
        /// The right operand.
        b: u64,
        /// The result, `[batch, m, n]`, dense.
        c: u64,
        /// Rows.
        m: u32,
        /// Columns.
        n: u32,
        /// Depth.
        k: u32,
        /// Tiles along the columns: blocks along x count these for one batch after another.
        tiles: u32,
        /// Strides of `a` along m and k.
        a_strides: [i32; 2],
        /// Strides of `b` along k and n.
        b_strides: [i32; 2],
        /// Batch dimensions, outermost first.
        batch: [u32; 4],
        /// Strides of `a` along them.
        a_batch: [i32; 4],
        /// Strides of `b` along them.
        b_batch: [i32; 4],
    }
}

/// A variant of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gemm {
    /// Parts of the operands.
    pub parts: [Part; 2],
    /// Whether each operand is dense along the depth, rather than along its rows or columns.
    pub depth_first: [bool; 2],
    /// The tile.
    pub tile: Tile,
}

struct Operand {
    base: Reg,
    /// Offset of the batch.
    start: Reg,
    /// Strides along the lanes and the depth.
    strides: [Reg; 2],
    /// Number of lanes.
    limit: Reg,
    depth_first: bool,
    part: Part,
}

impl Source for Operand {
    fn depth_first(&self) -> bool {
        self.depth_first
    }

    fn lane(&self, k: &mut Emitter, lane: Reg) -> Vec<Reg> {
        let (offset, exists) = (k.r(), k.p());
        op!(k, "mad.lo.u32 {offset}, {lane}, {}, {}", self.strides[0], self.start);
        op!(k, "setp.lt.u32 {exists}, {lane}, {}", self.limit);
        vec![offset, exists]
    }

    fn load(&self, k: &mut Emitter, lane: &[Reg], depth: Reg, inside: Option<Reg>) -> Reg {
        let exists = tile::both(k, lane[1], inside);
        if self.part == Part::One {
            return tile::one(k, exists);
        }
        let index = k.r();
        op!(k, "mad.lo.u32 {index}, {depth}, {}, {}", self.strides[1], lane[0]);
        let address = k.address(self.base, index, 4);
        let value = tile::load_where(k, address, exists);
        tile::part(k, self.part, value)
    }
}

impl Gemm {
    /// A name that says all that the text depends on.
    pub fn name(&self) -> String {
        let side = |i: usize| {
            format!("{}{}", tile::part_name(self.parts[i]), if self.depth_first[i] { "_k" } else { "" })
        };
        format!("gemm_{}_{}_{}", side(0), side(1), self.tile.name())
    }

    /// The kernel.
    pub fn emit(&self) -> Kernel {
        let mut emitter = Emitter::new();
        let k = &mut emitter;
        let m = k.param_u32(offset_of!(GemmParams, m));
        let n = k.param_u32(offset_of!(GemmParams, n));
        let depth = k.param_u32(offset_of!(GemmParams, k));
        let tiles = k.param_u32(offset_of!(GemmParams, tiles));
        let block = k.mov_u32("%ctaid.x");
        let (image, tile_column) = k.div_rem(block, tiles);
        let (row, column) = (k.r(), k.r());
        let block = k.mov_u32("%ctaid.y");
        op!(k, "mul.lo.u32 {row}, {block}, {}", self.tile.rows);
        op!(k, "mul.lo.u32 {column}, {tile_column}, {}", self.tile.columns);
        let batch = k.param_inner(offset_of!(GemmParams, batch), 4);
        let place = k.coordinates(image, &batch);
        let mut operand = |base: usize, batches: usize, strides: [usize; 2], limit: Reg, side: usize| {
            let batches = k.param_u32s(batches, 4);
            Operand {
                base: k.param_u64(base),
                start: k.offset(None, &place, &batches),
                strides: [k.param_u32(strides[0]), k.param_u32(strides[1])],
                limit,
                depth_first: self.depth_first[side],
                part: self.parts[side],
            }
        };
        let strides = offset_of!(GemmParams, a_strides);
        let a =
            operand(offset_of!(GemmParams, a), offset_of!(GemmParams, a_batch), [strides, strides + 4], m, 0);
        let strides = offset_of!(GemmParams, b_strides);
        let b =
            operand(offset_of!(GemmParams, b), offset_of!(GemmParams, b_batch), [strides + 4, strides], n, 1);
        let sums = tile::multiply(k, self.tile, (&a, &b), (row, column), depth);

        let c = k.param_u64(offset_of!(GemmParams, c));
        let first = k.r();
        op!(k, "mul.lo.u32 {first}, {image}, {m}");
        for (i, row) in sums.rows.iter().enumerate() {
            let (inside, start) = (k.p(), k.r());
            op!(k, "setp.lt.u32 {inside}, {row}, {m}");
            op!(k, "add.u32 {start}, {first}, {row}");
            op!(k, "mul.lo.u32 {start}, {start}, {n}");
            for (j, column) in sums.columns.iter().enumerate() {
                let (exists, index) = (k.p(), k.r());
                op!(k, "setp.lt.and.u32 {exists}, {column}, {n}, {inside}");
                op!(k, "add.u32 {index}, {start}, {column}");
                let address = k.address(c, index, 4);
                op!(k, "@{exists} st.global.f32 [{address}], {}", sums.values[i][j]);
            }
        }
        emitter.finish(&self.name(), self.tile.threads(), size_of::<GemmParams>())
    }
}

/// The product of integers, an element a thread; the same parameters, `tiles` unused.
pub fn integer(parts: [Part; 2]) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let done = k.label("DONE");
    let i = k.global_index(256);
    let dims = [
        k.param_u32s(offset_of!(GemmParams, batch), 4),
        vec![k.param_u32(offset_of!(GemmParams, m)), k.param_u32(offset_of!(GemmParams, n))],
    ]
    .concat();
    let count = k.mov_u32("1");
    for d in &dims {
        op!(k, "mul.lo.u32 {count}, {count}, {d}");
    }
    k.branch_ge(i, count, &done);
    let place = k.coordinates(i, &dims[1..]);
    let mut side = |base: usize, batches: usize, strides: usize, lane: Reg, lane_first: bool| {
        let batches = k.param_u32s(batches, 4);
        let start = k.offset(None, &place[..4], &batches);
        let both = k.param_u32s(strides, 2);
        let (along_lane, along_depth) = if lane_first { (both[0], both[1]) } else { (both[1], both[0]) };
        let start = k.offset(Some(start), &[lane], &[along_lane]);
        (k.param_u64(base), start, along_depth)
    };
    let a = side(
        offset_of!(GemmParams, a),
        offset_of!(GemmParams, a_batch),
        offset_of!(GemmParams, a_strides),
        place[4],
        true,
    );
    let b = side(
        offset_of!(GemmParams, b),
        offset_of!(GemmParams, b_batch),
        offset_of!(GemmParams, b_strides),
        place[5],
        false,
    );
    let depth = k.param_u32(offset_of!(GemmParams, k));
    let (sum, at) = (k.d(), k.mov_u32("0"));
    op!(k, "mov.b64 {sum}, 0");
    let (top, end) = (k.label("STEP"), k.label("SUMMED"));
    k.place(&top);
    k.branch_ge(at, depth, &end);
    let mut values = vec![];
    for ((base, start, stride), part) in [a, b].into_iter().zip(parts) {
        let index = k.offset(Some(start), &[at], &[stride]);
        let address = k.address(base, index, 8);
        let v = k.d();
        op!(k, "ld.global.s64 {v}, [{address}]");
        match part {
            Part::Id => {}
            Part::Abs => op!(k, "abs.s64 {v}, {v}"),
            Part::Pos => op!(k, "max.s64 {v}, {v}, 0"),
            Part::Neg => op!(k, "min.s64 {v}, {v}, 0"),
            Part::Square => op!(k, "mul.lo.s64 {v}, {v}, {v}"),
            Part::One => op!(k, "mov.b64 {v}, 1"),
        }
        values.push(v);
    }
    op!(k, "mad.lo.s64 {sum}, {}, {}, {sum}", values[0], values[1]);
    op!(k, "add.u32 {at}, {at}, 1");
    op!(k, "bra {top}");
    k.place(&end);
    let c = k.param_u64(offset_of!(GemmParams, c));
    let address = k.address(c, i, 8);
    op!(k, "st.global.s64 [{address}], {sum}");
    k.place(&done);
    let name = format!("gemm_integer_{}_{}", tile::part_name(parts[0]), tile::part_name(parts[1]));
    emitter.finish(&name, 256, size_of::<GemmParams>())
}
