//! Greedy non-maximum suppression: one block per class, which visits the class's boxes by descending score. Areas and
//! overlaps are computed in float64, as in the reference, so that both keep the same boxes.

use std::mem::offset_of;

use super::each_thread;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm64};
use crate::{op, params};

params! {
    /// Parameters of [`suppress`] and [`collect`]. Boxes have the shape `[batch, spatial, 4]`, scores
    /// `[batch, classes, spatial]`.
    pub struct SuppressParams {
        /// Address of the boxes.
        boxes: u64,
        /// Address of the scores.
        scores: u64,
        /// Address of the box indices of each class, by descending score.
        order: u64,
        /// Address of the maximum number of boxes per class, int64.
        max_boxes: u64,
        /// Address of the overlap above which a box is suppressed, float32.
        overlap: u64,
        /// Address of the score that a box must exceed, float32.
        min_score: u64,
        /// Address of one word per position in `order`, 0 once its box is suppressed. Only the thread that writes a word reads it.
        alive: u64,
        /// Address of the box indices that remain, `[batch · classes, spatial]`.
        selected: u64,
        /// Address of the number of boxes that remain, by class.
        counts: u64,
        /// Address of the exclusive scan of `counts`.
        starts: u64,
        /// Address of the result: rows `(batch, class, box)`, int64.
        out: u64,
        /// Number of threads with work.
        count: u32,
        /// Number of classes.
        classes: u32,
        /// Boxes per picture.
        spatial: u32,
    }
}

const THREADS: u32 = 256;

/// Lower bounds of a box along both axes, then its upper bounds, in float64.
struct Corners([Reg; 4]);

/// Operands of a block, in registers.
struct Block {
    boxes: Reg,
    order: Reg,
    alive: Reg,
    spatial: Reg,
    /// First position of the class in `order`.
    first: Reg,
    /// First box of the picture.
    first_box: Reg,
    /// Boxes are stored as centre and size, rather than as two corners.
    center: bool,
}

impl Block {
    /// Loads the index of the box at a position in `order`.
    fn box_at(&self, k: &mut Emitter, position: Reg) -> Reg {
        let (index, box_index) = (k.r(), k.r());
        op!(k, "add.u32 {index}, {}, {position}", self.first);
        let address = k.address(self.order, index, 4);
        op!(k, "ld.global.u32 {box_index}, [{address}]");
        box_index
    }

    /// Returns the address of the word in `alive` for a position in `order`.
    fn alive(&self, k: &mut Emitter, position: Reg) -> Reg {
        let index = k.r();
        op!(k, "add.u32 {index}, {}, {position}", self.first);
        k.address(self.alive, index, 4)
    }

