//! Products of tiles: dot products of rows, for the scores, and the product of scores with a matrix.
//!
//! In shared memory, the rows of dot products have a pitch of 36 words and those of the matrix 68, so that neither unit's reads
//! have bank conflicts.

use dlbc_ops::prim::Transform;

use super::{EXTENT, Frame, GROUPS, Group, MatrixRegs, Numbers, Operands, THREADS, Unit};
use crate::emit::{Emitter, Reg, imm};
use crate::kernel::tile::{halves, load_where, transform};
use crate::op;

/// Depth of a chunk of the dot products.
const CHUNK: u32 = 32;
/// Pitch of the rows of dot products, in words.
const PITCH: u32 = CHUNK + 4;
/// Pitch of the rows of the matrix, in words.
const MATRIX_PITCH: u32 = EXTENT + 4;

/// Shared addresses of a lane in bytes, relative to the region of the operand.
pub(super) struct Lane {
    /// Operands of the dot products: rows of the block, rows of the loop.
    rows: [Reg; 2],
    /// Matrix of the product.
    matrix: Reg,
    /// Scores of scalar threads, which go through shared memory: address to read a row, address to write.
    scores: [Reg; 2],
}

impl Lane {
    /// Computes the addresses. `local` is the lane's row in the block, `row` is `lane / 4`, `quad` is `lane % 4`.
    pub(super) fn new(k: &mut Emitter, unit: Unit, local: Reg, row: Reg, quad: Reg) -> Lane {
        let smem = k.mov_u32("smem");
        let mut address = |row: Reg, pitch: u32, quad: Option<(Reg, u32)>| {
            let r = k.r();
            op!(k, "mad.lo.u32 {r}, {row}, {}, {smem}", 4 * pitch);
            if let Some((quad, words)) = quad {
                op!(k, "mad.lo.u32 {r}, {quad}, {}, {r}", 4 * words);
            }
            r
        };
        match unit {
            Unit::Tensor(_) => Lane {
                rows: [address(local, PITCH, Some((quad, 1))), address(row, PITCH, Some((quad, 1)))],
                matrix: address(quad, 2 * MATRIX_PITCH, Some((row, 1))),
                scores: [smem; 2],
            },
            Unit::Fma => Lane {
                rows: [address(local, PITCH, None), address(quad, 2 * PITCH, None)],
                matrix: address(quad, 2, None),
                scores: [address(local, MATRIX_PITCH, None), address(local, MATRIX_PITCH, Some((quad, 2)))],
            },
        }
    }
}

/// Reserves the regions of shared memory: rows of the block, rows of the loop (both free once the scores are computed), and the
/// matrix, if the scores are multiplied by one.
pub(super) fn regions(k: &mut Emitter, multiplies: bool) -> [u32; 3] {
    let rows = 4 * EXTENT * PITCH;
    let (left, right) = (k.shared(rows), k.shared(rows));
    [left, right, if multiplies { k.shared(4 * EXTENT * MATRIX_PITCH) } else { 0 }]
}

/// A block's copy of a part of a matrix to shared memory: 64 rows and `extent` columns.
struct Copy {
    extent: u32,
    /// Pitch of the rows in shared memory, in words.
    pitch: u32,
    /// The matrix is contiguous along its columns, rather than along its rows.
    across: bool,
    /// First row, and the end of the matrix; elements beyond it are 0.
    rows: (Reg, Reg),
    /// First column, and the end of the matrix; elements beyond it are 0.
    columns: (Reg, Reg),
    /// Transform that is applied to the elements.
    transform: Transform,
}

