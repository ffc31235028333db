//! Reductions over any axes of a strided operand. The order of a sum depends on shapes alone; float sums and products are
//! kept in float64.

use std::mem::offset_of;

use dlbc_ops::prim::Reduction;

use super::pointwise::Kind;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm, imm64};
use crate::{op, params};

params! {
    /// Parameters of a reduction. Strides are in elements, modulo 2³².
    pub struct ReduceParams {
        /// The operand.
        x: u64,
        /// The result, dense.
        y: u64,
        /// Elements of the result.
        outputs: u32,
        /// Elements that meet in each.
        count: u32,
        /// Dimensions that stay.
        kept: [u32; 4],
        /// Their strides.
        kept_strides: [i32; 4],
        /// Dimensions that go.
        reduced: [u32; 4],
        /// Their strides.
        reduced_strides: [i32; 4],
        /// Slices of those that meet, when they are reduced by slices, and the elements of one.
        slices: u32,
        /// A multiple of a block's threads.
        slice: u32,
    }
}

/// How many threads work on an element of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Team {
    /// One, when neighbours in the result are neighbours in the operand.
    Thread,
    /// A warp.
    Warp,
    /// A block.
    Block,
}

/// Which step of a reduction: a few long rows are cut into slices, so that many blocks work on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// The only one.
    Whole,
    /// A block a slice; writes what it keeps, float64 for sums and products of floats.
    Slices,
    /// Combines what slices of a sum or a product of floats kept.
    Join,
}

/// A variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// What is computed.
    pub kind: Reduction,
    /// Of what.
    pub of: Kind,
    /// By how many. Arguments of extremes are found by one.
    pub team: Team,
    /// Axes that stay.
    pub kept: usize,
    /// Axes that go.
    pub reduced: usize,
    /// Which step. Slices are a block's work; arguments of extremes are not cut.
    pub pass: Pass,
}

const THREADS: u32 = 256;

/// How values are kept while they are combined.
#[derive(Clone, Copy)]
enum Held {
    F32,
    F64,
    I64,
}

impl Reduce {
    /// A name that says all that the text depends on.
    pub fn name(&self) -> String {
        let team = match self.team {
            Team::Thread => "thread",
            Team::Warp => "warp",
            Team::Block => "block",
        };
        let kind = format!("{:?}", self.kind).to_lowercase();
        let pass = match self.pass {
            Pass::Whole => "",
            Pass::Slices => "_slices",
            Pass::Join => "_join",
        };
        format!("reduce_{kind}_{}_{team}_{}_{}{pass}", self.of.suffix(), self.kept, self.reduced)
    }

    /// Blocks for so many elements of the result.
    pub fn blocks(&self, outputs: u32) -> u32 {
        match self.team {
            Team::Thread => outputs.div_ceil(THREADS),
            Team::Warp => outputs.div_ceil(THREADS / 32),
            Team::Block => outputs,
        }
    }

    /// Bytes of what a slice keeps.
    pub fn kept_bytes(&self) -> u32 {
        match self.held() {
            Held::F32 => 4,
            Held::F64 | Held::I64 => 8,
        }
    }

    fn held(&self) -> Held {
        match (self.of, self.kind) {
            (Kind::I, _) => Held::I64,
            (_, Reduction::Sum | Reduction::Prod) => Held::F64,
            _ => Held::F32,
        }
    }

    fn argument(&self) -> bool {
        matches!(self.kind, Reduction::ArgMax | Reduction::ArgMin)
    }

