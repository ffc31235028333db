//! Stable sorts of rows. The result is an order: the positions of a row's elements, sorted by key; ties go to the lower
//! position.
//!
//! Each element becomes an unsigned key, and smaller keys come first. Short rows are sorted by rank, which compares each
//! element with all others. Longer rows use a radix sort of four bits per pass, lowest bits first: count the digits of each
//! tile, scan the counts to the first position of each digit, move the elements there. No step adds floats or depends on
//! the device's schedule.

use std::mem::offset_of;

use super::each_thread;
use super::pointwise::Kind;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::{op, params};

params! {
    /// Parameters of the kernels of this module. Keys and orders have the shape `[rows, n]`.
    pub struct OrderParams {
        /// Address of the operand, `[outer, n, inner]`.
        x: u64,
        /// Address of the keys.
        keys: u64,
        /// Address of the keys after a pass of the radix sort.
        moved: u64,
        /// Address of the order before a pass; 0 for the order of the operand.
        previous: u64,
        /// Address of the order.
        order: u64,
        /// Address of the words to scan: occurrences of each digit in each tile, `[rows, 16, tiles]`.
        counts: u64,
        /// Address of the exclusive scan of `counts`.
        starts: u64,
        /// Address of the result, int64.
        out: u64,
        /// Mask of the key bits to invert: all bits when the largest element comes first, else none.
        flip: u64,
        /// Number of threads with work.
        count: u32,
        /// Elements per row.
        n: u32,
        /// Stride between neighbours of a row in the operand, in elements.
        inner: u32,
        /// Elements selected per row.
        k: u32,
        /// Tiles per row.
        tiles: u32,
        /// Position of the digit's lowest bit.
        shift: u32,
        /// Stride of the axis whose indices are written, in elements.
        stride: u32,
        /// Size of the axis whose indices are written.
        dim: u32,
    }
}

const THREADS: u32 = 256;
/// Consecutive elements per thread; consecutive, so that equal digits stay in order.
const PER_THREAD: u32 = 8;
/// Elements per tile.
pub const TILE: u32 = THREADS * PER_THREAD;
/// Bits per digit.
pub const DIGIT_BITS: u32 = 4;
/// Number of different digits.
pub const DIGITS: u32 = 1 << DIGIT_BITS;
/// Bytes of shared memory that hold the counts of one digit.
const ROW: u32 = 4 * THREADS;

/// Builds a kernel with one thread per index below [`OrderParams::count`].
fn each(name: &str, body: impl FnOnce(&mut Emitter, Reg)) -> Kernel {
    let (bytes, count) = (size_of::<OrderParams>(), offset_of!(OrderParams, count));
    each_thread(name, bytes, count, |k, i, _| body(k, i))
}

fn is_64_bit(bytes: u32) -> bool {
    bytes == 8
}

/// Builds the kernel that computes the keys of float32 or int64 elements. NaN is the largest float, and -0 equals 0.
pub fn keys(dtype: Kind) -> Kernel {
    each(&format!("keys_{}", dtype.suffix()), |k, i| {
        let n = k.param_u32(offset_of!(OrderParams, n));
        let inner = k.param_u32(offset_of!(OrderParams, inner));
        let (row, j) = k.div_rem(i, n);
        let (outer, column) = k.div_rem(row, inner);
        let index = k.r();
        op!(k, "mad.lo.u32 {index}, {outer}, {n}, {j}");
        op!(k, "mad.lo.u32 {index}, {index}, {inner}, {column}");
        let x = k.param_u64(offset_of!(OrderParams, x));
        let keys = k.param_u64(offset_of!(OrderParams, keys));
        let flip = k.param_u64(offset_of!(OrderParams, flip));
        let source = k.address(x, index, dtype.bytes());
        if dtype == Kind::I {
            let v = k.d();
            op!(k, "ld.global.s64 {v}, [{source}]");
            op!(k, "xor.b64 {v}, {v}, 0x8000000000000000");
            op!(k, "xor.b64 {v}, {v}, {flip}");
            let target = k.address(keys, i, 8);
            op!(k, "st.global.u64 [{target}], {v}");
            return;
        }
        let (v, bits, sign, low, nan) = (k.f(), k.r(), k.r(), k.r(), k.p());
        op!(k, "ld.global.f32 {v}, [{source}]");
        op!(k, "add.rn.f32 {v}, {v}, {}", imm(0.0));
        op!(k, "mov.b32 {bits}, {v}");
        op!(k, "setp.nan.f32 {nan}, {v}, {v}");
        op!(k, "selp.b32 {bits}, 0x7fffffff, {bits}, {nan}");
        // Negative floats fall as their bits rise.
        op!(k, "shr.s32 {sign}, {bits}, 31");
        op!(k, "or.b32 {sign}, {sign}, 0x80000000");
        op!(k, "xor.b32 {bits}, {bits}, {sign}");
        op!(k, "cvt.u32.u64 {low}, {flip}");
        op!(k, "xor.b32 {bits}, {bits}, {low}");
        let target = k.address(keys, i, 4);
        op!(k, "st.global.u32 [{target}], {bits}");
    })
}

