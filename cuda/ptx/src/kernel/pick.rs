//! Movement that strides cannot say: each element of the result is the operand's at the sum of one table entry an axis, or
//! a fill where an entry is missing.

use std::mem::offset_of;

use crate::device::Kernel;
use crate::emit::Emitter;
use crate::{op, params};

/// An entry that picks the fill.
pub const MISSING: u32 = u32::MAX;

params! {
    /// Parameters of a pick.
    pub struct PickParams {
        /// The operand.
        x: u64,
        /// The result, dense.
        y: u64,
        /// The tables, one axis after another: offsets in elements.
        table: u64,
        /// The bits of the fill.
        fill: u64,
        /// Elements of the result.
        count: u32,
        /// Dimensions of the result.
        dims: [u32; 8],
        /// Where each axis' table begins.
        starts: [u32; 8],
    }
}

/// The kernel for elements of 4 or 8 bytes.
pub fn pick(rank: usize, bytes: u32) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let done = k.label("DONE");
    let i = k.global_index(256);
    let count = k.param_u32(offset_of!(PickParams, count));
    k.branch_ge(i, count, &done);
    let dims = k.param_inner(offset_of!(PickParams, dims), rank);
    let starts = k.param_u32s(offset_of!(PickParams, starts), rank);
    let table = k.param_u64(offset_of!(PickParams, table));
    let place = k.coordinates(i, &dims);
    let (index, missing) = (k.mov_u32("0"), k.p());
    op!(k, "setp.ne.u32 {missing}, {index}, 0");
    for (at, start) in place.iter().zip(starts) {
        let (entry, offset) = (k.r(), k.r());
        op!(k, "add.u32 {entry}, {at}, {start}");
        let address = k.address(table, entry, 4);
        op!(k, "ld.global.u32 {offset}, [{address}]");
        op!(k, "setp.eq.or.u32 {missing}, {offset}, 0x{MISSING:x}, {missing}");
        op!(k, "add.u32 {index}, {index}, {offset}");
    }
    let (x, y) = (k.param_u64(offset_of!(PickParams, x)), k.param_u64(offset_of!(PickParams, y)));
    let (from, to) = (k.address(x, index, bytes), k.address(y, i, bytes));
    if bytes == 8 {
        let v = k.param_u64(offset_of!(PickParams, fill));
        op!(k, "@!{missing} ld.global.u64 {v}, [{from}]");
        op!(k, "st.global.u64 [{to}], {v}");
    } else {
        let v = k.param_u32(offset_of!(PickParams, fill));
        op!(k, "@!{missing} ld.global.u32 {v}, [{from}]");
        op!(k, "st.global.u32 [{to}], {v}");
    }
    k.place(&done);
    emitter.finish(&format!("pick_{rank}_b{}", 8 * bytes), 256, size_of::<PickParams>())
}
