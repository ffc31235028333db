//! Orders: the places of a row's elements, the one that comes first in front; of equal ones the first comes first.
//!
//! An element becomes an unsigned key, smaller keys come first. Short rows are ranked, each element against all others;
//! longer ones are sorted by four bits at a time, from the lowest: digits are counted by tiles, the counts are summed up to
//! where each digit of a tile begins, and elements move there. No step adds floats or depends on the device's schedule.

use std::mem::offset_of;

use super::each_thread;
use super::pointwise::Kind;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::{op, params};

params! {
    /// Parameters of the kernels here. Keys and orders are `[rows, n]`.
    pub struct OrderParams {
        /// What keys are made of, `[outer, n, inner]`.
        x: u64,
        /// The keys.
        keys: u64,
        /// The keys after a digit.
        moved: u64,
        /// The order before a digit; 0 for the one in which elements lie.
        from: u64,
        /// The order.
        order: u64,
        /// Words to sum up: how often a digit is in a tile, `[rows, 16, tiles]`.
        counts: u64,
        /// The sums of those before.
        starts: u64,
        /// The chosen, int64.
        out: u64,
        /// Bits that are inverted in a key: all where the greatest comes first.
        flip: u64,
        /// Threads with work.
        count: u32,
        /// Elements of a row.
        n: u32,
        /// Elements from one of a row to the next.
        inner: u32,
        /// How many of a row are chosen.
        k: u32,
        /// Tiles of a row.
        tiles: u32,
        /// The lowest bit of the digit.
        shift: u32,
        /// Elements from one index of an axis to the next.
        stride: u32,
        /// The axis' dimension.
        dim: u32,
    }
}

const THREADS: u32 = 256;
/// Elements of a thread in a tile, side by side, so that equal digits keep their order.
const EACH: u32 = 8;
/// Elements of a tile.
pub const TILE: u32 = THREADS * EACH;
/// Bits of a digit.
pub const DIGIT: u32 = 4;
/// Digits that there are.
pub const DIGITS: u32 = 1 << DIGIT;
/// Bytes of shared memory from a digit's counts to the next one's.
const ROW: u32 = 4 * THREADS;

fn each(name: &str, body: impl FnOnce(&mut Emitter, Reg)) -> Kernel {
    let (bytes, count) = (size_of::<OrderParams>(), offset_of!(OrderParams, count));
    each_thread(name, bytes, count, |k, i, _| body(k, i))
}

fn wide(bytes: u32) -> bool {
    bytes == 8
}

