//! Reductions over any axes of a strided operand. The order of a sum depends on shapes alone; sums and products of floats
//! accumulate in float64.

use std::mem::offset_of;

use dlbc_ops::prim::Reduction;

use super::pointwise::Kind;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm, imm64};
use crate::{op, params};

params! {
    /// Parameters of [`Reduce`]. Strides are in elements, modulo 2³².
    pub struct ReduceParams {
        /// Address of the operand.
        x: u64,
        /// Address of the result, contiguous.
        y: u64,
        /// Number of elements of the result.
        outputs: u32,
        /// Number of operand elements that are reduced to each element of the result.
        count: u32,
        /// Dimensions of the axes that remain.
        kept_dims: [u32; 4],
        /// Strides of the operand along the axes that remain.
        kept_strides: [i32; 4],
        /// Dimensions of the axes that are reduced.
        reduced_dims: [u32; 4],
        /// Strides of the operand along the axes that are reduced.
        reduced_strides: [i32; 4],
        /// Slices per element of the result, in [`Pass::Slices`].
        slices: u32,
        /// Operand elements per slice, a multiple of the threads of a block.
        slice: u32,
    }
}

/// The threads that share one element of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Team {
    /// One thread: for operands whose elements are adjacent where those of the result are.
    Thread,
    /// One warp.
    Warp,
    /// One block.
    Block,
}

/// Step of a reduction. Few long rows are cut into slices, so that many blocks share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// The whole reduction in one launch.
    Whole,
    /// First of two launches: a block per slice, which stores its accumulator (float64 for sums and products of floats).
    Slices,
    /// Second of two launches: combines the float64 accumulators of slices.
    Join,
}

/// A variant of the reduction kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// The operation.
    pub reduction: Reduction,
    /// Element type of the operand.
    pub dtype: Kind,
    /// Threads per element of the result. `ArgMax` and `ArgMin` need [`Team::Thread`].
    pub team: Team,
    /// Number of axes that remain.
    pub kept_axes: usize,
    /// Number of axes that are reduced.
    pub reduced_axes: usize,
    /// Step of the reduction. [`Pass::Slices`] needs [`Team::Block`]; `ArgMax` and `ArgMin` are not sliced.
    pub pass: Pass,
}

const THREADS: u32 = 256;

/// Type of the accumulator.
#[derive(Clone, Copy)]
enum Accumulator {
    F32,
    F64,
    I64,
}

impl Reduce {
    /// Returns the entry point's name, which determines the text.
    pub fn name(&self) -> String {
        let team = match self.team {
            Team::Thread => "thread",
            Team::Warp => "warp",
            Team::Block => "block",
        };
        let reduction = format!("{:?}", self.reduction).to_lowercase();
        let pass = match self.pass {
            Pass::Whole => "",
            Pass::Slices => "_slices",
            Pass::Join => "_join",
        };
        let dtype = self.dtype.suffix();
        format!("reduce_{reduction}_{dtype}_{team}_{}_{}{pass}", self.kept_axes, self.reduced_axes)
    }

    /// Returns the number of blocks for a result of `outputs` elements.
    pub fn blocks(&self, outputs: u32) -> u32 {
        match self.team {
            Team::Thread => outputs.div_ceil(THREADS),
            Team::Warp => outputs.div_ceil(THREADS / 32),
            Team::Block => outputs,
        }
    }

    /// Returns the size of the accumulator that a slice stores, in bytes.
    pub fn accumulator_bytes(&self) -> u32 {
        match self.accumulator() {
            Accumulator::F32 => 4,
            Accumulator::F64 | Accumulator::I64 => 8,
        }
    }

    fn accumulator(&self) -> Accumulator {
        match (self.dtype, self.reduction) {
            (Kind::I, _) => Accumulator::I64,
            (_, Reduction::Sum | Reduction::Prod) => Accumulator::F64,
            _ => Accumulator::F32,
        }
    }

    fn returns_index(&self) -> bool {
        matches!(self.reduction, Reduction::ArgMax | Reduction::ArgMin)
    }

