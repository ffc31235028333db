//! Copies at the start and at the end of each step of a recurrence, which all run the same launches: a word in memory counts the
//! steps, and what belongs to a step lies as many elements further as the count says.

use std::mem::offset_of;

use crate::device::Kernel;
use crate::emit::{Emitter, Reg};
use crate::{op, params};

/// Copies that one launch makes.
pub const COPIES: usize = 6;

params! {
    /// Parameters of a turn.
    pub struct TurnParams {
        /// The count of steps.
        count: u64,
        /// Where the count goes, `more` higher.
        next: u64,
        /// From where each copy takes its words, at step 0.
        from: [u64; 6],
        /// Where it puts them, at step 0.
        to: [u64; 6],
        /// Words from a step to the next, modulo 2³².
        from_step: [i32; 6],
        /// The same where it puts them.
        to_step: [i32; 6],
        /// How many words.
        words: [u32; 6],
        /// What is added to the count.
        more: u32,
    }
}

/// Blocks for copies of so many words at most.
pub fn blocks(words: u32, copies: u32) -> [u32; 3] {
    [words.div_ceil(256).max(1), copies, 1]
}

/// The kernel for so many copies, one in each row of blocks.
pub fn turn(copies: usize) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let done = k.label("DONE");
    let (i, copy, turn, first) = (k.global_index(256), k.mov_u32("%ctaid.y"), k.r(), k.p());
    let count = k.param_u64(offset_of!(TurnParams, count));
    op!(k, "ld.global.u32 {turn}, [{count}]");
    let (next, raised) =
        (k.param_u64(offset_of!(TurnParams, next)), k.param_u32(offset_of!(TurnParams, more)));
    op!(k, "add.u32 {raised}, {raised}, {turn}");
    op!(k, "setp.eq.u32 {first}, {i}, 0");
    op!(k, "setp.eq.and.u32 {first}, {copy}, 0, {first}");
    op!(k, "@{first} st.global.u32 [{next}], {raised}");
    let wide = |k: &mut Emitter, at: usize| (0..copies).map(|c| k.param_u64(at + 8 * c)).collect::<Vec<_>>();
    let (from, to) = (wide(k, offset_of!(TurnParams, from)), wide(k, offset_of!(TurnParams, to)));
    let from_step = k.param_u32s(offset_of!(TurnParams, from_step), copies);
    let to_step = k.param_u32s(offset_of!(TurnParams, to_step), copies);
    let words = k.param_u32s(offset_of!(TurnParams, words), copies);
    for c in 1..copies {
        let own = k.p();
        op!(k, "setp.eq.u32 {own}, {copy}, {c}");
        for (list, ty) in
            [(&from, "b64"), (&to, "b64"), (&from_step, "b32"), (&to_step, "b32"), (&words, "b32")]
        {
            op!(k, "selp.{ty} {}, {}, {}, {own}", list[0], list[c], list[0]);
        }
    }
    k.branch_ge(i, words[0], &done);
    let mut place = |base: Reg, step: Reg| {
        let index = k.r();
        op!(k, "mad.lo.u32 {index}, {turn}, {step}, {i}");
        k.address(base, index, 4)
    };
    let (from, to) = (place(from[0], from_step[0]), place(to[0], to_step[0]));
    let v = k.r();
    op!(k, "ld.global.u32 {v}, [{from}]");
    op!(k, "st.global.u32 [{to}], {v}");
    k.place(&done);
    emitter.finish(&format!("turn_{copies}"), 256, size_of::<TurnParams>())
}