/// The keys of float32 or int64 elements. NaN is the greatest float, and -0 is 0.
pub fn keys(kind: Kind) -> Kernel {
    each(&format!("keys_{}", kind.suffix()), |k, i| {
        let n = k.param_u32(offset_of!(OrderParams, n));
        let inner = k.param_u32(offset_of!(OrderParams, inner));
        let (row, j) = k.div_rem(i, n);
        let (outer, column) = k.div_rem(row, inner);
        let from = k.r();
        op!(k, "mad.lo.u32 {from}, {outer}, {n}, {j}");
        op!(k, "mad.lo.u32 {from}, {from}, {inner}, {column}");
        let x = k.param_u64(offset_of!(OrderParams, x));
        let keys = k.param_u64(offset_of!(OrderParams, keys));
        let flip = k.param_u64(offset_of!(OrderParams, flip));
        let source = k.address(x, from, kind.bytes());
        if kind == Kind::I {
            let v = k.d();
            op!(k, "ld.global.s64 {v}, [{source}]");
            op!(k, "xor.b64 {v}, {v}, 0x8000000000000000");
            op!(k, "xor.b64 {v}, {v}, {flip}");
            let to = k.address(keys, i, 8);
            op!(k, "st.global.u64 [{to}], {v}");
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
        let to = k.address(keys, i, 4);
        op!(k, "st.global.u32 [{to}], {bits}");
    })
}

/// A key of 4 or 8 bytes.
fn key(k: &mut Emitter, bytes: u32, keys: Reg, index: Reg) -> Reg {
    let (address, v) = (k.address(keys, index, bytes), if wide(bytes) { k.d() } else { k.r() });
    op!(k, "ld.global.u{} {v}, [{address}]", 8 * bytes);
    v
}

/// The order of short rows: a thread an element, which counts those that come before it.
pub fn rank(bytes: u32) -> Kernel {
    each(&format!("rank_b{}", 8 * bytes), |k, i| {
        let n = k.param_u32(offset_of!(OrderParams, n));
        let keys = k.param_u64(offset_of!(OrderParams, keys));
        let (row, j) = k.div_rem(i, n);
        let start = k.r();
        op!(k, "mul.lo.u32 {start}, {row}, {n}");
        let own = key(k, bytes, keys, i);
        let (at, rank, index) = (k.mov_u32("0"), k.mov_u32("0"), k.r());
        let (top, end) = (k.label("NEXT"), k.label("RANKED"));
        k.place(&top);
        k.branch_ge(at, n, &end);
        op!(k, "add.u32 {index}, {start}, {at}");
        let other = key(k, bytes, keys, index);
        let (earlier, tie, before) = (k.p(), k.p(), k.p());
        op!(k, "setp.lt.u32 {earlier}, {at}, {j}");
        op!(k, "setp.eq.and.u{} {tie}, {other}, {own}, {earlier}", 8 * bytes);
        op!(k, "setp.lt.or.u{} {before}, {other}, {own}, {tie}", 8 * bytes);
        op!(k, "@{before} add.u32 {rank}, {rank}, 1");
        op!(k, "add.u32 {at}, {at}, 1");
        op!(k, "bra {top}");
        k.place(&end);
        op!(k, "add.u32 {rank}, {rank}, {start}");
        let order = k.param_u64(offset_of!(OrderParams, order));
        let to = k.address(order, rank, 4);
        op!(k, "st.global.u32 [{to}], {j}");
    })
}

/// A block's tile, and how often each digit is among a thread's own elements: word `256 · digit + thread` of shared memory.
struct Tile {
    row: Reg,
    tile: Reg,
    tiles: Reg,
    n: Reg,
    /// The row's first element.
    start: Reg,
    /// The thread's first element in the row.
    first: Reg,
    warp: Reg,
    lane: Reg,
    /// The shared address of the thread's counts.
    column: Reg,
    keys: Reg,
    shift: Reg,
    bytes: u32,
}

fn tile(k: &mut Emitter, bytes: u32) -> Tile {
    let base = k.shared(DIGITS * ROW);
    let (block, thread) = (k.mov_u32("%ctaid.x"), k.mov_u32("%tid.x"));
    let tiles = k.param_u32(offset_of!(OrderParams, tiles));
    let n = k.param_u32(offset_of!(OrderParams, n));
    let (row, tile) = k.div_rem(block, tiles);
    let (start, first, warp, lane, column) = (k.r(), k.r(), k.r(), k.r(), k.r());
    op!(k, "mul.lo.u32 {start}, {row}, {n}");
    op!(k, "mul.lo.u32 {first}, {tile}, {TILE}");
    op!(k, "mad.lo.u32 {first}, {thread}, {EACH}, {first}");
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
    let made = Tile { row, tile, tiles, n, start, first, warp, lane, column, keys, shift, bytes };
    let count = k.r();
    made.each(k, |k, _, _, slot| {
        op!(k, "ld.shared.u32 {count}, [{slot}]");
        op!(k, "add.u32 {count}, {count}, 1");
        op!(k, "st.shared.u32 [{slot}], {count}");
    });
    op!(k, "bar.sync 0");
    made
}

impl Tile {
    /// Each of the thread's elements: its place in the row, its key, the shared address of its digit's word.
    fn each(&self, k: &mut Emitter, body: impl FnOnce(&mut Emitter, Reg, Reg, Reg)) {
        let Tile { n, start, first, column, keys, shift, bytes, .. } = *self;
        let (at, stop, index, digit, slot) = (k.r(), k.r(), k.r(), k.r(), k.r());
        op!(k, "mov.u32 {at}, {first}");
        op!(k, "add.u32 {stop}, {first}, {EACH}");
        op!(k, "min.u32 {stop}, {stop}, {n}");
        let (top, end) = (k.label("OWN"), k.label("SEEN"));
        k.place(&top);
        k.branch_ge(at, stop, &end);
        op!(k, "add.u32 {index}, {start}, {at}");
        let v = key(k, bytes, keys, index);
        if wide(bytes) {
            let shifted = k.d();
            op!(k, "shr.u64 {shifted}, {v}, {shift}");
            op!(k, "cvt.u32.u64 {digit}, {shifted}");
        } else {
            op!(k, "shr.u32 {digit}, {v}, {shift}");
        }
        op!(k, "and.b32 {digit}, {digit}, {}", DIGITS - 1);
        op!(k, "mad.lo.u32 {slot}, {digit}, {ROW}, {column}");
        body(k, at, v, slot);
        op!(k, "add.u32 {at}, {at}, 1");
        op!(k, "bra {top}");
        k.place(&end);
    }

    /// The two digits that a warp sums up: the index of the tile's count, and the shared address of the lane's words.
    fn digits(&self, k: &mut Emitter, mut body: impl FnMut(&mut Emitter, Reg, Reg)) {
        let Tile { row, tile, tiles, warp, lane, .. } = *self;
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

/// How often each digit is in each tile; a block a tile.
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
        let to = k.address(counts, index, 4);
        op!(k, "@{leads} st.global.u32 [{to}], {sum}");
    });
    emitter.finish(&format!("digits_b{}", 8 * bytes), THREADS, size_of::<OrderParams>())
}