    /// The kernel.
    pub fn emit(&self) -> Kernel {
        let mut emitter = Emitter::new();
        let k = &mut emitter;
        let done = k.label("DONE");
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
            k.branch_ge(output, outputs, &done);
        }
        let count = k.param_u32(offset_of!(ReduceParams, count));
        let (output, first) = match self.pass {
            Pass::Whole | Pass::Join => (output, first),
            Pass::Slices => {
                let slices = k.param_u32(offset_of!(ReduceParams, slices));
                let slice = k.param_u32(offset_of!(ReduceParams, slice));
                let ((output, which), first, end) = (k.div_rem(output, slices), k.r(), k.r());
                op!(k, "mul.lo.u32 {first}, {which}, {slice}");
                op!(k, "add.u32 {end}, {first}, {slice}");
                op!(k, "min.u32 {count}, {count}, {end}");
                op!(k, "add.u32 {first}, {first}, {thread}");
                (output, first)
            }
        };
        let dims = k.param_inner(offset_of!(ReduceParams, kept), self.kept);
        let strides = k.param_u32s(offset_of!(ReduceParams, kept_strides), self.kept);
        let place = k.coordinates(output, &dims);
        let start = k.offset(None, &place, &strides);
        let dims = k.param_inner(offset_of!(ReduceParams, reduced), self.reduced);
        let strides = k.param_u32s(offset_of!(ReduceParams, reduced_strides), self.reduced);
        let x = k.param_u64(offset_of!(ReduceParams, x));
        let value = self.start(k);
        let best = self.argument().then(|| k.mov_u32("0"));

        let at = k.r();
        op!(k, "mov.u32 {at}, {first}");
        let (top, end) = (k.label("NEXT"), k.label("COMBINED"));
        k.place(&top);
        k.branch_ge(at, count, &end);
        let place = k.coordinates(at, &dims);
        let index = k.offset(Some(start), &place, &strides);
        let bytes = if self.pass == Pass::Join { self.kept_bytes() } else { self.of.bytes() };
        let address = k.address(x, index, bytes);
        let found = self.load(k, address);
        match best {
            None => self.combine(k, value, found),
            Some(best) => self.better(k, (value, best), (found, at)),
        }
        op!(k, "add.u32 {at}, {at}, {step}");
        op!(k, "bra {top}");
        k.place(&end);