/// Loads a key of 4 or 8 bytes.
fn load_key(k: &mut Emitter, bytes: u32, keys: Reg, index: Reg) -> Reg {
    let (address, v) = (k.address(keys, index, bytes), if is_64_bit(bytes) { k.d() } else { k.r() });
    op!(k, "ld.global.u{} {v}, [{address}]", 8 * bytes);
    v
}

/// Builds the kernel that sorts short rows: one thread per element, which counts the elements that come before it.
pub fn rank(bytes: u32) -> Kernel {
    each(&format!("rank_b{}", 8 * bytes), |k, i| {
        let n = k.param_u32(offset_of!(OrderParams, n));
        let keys = k.param_u64(offset_of!(OrderParams, keys));
        let (row, j) = k.div_rem(i, n);
        let start = k.r();
        op!(k, "mul.lo.u32 {start}, {row}, {n}");
        let key = load_key(k, bytes, keys, i);
        let (other, rank, index) = (k.mov_u32("0"), k.mov_u32("0"), k.r());
        let (top, end) = (k.label("NEXT"), k.label("RANKED"));
        k.place(&top);
        k.branch_ge(other, n, &end);
        op!(k, "add.u32 {index}, {start}, {other}");
        let other_key = load_key(k, bytes, keys, index);
        let (earlier, tie, before) = (k.p(), k.p(), k.p());
        op!(k, "setp.lt.u32 {earlier}, {other}, {j}");
        op!(k, "setp.eq.and.u{} {tie}, {other_key}, {key}, {earlier}", 8 * bytes);
        op!(k, "setp.lt.or.u{} {before}, {other_key}, {key}, {tie}", 8 * bytes);
        op!(k, "@{before} add.u32 {rank}, {rank}, 1");
        op!(k, "add.u32 {other}, {other}, 1");
        op!(k, "bra {top}");
        k.place(&end);
        op!(k, "add.u32 {rank}, {rank}, {start}");
        let order = k.param_u64(offset_of!(OrderParams, order));
        let target = k.address(order, rank, 4);
        op!(k, "st.global.u32 [{target}], {j}");
    })
}

/// A block's tile. Word `256 · digit + thread` of shared memory counts the digit among the thread's elements.
struct Tile {
    row: Reg,
    /// Index of the tile in its row.
    index: Reg,
    tiles: Reg,
    n: Reg,
    /// Index of the row's first element.
    start: Reg,
    /// Position of the thread's first element in the row.
    first: Reg,
    warp: Reg,
    lane: Reg,
    /// Shared address of the thread's counts.
    column: Reg,
    keys: Reg,
    shift: Reg,
    bytes: u32,
}

