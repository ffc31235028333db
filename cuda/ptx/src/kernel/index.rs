//! Indexing by values of the run: gather, scatter-add, overwritten rows.
//!
//! Updates are grouped by index through a sort of all indices (`order`). So each element of a result has one writer, which
//! adds its updates in the order of the operand.

use std::mem::offset_of;

use super::each_thread;
use super::pointwise::Kind;
use super::storage::Storage;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::{op, params};

params! {
    /// Parameters of the kernels of this module. Data has the shape `[outer, dim, inner]`, gathered rows and updates
    /// `[outer, n, inner]`.
    pub struct IndexParams {
        /// Address of the operand: the data for a gather, the updates for the other kernels.
        x: u64,
        /// Address of the indices, int64 `[n]`; negative ones count from the end.
        indices: u64,
        /// Address of the result.
        out: u64,
        /// Address of the rows before they are overwritten.
        data: u64,
        /// Address of the resolved indices, 32-bit `[n]`.
        keys: u64,
        /// Address of the positions of the indices, sorted by ascending index, 32-bit `[n]`.
        order: u64,
        /// Address of the first position of each index in `order`, then `n`: 32-bit `[dim + 1]`.
        starts: u64,
        /// Address of the status word, which an index out of range sets to 1.
        status: u64,
        /// Number of threads with work.
        count: u32,
        /// Number of indices.
        n: u32,
        /// Size of the indexed axis.
        dim: u32,
        /// Elements per row.
        inner: u32,
    }
}

/// Returns the number of blocks for `count` threads.
pub fn blocks(count: u32) -> u32 {
    count.div_ceil(256)
}

/// Loads index `i` and counts it from the start; also returns whether it is in range. An index out of range becomes 0.
fn load_index(k: &mut Emitter, indices: Reg, i: Reg, dim: Reg) -> (Reg, Reg) {
    let (wide, index, from_end, negative, valid) = (k.d(), k.d(), k.d(), k.p(), k.p());
    let address = k.address(indices, i, 8);
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

/// Builds a kernel with one thread per index below [`IndexParams::count`].
fn each(name: &str, body: impl FnOnce(&mut Emitter, Reg)) -> Kernel {
    let (bytes, count) = (size_of::<IndexParams>(), offset_of!(IndexParams, count));
    each_thread(name, bytes, count, |k, i, _| body(k, i))
}

/// Builds the kernel that gathers rows of the data by index; elements have `bytes` bytes (4 or 8).
pub fn gather(bytes: u32) -> Kernel {
    gather_rows(&format!("gather_b{}", 8 * bytes), [bytes; 2], |k, source, target, valid| {
        let (v, ty) = word(k, bytes);
        op!(k, "mov.{ty} {v}, 0");
        op!(k, "@{valid} ld.global.{ty} {v}, [{source}]");
        op!(k, "st.global.{ty} [{target}], {v}");
    })
}

/// Builds the kernel that gathers rows of narrow data and widens them.
pub fn gather_widened(storage: Storage) -> Kernel {
    gather_rows(&format!("gather{}", storage.name()), [storage.bytes(), 4], |k, source, target, valid| {
        let v = storage.load(k, "global", source, Some(valid));
        op!(k, "st.global.f32 [{target}], {v}");
    })
}

/// Builds a kernel that gathers rows. `copy` copies an element from one address to another, if the predicate holds; else it writes
/// 0. Elements of the data and of the result have these sizes in bytes.
fn gather_rows(
    name: &str,
    [data_bytes, bytes]: [u32; 2],
    copy: impl FnOnce(&mut Emitter, Reg, Reg, Reg),
) -> Kernel {
    each(name, |k, i| {
        let n = k.param_u32(offset_of!(IndexParams, n));
        let dim = k.param_u32(offset_of!(IndexParams, dim));
        let inner = k.param_u32(offset_of!(IndexParams, inner));
        let (row, column) = k.div_rem(i, inner);
        let (outer, j) = k.div_rem(row, n);
        let indices = k.param_u64(offset_of!(IndexParams, indices));
        let (index, valid) = load_index(k, indices, j, dim);
        let status = k.param_u64(offset_of!(IndexParams, status));
        op!(k, "@!{valid} red.global.or.b32 [{status}], 1");
        let source = k.r();
        op!(k, "mad.lo.u32 {source}, {outer}, {dim}, {index}");
        op!(k, "mad.lo.u32 {source}, {source}, {inner}, {column}");
        let (x, out) = (k.param_u64(offset_of!(IndexParams, x)), k.param_u64(offset_of!(IndexParams, out)));
        let (source, target) = (k.address(x, source, data_bytes), k.address(out, i, bytes));
        copy(k, source, target, valid);
    })
}

/// Declares a register for an element of 4 or 8 bytes; also returns its PTX type.
fn word(k: &mut Emitter, bytes: u32) -> (Reg, &'static str) {
    if bytes == 8 { (k.d(), "b64") } else { (k.r(), "b32") }
}

/// Builds the kernel that counts indices from the start, as keys of a sort; one thread per index.
pub fn resolve() -> Kernel {
    each("resolve", |k, i| {
        let dim = k.param_u32(offset_of!(IndexParams, dim));
        let indices = k.param_u64(offset_of!(IndexParams, indices));
        let (index, valid) = load_index(k, indices, i, dim);
        let status = k.param_u64(offset_of!(IndexParams, status));
        op!(k, "@!{valid} red.global.or.b32 [{status}], 1");
        let keys = k.param_u64(offset_of!(IndexParams, keys));
        let to = k.address(keys, i, 4);
        op!(k, "st.global.u32 [{to}], {index}");
    })
}

/// Builds the kernel that finds the first position of each index in `order`; one thread per index, and one for the end.
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
        let (middle, above, position, key, smaller) = (k.r(), k.r(), k.r(), k.r(), k.p());
        op!(k, "add.u32 {middle}, {low}, {high}");
        op!(k, "shr.u32 {middle}, {middle}, 1");
        op!(k, "add.u32 {above}, {middle}, 1");
        let address = k.address(order, middle, 4);
        op!(k, "ld.global.u32 {position}, [{address}]");
        let address = k.address(keys, position, 4);
        op!(k, "ld.global.u32 {key}, [{address}]");
        op!(k, "setp.lt.u32 {smaller}, {key}, {i}");
        op!(k, "selp.b32 {low}, {above}, {low}, {smaller}");
        op!(k, "selp.b32 {high}, {high}, {middle}, {smaller}");
        op!(k, "bra {top}");
        k.place(&end);
        let starts = k.param_u64(offset_of!(IndexParams, starts));
        let to = k.address(starts, i, 4);
        op!(k, "st.global.u32 [{to}], {low}");
    })
}

