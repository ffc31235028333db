//! Greedy non-maximum suppression: a block a class, which goes through its boxes by falling score. Areas and overlaps are
//! float64, as the reference computes them, so that both keep the same boxes.

use std::mem::offset_of;

use super::each_thread;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm64};
use crate::{op, params};

params! {
    /// Parameters. Boxes are `[batch, spatial, 4]`, scores `[batch, classes, spatial]`.
    pub struct SuppressParams {
        /// The boxes.
        boxes: u64,
        /// The scores.
        scores: u64,
        /// The boxes of each class by falling score.
        order: u64,
        /// The most boxes of a class, int64.
        most: u64,
        /// The overlap above which a box goes.
        overlap: u64,
        /// The score that a box must exceed.
        least: u64,
        /// For each box in order whether it is still there; the thread that made a word alone reads it.
        alive: u64,
        /// The boxes that stay, by class.
        kept: u64,
        /// How many stay, by class.
        counts: u64,
        /// How many stay in the classes before.
        starts: u64,
        /// `(batch, class, box)`, int64.
        out: u64,
        /// Threads with work.
        count: u32,
        /// Classes of a picture.
        classes: u32,
        /// Boxes of a picture.
        spatial: u32,
    }
}

const THREADS: u32 = 256;

/// How a box lies: the lower and the upper bound of each axis, float64.
struct Corners([Reg; 4]);

/// The operands of a block.
struct Block {
    boxes: Reg,
    order: Reg,
    alive: Reg,
    spatial: Reg,
    /// The class' first place in order and the picture's first box.
    first: Reg,
    first_box: Reg,
    center: bool,
}

impl Block {
    /// The box at a place in order.
    fn at(&self, k: &mut Emitter, place: Reg) -> Reg {
        let (index, found) = (k.r(), k.r());
        op!(k, "add.u32 {index}, {}, {place}", self.first);
        let address = k.address(self.order, index, 4);
        op!(k, "ld.global.u32 {found}, [{address}]");
        found
    }

    fn alive(&self, k: &mut Emitter, place: Reg) -> Reg {
        let index = k.r();
        op!(k, "add.u32 {index}, {}, {place}", self.first);
        k.address(self.alive, index, 4)
    }

    fn corners(&self, k: &mut Emitter, which: Reg) -> Corners {
        let index = k.r();
        op!(k, "add.u32 {index}, {}, {which}", self.first_box);
        let address = k.address(self.boxes, index, 16);
        let b = [0, 1, 2, 3].map(|i| {
            let (v, wide) = (k.f(), k.g());
            op!(k, "ld.global.f32 {v}, [{address}+{}]", 4 * i);
            op!(k, "cvt.f64.f32 {wide}, {v}");
            wide
        });
        let two = |k: &mut Emitter, name: &str, x: Reg, y: Reg| {
            let v = k.g();
            op!(k, "{name}.f64 {v}, {x}, {y}");
            v
        };
        if !self.center {
            let [low, high] = ["min", "max"].map(|name| [0, 1].map(|i| two(k, name, b[i], b[i + 2])));
            return Corners([low[0], low[1], high[0], high[1]]);
        }
        let half = [2, 3].map(|i| {
            let v = k.g();
            op!(k, "mul.rn.f64 {v}, {}, {}", b[i], imm64(0.5));
            v
        });
        let [low, high] =
            ["sub.rn", "add.rn"].map(|name| [two(k, name, b[1], half[1]), two(k, name, b[0], half[0])]);
        Corners([low[0], low[1], high[0], high[1]])
    }
}

fn area(k: &mut Emitter, Corners(c): &Corners) -> Reg {
    let (a, b) = (k.g(), k.g());
    op!(k, "sub.rn.f64 {a}, {}, {}", c[2], c[0]);
    op!(k, "sub.rn.f64 {b}, {}, {}", c[3], c[1]);
    op!(k, "mul.rn.f64 {a}, {a}, {b}");
    a
}

