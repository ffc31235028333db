//! Pooling: sums and maxima of sliding windows, and their reverses. Reverses gather: each element visits the windows that
//! cover it.

use std::mem::offset_of;

use super::math;
use super::pointwise::Kind;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::{op, params};

params! {
    /// Parameters of the kernels of this module. There are always three spatial axes; missing ones have dimension 1.
    pub struct PoolParams {
        /// Address of the pooled operand `[channels, in_dims…]`; for [`spread`], of the window values `[channels, out_dims…]`.
        x: u64,
        /// Address of the window maxima.
        y: u64,
        /// Address of the relevance of the maxima; for [`give`] with shares, of the shares.
        r: u64,
        /// Address of the winning tap of each window, if the first maximum takes all.
        winner: u64,
        /// Address of the result.
        out: u64,
        /// Number of elements of the result.
        count: u32,
        /// Number of taps per window.
        taps: u32,
        /// Spatial dimensions of the pooled operand.
        in_dims: [u32; 3],
        /// Number of windows along each axis.
        out_dims: [u32; 3],
        /// Number of taps along each axis.
        kernel: [u32; 3],
        /// Strides of the window.
        strides: [u32; 3],
        /// Padding before the first element of each axis.
        before: [u32; 3],
        /// Distances between neighbouring taps.
        dilations: [u32; 3],
    }
}

/// Returns the number of blocks for `count` elements of the result.
pub fn blocks(count: u32) -> u32 {
    count.div_ceil(256)
}

/// Geometry of the windows, in registers.
struct Geometry {
    taps: Reg,
    in_dims: Vec<Reg>,
    out_dims: Vec<Reg>,
    /// Taps along each axis, without the outermost.
    kernel: Vec<Reg>,
    strides: Vec<Reg>,
    before: Vec<Reg>,
    dilations: Vec<Reg>,
}

fn geometry(k: &mut Emitter) -> Geometry {
    Geometry {
        taps: k.param_u32(offset_of!(PoolParams, taps)),
        in_dims: k.param_u32s(offset_of!(PoolParams, in_dims), 3),
        out_dims: k.param_u32s(offset_of!(PoolParams, out_dims), 3),
        kernel: k.param_inner_dims(offset_of!(PoolParams, kernel), 3),
        strides: k.param_u32s(offset_of!(PoolParams, strides), 3),
        before: k.param_u32s(offset_of!(PoolParams, before), 3),
        dilations: k.param_u32s(offset_of!(PoolParams, dilations), 3),
    }
}

/// Builds a kernel with one thread per element of the result; `body` gets its index and returns its value.
fn each_element(name: &str, dtype: Kind, body: impl FnOnce(&mut Emitter, Reg, &Geometry) -> Reg) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let finished = k.label("DONE");
    let i = k.global_index(256);
    let count = k.param_u32(offset_of!(PoolParams, count));
    k.branch_ge(i, count, &finished);
    let g = geometry(k);
    let value = body(k, i, &g);
    let out = k.param_u64(offset_of!(PoolParams, out));
    let address = k.address(out, i, dtype.bytes());
    op!(k, "st.global.{} [{address}], {value}", dtype.suffix());
    k.place(&finished);
    emitter.finish(name, 256, size_of::<PoolParams>())
}

/// Splits a linear index into the channel and the spatial coordinates.
fn split_index(k: &mut Emitter, index: Reg, dims: &[Reg]) -> (Reg, Vec<Reg>) {
    let mut coordinates = k.coordinates(index, dims);
    let channel = coordinates.remove(0);
    (channel, coordinates)
}

/// Returns the linear index of a channel and its spatial coordinates.
fn linear(k: &mut Emitter, channel: Reg, at: &[Reg], dims: &[Reg]) -> Reg {
    let index = k.r();
    op!(k, "mad.lo.u32 {index}, {channel}, {}, {}", dims[0], at[0]);
    op!(k, "mad.lo.u32 {index}, {index}, {}, {}", dims[1], at[1]);
    op!(k, "mad.lo.u32 {index}, {index}, {}, {}", dims[2], at[2]);
    index
}

impl Geometry {
    /// Calls `body` for each tap of a window that falls inside the operand, with the tap, the index of its element, and the label
    /// that ends the loop.
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
                // As an unsigned number, a negative coordinate is too large.
                k.branch_ge(place, geometry.in_dims[axis], next);
                places.push(place);
            }
            let index = linear(k, channel, &places, &geometry.in_dims);
            body(k, tap, index, end);
        });
    }

    /// Calls `body` for each window that covers an element, with the tap that hits the element and the window's index.
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
                k.branch_ge(place, geometry.out_dims[axis], next);
                places.push(place);
            }
            let index = linear(k, channel, &places, &geometry.out_dims);
            body(k, tap, index);
        });
    }

    /// Calls `body` for each tap with the tap, its coordinates, the label of the next tap and the label that ends the loop.
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

/// Reduction of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// The sum of the window's elements.
    Sum,
    /// The maximum of the window's elements.
    Max,
}

/// Builds the kernel that reduces each window.
pub fn fold(dtype: Kind, fold: Fold) -> Kernel {
    let name = format!("window_{}_{}", if fold == Fold::Max { "max" } else { "sum" }, dtype.suffix());
    each_element(&name, dtype, |k, i, g| {
        let (channel, at) = split_index(k, i, &g.out_dims);
        let x = k.param_u64(offset_of!(PoolParams, x));
        let (combine, start) = match (dtype, fold) {
            (Kind::I, Fold::Sum) => ("add.s64", "0".into()),
            (Kind::I, Fold::Max) => ("max.s64", format!("0x{:016x}", i64::MIN as u64)),
            (_, Fold::Sum) => ("add.rn.f32", imm(0.0)),
            (_, Fold::Max) => ("max.f32", imm(f32::NEG_INFINITY)),
        };
        let value = begin(k, dtype, &start);
        g.window(k, (channel, &at), |k, _, index, _| combine_with(k, dtype, combine, value, (x, index)));
        value
    })
}