    /// Emits the kernel.
    pub fn emit(&self) -> Kernel {
        let mut emitter = Emitter::new();
        let k = &mut emitter;
        let finished = k.label("DONE");
        let (output, first, step) = match self.team {
            Team::Thread => (k.global_index(THREADS), k.mov_u32("0"), 1),
            Team::Warp => {
                let i = k.global_index(THREADS);
                let (lane, thread) = (k.r(), k.mov_u32("%tid.x"));
                op!(k, "shr.u32 {i}, {i}, 5");
                op!(k, "and.b32 {lane}, {thread}, 31");
                (i, lane, 32)
            }
            Team::Block => (k.mov_u32("%ctaid.x"), k.mov_u32("%tid.x"), THREADS),
        };
        let (result, thread) = (output, first);
        if self.team != Team::Block {
            let outputs = k.param_u32(offset_of!(ReduceParams, outputs));
            k.branch_ge(output, outputs, &finished);
        }
        let count = k.param_u32(offset_of!(ReduceParams, count));
        let (output, first) = match self.pass {
            Pass::Whole | Pass::Join => (output, first),
            Pass::Slices => {
                let slices = k.param_u32(offset_of!(ReduceParams, slices));
                let slice = k.param_u32(offset_of!(ReduceParams, slice));
                let ((output, slice_index), first, end) = (k.div_rem(output, slices), k.r(), k.r());
                op!(k, "mul.lo.u32 {first}, {slice_index}, {slice}");
                op!(k, "add.u32 {end}, {first}, {slice}");
                op!(k, "min.u32 {count}, {count}, {end}");
                op!(k, "add.u32 {first}, {first}, {thread}");
                (output, first)
            }
        };
        let dims = k.param_inner_dims(offset_of!(ReduceParams, kept_dims), self.kept_axes);
        let strides = k.param_u32s(offset_of!(ReduceParams, kept_strides), self.kept_axes);
        let coordinates = k.coordinates(output, &dims);
        let start = k.offset(None, &coordinates, &strides);
        let dims = k.param_inner_dims(offset_of!(ReduceParams, reduced_dims), self.reduced_axes);
        let strides = k.param_u32s(offset_of!(ReduceParams, reduced_strides), self.reduced_axes);
        let x = k.param_u64(offset_of!(ReduceParams, x));
        let value = self.neutral(k);
        let best_index = self.returns_index().then(|| k.mov_u32("0"));

        let at = k.r();
        op!(k, "mov.u32 {at}, {first}");
        let (top, end) = (k.label("NEXT"), k.label("COMBINED"));
        k.place(&top);
        k.branch_ge(at, count, &end);
        let coordinates = k.coordinates(at, &dims);
        let index = k.offset(Some(start), &coordinates, &strides);
        let bytes = if self.pass == Pass::Join { self.accumulator_bytes() } else { self.dtype.bytes() };
        let address = k.address(x, index, bytes);
        let element = self.load(k, address);
        match best_index {
            None => self.combine(k, value, element),
            Some(best_index) => self.keep_better(k, (value, best_index), (element, at)),
        }
        op!(k, "add.u32 {at}, {at}, {step}");
        op!(k, "bra {top}");
        k.place(&end);

        if self.team != Team::Thread {
            self.across_lanes(k, value);
        }
        if self.team == Team::Block {
            self.across_warps(k, thread, value, &finished);
        }
        if self.team == Team::Warp {
            let idle = k.p();
            op!(k, "setp.ne.u32 {idle}, {first}, 0");
            op!(k, "@{idle} bra {finished}");
        }
        let y = k.param_u64(offset_of!(ReduceParams, y));
        match (best_index, self.accumulator()) {
            (Some(index), _) => {
                let (wide, address) = (k.d(), k.address(y, result, 8));
                op!(k, "cvt.u64.u32 {wide}, {index}");
                op!(k, "st.global.s64 [{address}], {wide}");
            }
            (None, Accumulator::F64) if self.pass == Pass::Slices => {
                let address = k.address(y, result, 8);
                op!(k, "st.global.f64 [{address}], {value}");
            }
            (None, Accumulator::F64) => {
                let (narrow, address) = (k.f(), k.address(y, result, 4));
                op!(k, "cvt.rn.f32.f64 {narrow}, {value}");
                op!(k, "st.global.f32 [{address}], {narrow}");
            }
            (None, Accumulator::F32 | Accumulator::I64) => {
                let address = k.address(y, result, self.dtype.bytes());
                op!(k, "st.global.{} [{address}], {value}", self.dtype.suffix());
            }
        }
        k.place(&finished);
        emitter.finish(&self.name(), THREADS, size_of::<ReduceParams>()).of_variant(*self)
    }