/// Intersection over union.
fn overlap(k: &mut Emitter, a: &Corners, a_area: Reg, b: &Corners) -> Reg {
    let [both, other] = [0, 1].map(|low| {
        let (high, start) = (k.g(), k.g());
        op!(k, "min.f64 {high}, {}, {}", a.0[low + 2], b.0[low + 2]);
        op!(k, "max.f64 {start}, {}, {}", a.0[low], b.0[low]);
        op!(k, "sub.rn.f64 {high}, {high}, {start}");
        high
    });
    // One side of two that lie apart is enough: what is not above 0 does not overlap.
    op!(k, "max.f64 {both}, {both}, {}", imm64(0.0));
    op!(k, "mul.rn.f64 {both}, {both}, {other}");
    let b_area = area(k, b);
    let (all, share, none) = (k.g(), k.g(), k.p());
    op!(k, "add.rn.f64 {all}, {a_area}, {b_area}");
    op!(k, "sub.rn.f64 {all}, {all}, {both}");
    op!(k, "div.rn.f64 {share}, {both}, {all}");
    let zero = imm64(0.0);
    op!(k, "setp.le.f64 {none}, {both}, {zero}");
    op!(k, "setp.le.or.f64 {none}, {a_area}, {zero}, {none}");
    op!(k, "setp.le.or.f64 {none}, {b_area}, {zero}, {none}");
    op!(k, "selp.f64 {share}, {zero}, {share}, {none}");
    share
}

/// Which boxes stay; a block a class.
pub fn suppress(center: bool) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let slots = k.shared(8);
    let (row, thread, smem) = (k.mov_u32("%ctaid.x"), k.mov_u32("%tid.x"), k.mov_u32("smem"));
    let classes = k.param_u32(offset_of!(SuppressParams, classes));
    let spatial = k.param_u32(offset_of!(SuppressParams, spatial));
    let (picture, _) = k.div_rem(row, classes);
    let (first, first_box) = (k.r(), k.r());
    op!(k, "mul.lo.u32 {first}, {row}, {spatial}");
    op!(k, "mul.lo.u32 {first_box}, {picture}, {spatial}");
    let b = Block {
        boxes: k.param_u64(offset_of!(SuppressParams, boxes)),
        order: k.param_u64(offset_of!(SuppressParams, order)),
        alive: k.param_u64(offset_of!(SuppressParams, alive)),
        spatial,
        first,
        first_box,
        center,
    };
    let scalar = |k: &mut Emitter, offset: usize| {
        let (at, v) = (k.param_u64(offset), k.f());
        op!(k, "ld.global.f32 {v}, [{at}]");
        v
    };
    let (least, limit) = (scalar(k, offset_of!(SuppressParams, least)), k.g());
    let given = scalar(k, offset_of!(SuppressParams, overlap));
    op!(k, "cvt.f64.f32 {limit}, {given}");
    let most_at = k.param_u64(offset_of!(SuppressParams, most));
    let most = k.d();
    op!(k, "ld.global.s64 {most}, [{most_at}]");

    let scores = k.param_u64(offset_of!(SuppressParams, scores));
    places(k, thread, b.spatial, |k, place| {
        let found = b.at(k, place);
        let (index, score, above, flag) = (k.r(), k.f(), k.p(), k.r());
        op!(k, "add.u32 {index}, {first}, {found}");
        let address = k.address(scores, index, 4);
        op!(k, "ld.global.f32 {score}, [{address}]");
        op!(k, "setp.gt.f32 {above}, {score}, {least}");
        op!(k, "selp.b32 {flag}, 1, 0, {above}");
        let to = b.alive(k, place);
        op!(k, "st.global.u32 [{to}], {flag}");
    });

    let kept = k.param_u64(offset_of!(SuppressParams, kept));
    let (leads, count, place) = (k.p(), k.mov_u32("0"), k.mov_u32("0"));
    op!(k, "setp.eq.u32 {leads}, {thread}, 0");
    let (top, end, next) = (k.label("BOX"), k.label("ALL"), k.label("GONE"));
    k.place(&top);
    k.branch_ge(place, spatial, &end);
    let (wide, full) = (k.d(), k.p());
    op!(k, "cvt.u64.u32 {wide}, {count}");
    op!(k, "setp.le.s64 {full}, {most}, {wide}");
    op!(k, "@{full} bra {end}");
    // Whoever made the word tells the others, in turn by two slots: one barrier a box is enough.
    let (owner, owns, slot, flag) = (k.r(), k.p(), k.r(), k.r());
    op!(k, "and.b32 {owner}, {place}, {}", THREADS - 1);
    op!(k, "setp.eq.u32 {owns}, {owner}, {thread}");
    op!(k, "and.b32 {slot}, {place}, 1");
    op!(k, "mad.lo.u32 {slot}, {slot}, 4, {smem}");
    let own = b.alive(k, place);
    op!(k, "@{owns} ld.global.u32 {flag}, [{own}]");
    op!(k, "@{owns} st.shared.u32 [{slot}+{slots}], {flag}");
    op!(k, "bar.sync 0");
    let (there, gone) = (k.r(), k.p());
    op!(k, "ld.shared.u32 {there}, [{slot}+{slots}]");
    op!(k, "setp.eq.u32 {gone}, {there}, 0");
    op!(k, "@{gone} bra {next}");
    let found = b.at(k, place);
    let index = k.r();
    op!(k, "add.u32 {index}, {first}, {count}");
    let to = k.address(kept, index, 4);
    op!(k, "@{leads} st.global.u32 [{to}], {found}");
    op!(k, "add.u32 {count}, {count}, 1");
    let own = b.corners(k, found);
    let own_area = area(k, &own);
    // The thread's first place after this one.
    let (later, ahead) = (k.r(), k.r());
    op!(k, "add.u32 {later}, {place}, 1");
    op!(k, "sub.u32 {ahead}, {thread}, {later}");
    op!(k, "and.b32 {ahead}, {ahead}, {}", THREADS - 1);
    op!(k, "add.u32 {later}, {later}, {ahead}");
    places(k, later, b.spatial, |k, place| {
        let (at, flag, dead, skip) = (b.alive(k, place), k.r(), k.p(), k.label("DEAD"));
        op!(k, "ld.global.u32 {flag}, [{at}]");
        op!(k, "setp.eq.u32 {dead}, {flag}, 0");
        op!(k, "@{dead} bra {skip}");
        let found = b.at(k, place);
        let other = b.corners(k, found);
        let share = overlap(k, &own, own_area, &other);
        let (stays, zero) = (k.p(), k.mov_u32("0"));
        op!(k, "setp.le.f64 {stays}, {share}, {limit}");
        op!(k, "@!{stays} st.global.u32 [{at}], {zero}");
        k.place(&skip);
    });
    k.place(&next);
    op!(k, "add.u32 {place}, {place}, 1");
    op!(k, "bra {top}");
    k.place(&end);
    let counts = k.param_u64(offset_of!(SuppressParams, counts));
    let to = k.address(counts, row, 4);
    op!(k, "@{leads} st.global.u32 [{to}], {count}");
    let name = if center { "suppress_center" } else { "suppress_corners" };
    emitter.finish(name, THREADS, size_of::<SuppressParams>())
}

