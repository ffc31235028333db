//! Indices that are known at run time: gather, scatter-add, replaced rows.
//!
//! What goes to an index is found by its place in the order of all indices (`order`), so each element of a result has one
//! writer, which adds its updates up in the order in which they lie.

use std::mem::offset_of;

use super::each_thread;
use super::pointwise::Kind;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::{op, params};

params! {
    /// Parameters of the kernels here. Data is `[outer, dim, inner]`, what is indexed `[outer, n, inner]`.
    pub struct IndexParams {
        /// What is read: data of a gather, updates of the others.
        x: u64,
        /// The indices, int64.
        indices: u64,
        /// The result.
        out: u64,
        /// What a replaced row was.
        data: u64,
        /// The indices, resolved.
        keys: u64,
        /// Their places by rising index.
        order: u64,
        /// For each index where it begins in the order, and the end: one more than `dim`.
        starts: u64,
        /// The word that an index out of range sets.
        status: u64,
        /// Threads with work.
        count: u32,
        /// Indices.
        n: u32,
        /// Dimension of the indexed axis.
        dim: u32,
        /// Elements of a row.
        inner: u32,
    }
}

/// Blocks for so many threads.
pub fn blocks(count: u32) -> u32 {
    count.div_ceil(256)
}

/// An index, counted from the start, and whether it is in range.
fn resolved(k: &mut Emitter, indices: Reg, at: Reg, dim: Reg) -> (Reg, Reg) {
    let (wide, index, from_end, negative, valid) = (k.d(), k.d(), k.d(), k.p(), k.p());
    let address = k.address(indices, at, 8);
    op!(k, "cvt.u64.u32 {wide}, {dim}");
    op!(k, "ld.global.s64 {index}, [{address}]");
    op!(k, "add.s64 {from_end}, {index}, {wide}");
    op!(k, "setp.lt.s64 {negative}, {index}, 0");
    op!(k, "selp.b64 {index}, {from_end}, {index}, {negative}");
    op!(k, "setp.lt.u64 {valid}, {index}, {wide}");
    let narrow = k.r();
    op!(k, "cvt.u32.u64 {narrow}, {index}");
    op!(k, "selp.b32 {narrow}, {narrow}, 0, {valid}");
    (narrow, valid)
}

fn each(name: &str, body: impl FnOnce(&mut Emitter, Reg)) -> Kernel {
    let (bytes, count) = (size_of::<IndexParams>(), offset_of!(IndexParams, count));
    each_thread(name, bytes, count, |k, i, _| body(k, i))
}

/// The elements of data at the indices; of 4 or 8 bytes.
pub fn gather(bytes: u32) -> Kernel {
    each(&format!("gather_b{}", 8 * bytes), |k, i| {
        let n = k.param_u32(offset_of!(IndexParams, n));
        let dim = k.param_u32(offset_of!(IndexParams, dim));
        let inner = k.param_u32(offset_of!(IndexParams, inner));
        let (row, column) = k.div_rem(i, inner);
        let (outer, j) = k.div_rem(row, n);
        let indices = k.param_u64(offset_of!(IndexParams, indices));
        let (index, valid) = resolved(k, indices, j, dim);
        let status = k.param_u64(offset_of!(IndexParams, status));
        op!(k, "@!{valid} red.global.or.b32 [{status}], 1");
        let from = k.r();
        op!(k, "mad.lo.u32 {from}, {outer}, {dim}, {index}");
        op!(k, "mad.lo.u32 {from}, {from}, {inner}, {column}");
        let (x, out) = (k.param_u64(offset_of!(IndexParams, x)), k.param_u64(offset_of!(IndexParams, out)));
        let (from, to) = (k.address(x, from, bytes), k.address(out, i, bytes));
        let (v, ty) = word(k, bytes);
        op!(k, "mov.{ty} {v}, 0");
        op!(k, "@{valid} ld.global.{ty} {v}, [{from}]");
        op!(k, "st.global.{ty} [{to}], {v}");
    })
}

fn word(k: &mut Emitter, bytes: u32) -> (Reg, &'static str) {
    if bytes == 8 { (k.d(), "b64") } else { (k.r(), "b32") }
}

/// The indices counted from the start, as keys of an order; a thread an index.
pub fn resolve() -> Kernel {
    each("resolve", |k, i| {
        let dim = k.param_u32(offset_of!(IndexParams, dim));
        let indices = k.param_u64(offset_of!(IndexParams, indices));
        let (index, valid) = resolved(k, indices, i, dim);
        let status = k.param_u64(offset_of!(IndexParams, status));
        op!(k, "@!{valid} red.global.or.b32 [{status}], 1");
        let keys = k.param_u64(offset_of!(IndexParams, keys));
        let to = k.address(keys, i, 4);
        op!(k, "st.global.u32 [{to}], {index}");
    })
}

