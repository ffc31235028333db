//! Products of tiles: rows with rows, for the scores, and scores with the rows of a matrix.
//!
//! Rows lie in shared memory 36 words apart, the matrix's 68: neither unit's reads meet in a bank.

use dlbc_ops::prim::Transform;

use super::{EXTENT, Frame, GROUPS, Group, Numbers, Place, THREADS, Unit};
use crate::emit::{Emitter, Reg, imm};
use crate::kernel::tile::{halves, load_where, part};
use crate::op;

/// Depth of a chunk, and words from a row to the next.
const CHUNK: u32 = 32;
const PITCH: u32 = CHUNK + 4;
/// The same of the matrix of the last product.
const WIDE: u32 = EXTENT + 4;

/// Where a lane reads in shared memory, in bytes.
pub(super) struct Lane {
    /// Of the own rows, of the others.
    rows: [Reg; 2],
    /// Of the matrix.
    mixed: Reg,
    /// Of its own scores, where they go through shared memory: to read a row of, and to write.
    scores: [Reg; 2],
}

impl Lane {
    /// `local` is the lane's own row in the block, `row` is `lane / 4`, `quad` is `lane % 4`.
    pub(super) fn new(k: &mut Emitter, unit: Unit, local: Reg, row: Reg, quad: Reg) -> Lane {
        let smem = k.mov_u32("smem");
        let mut at = |row: Reg, pitch: u32, quad: Option<(Reg, u32)>| {
            let r = k.r();
            op!(k, "mad.lo.u32 {r}, {row}, {}, {smem}", 4 * pitch);
            if let Some((quad, words)) = quad {
                op!(k, "mad.lo.u32 {r}, {quad}, {}, {r}", 4 * words);
            }
            r
        };
        match unit {
            Unit::Tensor => Lane {
                rows: [at(local, PITCH, Some((quad, 1))), at(row, PITCH, Some((quad, 1)))],
                mixed: at(quad, 2 * WIDE, Some((row, 1))),
                scores: [smem; 2],
            },
            Unit::Fma => Lane {
                rows: [at(local, PITCH, None), at(quad, 2 * PITCH, None)],
                mixed: at(quad, 2, None),
                scores: [at(local, WIDE, None), at(local, WIDE, Some((quad, 2)))],
            },
        }
    }
}

/// Regions of shared memory: own rows, other rows (after the scores both are free), the matrix.
pub(super) fn regions(k: &mut Emitter, mixes: bool) -> [u32; 3] {
    let rows = 4 * EXTENT * PITCH;
    let (left, right) = (k.shared(rows), k.shared(rows));
    [left, right, if mixes { k.shared(4 * EXTENT * WIDE) } else { 0 }]
}

/// A block's copy of part of a matrix: 64 rows from `rows.0` on, `extent` columns from `columns.0` on, both up to a limit. Elements
/// beyond are 0. `across` when neighbours in a row lie side by side.
struct Copy {
    extent: u32,
    pitch: u32,
    across: bool,
    rows: (Reg, Reg),
    columns: (Reg, Reg),
    part: Transform,
}

impl Copy {
    fn emit(&self, k: &mut Emitter, m: &Place, tid: Reg, region: u32) {
        let fast = if self.across { self.extent } else { EXTENT };
        let (low, high) = (k.r(), k.r());
        op!(k, "and.b32 {low}, {tid}, {}", fast - 1);
        op!(k, "shr.u32 {high}, {tid}, {}", fast.trailing_zeros());
        let (row, column) = if self.across { (high, low) } else { (low, high) };
        let to = k.mov_u32("smem");
        op!(k, "mad.lo.u32 {to}, {row}, {}, {to}", 4 * self.pitch);
        op!(k, "mad.lo.u32 {to}, {column}, 4, {to}");
        op!(k, "add.u32 {row}, {row}, {}", self.rows.0);
        op!(k, "add.u32 {column}, {column}, {}", self.columns.0);
        let (held, moving) = (k.p(), if self.across { row } else { column });
        let (fixed, limit) = if self.across { (column, self.columns.1) } else { (row, self.rows.1) };
        op!(k, "setp.lt.u32 {held}, {fixed}, {limit}");
        let limit = if self.across { self.rows.1 } else { self.columns.1 };
        let index = k.offset(Some(m.start), &[row, column], &m.strides);
        let apart = THREADS / fast;
        let step = k.r();
        op!(k, "mul.lo.u32 {step}, {}, {apart}", m.strides[usize::from(!self.across)]);
        let bytes = 4 * apart * if self.across { self.pitch } else { 1 };
        let count = self.extent * EXTENT / THREADS;
        // Eight loads under way at a time.
        for first in (0..count).step_by(8) {
            let mut values = vec![];
            for _ in 0..8 {
                let exists = k.p();
                op!(k, "setp.lt.and.u32 {exists}, {moving}, {limit}, {held}");
                let address = k.address(m.base, index, 4);
                values.push(load_where(k, address, Some(exists)));
                op!(k, "add.u32 {moving}, {moving}, {apart}");
                op!(k, "add.u32 {index}, {index}, {step}");
            }
            for (i, value) in values.into_iter().enumerate() {
                let value = part(k, self.part, value);
                op!(k, "st.shared.f32 [{to}+{}], {value}", region + (first + i as u32) * bytes);
            }
        }
    }
}