        if self.team != Team::Thread {
            for distance in [16, 8, 4, 2, 1] {
                let other = self.shuffled(k, value, distance);
                self.combine(k, value, other);
            }
        }
        if self.team == Team::Block {
            self.across_warps(k, thread, value, &done);
        }
        if self.team == Team::Warp {
            let leads = k.p();
            op!(k, "setp.ne.u32 {leads}, {first}, 0");
            op!(k, "@{leads} bra {done}");
        }
        let y = k.param_u64(offset_of!(ReduceParams, y));
        match (best, self.held()) {
            (Some(best), _) => {
                let (wide, address) = (k.d(), k.address(y, result, 8));
                op!(k, "cvt.u64.u32 {wide}, {best}");
                op!(k, "st.global.s64 [{address}], {wide}");
            }
            (None, Held::F64) if self.pass == Pass::Slices => {
                let address = k.address(y, result, 8);
                op!(k, "st.global.f64 [{address}], {value}");
            }
            (None, Held::F64) => {
                let (narrow, address) = (k.f(), k.address(y, result, 4));
                op!(k, "cvt.rn.f32.f64 {narrow}, {value}");
                op!(k, "st.global.f32 [{address}], {narrow}");
            }
            (None, Held::F32 | Held::I64) => {
                let address = k.address(y, result, self.of.bytes());
                op!(k, "st.global.{} [{address}], {value}", self.of.suffix());
            }
        }
        k.place(&done);
        emitter.finish(&self.name(), THREADS, size_of::<ReduceParams>())
    }

    /// The value that changes nothing. NaN does not for extremes of floats, which drop it.
    fn start(&self, k: &mut Emitter) -> Reg {
        match self.held() {
            Held::F32 => {
                let v = k.f();
                op!(k, "mov.f32 {v}, {}", imm(f32::NAN));
                v
            }
            Held::F64 => {
                let v = k.g();
                let one = if self.kind == Reduction::Prod { 1.0 } else { 0.0 };
                op!(k, "mov.f64 {v}, {}", imm64(one));
                v
            }
            Held::I64 => {
                let v = k.d();
                let neutral = match self.kind {
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
        let v = self.of.register(k);
        op!(k, "ld.global.{} {v}, [{address}]", self.of.suffix());
        match self.held() {
            Held::F64 => {
                let wide = k.g();
                op!(k, "cvt.f64.f32 {wide}, {v}");
                wide
            }
            Held::F32 | Held::I64 => v,
        }
    }

    fn combine(&self, k: &mut Emitter, value: Reg, other: Reg) {
        let name = match (self.kind, self.held()) {
            (Reduction::Sum, Held::I64) => "add.s64",
            (Reduction::Sum, _) => "add.rn.f64",
            (Reduction::Prod, Held::I64) => "mul.lo.s64",
            (Reduction::Prod, _) => "mul.rn.f64",
            (Reduction::Max | Reduction::ArgMax, Held::I64) => "max.s64",
            (Reduction::Max | Reduction::ArgMax, _) => "max.f32",
            (Reduction::Min | Reduction::ArgMin, Held::I64) => "min.s64",
            (Reduction::Min | Reduction::ArgMin, _) => "min.f32",
        };
        op!(k, "{name} {value}, {value}, {other}");
    }

    /// Takes the candidate when it beats the value, and always when it is the first.
    fn better(&self, k: &mut Emitter, (value, best): (Reg, Reg), (found, at): (Reg, Reg)) {
        let (ty, select) = match self.held() {
            Held::I64 => ("s64", "b64"),
            Held::F32 | Held::F64 => ("f32", "f32"),
        };
        let relation = if self.kind == Reduction::ArgMin { "lt" } else { "gt" };
        let (wins, begins) = (k.p(), k.p());
        op!(k, "setp.eq.u32 {begins}, {at}, 0");
        op!(k, "setp.{relation}.or.{ty} {wins}, {found}, {value}, {begins}");
        op!(k, "selp.{select} {value}, {found}, {value}, {wins}");
        op!(k, "selp.b32 {best}, {at}, {best}, {wins}");
    }

    /// The value of the lane at a distance.
    fn shuffled(&self, k: &mut Emitter, value: Reg, distance: u32) -> Reg {
        if let Held::F32 = self.held() {
            let d = k.f();
            op!(k, "shfl.sync.bfly.b32 {d}, {value}, {distance}, 31, 0xffffffff");
            return d;
        }
        let (low, high) = (k.r(), k.r());
        op!(k, "mov.b64 {{{low}, {high}}}, {value}");
        op!(k, "shfl.sync.bfly.b32 {low}, {low}, {distance}, 31, 0xffffffff");
        op!(k, "shfl.sync.bfly.b32 {high}, {high}, {distance}, 31, 0xffffffff");
        let d = match self.held() {
            Held::I64 => k.d(),
            Held::F32 | Held::F64 => k.g(),
        };
        op!(k, "mov.b64 {d}, {{{low}, {high}}}");
        d
    }

    /// Combines the values of a block's warps in thread 0; the others are done.
    fn across_warps(&self, k: &mut Emitter, thread: Reg, value: Reg, done: &str) {
        let (ty, bytes) = match self.held() {
            Held::F32 => ("f32", 4),
            Held::F64 => ("f64", 8),
            Held::I64 => ("s64", 8),
        };
        let base = k.shared(bytes * THREADS / 32);
        let (smem, warp, lane, writes) = (k.mov_u32("smem"), k.r(), k.r(), k.p());
        op!(k, "shr.u32 {warp}, {thread}, 5");
        op!(k, "and.b32 {lane}, {thread}, 31");
        op!(k, "setp.eq.u32 {writes}, {lane}, 0");
        op!(k, "mad.lo.u32 {warp}, {warp}, {bytes}, {smem}");
        op!(k, "@{writes} st.shared.{ty} [{warp}+{base}], {value}");
        op!(k, "bar.sync 0");
        let rest = k.p();
        op!(k, "setp.ne.u32 {rest}, {thread}, 0");
        op!(k, "@{rest} bra {done}");
        for i in 1..THREADS / 32 {
            let other = match self.held() {
                Held::F32 => k.f(),
                Held::F64 => k.g(),
                Held::I64 => k.d(),
            };
            op!(k, "ld.shared.{ty} {other}, [{smem}+{}]", base + i * bytes);
            self.combine(k, value, other);
        }
    }
}