impl Copy {
    fn emit(&self, k: &mut Emitter, m: &MatrixRegs, tid: Reg, region: u32) {
        let fast = if self.across { self.extent } else { EXTENT };
        let (low, high) = (k.r(), k.r());
        op!(k, "and.b32 {low}, {tid}, {}", fast - 1);
        op!(k, "shr.u32 {high}, {tid}, {}", fast.trailing_zeros());
        let (row, column) = if self.across { (high, low) } else { (low, high) };
        let target = k.mov_u32("smem");
        op!(k, "mad.lo.u32 {target}, {row}, {}, {target}", 4 * self.pitch);
        op!(k, "mad.lo.u32 {target}, {column}, 4, {target}");
        op!(k, "add.u32 {row}, {row}, {}", self.rows.0);
        op!(k, "add.u32 {column}, {column}, {}", self.columns.0);
        let (fixed_exists, moving) = (k.p(), if self.across { row } else { column });
        let (fixed, limit) = if self.across { (column, self.columns.1) } else { (row, self.rows.1) };
        op!(k, "setp.lt.u32 {fixed_exists}, {fixed}, {limit}");
        let limit = if self.across { self.rows.1 } else { self.columns.1 };
        let index = k.offset(Some(m.start), &[row, column], &m.strides);
        let stride = THREADS / fast;
        let step = k.r();
        op!(k, "mul.lo.u32 {step}, {}, {stride}", m.strides[usize::from(!self.across)]);
        let bytes = 4 * stride * if self.across { self.pitch } else { 1 };
        let count = self.extent * EXTENT / THREADS;
        // Eight loads are in flight at a time.
        for first in (0..count).step_by(8) {
            let mut values = vec![];
            for _ in 0..8 {
                let exists = k.p();
                op!(k, "setp.lt.and.u32 {exists}, {moving}, {limit}, {fixed_exists}");
                let address = k.address(m.base, index, 4);
                values.push(load_where(k, address, Some(exists)));
                op!(k, "add.u32 {moving}, {moving}, {stride}");
                op!(k, "add.u32 {index}, {index}, {step}");
            }
            for (i, value) in values.into_iter().enumerate() {
                let value = transform(k, self.transform, value);
                op!(k, "st.shared.f32 [{target}+{}], {value}", region + (first + i as u32) * bytes);
            }
        }
    }
}

fn zeros(k: &mut Emitter) -> Numbers {
    (0..GROUPS).map(|_| zeros_of_group(k)).collect()
}

/// Declares and zeroes the elements of 8 columns.
fn zeros_of_group(k: &mut Emitter) -> [Reg; 4] {
    [(); 4].map(|()| {
        let f = k.f();
        op!(k, "mov.f32 {f}, {}", imm(0.0));
        f
    })
}