/// The sum of a warp's values up to each lane's.
fn inclusive(k: &mut Emitter, lane: Reg, v: Reg) -> Reg {
    let sum = k.r();
    op!(k, "mov.u32 {sum}, {v}");
    for distance in [1, 2, 4, 8, 16] {
        let (other, has) = (k.r(), k.p());
        op!(k, "shfl.sync.up.b32 {other}, {sum}, {distance}, 0, 0xffffffff");
        op!(k, "setp.ge.u32 {has}, {lane}, {distance}");
        op!(k, "@{has} add.u32 {sum}, {sum}, {other}");
    }
    sum
}

/// The sum of the words before each word of a row of `n`; a block a row.
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
    let (smem, own) = (k.mov_u32("smem"), k.r());
    op!(k, "mad.lo.u32 {own}, {warp}, 4, {smem}");
    let (at, carry) = (k.mov_u32("0"), k.mov_u32("0"));
    let (top, end) = (k.label("CHUNK"), k.label("SCANNED"));
    k.place(&top);
    k.branch_ge(at, n, &end);
    let (i, index, inside) = (k.r(), k.r(), k.p());
    op!(k, "add.u32 {i}, {at}, {thread}");
    op!(k, "setp.lt.u32 {inside}, {i}, {n}");
    op!(k, "add.u32 {index}, {start}, {i}");
    let v = k.mov_u32("0");
    let (from, to) = (k.address(counts, index, 4), k.address(starts, index, 4));
    op!(k, "@{inside} ld.global.u32 {v}, [{from}]");
    let sum = inclusive(k, lane, v);
    op!(k, "@{last} st.shared.u32 [{own}+{base}], {sum}");
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
    op!(k, "@{inside} st.global.u32 [{to}], {sum}");
    op!(k, "add.u32 {at}, {at}, {THREADS}");
    op!(k, "bra {top}");
    k.place(&end);
    emitter.finish("scan", THREADS, size_of::<OrderParams>())
}

