//! Data movement that strides cannot express, such as padding and concatenation. The source offset of each element of the
//! result is the sum of one table entry per axis; where an entry is [`MISSING`], the element is the fill value.

use std::mem::offset_of;

use crate::device::Kernel;
use crate::emit::Emitter;
use crate::{op, params};

/// Table entry that selects the fill value.
pub const MISSING: u32 = u32::MAX;

params! {
    /// Parameters of [`pick`].
    pub struct PickParams {
        /// Address of the operand.
        x: u64,
        /// Address of the result, contiguous.
        y: u64,
        /// Address of the tables, one axis after another: source offsets in elements, or [`MISSING`].
        table: u64,
        /// Bits of the fill value.
        fill: u64,
        /// Number of elements of the result.
        count: u32,
        /// Dimensions of the result, outermost first.
        dims: [u32; 8],
        /// Index of the first entry of each axis' table.
        starts: [u32; 8],
    }
}

/// Builds the kernel for elements of `bytes` bytes (4 or 8) and a result of `rank` axes.
pub fn pick(rank: usize, bytes: u32) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let end = k.label("DONE");
    let i = k.global_index(256);
    let count = k.param_u32(offset_of!(PickParams, count));
    k.branch_ge(i, count, &end);
    let dims = k.param_inner_dims(offset_of!(PickParams, dims), rank);
    let starts = k.param_u32s(offset_of!(PickParams, starts), rank);
    let table = k.param_u64(offset_of!(PickParams, table));
    let coordinates = k.coordinates(i, &dims);
    let (index, missing) = (k.mov_u32("0"), k.p());
    op!(k, "setp.ne.u32 {missing}, {index}, 0");
    for (coordinate, start) in coordinates.iter().zip(starts) {
        let (entry, offset) = (k.r(), k.r());
        op!(k, "add.u32 {entry}, {coordinate}, {start}");
        let address = k.address(table, entry, 4);
        op!(k, "ld.global.u32 {offset}, [{address}]");
        op!(k, "setp.eq.or.u32 {missing}, {offset}, 0x{MISSING:x}, {missing}");
        op!(k, "add.u32 {index}, {index}, {offset}");
    }
    let (x, y) = (k.param_u64(offset_of!(PickParams, x)), k.param_u64(offset_of!(PickParams, y)));
    let (source, target) = (k.address(x, index, bytes), k.address(y, i, bytes));
    if bytes == 8 {
        let v = k.param_u64(offset_of!(PickParams, fill));
        op!(k, "@!{missing} ld.global.u64 {v}, [{source}]");
        op!(k, "st.global.u64 [{target}], {v}");
    } else {
        let v = k.param_u32(offset_of!(PickParams, fill));
        op!(k, "@!{missing} ld.global.u32 {v}, [{source}]");
        op!(k, "st.global.u32 [{target}], {v}");
    }
    k.place(&end);
    emitter.finish(&format!("pick_{rank}_b{}", 8 * bytes), 256, size_of::<PickParams>())
}
