//! Copies at the start and at the end of each step of a recurrence. All steps run the same launches: a word in memory counts
//! the steps, and the kernel offsets its addresses by the count times a stride.

use std::mem::offset_of;

use crate::device::Kernel;
use crate::emit::{Emitter, Reg};
use crate::{op, params};

/// Maximum number of copies per launch.
pub const COPIES: usize = 6;

params! {
    /// Parameters of [`turn`].
    pub struct TurnParams {
        /// Address of the step count.
        count: u64,
        /// Address to which the count plus `increment` is written.
        next: u64,
        /// Source address of each copy at step 0.
        source: [u64; 6],
        /// Target address of each copy at step 0.
        target: [u64; 6],
        /// Stride of the source from one step to the next, in words, modulo 2³².
        source_step: [i32; 6],
        /// Stride of the target from one step to the next, in words, modulo 2³².
        target_step: [i32; 6],
        /// Length of each copy in words.
        words: [u32; 6],
        /// Increment of the step count.
        increment: u32,
    }
}

/// Returns the grid for `copies` copies of at most `words` words.
pub fn blocks(words: u32, copies: u32) -> [u32; 3] {
    [words.div_ceil(256).max(1), copies, 1]
}

/// Builds the kernel for `copies` copies, one per row of blocks.
pub fn turn(copies: usize) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let finished = k.label("DONE");
    let (i, copy, step, first) = (k.global_index(256), k.mov_u32("%ctaid.y"), k.r(), k.p());
    let count = k.param_u64(offset_of!(TurnParams, count));
    op!(k, "ld.global.u32 {step}, [{count}]");
    let (next, next_count) =
        (k.param_u64(offset_of!(TurnParams, next)), k.param_u32(offset_of!(TurnParams, increment)));
    op!(k, "add.u32 {next_count}, {next_count}, {step}");
    op!(k, "setp.eq.u32 {first}, {i}, 0");
    op!(k, "setp.eq.and.u32 {first}, {copy}, 0, {first}");
    op!(k, "@{first} st.global.u32 [{next}], {next_count}");
    let addresses =
        |k: &mut Emitter, at: usize| (0..copies).map(|c| k.param_u64(at + 8 * c)).collect::<Vec<_>>();
    let (source, target) =
        (addresses(k, offset_of!(TurnParams, source)), addresses(k, offset_of!(TurnParams, target)));
    let source_step = k.param_u32s(offset_of!(TurnParams, source_step), copies);
    let target_step = k.param_u32s(offset_of!(TurnParams, target_step), copies);
    let words = k.param_u32s(offset_of!(TurnParams, words), copies);
    for c in 1..copies {
        let selected = k.p();
        op!(k, "setp.eq.u32 {selected}, {copy}, {c}");
        for (list, ty) in [
            (&source, "b64"),
            (&target, "b64"),
            (&source_step, "b32"),
            (&target_step, "b32"),
            (&words, "b32"),
        ] {
            op!(k, "selp.{ty} {}, {}, {}, {selected}", list[0], list[c], list[0]);
        }
    }
    k.branch_ge(i, words[0], &finished);
    let mut element = |base: Reg, stride: Reg| {
        let index = k.r();
        op!(k, "mad.lo.u32 {index}, {step}, {stride}, {i}");
        k.address(base, index, 4)
    };
    let (source, target) = (element(source[0], source_step[0]), element(target[0], target_step[0]));
    let v = k.r();
    op!(k, "ld.global.u32 {v}, [{source}]");
    op!(k, "st.global.u32 [{target}], {v}");
    k.place(&finished);
    emitter.finish(&format!("turn_{copies}"), 256, size_of::<TurnParams>())
}
