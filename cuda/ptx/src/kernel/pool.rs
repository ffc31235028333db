//! Sliding windows: sums, maxima and their reverses. Reverses are gathers: each element visits the windows that cover it.

use std::mem::offset_of;

use super::math;
use super::pointwise::Kind;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::{op, params};

params! {
    /// Parameters of the kernels here. There are three spatial axes; those that do not exist have dimension 1.
    pub struct PoolParams {
        /// The windowed operand `[channels, from…]`; what is spread, of a sum's reverse `[channels, to…]`.
        x: u64,
        /// The maxima.
        y: u64,
        /// Relevance of the maxima; their shares or winning taps, in the second step.
        r: u64,
        /// The winning taps, when the first takes all.
        winner: u64,
        /// The result.
        out: u64,
        /// Elements of the result.
        count: u32,
        /// Taps.
        taps: u32,
        /// Dimensions of the windowed operand.
        from: [u32; 3],
        /// How many windows there are by axis.
        to: [u32; 3],
        /// Taps by axis.
        kernel: [u32; 3],
        /// Steps.
        strides: [u32; 3],
        /// Pads before.
        before: [u32; 3],
        /// Distances of taps.
        dilations: [u32; 3],
    }
}

/// Blocks for so many elements of the result.
pub fn blocks(count: u32) -> u32 {
    count.div_ceil(256)
}

struct Geometry {
    taps: Reg,
    from: Vec<Reg>,
    to: Vec<Reg>,
    /// Taps by axis, without the outermost.
    kernel: Vec<Reg>,
    strides: Vec<Reg>,
    before: Vec<Reg>,
    dilations: Vec<Reg>,
}

fn geometry(k: &mut Emitter) -> Geometry {
    Geometry {
        taps: k.param_u32(offset_of!(PoolParams, taps)),
        from: k.param_u32s(offset_of!(PoolParams, from), 3),
        to: k.param_u32s(offset_of!(PoolParams, to), 3),
        kernel: k.param_inner(offset_of!(PoolParams, kernel), 3),
        strides: k.param_u32s(offset_of!(PoolParams, strides), 3),
        before: k.param_u32s(offset_of!(PoolParams, before), 3),
        dilations: k.param_u32s(offset_of!(PoolParams, dilations), 3),
    }
}

/// A kernel that computes an element of the result a thread: `body` gets its index and returns its value.
fn each_element(name: &str, kind: Kind, body: impl FnOnce(&mut Emitter, Reg, &Geometry) -> Reg) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let done = k.label("DONE");
    let i = k.global_index(256);
    let count = k.param_u32(offset_of!(PoolParams, count));
    k.branch_ge(i, count, &done);
    let g = geometry(k);
    let value = body(k, i, &g);
    let out = k.param_u64(offset_of!(PoolParams, out));
    let address = k.address(out, i, kind.bytes());
    op!(k, "st.global.{} [{address}], {value}", kind.suffix());
    k.place(&done);
    emitter.finish(name, 256, size_of::<PoolParams>())
}

/// Channel and coordinates of a linear index.
fn place(k: &mut Emitter, index: Reg, dims: &[Reg]) -> (Reg, Vec<Reg>) {
    let mut all = k.coordinates(index, dims);
    let channel = all.remove(0);
    (channel, all)
}

/// The linear index of a place.
fn linear(k: &mut Emitter, channel: Reg, at: &[Reg], dims: &[Reg]) -> Reg {
    let index = k.r();
    op!(k, "mad.lo.u32 {index}, {channel}, {}, {}", dims[0], at[0]);
    op!(k, "mad.lo.u32 {index}, {index}, {}, {}", dims[1], at[1]);
    op!(k, "mad.lo.u32 {index}, {index}, {}, {}", dims[2], at[2]);
    index
}