/// Loads the block's tile and counts its digits.
fn tile(k: &mut Emitter, bytes: u32) -> Tile {
    let base = k.shared(DIGITS * ROW);
    let (block, thread) = (k.mov_u32("%ctaid.x"), k.mov_u32("%tid.x"));
    let tiles = k.param_u32(offset_of!(OrderParams, tiles));
    let n = k.param_u32(offset_of!(OrderParams, n));
    let (row, index) = k.div_rem(block, tiles);
    let (start, first, warp, lane, column) = (k.r(), k.r(), k.r(), k.r(), k.r());
    op!(k, "mul.lo.u32 {start}, {row}, {n}");
    op!(k, "mul.lo.u32 {first}, {index}, {TILE}");
    op!(k, "mad.lo.u32 {first}, {thread}, {PER_THREAD}, {first}");
    op!(k, "shr.u32 {warp}, {thread}, 5");
    op!(k, "and.b32 {lane}, {thread}, 31");
    let smem = k.mov_u32("smem");
    op!(k, "mad.lo.u32 {column}, {thread}, 4, {smem}");
    let zero = k.mov_u32("0");
    for digit in 0..DIGITS {
        op!(k, "st.shared.u32 [{column}+{}], {zero}", base + digit * ROW);
    }
    let keys = k.param_u64(offset_of!(OrderParams, keys));
    let shift = k.param_u32(offset_of!(OrderParams, shift));
    let tile = Tile { row, index, tiles, n, start, first, warp, lane, column, keys, shift, bytes };
    let count = k.r();
    tile.each(k, |k, _, _, slot| {
        op!(k, "ld.shared.u32 {count}, [{slot}]");
        op!(k, "add.u32 {count}, {count}, 1");
        op!(k, "st.shared.u32 [{slot}], {count}");
    });
    op!(k, "bar.sync 0");
    tile
}

impl Tile {
    /// Calls `body` for each of the thread's elements with its position in the row, its key, and the shared address of its
    /// digit's count.
    fn each(&self, k: &mut Emitter, body: impl FnOnce(&mut Emitter, Reg, Reg, Reg)) {
        let Tile { n, start, first, column, keys, shift, bytes, .. } = *self;
        let (position, stop, index, digit, slot) = (k.r(), k.r(), k.r(), k.r(), k.r());
        op!(k, "mov.u32 {position}, {first}");
        op!(k, "add.u32 {stop}, {first}, {PER_THREAD}");
        op!(k, "min.u32 {stop}, {stop}, {n}");
        let (top, end) = (k.label("OWN"), k.label("SEEN"));
        k.place(&top);
        k.branch_ge(position, stop, &end);
        op!(k, "add.u32 {index}, {start}, {position}");
        let v = load_key(k, bytes, keys, index);
        if is_64_bit(bytes) {
            let shifted = k.d();
            op!(k, "shr.u64 {shifted}, {v}, {shift}");
            op!(k, "cvt.u32.u64 {digit}, {shifted}");
        } else {
            op!(k, "shr.u32 {digit}, {v}, {shift}");
        }
        op!(k, "and.b32 {digit}, {digit}, {}", DIGITS - 1);
        op!(k, "mad.lo.u32 {slot}, {digit}, {ROW}, {column}");
        body(k, position, v, slot);
        op!(k, "add.u32 {position}, {position}, 1");
        op!(k, "bra {top}");
        k.place(&end);
    }

    /// Calls `body` for both digits that a warp sums, with the index of the tile's count and the shared address of the lane's
    /// words.
    fn digits(&self, k: &mut Emitter, mut body: impl FnMut(&mut Emitter, Reg, Reg)) {
        let Tile { row, index: tile, tiles, warp, lane, .. } = *self;
        let smem = k.mov_u32("smem");
        for half in 0..2 {
            let (digit, index, address) = (k.r(), k.r(), k.r());
            op!(k, "mad.lo.u32 {digit}, {warp}, 2, {half}");
            op!(k, "mad.lo.u32 {index}, {row}, {DIGITS}, {digit}");
            op!(k, "mad.lo.u32 {index}, {index}, {tiles}, {tile}");
            op!(k, "mad.lo.u32 {address}, {digit}, {ROW}, {smem}");
            op!(k, "mad.lo.u32 {address}, {lane}, 4, {address}");
            body(k, index, address);
        }
    }
}

/// Builds the kernel that counts the digits of each tile; one block per tile.
pub fn digits(bytes: u32) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let t = tile(k, bytes);
    let counts = k.param_u64(offset_of!(OrderParams, counts));
    let leads = k.p();
    op!(k, "setp.eq.u32 {leads}, {}, 0", t.lane);
    t.digits(k, |k, index, address| {
        let sum = k.mov_u32("0");
        for chunk in 0..THREADS / 32 {
            let v = k.r();
            op!(k, "ld.shared.u32 {v}, [{address}+{}]", 128 * chunk);
            op!(k, "add.u32 {sum}, {sum}, {v}");
        }
        for distance in [16, 8, 4, 2, 1] {
            let other = k.r();
            op!(k, "shfl.sync.bfly.b32 {other}, {sum}, {distance}, 31, 0xffffffff");
            op!(k, "add.u32 {sum}, {sum}, {other}");
        }
        let target = k.address(counts, index, 4);
        op!(k, "@{leads} st.global.u32 [{target}], {sum}");
    });
    emitter.finish(&format!("digits_b{}", 8 * bytes), THREADS, size_of::<OrderParams>())
}

