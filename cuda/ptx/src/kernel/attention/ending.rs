//! What becomes of a tile of scores, and of all tiles in the end.

use dlbc_ops::prim::Transform;

use super::{End, Frame, Numbers, Place, Unit, product};
use crate::emit::{Emitter, Reg, imm, imm64};
use crate::kernel::math;
use crate::op;

/// Registers that live through all tiles.
pub(super) struct Ending {
    end: End,
    /// Of the product with the matrix.
    sums: Numbers,
    /// A row's maximum so far, and this lane's part of the sum of exponentials.
    maximum: Vec<Reg>,
    exponentials: Vec<Reg>,
    /// This lane's part of a row's sum, float64.
    totals: Vec<Reg>,
}

impl Ending {
    pub(super) fn new(k: &mut Emitter, end: End) -> Ending {
        let mixes = matches!(end, End::Product { .. } | End::Softmax { .. });
        let softmax = matches!(end, End::Softmax { .. } | End::Statistics);
        let mut two = |value: f32| -> Vec<Reg> {
            (0..if softmax { 2 } else { 0 }).map(|_| math::unary(k, "mov.f32", imm(value))).collect()
        };
        let (maximum, exponentials) = (two(f32::NEG_INFINITY), two(0.0));
        let totals = (0..if end == End::Sum { 2 } else { 0 })
            .map(|_| {
                let g = k.g();
                op!(k, "mov.f64 {g}, {}", imm64(0.0));
                g
            })
            .collect();
        let sums = if mixes { product::sums(k) } else { vec![] };
        Ending { end, sums, maximum, exponentials, totals }
    }

    /// Takes a tile in. `free` is shared memory that the scores' products have no more use for.
    pub(super) fn tile(
        &self,
        k: &mut Emitter,
        frame: &Frame,
        scores: Numbers,
        mix: Option<(&Place, u32)>,
        free: u32,
        unit: Unit,
    ) {
        let scores = match self.end {
            End::Softmax { .. } | End::Statistics => self.exponentials(k, &scores),
            End::Sum => {
                for (row, total) in self.totals.iter().enumerate() {
                    let sum = row_sum(k, &scores, row);
                    let wide = k.g();
                    op!(k, "cvt.f64.f32 {wide}, {sum}");
                    op!(k, "add.rn.f64 {total}, {total}, {wide}");
                }
                return;
            }
            End::Product { .. } => scores,
        };
        let Some((matrix, region)) = mix else { return };
        let how = match self.end {
            End::Product { part, across } => (part, across),
            End::Softmax { across, .. } => (Transform::Id, across),
            End::Statistics | End::Sum => return,
        };
        // Whoever is still mixing the tile before reads there.
        op!(k, "bar.sync 0");
        product::fetch(k, frame, matrix, how, region);
        product::mix(k, frame, &scores, &self.sums, (region, free), unit);
    }

    /// `e^(score - maximum)` by the maximum so far; what was summed by an earlier one is scaled.
    fn exponentials(&self, k: &mut Emitter, scores: &Numbers) -> Numbers {
        let mut made = scores.clone();
        for row in 0..2 {
            let (maximum, sum) = (self.maximum[row], self.exponentials[row]);
            // NaN changes no maximum.
            let next = math::unary(k, "mov.f32", maximum);
            for four in scores {
                for score in &four[2 * row..2 * row + 2] {
                    op!(k, "max.f32 {next}, {next}, {score}");
                }
            }
            across_lanes(k, "max.f32", next);
            // A row of nothing but -∞ so far keeps sums of 0.
            let nothing = math::test(k, "eq", next, imm(f32::NEG_INFINITY));
            let base = math::pick(k, imm(0.0), next, nothing);
            let less = math::binary(k, "sub.rn.f32", maximum, base);
            let scale = math::exp(k, less);
            op!(k, "mov.f32 {maximum}, {next}");
            for four in &mut made {
                for score in &mut four[2 * row..2 * row + 2] {
                    let less = math::binary(k, "sub.rn.f32", *score, base);
                    *score = math::exp(k, less);
                }
            }
            let here = row_sum(k, &made, row);
            op!(k, "fma.rn.f32 {sum}, {sum}, {scale}, {here}");
            for four in &self.sums {
                for s in &four[2 * row..2 * row + 2] {
                    op!(k, "mul.rn.f32 {s}, {s}, {scale}");
                }
            }
        }
        made
    }

