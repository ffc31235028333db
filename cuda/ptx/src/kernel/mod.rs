//! The kernel families, one a file.

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
pub mod softmax;
pub mod suppress;
mod tile;
pub mod transpose;
pub mod turn;

use crate::device::Kernel;
use crate::emit::{Emitter, Reg};

/// A kernel of a thread for each of the parameter `count`; `body` gets its index and where to go when it has nothing to do.
fn each_thread(
    name: &str,
    params: usize,
    count: usize,
    body: impl FnOnce(&mut Emitter, Reg, &str),
) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let done = k.label("DONE");
    let i = k.global_index(256);
    let count = k.param_u32(count);
    k.branch_ge(i, count, &done);
    body(k, i, &done);
    k.place(&done);
    emitter.finish(name, 256, params)
}

/// A short name for a text: FNV-1a, 64 bits.
fn digest(text: &str) -> String {
    let step = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}
