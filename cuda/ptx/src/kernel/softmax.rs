//! Softmax over one axis; one warp per row.

use std::mem::offset_of;

use super::{across_lanes, each, math};
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::{op, params};

params! {
    /// Parameters of [`softmax`] over the middle axis of `[outer, dim, inner]`.
    pub struct SoftmaxParams {
        /// Address of the operand, contiguous.
        x: u64,
        /// Address of the result.
        y: u64,
        /// Number of rows, `outer · inner`.
        rows: u32,
        /// Elements per row.
        dim: u32,
        /// Stride between neighbours of a row, in elements.
        inner: u32,
    }
}

/// Returns the number of blocks for `rows` rows.
pub fn blocks(rows: u32) -> u32 {
    rows.div_ceil(8)
}

/// Builds the kernel.
pub fn softmax() -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let finished = k.label("DONE");
    let row = k.global_index(256);
    let (thread, lane) = (k.mov_u32("%tid.x"), k.r());
    op!(k, "shr.u32 {row}, {row}, 5");
    op!(k, "and.b32 {lane}, {thread}, 31");
    let rows = k.param_u32(offset_of!(SoftmaxParams, rows));
    k.branch_ge(row, rows, &finished);
    let dim = k.param_u32(offset_of!(SoftmaxParams, dim));
    let inner = k.param_u32(offset_of!(SoftmaxParams, inner));
    let (outer, start) = k.div_rem(row, inner);
    op!(k, "mul.lo.u32 {outer}, {outer}, {dim}");
    op!(k, "mad.lo.u32 {start}, {outer}, {inner}, {start}");
    let x = k.param_u64(offset_of!(SoftmaxParams, x));
    let y = k.param_u64(offset_of!(SoftmaxParams, y));
    let index = |k: &mut Emitter, at: Reg| k.offset(Some(start), &[at], &[inner]);

    // `max` drops NaN, so NaN is its neutral element.
    let max = math::unary(k, "mov.f32", imm(f32::NAN));
    each(k, (lane, dim, 32), |k, at| {
        let i = index(k, at);
        let (address, v) = (k.address(x, i, 4), k.f());
        op!(k, "ld.global.f32 {v}, [{address}]");
        op!(k, "max.f32 {max}, {max}, {v}");
    });
    across_lanes(k, "max.f32", max);

    let sum = math::unary(k, "mov.f32", imm(0.0));
    each(k, (lane, dim, 32), |k, at| {
        let i = index(k, at);
        let (from, to, v) = (k.address(x, i, 4), k.address(y, i, 4), k.f());
        op!(k, "ld.global.f32 {v}, [{from}]");
        let v = math::binary(k, "sub.rn.f32", v, max);
        let e = math::exp(k, v);
        op!(k, "st.global.f32 [{to}], {e}");
        op!(k, "add.rn.f32 {sum}, {sum}, {e}");
    });
    across_lanes(k, "add.rn.f32", sum);

    each(k, (lane, dim, 32), |k, at| {
        let i = index(k, at);
        let (address, v) = (k.address(y, i, 4), k.f());
        op!(k, "ld.global.f32 {v}, [{address}]");
        op!(k, "div.rn.f32 {v}, {v}, {sum}");
        op!(k, "st.global.f32 [{address}], {v}");
    });
    k.place(&finished);
    emitter.finish("softmax", 256, size_of::<SoftmaxParams>())
}
