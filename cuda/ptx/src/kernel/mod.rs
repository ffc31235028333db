//! The kernel families, one per file.

pub mod attention;
pub mod conv;
pub mod epilogue;
pub mod gemm;
pub mod index;
mod math;
pub(crate) mod name;
pub mod order;
pub mod pick;
pub mod pointwise;
pub mod pool;
pub mod reduce;
pub mod rows;
pub mod side_by_side;
pub mod softmax;
pub mod storage;
pub mod suppress;
mod tile;
pub mod transpose;
pub mod turn;

use crate::device::Kernel;
use crate::emit::{Emitter, Reg};
use crate::op;

/// Builds a kernel with one thread per index below the parameter at offset `count`. `body` gets the thread's index and the
/// label of the kernel's end.
fn each_thread(
    name: &str,
    params_bytes: usize,
    count: usize,
    body: impl FnOnce(&mut Emitter, Reg, &str),
) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let end = k.label("DONE");
    let i = k.global_index(256);
    let count = k.param_u32(count);
    k.branch_ge(i, count, &end);
    body(k, i, &end);
    k.place(&end);
    emitter.finish(name, 256, params_bytes)
}

/// Runs `body` for `first`, `first + step`, … below `end`.
fn each(k: &mut Emitter, (first, end, step): (Reg, Reg, u32), body: impl FnOnce(&mut Emitter, Reg)) {
    let at = k.r();
    op!(k, "mov.u32 {at}, {first}");
    let (top, finished) = (k.label("NEXT"), k.label("ROW"));
    k.place(&top);
    k.branch_ge(at, end, &finished);
    body(k, at);
    op!(k, "add.u32 {at}, {at}, {step}");
    op!(k, "bra {top}");
    k.place(&finished);
}

/// Combines the float32 values of a warp's lanes by the instruction `name`; every lane gets the result.
fn across_lanes(k: &mut Emitter, name: &str, value: Reg) {
    for distance in [16, 8, 4, 2, 1] {
        let other = k.f();
        op!(k, "shfl.sync.bfly.b32 {other}, {value}, {distance}, 31, 0xffffffff");
        op!(k, "{name} {value}, {value}, {other}");
    }
}

/// Hashes a text to 16 hexadecimal digits (FNV-1a, 64 bits), for names.
fn digest(text: &str) -> String {
    let step = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}