    /// Loads the neutral element of the operation. For extremes of floats that is NaN, which `max` and `min` drop.
    pub(super) fn neutral(&self, k: &mut Emitter) -> Reg {
        match self.accumulator() {
            Accumulator::F32 => {
                let v = k.f();
                op!(k, "mov.f32 {v}, {}", imm(f32::NAN));
                v
            }
            Accumulator::F64 => {
                let v = k.g();
                let neutral = if self.reduction == Reduction::Prod { 1.0 } else { 0.0 };
                op!(k, "mov.f64 {v}, {}", imm64(neutral));
                v
            }
            Accumulator::I64 => {
                let v = k.d();
                let neutral = match self.reduction {
                    Reduction::Sum => 0,
                    Reduction::Prod => 1,
                    Reduction::Max | Reduction::ArgMax => i64::MIN,
                    Reduction::Min | Reduction::ArgMin => i64::MAX,
                };
                op!(k, "mov.b64 {v}, 0x{:016x}", neutral as u64);
                v
            }
        }
    }

    fn load(&self, k: &mut Emitter, address: Reg) -> Reg {
        if self.pass == Pass::Join {
            let wide = k.g();
            op!(k, "ld.global.f64 {wide}, [{address}]");
            return wide;
        }
        let v = self.dtype.register(k);
        op!(k, "ld.global.{} {v}, [{address}]", self.dtype.suffix());
        self.widened(k, v)
    }

    /// Converts an element to the type of the accumulator.
    pub(super) fn widened(&self, k: &mut Emitter, v: Reg) -> Reg {
        match self.accumulator() {
            Accumulator::F64 => {
                let wide = k.g();
                op!(k, "cvt.f64.f32 {wide}, {v}");
                wide
            }
            Accumulator::F32 | Accumulator::I64 => v,
        }
    }

    /// Combines the accumulators of a team and returns the float result in every thread of it. `thread` is the thread's number in
    /// the team.
    pub(super) fn broadcast(&self, k: &mut Emitter, thread: Reg, value: Reg) -> Reg {
        self.across_lanes(k, value);
        if self.team == Team::Block {
            let (base, smem) = self.share(k, thread, value);
            self.combine_shared(k, value, (base, smem), 0);
        }
        match self.accumulator() {
            Accumulator::F64 => {
                let narrow = k.f();
                op!(k, "cvt.rn.f32.f64 {narrow}, {value}");
                narrow
            }
            Accumulator::F32 | Accumulator::I64 => value,
        }
    }

    pub(super) fn combine(&self, k: &mut Emitter, value: Reg, other: Reg) {
        let name = match (self.reduction, self.accumulator()) {
            (Reduction::Sum, Accumulator::I64) => "add.s64",
            (Reduction::Sum, _) => "add.rn.f64",
            (Reduction::Prod, Accumulator::I64) => "mul.lo.s64",
            (Reduction::Prod, _) => "mul.rn.f64",
            (Reduction::Max | Reduction::ArgMax, Accumulator::I64) => "max.s64",
            (Reduction::Max | Reduction::ArgMax, _) => "max.f32",
            (Reduction::Min | Reduction::ArgMin, Accumulator::I64) => "min.s64",
            (Reduction::Min | Reduction::ArgMin, _) => "min.f32",
        };
        op!(k, "{name} {value}, {value}, {other}");
    }

    /// Replaces the best value and its index by the candidate's if that is better, or the first.
    fn keep_better(
        &self,
        k: &mut Emitter,
        (value, index): (Reg, Reg),
        (candidate, candidate_index): (Reg, Reg),
    ) {
        let (ty, select) = match self.accumulator() {
            Accumulator::I64 => ("s64", "b64"),
            Accumulator::F32 | Accumulator::F64 => ("f32", "f32"),
        };
        let relation = if self.reduction == Reduction::ArgMin { "lt" } else { "gt" };
        let (wins, is_first) = (k.p(), k.p());
        op!(k, "setp.eq.u32 {is_first}, {candidate_index}, 0");
        op!(k, "setp.{relation}.or.{ty} {wins}, {candidate}, {value}, {is_first}");
        op!(k, "selp.{select} {value}, {candidate}, {value}, {wins}");
        op!(k, "selp.b32 {index}, {candidate_index}, {index}, {wins}");
    }

