//! Indices that are known at run time: gather, scatter-add, replaced rows.
//!
//! Sums are deterministic: equal indices form a list in order of their places, the first of them adds the whole list up.

use std::mem::offset_of;

use super::pointwise::Kind;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::{op, params};

/// The end of a list.
pub const END: u32 = u32::MAX;

params! {
    /// Parameters of the kernels here. Data is `[outer, dim, inner]`, what is indexed `[outer, n, inner]`.
    pub struct IndexParams {
        /// What is read: data of a gather, updates of the others.
        x: u64,
        /// The indices, int64.
        indices: u64,
        /// The result.
        out: u64,
        /// For each index the place of the next equal one, or the end.
        next: u64,
        /// For each index whether it is the first of its value.
        head: u64,
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

/// A kernel of a thread for each of `count`; `body` gets its index and where to go when it has nothing to do.
fn each_thread(name: &str, body: impl FnOnce(&mut Emitter, Reg, &str)) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let done = k.label("DONE");
    let i = k.global_index(256);
    let count = k.param_u32(offset_of!(IndexParams, count));
    k.branch_ge(i, count, &done);
    body(k, i, &done);
    k.place(&done);
    emitter.finish(name, 256, size_of::<IndexParams>())
}

/// Where an element of `[outer, n, inner]` lies, and the sizes around it.
struct Place {
    outer: Reg,
    /// The place of its index.
    j: Reg,
    column: Reg,
    n: Reg,
    dim: Reg,
    inner: Reg,
}

fn place(k: &mut Emitter, i: Reg) -> Place {
    let n = k.param_u32(offset_of!(IndexParams, n));
    let dim = k.param_u32(offset_of!(IndexParams, dim));
    let inner = k.param_u32(offset_of!(IndexParams, inner));
    let (row, column) = k.div_rem(i, inner);
    let (outer, j) = k.div_rem(row, n);
    Place { outer, j, column, n, dim, inner }
}

/// Copies an element of 4 or 8 bytes; 0 where not `valid`, when that is in doubt.
fn copy(k: &mut Emitter, bytes: u32, [from, to]: [Reg; 2], valid: Option<Reg>) {
    let (v, ty) = if bytes == 8 { (k.d(), "b64") } else { (k.r(), "b32") };
    match valid {
        Some(valid) => {
            op!(k, "mov.{ty} {v}, 0");
            op!(k, "@{valid} ld.global.{ty} {v}, [{from}]");
        }
        None => op!(k, "ld.global.{ty} {v}, [{from}]"),
    }
    op!(k, "st.global.{ty} [{to}], {v}");
}

/// The elements of data at the indices; of 4 or 8 bytes.
pub fn gather(bytes: u32) -> Kernel {
    each_thread(&format!("gather_b{}", 8 * bytes), |k, i, _| {
        let at = place(k, i);
        let indices = k.param_u64(offset_of!(IndexParams, indices));
        let (index, valid) = resolved(k, indices, at.j, at.dim);
        let status = k.param_u64(offset_of!(IndexParams, status));
        op!(k, "@!{valid} red.global.or.b32 [{status}], 1");
        let from = k.r();
        op!(k, "mad.lo.u32 {from}, {}, {}, {index}", at.outer, at.dim);
        op!(k, "mad.lo.u32 {from}, {from}, {}, {}", at.inner, at.column);
        let (x, out) = (k.param_u64(offset_of!(IndexParams, x)), k.param_u64(offset_of!(IndexParams, out)));
        let ends = [k.address(x, from, bytes), k.address(out, i, bytes)];
        copy(k, bytes, ends, Some(valid));
    })
}

/// The lists of equal indices; a thread an index.
pub fn links() -> Kernel {
    each_thread("links", |k, i, _| {
        let n = k.param_u32(offset_of!(IndexParams, n));
        let dim = k.param_u32(offset_of!(IndexParams, dim));
        let indices = k.param_u64(offset_of!(IndexParams, indices));
        let (own, valid) = resolved(k, indices, i, dim);
        let status = k.param_u64(offset_of!(IndexParams, status));
        op!(k, "@!{valid} red.global.or.b32 [{status}], 1");
        let search = |k: &mut Emitter, from: Reg, to: Reg| {
            let (top, end) = (k.label("SEARCH"), k.label("FOUND"));
            k.place(&top);
            k.branch_ge(from, to, &end);
            let (other, _) = resolved(k, indices, from, dim);
            let same = k.p();
            op!(k, "setp.eq.u32 {same}, {other}, {own}");
            op!(k, "@{same} bra {end}");
            op!(k, "add.u32 {from}, {from}, 1");
            op!(k, "bra {top}");
            k.place(&end);
        };
        let earlier = k.mov_u32("0");
        search(k, earlier, i);
        let (first, head) = (k.p(), k.r());
        op!(k, "setp.ge.u32 {first}, {earlier}, {i}");
        op!(k, "selp.b32 {head}, 1, 0, {first}");
        let base = k.param_u64(offset_of!(IndexParams, head));
        let address = k.address(base, i, 4);
        op!(k, "st.global.u32 [{address}], {head}");
        let later = k.r();
        op!(k, "add.u32 {later}, {i}, 1");
        search(k, later, n);
        let last = k.p();
        op!(k, "setp.ge.u32 {last}, {later}, {n}");
        op!(k, "selp.b32 {later}, 0x{END:x}, {later}, {last}");
        let base = k.param_u64(offset_of!(IndexParams, next));
        let address = k.address(base, i, 4);
        op!(k, "st.global.u32 [{address}], {later}");
    })
}

/// Each update added at its index; a thread an update, those that are not the first of their index rest.
pub fn scatter_add(kind: Kind) -> Kernel {
    each_thread(&format!("scatter_add_{}", kind.suffix()), |k, i, done| {
        let Place { outer, j, column, n, dim, inner } = place(k, i);
        let heads = k.param_u64(offset_of!(IndexParams, head));
        let (head, address, rests) = (k.r(), k.address(heads, j, 4), k.p());
        op!(k, "ld.global.u32 {head}, [{address}]");
        op!(k, "setp.eq.u32 {rests}, {head}, 0");
        op!(k, "@{rests} bra {done}");
        let indices = k.param_u64(offset_of!(IndexParams, indices));
        let (index, valid) = resolved(k, indices, j, dim);
        op!(k, "@!{valid} bra {done}");
        let sum = kind.register(k);
        match kind {
            Kind::F => op!(k, "mov.f32 {sum}, {}", imm(0.0)),
            Kind::I => op!(k, "mov.b64 {sum}, 0"),
            Kind::B => op!(k, "mov.u32 {sum}, 0"),
        }
        let x = k.param_u64(offset_of!(IndexParams, x));
        let next = k.param_u64(offset_of!(IndexParams, next));
        let top = k.label("ADD");
        k.place(&top);
        let (from, v, more) = (k.r(), kind.register(k), k.p());
        op!(k, "mad.lo.u32 {from}, {outer}, {n}, {j}");
        op!(k, "mad.lo.u32 {from}, {from}, {inner}, {column}");
        let address = k.address(x, from, kind.bytes());
        op!(k, "ld.global.{} {v}, [{address}]", kind.suffix());
        match kind {
            Kind::F => op!(k, "add.rn.f32 {sum}, {sum}, {v}"),
            Kind::I => op!(k, "add.s64 {sum}, {sum}, {v}"),
            Kind::B => op!(k, "or.b32 {sum}, {sum}, {v}"),
        }
        let address = k.address(next, j, 4);
        op!(k, "ld.global.u32 {j}, [{address}]");
        op!(k, "setp.ne.u32 {more}, {j}, 0x{END:x}");
        op!(k, "@{more} bra {top}");
        let to = k.r();
        op!(k, "mad.lo.u32 {to}, {outer}, {dim}, {index}");
        op!(k, "mad.lo.u32 {to}, {to}, {inner}, {column}");
        let out = k.param_u64(offset_of!(IndexParams, out));
        let address = k.address(out, to, kind.bytes());
        op!(k, "st.global.{} [{address}], {sum}", kind.suffix());
    })
}

/// Rows of 4- or 8-byte elements replaced; of several updates of a row the last counts.
pub fn overwrite(bytes: u32) -> Kernel {
    each_thread(&format!("overwrite_b{}", 8 * bytes), |k, i, done| {
        let dim = k.param_u32(offset_of!(IndexParams, dim));
        let inner = k.param_u32(offset_of!(IndexParams, inner));
        let (j, column) = k.div_rem(i, inner);
        let next = k.param_u64(offset_of!(IndexParams, next));
        let (later, address, rests) = (k.r(), k.address(next, j, 4), k.p());
        op!(k, "ld.global.u32 {later}, [{address}]");
        op!(k, "setp.ne.u32 {rests}, {later}, 0x{END:x}");
        op!(k, "@{rests} bra {done}");
        let indices = k.param_u64(offset_of!(IndexParams, indices));
        let (index, valid) = resolved(k, indices, j, dim);
        op!(k, "@!{valid} bra {done}");
        let (to, x) = (k.r(), k.param_u64(offset_of!(IndexParams, x)));
        op!(k, "mad.lo.u32 {to}, {index}, {inner}, {column}");
        let out = k.param_u64(offset_of!(IndexParams, out));
        let ends = [k.address(x, i, bytes), k.address(out, to, bytes)];
        copy(k, bytes, ends, None);
    })
}