/// Every 256th place from `first` on.
fn places(k: &mut Emitter, first: Reg, end: Reg, body: impl FnOnce(&mut Emitter, Reg)) {
    let at = k.r();
    op!(k, "mov.u32 {at}, {first}");
    let (top, done) = (k.label("PLACE"), k.label("PLACES"));
    k.place(&top);
    k.branch_ge(at, end, &done);
    body(k, at);
    op!(k, "add.u32 {at}, {at}, {THREADS}");
    op!(k, "bra {top}");
    k.place(&done);
}

/// The boxes that stay, class after class; a thread for each that could.
pub fn collect() -> Kernel {
    let (bytes, count) = (size_of::<SuppressParams>(), offset_of!(SuppressParams, count));
    each_thread("collect", bytes, count, |k, i, done| {
        let spatial = k.param_u32(offset_of!(SuppressParams, spatial));
        let classes = k.param_u32(offset_of!(SuppressParams, classes));
        let (row, at) = k.div_rem(i, spatial);
        let word = |k: &mut Emitter, base: usize, index: Reg| {
            let base = k.param_u64(base);
            let (address, v) = (k.address(base, index, 4), k.r());
            op!(k, "ld.global.u32 {v}, [{address}]");
            v
        };
        let stay = word(k, offset_of!(SuppressParams, counts), row);
        k.branch_ge(at, stay, done);
        let found = word(k, offset_of!(SuppressParams, kept), i);
        let start = word(k, offset_of!(SuppressParams, starts), row);
        let (picture, class) = k.div_rem(row, classes);
        op!(k, "add.u32 {start}, {start}, {at}");
        let out = k.param_u64(offset_of!(SuppressParams, out));
        let to = k.address(out, start, 24);
        for (place, v) in [picture, class, found].into_iter().enumerate() {
            let wide = k.d();
            op!(k, "cvt.u64.u32 {wide}, {v}");
            op!(k, "st.global.s64 [{to}+{}], {wide}", 8 * place);
        }
    })
}
