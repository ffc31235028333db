//! Tiles of scores that a mask rules out.
//!
//! A mask that is added to the scores of a softmax rules out a tile if it is [`RULED_OUT`] or less everywhere in it, and more
//! somewhere in each of the tile's rows: every weight of the tile is then 0, unless a score is as large as the mask. Of a
//! causal mask, that is half of the tiles.

use std::mem::offset_of;

use super::EXTENT;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::kernel::{across_lanes, each, math};
use crate::{op, params};

/// Largest value of a mask that rules out.
pub const RULED_OUT: f32 = -1e30;

const THREADS: u32 = 128;
const WARPS: u32 = THREADS / 32;

params! {
    /// Parameters of [`ruled_out`]. Strides are in elements, modulo 2³².
    pub struct MaskParams {
        /// Address of the mask, float32.
        mask: u64,
        /// Address of the result: 1 for a tile that is ruled out, `[batch, row tile, column tile]`, contiguous.
        tiles: u64,
        /// Number of rows.
        rows: u32,
        /// Number of columns.
        columns: u32,
        /// Number of tiles along the columns.
        column_tiles: u32,
        /// Number of tiles along the rows.
        row_tiles: u32,
        /// Dimensions of the batch, outermost first.
        batch: [u32; 4],
        /// Strides of the mask along rows and columns.
        strides: [i32; 2],
        /// Strides of the mask along the batch.
        batch_strides: [i32; 4],
    }
}

/// Builds the kernel. A block has a row of tiles of a matrix of the batch; blocks along x run through the batch.
pub fn ruled_out() -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let (matrix, row_tile) = (k.mov_u32("%ctaid.x"), k.mov_u32("%ctaid.y"));
    let dims = k.param_inner_dims(offset_of!(MaskParams, batch), 4);
    let coordinates = k.coordinates(matrix, &dims);
    let batch_strides = k.param_u32s(offset_of!(MaskParams, batch_strides), 4);
    let start = k.offset(None, &coordinates, &batch_strides);
    let strides = k.param_u32s(offset_of!(MaskParams, strides), 2);
    let mask = k.param_u64(offset_of!(MaskParams, mask));
    let [rows, columns, column_tiles, row_tiles] = [
        offset_of!(MaskParams, rows),
        offset_of!(MaskParams, columns),
        offset_of!(MaskParams, column_tiles),
        offset_of!(MaskParams, row_tiles),
    ]
    .map(|offset| k.param_u32(offset));
    let (tid, lane, warp) = (k.mov_u32("%tid.x"), k.r(), k.r());
    op!(k, "and.b32 {lane}, {tid}, 31");
    op!(k, "shr.u32 {warp}, {tid}, 5");
    let first_row = k.r();
    op!(k, "mad.lo.u32 {first_row}, {row_tile}, {EXTENT}, {warp}");
    let row_end = k.r();
    op!(k, "mad.lo.u32 {row_end}, {row_tile}, {EXTENT}, {EXTENT}");
    op!(k, "min.u32 {row_end}, {row_end}, {rows}");
    let load = |k: &mut Emitter, row: Reg, column: Reg| {
        let index = k.offset(Some(start), &[row, column], &strides);
        let (address, v) = (k.address(mask, index, 4), k.f());
        op!(k, "ld.global.f32 {v}, [{address}]");
        v
    };

    // The smallest of the rows' largest values. NaN rules out nothing.
    let smallest = math::unary(k, "mov.f32", imm(f32::INFINITY));
    each(k, (first_row, row_end, WARPS), |k, row| {
        let largest = math::unary(k, "mov.f32", imm(f32::NEG_INFINITY));
        each(k, (lane, columns, 32), |k, column| {
            let v = load(k, row, column);
            op!(k, "max.NaN.f32 {largest}, {largest}, {v}");
        });
        across_lanes(k, "max.NaN.f32", largest);
        op!(k, "min.NaN.f32 {smallest}, {smallest}, {largest}");
    });
    let smallest = across_warps(k, "min.NaN.f32", smallest, lane, warp);
    let rows_stay = math::test(k, "gt", smallest, imm(RULED_OUT));

    let tiles = k.param_u64(offset_of!(MaskParams, tiles));
    let first_tile = k.r();
    op!(k, "mad.lo.u32 {first_tile}, {matrix}, {row_tiles}, {row_tile}");
    op!(k, "mul.lo.u32 {first_tile}, {first_tile}, {column_tiles}");
    let zero = k.mov_u32("0");
    each(k, (zero, column_tiles, 1), |k, tile| {
        let (first_column, column_end) = (k.r(), k.r());
        op!(k, "mad.lo.u32 {first_column}, {tile}, {EXTENT}, {lane}");
        op!(k, "mad.lo.u32 {column_end}, {tile}, {EXTENT}, {EXTENT}");
        op!(k, "min.u32 {column_end}, {column_end}, {columns}");
        let largest = math::unary(k, "mov.f32", imm(f32::NEG_INFINITY));
        each(k, (first_row, row_end, WARPS), |k, row| {
            each(k, (first_column, column_end, 32), |k, column| {
                let v = load(k, row, column);
                op!(k, "max.NaN.f32 {largest}, {largest}, {v}");
            });
        });
        across_lanes(k, "max.NaN.f32", largest);
        let largest = across_warps(k, "max.NaN.f32", largest, lane, warp);
        let (is_out, word, index, writes) = (k.p(), k.r(), k.r(), k.p());
        op!(k, "setp.le.and.f32 {is_out}, {largest}, {}, {rows_stay}", imm(RULED_OUT));
        op!(k, "selp.u32 {word}, 1, 0, {is_out}");
        op!(k, "add.u32 {index}, {first_tile}, {tile}");
        let address = k.address(tiles, index, 4);
        op!(k, "setp.eq.u32 {writes}, {tid}, 0");
        op!(k, "@{writes} st.global.u32 [{address}], {word}");
    });
    emitter.finish("attention_mask", THREADS, size_of::<MaskParams>())
}

/// Returns the combination of the values of the block's warps, in every thread.
fn across_warps(k: &mut Emitter, name: &str, value: Reg, lane: Reg, warp: Reg) -> Reg {
    let base = k.shared(4 * WARPS);
    let (smem, address, leads) = (k.mov_u32("smem"), k.r(), k.p());
    op!(k, "setp.eq.u32 {leads}, {lane}, 0");
    op!(k, "mad.lo.u32 {address}, {warp}, 4, {smem}");
    // Other warps may still read the values of the previous tile.
    op!(k, "bar.sync 0");
    op!(k, "@{leads} st.shared.f32 [{address}+{base}], {value}");
    op!(k, "bar.sync 0");
    let all = k.f();
    op!(k, "ld.shared.f32 {all}, [{smem}+{base}]");
    for i in 1..WARPS {
        let other = k.f();
        op!(k, "ld.shared.f32 {other}, [{smem}+{}]", base + 4 * i);
        op!(k, "{name} {all}, {all}, {other}");
    }
    all
}