/// Loads the first position in `order` that holds an index, and the one after the last.
fn span(k: &mut Emitter, index: Reg) -> (Reg, Reg) {
    let starts = k.param_u64(offset_of!(IndexParams, starts));
    let (address, begin, end) = (k.address(starts, index, 4), k.r(), k.r());
    op!(k, "ld.global.u32 {begin}, [{address}]");
    op!(k, "ld.global.u32 {end}, [{address}+4]");
    (begin, end)
}

/// Builds the kernel that sums the updates of each index; one thread per element of the result.
pub fn scatter_add(dtype: Kind) -> Kernel {
    each(&format!("scatter_add_{}", dtype.suffix()), |k, i| {
        let n = k.param_u32(offset_of!(IndexParams, n));
        let dim = k.param_u32(offset_of!(IndexParams, dim));
        let inner = k.param_u32(offset_of!(IndexParams, inner));
        let (row, column) = k.div_rem(i, inner);
        let (outer, index) = k.div_rem(row, dim);
        let (at, end) = span(k, index);
        let sum = dtype.register(k);
        match dtype {
            Kind::F => op!(k, "mov.f32 {sum}, {}", imm(0.0)),
            Kind::I => op!(k, "mov.b64 {sum}, 0"),
            Kind::B => op!(k, "mov.u32 {sum}, 0"),
        }
        let x = k.param_u64(offset_of!(IndexParams, x));
        let order = k.param_u64(offset_of!(IndexParams, order));
        let (top, end_label) = (k.label("ADD"), k.label("ADDED"));
        k.place(&top);
        k.branch_ge(at, end, &end_label);
        let (j, source, v) = (k.r(), k.r(), dtype.register(k));
        let address = k.address(order, at, 4);
        op!(k, "ld.global.u32 {j}, [{address}]");
        op!(k, "mad.lo.u32 {source}, {outer}, {n}, {j}");
        op!(k, "mad.lo.u32 {source}, {source}, {inner}, {column}");
        let address = k.address(x, source, dtype.bytes());
        op!(k, "ld.global.{} {v}, [{address}]", dtype.suffix());
        match dtype {
            Kind::F => op!(k, "add.rn.f32 {sum}, {sum}, {v}"),
            Kind::I => op!(k, "add.s64 {sum}, {sum}, {v}"),
            Kind::B => op!(k, "or.b32 {sum}, {sum}, {v}"),
        }
        op!(k, "add.u32 {at}, {at}, 1");
        op!(k, "bra {top}");
        k.place(&end_label);
        let out = k.param_u64(offset_of!(IndexParams, out));
        let target = k.address(out, i, dtype.bytes());
        op!(k, "st.global.{} [{target}], {sum}", dtype.suffix());
    })
}

/// Builds the kernel that overwrites rows of the data; the last update of a row counts. Elements have `bytes` bytes (4 or 8).
pub fn overwrite(bytes: u32) -> Kernel {
    each(&format!("overwrite_b{}", 8 * bytes), |k, i| {
        let inner = k.param_u32(offset_of!(IndexParams, inner));
        let (index, column) = k.div_rem(i, inner);
        let (begin, end) = span(k, index);
        let (unchanged, last, row) = (k.p(), k.r(), k.r());
        op!(k, "setp.ge.u32 {unchanged}, {begin}, {end}");
        op!(k, "sub.u32 {last}, {end}, 1");
        let order = k.param_u64(offset_of!(IndexParams, order));
        let data = k.param_u64(offset_of!(IndexParams, data));
        let x = k.param_u64(offset_of!(IndexParams, x));
        let address = k.address(order, last, 4);
        op!(k, "mov.u32 {row}, {index}");
        op!(k, "@!{unchanged} ld.global.u32 {row}, [{address}]");
        op!(k, "mad.lo.u32 {row}, {row}, {inner}, {column}");
        let source = k.d();
        op!(k, "selp.b64 {source}, {data}, {x}, {unchanged}");
        let address = k.address(source, row, bytes);
        let (v, ty) = word(k, bytes);
        op!(k, "ld.global.{ty} {v}, [{address}]");
        let out = k.param_u64(offset_of!(IndexParams, out));
        let target = k.address(out, i, bytes);
        op!(k, "st.global.{ty} [{target}], {v}");
    })
}