/// Computes the inclusive scan of a warp's values.
fn inclusive_scan(k: &mut Emitter, lane: Reg, v: Reg) -> Reg {
    let sum = k.r();
    op!(k, "mov.u32 {sum}, {v}");
    for distance in [1, 2, 4, 8, 16] {
        let (other, exists) = (k.r(), k.p());
        op!(k, "shfl.sync.up.b32 {other}, {sum}, {distance}, 0, 0xffffffff");
        op!(k, "setp.ge.u32 {exists}, {lane}, {distance}");
        op!(k, "@{exists} add.u32 {sum}, {sum}, {other}");
    }
    sum
}

/// Builds the kernel that computes the exclusive scan of each row of `n` words; one block per row.
pub fn scan() -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let warps = THREADS / 32;
    let base = k.shared(4 * warps);
    let (block, thread) = (k.mov_u32("%ctaid.x"), k.mov_u32("%tid.x"));
    let n = k.param_u32(offset_of!(OrderParams, n));
    let counts = k.param_u64(offset_of!(OrderParams, counts));
    let starts = k.param_u64(offset_of!(OrderParams, starts));
    let (start, warp, lane, last) = (k.r(), k.r(), k.r(), k.p());
    op!(k, "mul.lo.u32 {start}, {block}, {n}");
    op!(k, "shr.u32 {warp}, {thread}, 5");
    op!(k, "and.b32 {lane}, {thread}, 31");
    op!(k, "setp.eq.u32 {last}, {lane}, 31");
    let (smem, warp_total) = (k.mov_u32("smem"), k.r());
    op!(k, "mad.lo.u32 {warp_total}, {warp}, 4, {smem}");
    let (at, carry) = (k.mov_u32("0"), k.mov_u32("0"));
    let (top, end) = (k.label("CHUNK"), k.label("SCANNED"));
    k.place(&top);
    k.branch_ge(at, n, &end);
    let (i, index, inside) = (k.r(), k.r(), k.p());
    op!(k, "add.u32 {i}, {at}, {thread}");
    op!(k, "setp.lt.u32 {inside}, {i}, {n}");
    op!(k, "add.u32 {index}, {start}, {i}");
    let v = k.mov_u32("0");
    let (source, target) = (k.address(counts, index, 4), k.address(starts, index, 4));
    op!(k, "@{inside} ld.global.u32 {v}, [{source}]");
    let sum = inclusive_scan(k, lane, v);
    op!(k, "@{last} st.shared.u32 [{warp_total}+{base}], {sum}");
    op!(k, "bar.sync 0");
    op!(k, "sub.u32 {sum}, {sum}, {v}");
    op!(k, "add.u32 {sum}, {sum}, {carry}");
    for other in 0..warps {
        let (total, before) = (k.r(), k.p());
        op!(k, "ld.shared.u32 {total}, [{smem}+{}]", base + 4 * other);
        op!(k, "add.u32 {carry}, {carry}, {total}");
        if other + 1 < warps {
            op!(k, "setp.gt.u32 {before}, {warp}, {other}");
            op!(k, "@{before} add.u32 {sum}, {sum}, {total}");
        }
    }
    op!(k, "bar.sync 0");
    op!(k, "@{inside} st.global.u32 [{target}], {sum}");
    op!(k, "add.u32 {at}, {at}, {THREADS}");
    op!(k, "bra {top}");
    k.place(&end);
    emitter.finish("scan", THREADS, size_of::<OrderParams>())
}

