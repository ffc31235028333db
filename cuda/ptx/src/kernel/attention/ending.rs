//! Reduction of score tiles: the update per tile, and the results after the last one.

use dlbc_ops::prim::Transform;

use super::{End, Frame, MatrixRegs, Numbers, THREADS, Unit, product};
use crate::emit::{Emitter, Reg, imm, imm64};
use crate::kernel::math;
use crate::op;

/// Accumulators of the reduction, which live through all tiles.
pub(super) struct Ending {
    end: End,
    /// Product with the matrix, by span of 64 columns.
    sums: Vec<Numbers>,
    /// Running maximum of each of the lane's two rows.
    maximum: Vec<Reg>,
    /// This lane's part of the sum of exponentials of each row.
    exponentials: Vec<Reg>,
    /// This lane's part of each row's sum, float64.
    totals: Vec<Reg>,
}

impl Ending {
    pub(super) fn new(k: &mut Emitter, end: End, spans: u32) -> Ending {
        let multiplies = matches!(end, End::Product { .. } | End::Softmax { .. });
        let softmax = matches!(end, End::Softmax { .. } | End::Statistics);
        let mut per_row = |value: f32| -> Vec<Reg> {
            (0..if softmax { 2 } else { 0 }).map(|_| math::unary(k, "mov.f32", imm(value))).collect()
        };
        let (maximum, exponentials) = (per_row(f32::NEG_INFINITY), per_row(0.0));
        let totals = (0..if end == End::Sum { 2 } else { 0 })
            .map(|_| {
                let g = k.g();
                op!(k, "mov.f64 {g}, {}", imm64(0.0));
                g
            })
            .collect();
        let spans = if multiplies { spans } else { 0 };
        let sums = (0..spans).map(|_| product::sums(k)).collect();
        Ending { end, sums, maximum, exponentials, totals }
    }

    /// Keeps the sums of the first span in shared memory, in a region of 64 by 64 words that other threads may still read. Each thread
    /// has words of its own.
    pub(super) fn park(&self, k: &mut Emitter, frame: &Frame, region: u32) {
        op!(k, "bar.sync 0");
        let base = parked(k, frame);
        for (i, sum) in self.sums[0].iter().flatten().enumerate() {
            op!(k, "st.shared.f32 [{base}+{}], {sum}", region + 4 * THREADS * i as u32);
        }
    }

    /// Loads the sums that [`Ending::park`] has stored.
    pub(super) fn unpark(&self, k: &mut Emitter, frame: &Frame, region: u32) {
        let base = parked(k, frame);
        for (i, sum) in self.sums[0].iter().flatten().enumerate() {
            op!(k, "ld.shared.f32 {sum}, [{base}+{}]", region + 4 * THREADS * i as u32);
        }
    }

    /// Accumulates a tile. `factor` is the matrix of the product and its region in shared memory; `free` is a region that the dot
    /// products no longer use.
    pub(super) fn tile(
        &self,
        k: &mut Emitter,
        frame: &Frame,
        scores: Numbers,
        factor: Option<(&MatrixRegs, u32)>,
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
        let Some((matrix, region)) = factor else { return };
        let copied = match self.end {
            End::Product { part, across } => (part, across),
            End::Softmax { across, .. } => (Transform::Id, across),
            End::Statistics | End::Sum => return,
        };
        let left = product::Left::new(k, frame, &scores, free, unit);
        for (span, sums) in self.sums.iter().enumerate() {
            // Other warps may still read the matrix of the previous tile or span.
            op!(k, "bar.sync 0");
            product::fetch(k, frame, matrix, copied, (span as u32, region));
            op!(k, "bar.sync 0");
            product::multiply_matrix(k, frame, &left, sums, region);
        }
    }