/// Elements move to where their digit begins, those of a digit in the order that they had; a block a tile.
pub fn shift(bytes: u32) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let t = tile(k, bytes);
    let starts = k.param_u64(offset_of!(OrderParams, starts));
    t.digits(k, |k, index, address| {
        let (from, carry) = (k.address(starts, index, 4), k.r());
        op!(k, "ld.global.u32 {carry}, [{from}]");
        for chunk in 0..THREADS / 32 {
            let (v, total, before) = (k.r(), k.r(), k.r());
            op!(k, "ld.shared.u32 {v}, [{address}+{}]", 128 * chunk);
            let sum = inclusive(k, t.lane, v);
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
    let from = k.param_u64(offset_of!(OrderParams, from));
    let moved = k.param_u64(offset_of!(OrderParams, moved));
    let order = k.param_u64(offset_of!(OrderParams, order));
    let given = k.p();
    op!(k, "setp.ne.s64 {given}, {from}, 0");
    t.each(k, |k, at, v, slot| {
        let (to, next, index, place) = (k.r(), k.r(), k.r(), k.r());
        op!(k, "ld.shared.u32 {to}, [{slot}]");
        op!(k, "add.u32 {next}, {to}, 1");
        op!(k, "st.shared.u32 [{slot}], {next}");
        op!(k, "add.u32 {to}, {to}, {}", t.start);
        op!(k, "add.u32 {index}, {at}, {}", t.start);
        op!(k, "mov.u32 {place}, {at}");
        let address = k.address(from, index, 4);
        op!(k, "@{given} ld.global.u32 {place}, [{address}]");
        let address = k.address(moved, to, bytes);
        op!(k, "st.global.u{} [{address}], {v}", 8 * bytes);
        let address = k.address(order, to, 4);
        op!(k, "st.global.u32 [{address}], {place}");
    });
    emitter.finish(&format!("shift_b{}", 8 * bytes), THREADS, size_of::<OrderParams>())
}

/// The first `k` places of each row, as int64 `[outer, k, inner]`.
pub fn top() -> Kernel {
    each("top", |k, i| {
        let n = k.param_u32(offset_of!(OrderParams, n));
        let inner = k.param_u32(offset_of!(OrderParams, inner));
        let chosen = k.param_u32(offset_of!(OrderParams, k));
        let (rest, column) = k.div_rem(i, inner);
        let (outer, rank) = k.div_rem(rest, chosen);
        let (index, place, v) = (k.r(), k.r(), k.d());
        op!(k, "mad.lo.u32 {index}, {outer}, {inner}, {column}");
        op!(k, "mad.lo.u32 {index}, {index}, {n}, {rank}");
        let order = k.param_u64(offset_of!(OrderParams, order));
        let out = k.param_u64(offset_of!(OrderParams, out));
        let (from, to) = (k.address(order, index, 4), k.address(out, i, 8));
        op!(k, "ld.global.u32 {place}, [{from}]");
        op!(k, "cvt.u64.u32 {v}, {place}");
        op!(k, "st.global.s64 [{to}], {v}");
    })
}

/// The index along an axis of each place in order, int64; 0 for places whose key is not 0.
pub fn columns() -> Kernel {
    each("columns", |k, i| {
        let order = k.param_u64(offset_of!(OrderParams, order));
        let keys = k.param_u64(offset_of!(OrderParams, keys));
        let (from, place) = (k.address(order, i, 4), k.r());
        op!(k, "ld.global.u32 {place}, [{from}]");
        let key = key(k, 4, keys, place);
        let stride = k.param_u32(offset_of!(OrderParams, stride));
        let dim = k.param_u32(offset_of!(OrderParams, dim));
        let rest = k.r();
        op!(k, "div.u32 {rest}, {place}, {stride}");
        let (_, at) = k.div_rem(rest, dim);
        let (none, v) = (k.p(), k.d());
        op!(k, "setp.ne.u32 {none}, {key}, 0");
        op!(k, "selp.b32 {at}, 0, {at}, {none}");
        op!(k, "cvt.u64.u32 {v}, {at}");
        let out = k.param_u64(offset_of!(OrderParams, out));
        let to = k.address(out, i, 8);
        op!(k, "st.global.s64 [{to}], {v}");
    })
}