/// Builds the kernel that moves each element behind those of smaller digits, and equal digits in order; one block per tile.
pub fn shift(bytes: u32) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let t = tile(k, bytes);
    let starts = k.param_u64(offset_of!(OrderParams, starts));
    t.digits(k, |k, index, address| {
        let (previous, carry) = (k.address(starts, index, 4), k.r());
        op!(k, "ld.global.u32 {carry}, [{previous}]");
        for chunk in 0..THREADS / 32 {
            let (v, total, before) = (k.r(), k.r(), k.r());
            op!(k, "ld.shared.u32 {v}, [{address}+{}]", 128 * chunk);
            let sum = inclusive_scan(k, t.lane, v);
            op!(k, "sub.u32 {before}, {sum}, {v}");
            op!(k, "add.u32 {before}, {before}, {carry}");
            op!(k, "st.shared.u32 [{address}+{}], {before}", 128 * chunk);
            if chunk + 1 < THREADS / 32 {
                op!(k, "shfl.sync.idx.b32 {total}, {sum}, 31, 31, 0xffffffff");
                op!(k, "add.u32 {carry}, {carry}, {total}");
            }
        }
    });
    op!(k, "bar.sync 0");
    let previous = k.param_u64(offset_of!(OrderParams, previous));
    let moved = k.param_u64(offset_of!(OrderParams, moved));
    let order = k.param_u64(offset_of!(OrderParams, order));
    let has_previous = k.p();
    op!(k, "setp.ne.s64 {has_previous}, {previous}, 0");
    t.each(k, |k, position, v, slot| {
        let (target, next, index, source) = (k.r(), k.r(), k.r(), k.r());
        op!(k, "ld.shared.u32 {target}, [{slot}]");
        op!(k, "add.u32 {next}, {target}, 1");
        op!(k, "st.shared.u32 [{slot}], {next}");
        op!(k, "add.u32 {target}, {target}, {}", t.start);
        op!(k, "add.u32 {index}, {position}, {}", t.start);
        op!(k, "mov.u32 {source}, {position}");
        let address = k.address(previous, index, 4);
        op!(k, "@{has_previous} ld.global.u32 {source}, [{address}]");
        let address = k.address(moved, target, bytes);
        op!(k, "st.global.u{} [{address}], {v}", 8 * bytes);
        let address = k.address(order, target, 4);
        op!(k, "st.global.u32 [{address}], {source}");
    });
    emitter.finish(&format!("shift_b{}", 8 * bytes), THREADS, size_of::<OrderParams>())
}

/// Builds the kernel that writes the first `k` positions of each row, as int64 `[outer, k, inner]`.
pub fn top() -> Kernel {
    each("top", |k, i| {
        let n = k.param_u32(offset_of!(OrderParams, n));
        let inner = k.param_u32(offset_of!(OrderParams, inner));
        let row_k = k.param_u32(offset_of!(OrderParams, k));
        let (rest, column) = k.div_rem(i, inner);
        let (outer, rank) = k.div_rem(rest, row_k);
        let (index, position, v) = (k.r(), k.r(), k.d());
        op!(k, "mad.lo.u32 {index}, {outer}, {inner}, {column}");
        op!(k, "mad.lo.u32 {index}, {index}, {n}, {rank}");
        let order = k.param_u64(offset_of!(OrderParams, order));
        let out = k.param_u64(offset_of!(OrderParams, out));
        let (source, target) = (k.address(order, index, 4), k.address(out, i, 8));
        op!(k, "ld.global.u32 {position}, [{source}]");
        op!(k, "cvt.u64.u32 {v}, {position}");
        op!(k, "st.global.s64 [{target}], {v}");
    })
}

/// Builds the kernel that writes the index along one axis of each position in the order, int64; 0 where the key is not 0.
pub fn columns() -> Kernel {
    each("columns", |k, i| {
        let order = k.param_u64(offset_of!(OrderParams, order));
        let keys = k.param_u64(offset_of!(OrderParams, keys));
        let (source, position) = (k.address(order, i, 4), k.r());
        op!(k, "ld.global.u32 {position}, [{source}]");
        let key = load_key(k, 4, keys, position);
        let stride = k.param_u32(offset_of!(OrderParams, stride));
        let dim = k.param_u32(offset_of!(OrderParams, dim));
        let rest = k.r();
        op!(k, "div.u32 {rest}, {position}, {stride}");
        let (_, at) = k.div_rem(rest, dim);
        let (none, v) = (k.p(), k.d());
        op!(k, "setp.ne.u32 {none}, {key}, 0");
        op!(k, "selp.b32 {at}, 0, {at}, {none}");
        op!(k, "cvt.u64.u32 {v}, {at}");
        let out = k.param_u64(offset_of!(OrderParams, out));
        let target = k.address(out, i, 8);
        op!(k, "st.global.s64 [{target}], {v}");
    })
}