    /// Computes `e^(score - maximum)` with the running maximum, and rescales the sums when the maximum grows.
    fn exponentials(&self, k: &mut Emitter, scores: &Numbers) -> Numbers {
        let mut exponentials = scores.clone();
        for row in 0..2 {
            let (maximum, sum) = (self.maximum[row], self.exponentials[row]);
            // `max` drops NaN.
            let next = math::unary(k, "mov.f32", maximum);
            for four in scores {
                for score in &four[2 * row..2 * row + 2] {
                    op!(k, "max.f32 {next}, {next}, {score}");
                }
            }
            across_lanes(k, "max.f32", next);
            // While a row is all -∞, its sums stay 0.
            let masked = math::test(k, "eq", next, imm(f32::NEG_INFINITY));
            let base = math::pick(k, imm(0.0), next, masked);
            let less = math::binary(k, "sub.rn.f32", maximum, base);
            let scale = math::exp(k, less);
            op!(k, "mov.f32 {maximum}, {next}");
            for four in &mut exponentials {
                for score in &mut four[2 * row..2 * row + 2] {
                    let less = math::binary(k, "sub.rn.f32", *score, base);
                    *score = math::exp(k, less);
                }
            }
            let tile_sum = row_sum(k, &exponentials, row);
            op!(k, "fma.rn.f32 {sum}, {sum}, {scale}, {tile_sum}");
            for four in self.sums.iter().flatten() {
                for s in &four[2 * row..2 * row + 2] {
                    op!(k, "mul.rn.f32 {s}, {s}, {scale}");
                }
            }
        }
        exponentials
    }

    /// Stores the results.
    pub(super) fn finish(&self, k: &mut Emitter, frame: &Frame, results: &[MatrixRegs]) {
        // Results with one element per row are stored by the first of the row's four lanes, in the block of the first columns.
        let leads = k.p();
        op!(k, "setp.eq.u32 {leads}, {}, 0", frame.pair);
        op!(k, "setp.eq.and.u32 {leads}, {}, 0, {leads}", frame.out_column);
        let store_row = |k: &mut Emitter, m: &MatrixRegs, row: usize, value: Reg| {
            let writes = k.p();
            op!(k, "and.pred {writes}, {leads}, {}", frame.row_exists[row]);
            let index = k.offset(Some(m.start), &[frame.lane_rows[row]], &[m.strides[0]]);
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
                    store_row(k, &results[0], row, sum);
                }
                return;
            }
            End::Statistics | End::Softmax { .. } => {
                let statistics = if self.end == End::Statistics { results } else { &results[1..] };
                for row in 0..2 {
                    let (maximum, sum) = (self.maximum[row], self.exponentials[row]);
                    across_lanes(k, "add.rn.f32", sum);
                    let inverse = math::unary(k, "rcp.rn.f32", sum);
                    store_row(k, &statistics[0], row, maximum);
                    store_row(k, &statistics[1], row, inverse);
                    for four in values.iter_mut().flatten() {
                        for v in &mut four[2 * row..2 * row + 2] {
                            *v = math::binary(k, "mul.rn.f32", *v, inverse);
                        }
                    }
                    if let End::Softmax { guard: true, .. } = self.end {
                        let masked = math::test(k, "eq", maximum, imm(f32::NEG_INFINITY));
                        for v in values.iter_mut().flatten().flat_map(|four| &mut four[2 * row..2 * row + 2])
                        {
                            *v = math::pick(k, imm(0.0), *v, masked);
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
        op!(k, "add.u32 {first}, {}, {}", frame.out_column, frame.pair);
        for (group, four) in values.iter().flatten().enumerate() {
            for (element, v) in four.iter().enumerate() {
                let (row, side) = (element / 2, element % 2);
                let (column, exists) = (k.r(), k.p());
                op!(k, "add.u32 {column}, {first}, {}", 8 * group + side);
                op!(k, "setp.lt.and.u32 {exists}, {column}, {}, {}", frame.out_width, frame.row_exists[row]);
                let index = k.offset(Some(out.start), &[frame.lane_rows[row], column], &out.strides);
                let address = k.address(out.base, index, 4);
                op!(k, "@{exists} st.global.f32 [{address}], {v}");
            }
        }
    }
}

/// Returns the address of the thread's first word in a region of shared memory, relative to the region.
fn parked(k: &mut Emitter, frame: &Frame) -> Reg {
    let base = k.mov_u32("smem");
    op!(k, "mad.lo.u32 {base}, {}, 4, {base}", frame.tid);
    base
}

/// Sums the elements of a row in this lane.
fn row_sum(k: &mut Emitter, numbers: &Numbers, row: usize) -> Reg {
    let sum = math::unary(k, "mov.f32", imm(0.0));
    for v in numbers.iter().flat_map(|four| &four[2 * row..2 * row + 2]) {
        op!(k, "add.rn.f32 {sum}, {sum}, {v}");
    }
    sum
}

/// Combines the values of a row's four lanes.
fn across_lanes(k: &mut Emitter, name: &str, value: Reg) {
    for distance in [1, 2] {
        let other = k.f();
        op!(k, "shfl.sync.bfly.b32 {other}, {value}, {distance}, 31, 0xffffffff");
        op!(k, "{name} {value}, {value}, {other}");
    }
}
