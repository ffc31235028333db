//! Copies that make another axis contiguous. Tiles of 32 by 32 elements go through shared memory, so that reads and writes
//! are both coalesced.

use std::mem::offset_of;

use crate::device::Kernel;
use crate::emit::{Emitter, Reg};
use crate::{op, params};

params! {
    /// Parameters of [`transpose`]. A row is contiguous in the operand, a column is contiguous in the result.
    pub struct TransposeParams {
        /// Address of the operand.
        x: u64,
        /// Address of the result.
        y: u64,
        /// Elements per row.
        row: u32,
        /// Elements per column.
        column: u32,
        /// Stride of the result along a row, in elements.
        row_out: u32,
        /// Stride of the operand along a column, in elements, modulo 2³².
        column_in: i32,
        /// Number of tiles along a row.
        row_tiles: u32,
        /// Number of tiles along a column.
        column_tiles: u32,
        /// Dimensions of the other axes, outermost first.
        batch: [u32; 4],
        /// Strides of the operand along the other axes, in elements, modulo 2³².
        batch_in: [i32; 4],
        /// Strides of the result along the other axes, in elements.
        batch_out: [i32; 4],
    }
}

/// Side length of a tile, in elements.
pub const SIDE: u32 = 32;
/// Pitch of a tile's lines in shared memory: one more than [`SIDE`], so that a column spreads over all banks.
const PITCH: u32 = SIDE + 1;
/// Lines that the threads of a block move at once.
const LINES: u32 = 8;

/// Builds the kernel for elements of `bytes` bytes (4 or 8); one block per tile.
pub fn transpose(bytes: u32) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    k.shared(SIDE * PITCH * bytes);
    let (block, thread, smem) = (k.mov_u32("%ctaid.x"), k.mov_u32("%tid.x"), k.mov_u32("smem"));
    let row = k.param_u32(offset_of!(TransposeParams, row));
    let column = k.param_u32(offset_of!(TransposeParams, column));
    let row_tiles = k.param_u32(offset_of!(TransposeParams, row_tiles));
    let column_tiles = k.param_u32(offset_of!(TransposeParams, column_tiles));
    let (rest, column_tile) = k.div_rem(block, column_tiles);
    let (rest, row_tile) = k.div_rem(rest, row_tiles);
    let dims = k.param_inner_dims(offset_of!(TransposeParams, batch), 4);
    let coordinates = k.coordinates(rest, &dims);
    let base = |k: &mut Emitter, pointer: usize, strides: usize| {
        let strides = k.param_u32s(strides, 4);
        let (offset, pointer) = (k.offset(None, &coordinates, &strides), k.param_u64(pointer));
        k.address(pointer, offset, bytes)
    };
    let x = base(k, offset_of!(TransposeParams, x), offset_of!(TransposeParams, batch_in));
    let y = base(k, offset_of!(TransposeParams, y), offset_of!(TransposeParams, batch_out));
    let (lane, line) = (k.r(), k.r());
    op!(k, "and.b32 {lane}, {thread}, {}", SIDE - 1);
    op!(k, "shr.u32 {line}, {thread}, 5");
    let (v, ty) = if bytes == 8 { (k.d(), "b64") } else { (k.r(), "b32") };
    let at = |k: &mut Emitter, tile: Reg, position: Reg| {
        let index = k.r();
        op!(k, "mad.lo.u32 {index}, {tile}, {SIDE}, {position}");
        index
    };

    let stride = k.param_u32(offset_of!(TransposeParams, column_in));
    let (i, j) = (at(k, row_tile, lane), at(k, column_tile, line));
    let (slot, along, inside) = (k.r(), k.p(), k.p());
    op!(k, "mad.lo.u32 {slot}, {line}, {PITCH}, {lane}");
    op!(k, "mad.lo.u32 {slot}, {slot}, {bytes}, {smem}");
    op!(k, "setp.lt.u32 {along}, {i}, {row}");
    for step in 0..SIDE / LINES {
        if step > 0 {
            op!(k, "add.u32 {j}, {j}, {LINES}");
        }
        op!(k, "setp.lt.and.u32 {inside}, {j}, {column}, {along}");
        let index = k.r();
        op!(k, "mad.lo.u32 {index}, {j}, {stride}, {i}");
        let source = k.address(x, index, bytes);
        op!(k, "@{inside} ld.global.{ty} {v}, [{source}]");
        op!(k, "@{inside} st.shared.{ty} [{slot}+{}], {v}", step * LINES * PITCH * bytes);
    }
    op!(k, "bar.sync 0");

    let stride = k.param_u32(offset_of!(TransposeParams, row_out));
    let (i, j) = (at(k, row_tile, line), at(k, column_tile, lane));
    op!(k, "mad.lo.u32 {slot}, {lane}, {PITCH}, {line}");
    op!(k, "mad.lo.u32 {slot}, {slot}, {bytes}, {smem}");
    op!(k, "setp.lt.u32 {along}, {j}, {column}");
    for step in 0..SIDE / LINES {
        if step > 0 {
            op!(k, "add.u32 {i}, {i}, {LINES}");
        }
        op!(k, "setp.lt.and.u32 {inside}, {i}, {row}, {along}");
        let index = k.r();
        op!(k, "mad.lo.u32 {index}, {i}, {stride}, {j}");
        let target = k.address(y, index, bytes);
        op!(k, "@{inside} ld.shared.{ty} {v}, [{slot}+{}]", step * LINES * bytes);
        op!(k, "@{inside} st.global.{ty} [{target}], {v}");
    }
    emitter.finish(&format!("transpose_b{}", 8 * bytes), SIDE * LINES, size_of::<TransposeParams>())
}