    /// Returns the value of the lane whose number differs in the bit `distance`.
    fn shuffled(&self, k: &mut Emitter, value: Reg, distance: u32) -> Reg {
        if let Accumulator::F32 = self.accumulator() {
            let d = k.f();
            op!(k, "shfl.sync.bfly.b32 {d}, {value}, {distance}, 31, 0xffffffff");
            return d;
        }
        let (low, high) = (k.r(), k.r());
        op!(k, "mov.b64 {{{low}, {high}}}, {value}");
        op!(k, "shfl.sync.bfly.b32 {low}, {low}, {distance}, 31, 0xffffffff");
        op!(k, "shfl.sync.bfly.b32 {high}, {high}, {distance}, 31, 0xffffffff");
        let d = match self.accumulator() {
            Accumulator::I64 => k.d(),
            Accumulator::F32 | Accumulator::F64 => k.g(),
        };
        op!(k, "mov.b64 {d}, {{{low}, {high}}}");
        d
    }

    /// Combines the values of a warp's lanes, in all of them.
    fn across_lanes(&self, k: &mut Emitter, value: Reg) {
        for distance in [16, 8, 4, 2, 1] {
            let other = self.shuffled(k, value, distance);
            self.combine(k, value, other);
        }
    }

    /// Combines the values of the block's warps in thread 0; the other threads jump to `finished`.
    fn across_warps(&self, k: &mut Emitter, thread: Reg, value: Reg, finished: &str) {
        let (base, smem) = self.share(k, thread, value);
        let idle = k.p();
        op!(k, "setp.ne.u32 {idle}, {thread}, 0");
        op!(k, "@{idle} bra {finished}");
        // Thread 0 has the value of its own warp.
        self.combine_shared(k, value, (base, smem), 1);
    }

    /// Returns the PTX type of the accumulator and its size in bytes.
    fn stored_type(&self) -> (&'static str, u32) {
        match self.accumulator() {
            Accumulator::F32 => ("f32", 4),
            Accumulator::F64 => ("f64", 8),
            Accumulator::I64 => ("s64", 8),
        }
    }

    /// Stores the value of each of the block's warps in shared memory of its own. Returns the offset of the first and the
    /// address of shared memory.
    fn share(&self, k: &mut Emitter, thread: Reg, value: Reg) -> (u32, Reg) {
        let (ty, bytes) = self.stored_type();
        let base = k.shared(bytes * THREADS / 32);
        let (smem, warp, lane, writes) = (k.mov_u32("smem"), k.r(), k.r(), k.p());
        op!(k, "shr.u32 {warp}, {thread}, 5");
        op!(k, "and.b32 {lane}, {thread}, 31");
        op!(k, "setp.eq.u32 {writes}, {lane}, 0");
        op!(k, "mad.lo.u32 {warp}, {warp}, {bytes}, {smem}");
        op!(k, "@{writes} st.shared.{ty} [{warp}+{base}], {value}");
        op!(k, "bar.sync 0");
        (base, smem)
    }

    /// Combines the shared values of the warps from `first` on, in order. From 0 on they replace `value`, else they are added to
    /// it.
    fn combine_shared(&self, k: &mut Emitter, value: Reg, (base, smem): (u32, Reg), first: u32) {
        let (ty, bytes) = self.stored_type();
        for i in first..THREADS / 32 {
            let address = format!("[{smem}+{}]", base + i * bytes);
            if i == 0 {
                op!(k, "ld.shared.{ty} {value}, {address}");
                continue;
            }
            let other = match self.accumulator() {
                Accumulator::F32 => k.f(),
                Accumulator::F64 => k.g(),
                Accumulator::I64 => k.d(),
            };
            op!(k, "ld.shared.{ty} {other}, {address}");
            self.combine(k, value, other);
        }
    }
}