/// Where each index begins in the order; a thread an index, and one for the end.
pub fn starts() -> Kernel {
    each("starts", |k, i| {
        let n = k.param_u32(offset_of!(IndexParams, n));
        let keys = k.param_u64(offset_of!(IndexParams, keys));
        let order = k.param_u64(offset_of!(IndexParams, order));
        let (low, high) = (k.mov_u32("0"), k.r());
        op!(k, "mov.u32 {high}, {n}");
        let (top, end) = (k.label("HALVE"), k.label("FOUND"));
        k.place(&top);
        k.branch_ge(low, high, &end);
        let (middle, above, place, key, less) = (k.r(), k.r(), k.r(), k.r(), k.p());
        op!(k, "add.u32 {middle}, {low}, {high}");
        op!(k, "shr.u32 {middle}, {middle}, 1");
        op!(k, "add.u32 {above}, {middle}, 1");
        let address = k.address(order, middle, 4);
        op!(k, "ld.global.u32 {place}, [{address}]");
        let address = k.address(keys, place, 4);
        op!(k, "ld.global.u32 {key}, [{address}]");
        op!(k, "setp.lt.u32 {less}, {key}, {i}");
        op!(k, "selp.b32 {low}, {above}, {low}, {less}");
        op!(k, "selp.b32 {high}, {high}, {middle}, {less}");
        op!(k, "bra {top}");
        k.place(&end);
        let starts = k.param_u64(offset_of!(IndexParams, starts));
        let to = k.address(starts, i, 4);
        op!(k, "st.global.u32 [{to}], {low}");
    })
}

/// The places in order that go to an index.
fn span(k: &mut Emitter, index: Reg) -> (Reg, Reg) {
    let starts = k.param_u64(offset_of!(IndexParams, starts));
    let (address, begin, end) = (k.address(starts, index, 4), k.r(), k.r());
    op!(k, "ld.global.u32 {begin}, [{address}]");
    op!(k, "ld.global.u32 {end}, [{address}+4]");
    (begin, end)
}

/// The sum of the updates of each index; a thread an element of the result.
pub fn scatter_add(kind: Kind) -> Kernel {
    each(&format!("scatter_add_{}", kind.suffix()), |k, i| {
        let n = k.param_u32(offset_of!(IndexParams, n));
        let dim = k.param_u32(offset_of!(IndexParams, dim));
        let inner = k.param_u32(offset_of!(IndexParams, inner));
        let (row, column) = k.div_rem(i, inner);
        let (outer, index) = k.div_rem(row, dim);
        let (at, end) = span(k, index);
        let sum = kind.register(k);
        match kind {
            Kind::F => op!(k, "mov.f32 {sum}, {}", imm(0.0)),
            Kind::I => op!(k, "mov.b64 {sum}, 0"),
            Kind::B => op!(k, "mov.u32 {sum}, 0"),
        }
        let x = k.param_u64(offset_of!(IndexParams, x));
        let order = k.param_u64(offset_of!(IndexParams, order));
        let (top, done) = (k.label("ADD"), k.label("ADDED"));
        k.place(&top);
        k.branch_ge(at, end, &done);
        let (j, from, v) = (k.r(), k.r(), kind.register(k));
        let address = k.address(order, at, 4);
        op!(k, "ld.global.u32 {j}, [{address}]");
        op!(k, "mad.lo.u32 {from}, {outer}, {n}, {j}");
        op!(k, "mad.lo.u32 {from}, {from}, {inner}, {column}");
        let address = k.address(x, from, kind.bytes());
        op!(k, "ld.global.{} {v}, [{address}]", kind.suffix());
        match kind {
            Kind::F => op!(k, "add.rn.f32 {sum}, {sum}, {v}"),
            Kind::I => op!(k, "add.s64 {sum}, {sum}, {v}"),
            Kind::B => op!(k, "or.b32 {sum}, {sum}, {v}"),
        }
        op!(k, "add.u32 {at}, {at}, 1");
        op!(k, "bra {top}");
        k.place(&done);
        let out = k.param_u64(offset_of!(IndexParams, out));
        let to = k.address(out, i, kind.bytes());
        op!(k, "st.global.{} [{to}], {sum}", kind.suffix());
    })
}

/// Data whose rows of 4- or 8-byte elements are replaced; of several updates of a row the last counts.
pub fn overwrite(bytes: u32) -> Kernel {
    each(&format!("overwrite_b{}", 8 * bytes), |k, i| {
        let inner = k.param_u32(offset_of!(IndexParams, inner));
        let (index, column) = k.div_rem(i, inner);
        let (begin, end) = span(k, index);
        let (stays, last, from) = (k.p(), k.r(), k.r());
        op!(k, "setp.ge.u32 {stays}, {begin}, {end}");
        op!(k, "sub.u32 {last}, {end}, 1");
        let order = k.param_u64(offset_of!(IndexParams, order));
        let data = k.param_u64(offset_of!(IndexParams, data));
        let x = k.param_u64(offset_of!(IndexParams, x));
        let address = k.address(order, last, 4);
        op!(k, "mov.u32 {from}, {index}");
        op!(k, "@!{stays} ld.global.u32 {from}, [{address}]");
        op!(k, "mad.lo.u32 {from}, {from}, {inner}, {column}");
        let source = k.d();
        op!(k, "selp.b64 {source}, {data}, {x}, {stays}");
        let address = k.address(source, from, bytes);
        let (v, ty) = word(k, bytes);
        op!(k, "ld.global.{ty} {v}, [{address}]");
        let out = k.param_u64(offset_of!(IndexParams, out));
        let to = k.address(out, i, bytes);
        op!(k, "st.global.{ty} [{to}], {v}");
    })
}