    fn corners(&self, k: &mut Emitter, box_index: Reg) -> Corners {
        let index = k.r();
        op!(k, "add.u32 {index}, {}, {box_index}", self.first_box);
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

/// Computes the intersection over union of two boxes.
fn overlap(k: &mut Emitter, a: &Corners, a_area: Reg, b: &Corners) -> Reg {
    let [both, other] = [0, 1].map(|low| {
        let (high, start) = (k.g(), k.g());
        op!(k, "min.f64 {high}, {}, {}", a.0[low + 2], b.0[low + 2]);
        op!(k, "max.f64 {start}, {}, {}", a.0[low], b.0[low]);
        op!(k, "sub.rn.f64 {high}, {high}, {start}");
        high
    });
    // One axis suffices to detect disjoint boxes: an intersection that is not positive counts as 0.
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

/// Builds the kernel that selects the boxes of each class; one block per class.
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
    let (min_score, limit) = (scalar(k, offset_of!(SuppressParams, min_score)), k.g());
    let limit_f32 = scalar(k, offset_of!(SuppressParams, overlap));
    op!(k, "cvt.f64.f32 {limit}, {limit_f32}");
    let max_boxes_address = k.param_u64(offset_of!(SuppressParams, max_boxes));
    let max_boxes = k.d();
    op!(k, "ld.global.s64 {max_boxes}, [{max_boxes_address}]");

    let scores = k.param_u64(offset_of!(SuppressParams, scores));
    positions(k, thread, b.spatial, |k, position| {
        let box_index = b.box_at(k, position);
        let (index, score, above, flag) = (k.r(), k.f(), k.p(), k.r());
        op!(k, "add.u32 {index}, {first}, {box_index}");
        let address = k.address(scores, index, 4);
        op!(k, "ld.global.f32 {score}, [{address}]");
        op!(k, "setp.gt.f32 {above}, {score}, {min_score}");
        op!(k, "selp.b32 {flag}, 1, 0, {above}");
        let target = b.alive(k, position);
        op!(k, "st.global.u32 [{target}], {flag}");
    });

    let selected = k.param_u64(offset_of!(SuppressParams, selected));
    let (leads, count, position) = (k.p(), k.mov_u32("0"), k.mov_u32("0"));
    op!(k, "setp.eq.u32 {leads}, {thread}, 0");
    let (top, end, next) = (k.label("BOX"), k.label("ALL"), k.label("GONE"));
    k.place(&top);
    k.branch_ge(position, spatial, &end);
    let (wide, full) = (k.d(), k.p());
    op!(k, "cvt.u64.u32 {wide}, {count}");
    op!(k, "setp.le.s64 {full}, {max_boxes}, {wide}");
    op!(k, "@{full} bra {end}");
    // The thread that wrote the word broadcasts it. Two slots alternate, so one barrier per box suffices.
    let (owner, owns, slot, flag) = (k.r(), k.p(), k.r(), k.r());
    op!(k, "and.b32 {owner}, {position}, {}", THREADS - 1);
    op!(k, "setp.eq.u32 {owns}, {owner}, {thread}");
    op!(k, "and.b32 {slot}, {position}, 1");
    op!(k, "mad.lo.u32 {slot}, {slot}, 4, {smem}");
    let alive = b.alive(k, position);
    op!(k, "@{owns} ld.global.u32 {flag}, [{alive}]");
    op!(k, "@{owns} st.shared.u32 [{slot}+{slots}], {flag}");
    op!(k, "bar.sync 0");
    let (there, gone) = (k.r(), k.p());
    op!(k, "ld.shared.u32 {there}, [{slot}+{slots}]");
    op!(k, "setp.eq.u32 {gone}, {there}, 0");
    op!(k, "@{gone} bra {next}");
    let box_index = b.box_at(k, position);
    let index = k.r();
    op!(k, "add.u32 {index}, {first}, {count}");
    let target = k.address(selected, index, 4);
    op!(k, "@{leads} st.global.u32 [{target}], {box_index}");
    op!(k, "add.u32 {count}, {count}, 1");
    let corners = b.corners(k, box_index);
    let corners_area = area(k, &corners);
    // The thread's first position after this one.
    let (later, ahead) = (k.r(), k.r());
    op!(k, "add.u32 {later}, {position}, 1");
    op!(k, "sub.u32 {ahead}, {thread}, {later}");
    op!(k, "and.b32 {ahead}, {ahead}, {}", THREADS - 1);
    op!(k, "add.u32 {later}, {later}, {ahead}");
    positions(k, later, b.spatial, |k, position| {
        let (alive, flag, dead, skip) = (b.alive(k, position), k.r(), k.p(), k.label("DEAD"));
        op!(k, "ld.global.u32 {flag}, [{alive}]");
        op!(k, "setp.eq.u32 {dead}, {flag}, 0");
        op!(k, "@{dead} bra {skip}");
        let other_index = b.box_at(k, position);
        let other = b.corners(k, other_index);
        let share = overlap(k, &corners, corners_area, &other);
        let (stays, zero) = (k.p(), k.mov_u32("0"));
        op!(k, "setp.le.f64 {stays}, {share}, {limit}");
        op!(k, "@!{stays} st.global.u32 [{alive}], {zero}");
        k.place(&skip);
    });
    k.place(&next);
    op!(k, "add.u32 {position}, {position}, 1");
    op!(k, "bra {top}");
    k.place(&end);
    let counts = k.param_u64(offset_of!(SuppressParams, counts));
    let target = k.address(counts, row, 4);
    op!(k, "@{leads} st.global.u32 [{target}], {count}");
    let name = if center { "suppress_center" } else { "suppress_corners" };
    emitter.finish(name, THREADS, size_of::<SuppressParams>())
}

/// Runs `body` for every 256th position from `first` on, below `end`.
fn positions(k: &mut Emitter, first: Reg, end: Reg, body: impl FnOnce(&mut Emitter, Reg)) {
    let at = k.r();
    op!(k, "mov.u32 {at}, {first}");
    let (top, finished) = (k.label("PLACE"), k.label("PLACES"));
    k.place(&top);
    k.branch_ge(at, end, &finished);
    body(k, at);
    op!(k, "add.u32 {at}, {at}, {THREADS}");
    op!(k, "bra {top}");
    k.place(&finished);
}

/// Builds the kernel that lists the selected boxes class after class; one thread per candidate.
pub fn collect() -> Kernel {
    let (bytes, count) = (size_of::<SuppressParams>(), offset_of!(SuppressParams, count));
    each_thread("collect", bytes, count, |k, i, finished| {
        let spatial = k.param_u32(offset_of!(SuppressParams, spatial));
        let classes = k.param_u32(offset_of!(SuppressParams, classes));
        let (row, at) = k.div_rem(i, spatial);
        let word = |k: &mut Emitter, base: usize, index: Reg| {
            let base = k.param_u64(base);
            let (address, v) = (k.address(base, index, 4), k.r());
            op!(k, "ld.global.u32 {v}, [{address}]");
            v
        };
        let selected_count = word(k, offset_of!(SuppressParams, counts), row);
        k.branch_ge(at, selected_count, finished);
        let box_index = word(k, offset_of!(SuppressParams, selected), i);
        let start = word(k, offset_of!(SuppressParams, starts), row);
        let (picture, class) = k.div_rem(row, classes);
        op!(k, "add.u32 {start}, {start}, {at}");
        let out = k.param_u64(offset_of!(SuppressParams, out));
        let target = k.address(out, start, 24);
        for (column, v) in [picture, class, box_index].into_iter().enumerate() {
            let wide = k.d();
            op!(k, "cvt.u64.u32 {wide}, {v}");
            op!(k, "st.global.s64 [{target}+{}], {wide}", 8 * column);
        }
    })
}