impl Geometry {
    /// Calls `body` for each tap of a window that falls inside the operand, with the tap and the operand's index. `body`
    /// may leave through the label it gets.
    fn window(
        &self,
        k: &mut Emitter,
        (channel, at): (Reg, &[Reg]),
        body: impl FnOnce(&mut Emitter, Reg, Reg, &str),
    ) {
        let firsts: Vec<Reg> = (0..3)
            .map(|axis| {
                let first = k.r();
                op!(k, "mul.lo.u32 {first}, {}, {}", at[axis], self.strides[axis]);
                op!(k, "sub.u32 {first}, {first}, {}", self.before[axis]);
                first
            })
            .collect();
        self.each(k, |k, geometry, tap, offsets, next, end| {
            let mut places = vec![];
            for axis in 0..3 {
                let place = k.r();
                op!(
                    k,
                    "mad.lo.u32 {place}, {}, {}, {}",
                    offsets[axis],
                    geometry.dilations[axis],
                    firsts[axis]
                );
                // A coordinate below 0 is a large one without a sign.
                k.branch_ge(place, geometry.from[axis], next);
                places.push(place);
            }
            let index = linear(k, channel, &places, &geometry.from);
            body(k, tap, index, end);
        });
    }

    /// Calls `body` for each window that covers an element: the tap that does, and the window's index.
    fn covering(
        &self,
        k: &mut Emitter,
        (channel, at): (Reg, &[Reg]),
        body: impl FnOnce(&mut Emitter, Reg, Reg),
    ) {
        let reaches: Vec<Reg> = (0..3)
            .map(|axis| {
                let reach = k.r();
                op!(k, "add.u32 {reach}, {}, {}", at[axis], self.before[axis]);
                reach
            })
            .collect();
        self.each(k, |k, geometry, tap, offsets, next, _| {
            let mut places = vec![];
            for axis in 0..3 {
                let (back, start) = (k.r(), k.r());
                op!(k, "mul.lo.u32 {back}, {}, {}", offsets[axis], geometry.dilations[axis]);
                op!(k, "sub.u32 {start}, {}, {back}", reaches[axis]);
                let (place, rest) = k.div_rem(start, geometry.strides[axis]);
                let between = k.p();
                op!(k, "setp.ne.u32 {between}, {rest}, 0");
                op!(k, "@{between} bra {next}");
                k.branch_ge(place, geometry.to[axis], next);
                places.push(place);
            }
            let index = linear(k, channel, &places, &geometry.to);
            body(k, tap, index);
        });
    }

    fn each(&self, k: &mut Emitter, body: impl FnOnce(&mut Emitter, &Geometry, Reg, &[Reg], &str, &str)) {
        let tap = k.mov_u32("0");
        let (top, next, end) = (k.label("TAP"), k.label("NEXT"), k.label("TAPPED"));
        k.place(&top);
        k.branch_ge(tap, self.taps, &end);
        let offsets = k.coordinates(tap, &self.kernel);
        body(k, self, tap, &offsets, &next, &end);
        k.place(&next);
        op!(k, "add.u32 {tap}, {tap}, 1");
        op!(k, "bra {top}");
        k.place(&end);
    }
}

/// The sum over each window, or its maximum.
pub fn fold(kind: Kind, max: bool) -> Kernel {
    let name = format!("window_{}_{}", if max { "max" } else { "sum" }, kind.suffix());
    each_element(&name, kind, |k, i, g| {
        let (channel, at) = place(k, i, &g.to);
        let x = k.param_u64(offset_of!(PoolParams, x));
        let (combine, start) = match (kind, max) {
            (Kind::I, false) => ("add.s64", "0".into()),
            (Kind::I, true) => ("max.s64", format!("0x{:016x}", i64::MIN as u64)),
            (_, false) => ("add.rn.f32", imm(0.0)),
            (_, true) => ("max.f32", imm(f32::NEG_INFINITY)),
        };
        let value = begin(k, kind, &start);
        g.window(k, (channel, &at), |k, _, index, _| combined(k, kind, combine, value, (x, index)));
        value
    })
}

/// The adjoint of the sum: each element gets the sum of the windows that cover it.
pub fn spread(kind: Kind) -> Kernel {
    each_element(&format!("window_spread_{}", kind.suffix()), kind, |k, i, g| {
        let (channel, at) = place(k, i, &g.from);
        let x = k.param_u64(offset_of!(PoolParams, x));
        let (combine, start) =
            if kind == Kind::I { ("add.s64", "0".into()) } else { ("add.rn.f32", imm(0.0)) };
        let value = begin(k, kind, &start);
        g.covering(k, (channel, &at), |k, _, index| combined(k, kind, combine, value, (x, index)));
        value
    })
}