fn zeros(k: &mut Emitter) -> Numbers {
    let mut zero = || {
        let f = k.f();
        op!(k, "mov.f32 {f}, {}", imm(0.0));
        f
    };
    (0..GROUPS).map(|_| [zero(), zero(), zero(), zero()]).collect()
}

/// The sums of a group's products over the whole depth, a chunk at a time.
pub(super) fn dots(
    k: &mut Emitter,
    frame: &Frame,
    group: &Group,
    sides: [&Place; 2],
    depth: Reg,
    regions: [u32; 2],
    unit: Unit,
) -> Vec<Numbers> {
    let sums: Vec<Numbers> = group.parts.iter().map(|_| zeros(k)).collect();
    let from = k.mov_u32("0");
    let (top, end) = (k.label("CHUNK"), k.label("DOTTED"));
    k.place(&top);
    k.branch_ge(from, depth, &end);
    op!(k, "bar.sync 0");
    let rows = [(frame.first, frame.own), (frame.at, frame.other)];
    for (side, rows) in rows.into_iter().enumerate() {
        let copy = Copy {
            extent: CHUNK,
            pitch: PITCH,
            across: group.depth_first[side],
            rows,
            columns: (from, depth),
            part: Transform::Id,
        };
        copy.emit(k, sides[side], frame.tid, regions[side]);
    }
    op!(k, "bar.sync 0");
    let (left, right, until) = (k.r(), k.r(), k.r());
    op!(k, "add.u32 {left}, {}, {}", frame.lane.rows[0], regions[0]);
    op!(k, "add.u32 {right}, {}, {}", frame.lane.rows[1], regions[1]);
    op!(k, "add.u32 {until}, {from}, {CHUNK}");
    op!(k, "min.u32 {until}, {until}, {depth}");
    let step = k.label("STEP");
    k.place(&step);
    let each = match unit {
        Unit::Tensor => {
            dot_tensor(k, [left, right], group, &sums);
            8
        }
        Unit::Fma => {
            dot_fma(k, [left, right], group, &sums);
            4
        }
    };
    op!(k, "add.u32 {left}, {left}, {}", 4 * each);
    op!(k, "add.u32 {right}, {right}, {}", 4 * each);
    op!(k, "add.u32 {from}, {from}, {each}");
    let more = k.p();
    op!(k, "setp.lt.u32 {more}, {from}, {until}");
    op!(k, "@{more} bra {step}");
    op!(k, "bra {top}");
    k.place(&end);
    sums
}

fn read(k: &mut Emitter, at: Reg, words: u32) -> Reg {
    let v = k.f();
    op!(k, "ld.shared.f32 {v}, [{at}+{}]", 4 * words);
    v
}

/// `c += a · b` of a warp's 16 rows, depth 8 and 8 columns. The small products first: they would be lost beside the large one.
fn mma(k: &mut Emitter, c: &[Reg; 4], a: &[[Reg; 2]; 4], b: &[[Reg; 2]; 2]) {
    let [c0, c1, c2, c3] = c;
    for [i, j] in [[1, 0], [0, 1], [0, 0]] {
        op!(
            k,
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {{{c0}, {c1}, {c2}, {c3}}}, {{{}, {}, {}, {}}}, {{{}, {}}}, \
             {{{c0}, {c1}, {c2}, {c3}}}",
            a[0][i],
            a[1][i],
            a[2][i],
            a[3][i],
            b[0][j],
            b[1][j]
        );
    }
}

fn dot_tensor(k: &mut Emitter, [left, right]: [Reg; 2], group: &Group, sums: &[Numbers]) {
    let own = [(0, 0), (8, 0), (0, 4), (8, 4)].map(|(row, depth)| read(k, left, row * PITCH + depth));
    let own: Vec<[[Reg; 2]; 4]> = group
        .parts
        .iter()
        .map(|[p, _]| {
            own.map(|v| {
                let v = part(k, *p, v);
                halves(k, v)
            })
        })
        .collect();
    for column in 0..GROUPS {
        let other = [0, 4].map(|depth| read(k, right, 8 * column as u32 * PITCH + depth));
        for (([_, p], own), sums) in group.parts.iter().zip(&own).zip(sums) {
            let other = other.map(|v| {
                let v = part(k, *p, v);
                halves(k, v)
            });
            mma(k, &sums[column], own, &other);
        }
    }
}