    /// Writes the results.
    pub(super) fn finish(&self, k: &mut Emitter, frame: &Frame, results: &[Place]) {
        // The first of a row's four lanes writes what the row has one of, in the blocks of the first columns.
        let leads = k.p();
        op!(k, "setp.eq.u32 {leads}, {}, 0", frame.pair);
        op!(k, "setp.eq.and.u32 {leads}, {}, 0, {leads}", frame.column);
        let once = |k: &mut Emitter, m: &Place, row: usize, value: Reg| {
            let writes = k.p();
            op!(k, "and.pred {writes}, {leads}, {}", frame.exist[row]);
            let index = k.offset(Some(m.start), &[frame.rows[row]], &[m.strides[0]]);
            let address = k.address(m.base, index, 4);
            op!(k, "@{writes} st.global.f32 [{address}], {value}");
        };
        let mut values = self.sums.clone();
        match self.end {
            End::Product { .. } => {}
            End::Sum => {
                for (row, total) in self.totals.iter().enumerate() {
                    let sum = k.f();
                    op!(k, "cvt.rn.f32.f64 {sum}, {total}");
                    across_lanes(k, "add.rn.f32", sum);
                    once(k, &results[0], row, sum);
                }
                return;
            }
            End::Statistics | End::Softmax { .. } => {
                let kept = if self.end == End::Statistics { results } else { &results[1..] };
                for row in 0..2 {
                    let (maximum, sum) = (self.maximum[row], self.exponentials[row]);
                    across_lanes(k, "add.rn.f32", sum);
                    once(k, &kept[0], row, maximum);
                    once(k, &kept[1], row, sum);
                    for four in &mut values {
                        for v in &mut four[2 * row..2 * row + 2] {
                            *v = math::binary(k, "div.rn.f32", *v, sum);
                        }
                    }
                    if let End::Softmax { guard: true, .. } = self.end {
                        let nothing = math::test(k, "eq", maximum, imm(f32::NEG_INFINITY));
                        for v in values.iter_mut().flat_map(|four| &mut four[2 * row..2 * row + 2]) {
                            *v = math::pick(k, imm(0.0), *v, nothing);
                        }
                    }
                }
                if self.end == End::Statistics {
                    return;
                }
            }
        }
        let out = &results[0];
        let first = k.r();
        op!(k, "add.u32 {first}, {}, {}", frame.column, frame.pair);
        for (eight, four) in values.iter().enumerate() {
            for (place, v) in four.iter().enumerate() {
                let (row, side) = (place / 2, place % 2);
                let (column, exists) = (k.r(), k.p());
                op!(k, "add.u32 {column}, {first}, {}", 8 * eight + side);
                op!(k, "setp.lt.and.u32 {exists}, {column}, {}, {}", frame.width, frame.exist[row]);
                let index = k.offset(Some(out.start), &[frame.rows[row], column], &out.strides);
                let address = k.address(out.base, index, 4);
                op!(k, "@{exists} st.global.f32 [{address}], {v}");
            }
        }
    }
}

/// The sum of a row's numbers in this lane.
fn row_sum(k: &mut Emitter, numbers: &Numbers, row: usize) -> Reg {
    let sum = math::unary(k, "mov.f32", imm(0.0));
    for v in numbers.iter().flat_map(|four| &four[2 * row..2 * row + 2]) {
        op!(k, "add.rn.f32 {sum}, {sum}, {v}");
    }
    sum
}

/// Combines the four lanes of a row.
fn across_lanes(k: &mut Emitter, name: &str, value: Reg) {
    for distance in [1, 2] {
        let other = k.f();
        op!(k, "shfl.sync.bfly.b32 {other}, {value}, {distance}, 31, 0xffffffff");
        op!(k, "{name} {value}, {value}, {other}");
    }
}