fn begin(k: &mut Emitter, kind: Kind, start: &str) -> Reg {
    let value = kind.register(k);
    op!(k, "mov.{} {value}, {start}", if kind == Kind::I { "b64" } else { "f32" });
    value
}

/// Combines a value with an element.
fn combined(k: &mut Emitter, kind: Kind, combine: &str, value: Reg, (base, index): (Reg, Reg)) {
    let (address, v) = (k.address(base, index, kind.bytes()), kind.register(k));
    op!(k, "ld.global.{} {v}, [{address}]", kind.suffix());
    op!(k, "{combine} {value}, {value}, {v}");
}

/// For each window its share, the relevance over how many elements equal the maximum; or the first tap that does.
pub fn shares(first: bool) -> Kernel {
    let (name, kind) = if first { ("window_winners", Kind::B) } else { ("window_shares", Kind::F) };
    each_element(name, kind, |k, i, g| {
        let (channel, at) = place(k, i, &g.to);
        let (x, y) = (k.param_u64(offset_of!(PoolParams, x)), k.param_u64(offset_of!(PoolParams, y)));
        let (address, max) = (k.address(y, i, 4), k.f());
        op!(k, "ld.global.f32 {max}, [{address}]");
        let found = k.mov_u32(if first { "0xffffffff" } else { "0" });
        g.window(k, (channel, &at), |k, tap, index, end| {
            let (address, v, wins) = (k.address(x, index, 4), k.f(), k.p());
            op!(k, "ld.global.f32 {v}, [{address}]");
            op!(k, "setp.eq.f32 {wins}, {v}, {max}");
            if first {
                op!(k, "selp.b32 {found}, {tap}, {found}, {wins}");
                op!(k, "@{wins} bra {end}");
            } else {
                op!(k, "@{wins} add.u32 {found}, {found}, 1");
            }
        });
        if first {
            return found;
        }
        let r = k.param_u64(offset_of!(PoolParams, r));
        let (address, given, count) = (k.address(r, i, 4), k.f(), k.f());
        op!(k, "ld.global.f32 {given}, [{address}]");
        op!(k, "cvt.rn.f32.u32 {count}, {found}");
        // Without a winner nobody reads the share.
        math::binary(k, "div.rn.f32", given, count)
    })
}

/// Each element gets the shares of the windows whose maximum it equals, or the relevance of those it wins.
pub fn give(first: bool) -> Kernel {
    let name = if first { "window_give_first" } else { "window_give" };
    each_element(name, Kind::F, |k, i, g| {
        let (channel, at) = place(k, i, &g.from);
        let r = k.param_u64(offset_of!(PoolParams, r));
        let value = math::unary(k, "mov.f32", imm(0.0));
        // Where an element must stand to win: at the winning tap, or level with the maximum.
        let (base, own) = if first {
            (k.param_u64(offset_of!(PoolParams, winner)), None)
        } else {
            let (x, y) = (k.param_u64(offset_of!(PoolParams, x)), k.param_u64(offset_of!(PoolParams, y)));
            let (address, own) = (k.address(x, i, 4), k.f());
            op!(k, "ld.global.f32 {own}, [{address}]");
            (y, Some(own))
        };
        g.covering(k, (channel, &at), |k, tap, index| {
            let (wins, address) = (k.p(), k.address(base, index, 4));
            match own {
                None => {
                    let first = k.r();
                    op!(k, "ld.global.u32 {first}, [{address}]");
                    op!(k, "setp.eq.u32 {wins}, {first}, {tap}");
                }
                Some(own) => {
                    let max = k.f();
                    op!(k, "ld.global.f32 {max}, [{address}]");
                    op!(k, "setp.eq.f32 {wins}, {own}, {max}");
                }
            }
            let (address, given) = (k.address(r, index, 4), k.f());
            op!(k, "ld.global.f32 {given}, [{address}]");
            op!(k, "@{wins} add.rn.f32 {value}, {value}, {given}");
        });
        value
    })
}