/// Computes the dot products of a group over the whole depth, one chunk at a time.
pub(super) fn dots(
    k: &mut Emitter,
    frame: &Frame,
    group: &Group,
    sides: [&MatrixRegs; 2],
    depth: Reg,
    regions: [u32; 2],
    unit: Unit,
) -> Vec<Numbers> {
    let sums: Vec<Numbers> = group.parts.iter().map(|_| zeros(k)).collect();
    let columns = columns(k, frame);
    let from = k.mov_u32("0");
    let (top, end) = (k.label("CHUNK"), k.label("DOTTED"));
    k.place(&top);
    k.branch_ge(from, depth, &end);
    op!(k, "bar.sync 0");
    let rows = [(frame.first_row, frame.row_count), (frame.first_column, frame.column_count)];
    for (side, rows) in rows.into_iter().enumerate() {
        let copy = Copy {
            extent: CHUNK,
            pitch: PITCH,
            across: group.depth_first[side],
            rows,
            columns: (from, depth),
            transform: Transform::Id,
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
    let step_depth = match unit {
        Unit::Tensor(operands) => {
            dot_tensor(k, [left, right], group, &sums, (operands, columns));
            8
        }
        Unit::Fma => {
            dot_fma(k, [left, right], group, &sums);
            4
        }
    };
    op!(k, "add.u32 {left}, {left}, {}", 4 * step_depth);
    op!(k, "add.u32 {right}, {right}, {}", 4 * step_depth);
    op!(k, "add.u32 {from}, {from}, {step_depth}");
    let more = k.p();
    op!(k, "setp.lt.u32 {more}, {from}, {until}");
    op!(k, "@{more} bra {step}");
    op!(k, "bra {top}");
    k.place(&end);
    sums
}

/// Loads the float `words` words behind a shared address.
fn read(k: &mut Emitter, address: Reg, words: u32) -> Reg {
    let v = k.f();
    op!(k, "ld.shared.f32 {v}, [{address}+{}]", 4 * words);
    v
}

/// Converts a float to operands of a tensor core: two for split ones, else one.
fn operands(k: &mut Emitter, operands: Operands, v: Reg) -> Vec<Reg> {
    match operands {
        Operands::Split => halves(k, v).to_vec(),
        Operands::Rounded => {
            let u = k.r();
            op!(k, "cvt.rna.tf32.f32 {u}, {v}");
            vec![u]
        }
    }
}

/// Adds `a · b` to `c`, for the 16 rows, 8 depths and 8 columns of a warp. Small products come first: added to the large one,
/// they would lose their low bits.
fn mma(k: &mut Emitter, c: &[Reg; 4], a: &[Vec<Reg>; 4], b: &[Vec<Reg>; 2]) {
    let pairs: &[[usize; 2]] = if a[0].len() > 1 { &[[1, 0], [0, 1], [0, 0]] } else { &[[0, 0]] };
    let [c0, c1, c2, c3] = c;
    for [i, j] in pairs.iter().copied() {
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

/// Adds the elements of 8 columns to sums, each rounded to nearest.
fn add(k: &mut Emitter, sums: &[Reg; 4], terms: &[Reg; 4]) {
    for (sum, term) in sums.iter().zip(terms) {
        op!(k, "add.rn.f32 {sum}, {sum}, {term}");
    }
}

/// Adds a step's products, for the columns of the tile that exist: `columns` of them.
fn dot_tensor(
    k: &mut Emitter,
    [left, right]: [Reg; 2],
    group: &Group,
    sums: &[Numbers],
    (precision, columns): (Operands, Reg),
) {
    let values = [(0, 0), (8, 0), (0, 4), (8, 4)].map(|(row, depth)| read(k, left, row * PITCH + depth));
    let operand = |k: &mut Emitter, part: Transform, v: Reg| {
        let v = transform(k, part, v);
        operands(k, precision, v)
    };
    let left: Vec<[Vec<Reg>; 4]> =
        group.parts.iter().map(|[p, _]| values.map(|v| operand(k, *p, v))).collect();
    let end = k.label("STEPPED");
    for column in 0..GROUPS {
        leave_beyond(k, columns, 8 * column, &end);
        let values = [0, 4].map(|depth| read(k, right, 8 * column as u32 * PITCH + depth));
        for (([_, p], left), sums) in group.parts.iter().zip(&left).zip(sums) {
            let right = values.map(|v| operand(k, *p, v));
            // Tensor cores truncate what they add, so they sum a step from zero, and an addition that rounds to nearest adds it.
            let step = zeros_of_group(k);
            mma(k, &step, left, &right);
            add(k, &sums[column], &step);
        }
    }
    k.place(&end);
}

/// Jumps to `end` if the tile has no columns from `column` on. The assembler does not begin products behind the jump before it, for
/// which registers would not suffice.
pub(super) fn leave_beyond(k: &mut Emitter, columns: Reg, column: usize, end: &str) {
    if column > 0 {
        let over = k.p();
        op!(k, "setp.lt.u32 {over}, {columns}, {}", column + 1);
        op!(k, "@{over} bra {end}");
    }
}

/// Returns the number of columns of the scores from the tile's first one on.
pub(super) fn columns(k: &mut Emitter, frame: &Frame) -> Reg {
    let columns = k.r();
    op!(k, "sub.u32 {columns}, {}, {}", frame.column_count, frame.first_column);
    columns
}

/// Loads `count` adjacent floats, `words` words behind a shared address.
fn read_many(k: &mut Emitter, address: Reg, words: u32, count: usize) -> Vec<Reg> {
    let floats: Vec<Reg> = (0..count).map(|_| k.f()).collect();
    let list: Vec<String> = floats.iter().map(Reg::to_string).collect();
    op!(k, "ld.shared.v{count}.f32 {{{}}}, [{address}+{}]", list.join(", "), 4 * words);
    floats
}

fn dot_fma(k: &mut Emitter, [left, right]: [Reg; 2], group: &Group, sums: &[Numbers]) {
    let left = [0, 8].map(|row| read_many(k, left, row * PITCH, 4));
    for column in 0..GROUPS {
        for side in 0..2 {
            let right = read_many(k, right, (8 * column as u32 + side) * PITCH, 4);
            for ([p, q], sums) in group.parts.iter().zip(sums) {
                for (depth, b) in right.iter().enumerate() {
                    let b = transform(k, *q, *b);
                    for (row, left) in left.iter().enumerate() {
                        let a = transform(k, *p, left[depth]);
                        let sum = sums[column][2 * row + side as usize];
                        op!(k, "fma.rn.f32 {sum}, {a}, {b}, {sum}");
                    }
                }
            }
        }
    }
}

/// Copies the rows of the matrix that belong to the columns of the current tile, and of these the columns of a span of the
/// result; `across` as in [`super::End`].
pub(super) fn fetch(
    k: &mut Emitter,
    frame: &Frame,
    m: &MatrixRegs,
    (transform, across): (Transform, bool),
    (span, region): (u32, u32),
) {
    let column = k.r();
    op!(k, "add.u32 {column}, {}, {}", frame.out_column, EXTENT * span);
    let copy = Copy {
        extent: EXTENT,
        pitch: MATRIX_PITCH,
        across,
        rows: (frame.first_column, frame.column_count),
        columns: (column, frame.out_width),
        transform,
    };
    copy.emit(k, m, frame.tid, region);
}

/// Scores of a tile as left operands of the product with the matrix.
pub(super) enum Left {
    /// Operands of a tensor core in registers, by group of 8 columns.
    Registers(Vec<[Reg; 4]>, Operands),
    /// Offset in shared memory to which scalar threads store them.
    Shared(u32),
}

impl Left {
    /// Prepares the scores; scalar threads store them in the region `free`.
    pub(super) fn new(k: &mut Emitter, frame: &Frame, scores: &Numbers, free: u32, unit: Unit) -> Left {
        match unit {
            Unit::Tensor(operands) => Left::Registers(scores.clone(), operands),
            Unit::Fma => {
                // Other warps may still read the dot products' operands.
                op!(k, "bar.sync 0");
                for (group, four) in scores.iter().enumerate() {
                    for row in 0..2 {
                        let offset = free + 4 * (8 * row as u32 * MATRIX_PITCH + 8 * group as u32);
                        let [a, b] = [four[2 * row], four[2 * row + 1]];
                        op!(k, "st.shared.v2.f32 [{}+{offset}], {{{a}, {b}}}", frame.lane.scores[1]);
                    }
                }
                Left::Shared(free)
            }
        }
    }
}

/// Adds `scores · matrix` to `sums`. The matrix is in `region` of shared memory.
pub(super) fn multiply_matrix(k: &mut Emitter, frame: &Frame, left: &Left, sums: &Numbers, region: u32) {
    let lane = &frame.lane;
    match left {
        Left::Registers(scores, precision) => {
            let (columns, end) = (columns(k, frame), k.label("MIXED"));
            for (group, four) in scores.iter().enumerate() {
                leave_beyond(k, columns, 8 * group, &end);
                // Columns 2t and 2t + 1 of a lane serve as depths t and t + 4 of both operands.
                let left = [four[0], four[2], four[1], four[3]].map(|v| operands(k, *precision, v));
                for (column, sums) in sums.iter().enumerate() {
                    let right = [0, 1].map(|depth| {
                        let row = (8 * group + depth) as u32 * MATRIX_PITCH;
                        let v = read(k, lane.matrix, region / 4 + row + 8 * column as u32);
                        operands(k, *precision, v)
                    });
                    let step = zeros_of_group(k);
                    mma(k, &step, &left, &right);
                    add(k, sums, &step);
                }
            }
            k.place(&end);
        }
        Left::Shared(free) => {
            let (left, right, depth) = (k.r(), k.r(), k.mov_u32("0"));
            op!(k, "add.u32 {left}, {}, {free}", lane.scores[0]);
            op!(k, "add.u32 {right}, {}, {region}", lane.matrix);
            let top = k.label("MIX");
            k.place(&top);
            let rows = [0, 8].map(|row| read_many(k, left, row * MATRIX_PITCH, 4));
            for (i, (above, below)) in rows[0].iter().zip(&rows[1]).enumerate() {
                for (column, sums) in sums.iter().enumerate() {
                    let pair = read_many(k, right, i as u32 * MATRIX_PITCH + 8 * column as u32, 2);
                    for (element, sum) in sums.iter().enumerate() {
                        let (a, b) = (if element < 2 { above } else { below }, pair[element % 2]);
                        op!(k, "fma.rn.f32 {sum}, {a}, {b}, {sum}");
                    }
                }
            }
            op!(k, "add.u32 {left}, {left}, 16");
            op!(k, "add.u32 {right}, {right}, {}", 16 * MATRIX_PITCH);
            op!(k, "add.u32 {depth}, {depth}, 4");
            let more = k.p();
            op!(k, "setp.lt.u32 {more}, {depth}, {EXTENT}");
            op!(k, "@{more} bra {top}");
        }
    }
}

/// Declares and zeroes the sums of the product with the matrix.
pub(super) fn sums(k: &mut Emitter) -> Numbers {
    zeros(k)
}