/// Words side by side.
fn read_many(k: &mut Emitter, at: Reg, words: u32, count: usize) -> Vec<Reg> {
    let found: Vec<Reg> = (0..count).map(|_| k.f()).collect();
    let list: Vec<String> = found.iter().map(Reg::to_string).collect();
    op!(k, "ld.shared.v{count}.f32 {{{}}}, [{at}+{}]", list.join(", "), 4 * words);
    found
}

fn dot_fma(k: &mut Emitter, [left, right]: [Reg; 2], group: &Group, sums: &[Numbers]) {
    let own = [0, 8].map(|row| read_many(k, left, row * PITCH, 4));
    for column in 0..GROUPS {
        for side in 0..2 {
            let other = read_many(k, right, (8 * column as u32 + side) * PITCH, 4);
            for ([p, q], sums) in group.parts.iter().zip(sums) {
                for (depth, b) in other.iter().enumerate() {
                    let b = part(k, *q, *b);
                    for (row, own) in own.iter().enumerate() {
                        let a = part(k, *p, own[depth]);
                        let sum = sums[column][2 * row + side as usize];
                        op!(k, "fma.rn.f32 {sum}, {a}, {b}, {sum}");
                    }
                }
            }
        }
    }
}

/// Copies the rows of the matrix that meet this tile's columns.
pub(super) fn fetch(k: &mut Emitter, frame: &Frame, m: &Place, (p, across): (Transform, bool), region: u32) {
    let copy = Copy {
        extent: EXTENT,
        pitch: WIDE,
        across,
        rows: (frame.at, frame.other),
        columns: (frame.column, frame.width),
        part: p,
    };
    copy.emit(k, m, frame.tid, region);
}

/// `sums += scores · matrix`, the matrix in shared memory. `free` is where scores may be put.
pub(super) fn mix(
    k: &mut Emitter,
    frame: &Frame,
    scores: &Numbers,
    sums: &Numbers,
    (region, free): (u32, u32),
    unit: Unit,
) {
    let lane = &frame.lane;
    match unit {
        Unit::Tensor => {
            op!(k, "bar.sync 0");
            for (eight, four) in scores.iter().enumerate() {
                // A lane's columns 2t and 2t + 1 stand for the depths t and t + 4, on both sides.
                let own = [four[0], four[2], four[1], four[3]].map(|v| halves(k, v));
                for (column, sums) in sums.iter().enumerate() {
                    let other = [0, 1].map(|depth| {
                        let row = 8 * eight as u32 + depth;
                        let v = read(k, lane.mixed, region / 4 + row * WIDE + 8 * column as u32);
                        halves(k, v)
                    });
                    mma(k, sums, &own, &other);
                }
            }
        }
        Unit::Fma => {
            for (eight, four) in scores.iter().enumerate() {
                for row in 0..2 {
                    let at = free + 4 * (8 * row as u32 * WIDE + 8 * eight as u32);
                    let [a, b] = [four[2 * row], four[2 * row + 1]];
                    op!(k, "st.shared.v2.f32 [{}+{at}], {{{a}, {b}}}", lane.scores[1]);
                }
            }
            op!(k, "bar.sync 0");
            let (own, other, turn) = (k.r(), k.r(), k.mov_u32("0"));
            op!(k, "add.u32 {own}, {}, {free}", lane.scores[0]);
            op!(k, "add.u32 {other}, {}, {region}", lane.mixed);
            let top = k.label("MIX");
            k.place(&top);
            let rows = [0, 8].map(|row| read_many(k, own, row * WIDE, 4));
            for (depth, (above, below)) in rows[0].iter().zip(&rows[1]).enumerate() {
                for (column, sums) in sums.iter().enumerate() {
                    let pair = read_many(k, other, depth as u32 * WIDE + 8 * column as u32, 2);
                    for (place, sum) in sums.iter().enumerate() {
                        let (a, b) = (if place < 2 { above } else { below }, pair[place % 2]);
                        op!(k, "fma.rn.f32 {sum}, {a}, {b}, {sum}");
                    }
                }
            }
            op!(k, "add.u32 {own}, {own}, 16");
            op!(k, "add.u32 {other}, {other}, {}", 16 * WIDE);
            op!(k, "add.u32 {turn}, {turn}, 4");
            let more = k.p();
            op!(k, "setp.lt.u32 {more}, {turn}, {EXTENT}");
            op!(k, "@{more} bra {top}");
        }
    }
}

/// Sums of the last product, at first.
pub(super) fn sums(k: &mut Emitter) -> Numbers {
    zeros(k)
}