/// Builds the adjoint of the window sum: each element becomes the sum of the windows that cover it.
pub fn spread(dtype: Kind) -> Kernel {
    each_element(&format!("window_spread_{}", dtype.suffix()), dtype, |k, i, g| {
        let (channel, at) = split_index(k, i, &g.in_dims);
        let x = k.param_u64(offset_of!(PoolParams, x));
        let (combine, start) =
            if dtype == Kind::I { ("add.s64", "0".into()) } else { ("add.rn.f32", imm(0.0)) };
        let value = begin(k, dtype, &start);
        g.covering(k, (channel, &at), |k, _, index| combine_with(k, dtype, combine, value, (x, index)));
        value
    })
}

/// Declares a value and sets it to the immediate `start`.
fn begin(k: &mut Emitter, dtype: Kind, start: &str) -> Reg {
    let value = dtype.register(k);
    op!(k, "mov.{} {value}, {start}", if dtype == Kind::I { "b64" } else { "f32" });
    value
}

/// Combines a value with an element of memory.
fn combine_with(k: &mut Emitter, dtype: Kind, combine: &str, value: Reg, (base, index): (Reg, Reg)) {
    let (address, v) = (k.address(base, index, dtype.bytes()), dtype.register(k));
    op!(k, "ld.global.{} {v}, [{address}]", dtype.suffix());
    op!(k, "{combine} {value}, {value}, {v}");
}

/// Distribution of a window's relevance over the elements that equal its maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// Equal shares for all of them.
    Split,
    /// Everything to the first of them.
    First,
}

/// Builds the first step of a maximum's reverse. Per window it computes the share of each maximal element, or for
/// [`Ties::First`] the tap of the first one.
pub fn shares(ties: Ties) -> Kernel {
    let first = ties == Ties::First;
    let (name, dtype) = if first { ("window_winners", Kind::B) } else { ("window_shares", Kind::F) };
    each_element(name, dtype, |k, i, g| {
        let (channel, at) = split_index(k, i, &g.out_dims);
        let (x, y) = (k.param_u64(offset_of!(PoolParams, x)), k.param_u64(offset_of!(PoolParams, y)));
        let (address, max) = (k.address(y, i, 4), k.f());
        op!(k, "ld.global.f32 {max}, [{address}]");
        let winner = k.mov_u32(if first { "0xffffffff" } else { "0" });
        g.window(k, (channel, &at), |k, tap, index, end| {
            let (address, v, wins) = (k.address(x, index, 4), k.f(), k.p());
            op!(k, "ld.global.f32 {v}, [{address}]");
            op!(k, "setp.eq.f32 {wins}, {v}, {max}");
            if first {
                op!(k, "selp.b32 {winner}, {tap}, {winner}, {wins}");
                op!(k, "@{wins} bra {end}");
            } else {
                op!(k, "@{wins} add.u32 {winner}, {winner}, 1");
            }
        });
        if first {
            return winner;
        }
        let r = k.param_u64(offset_of!(PoolParams, r));
        let (address, relevance, count) = (k.address(r, i, 4), k.f(), k.f());
        op!(k, "ld.global.f32 {relevance}, [{address}]");
        op!(k, "cvt.rn.f32.u32 {count}, {winner}");
        // The share of a window without a winner is never read.
        math::binary(k, "div.rn.f32", relevance, count)
    })
}

/// Builds the second step of a maximum's reverse: each element sums the shares of the windows whose maximum it equals, or for
/// [`Ties::First`] the relevance of the windows that it wins.
pub fn give(ties: Ties) -> Kernel {
    let first = ties == Ties::First;
    let name = if first { "window_give_first" } else { "window_give" };
    each_element(name, Kind::F, |k, i, g| {
        let (channel, at) = split_index(k, i, &g.in_dims);
        let r = k.param_u64(offset_of!(PoolParams, r));
        let value = math::unary(k, "mov.f32", imm(0.0));
        // An element wins a window if it is the winning tap, or if it equals the maximum.
        let (base, element) = if first {
            (k.param_u64(offset_of!(PoolParams, winner)), None)
        } else {
            let (x, y) = (k.param_u64(offset_of!(PoolParams, x)), k.param_u64(offset_of!(PoolParams, y)));
            let (address, element) = (k.address(x, i, 4), k.f());
            op!(k, "ld.global.f32 {element}, [{address}]");
            (y, Some(element))
        };
        g.covering(k, (channel, &at), |k, tap, index| {
            let (wins, address) = (k.p(), k.address(base, index, 4));
            match element {
                None => {
                    let first = k.r();
                    op!(k, "ld.global.u32 {first}, [{address}]");
                    op!(k, "setp.eq.u32 {wins}, {first}, {tap}");
                }
                Some(element) => {
                    let max = k.f();
                    op!(k, "ld.global.f32 {max}, [{address}]");
                    op!(k, "setp.eq.f32 {wins}, {element}, {max}");
                }
            }
            let (address, relevance) = (k.address(r, index, 4), k.f());
            op!(k, "ld.global.f32 {relevance}, [{address}]");
            op!(k, "@{wins} add.rn.f32 {value}, {value}, {relevance}");
        });
        value
    })
}
