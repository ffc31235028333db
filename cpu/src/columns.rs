//! The im2col view of windows, which turns a convolution into a matrix product.

use dlbc_ops::prim::Window;
use tract_onnx::tract_core::internal::TVec;

use super::grid::Grid;

/// A window over one plane, with the dimensions of the operand and of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taps {
    window: Window,
    /// Spatial dimensions of the operand.
    input: Vec<usize>,
    /// Spatial dimensions of the result, whose elements are the positions of the window.
    output: Vec<usize>,
}

/// Consecutive positions of one row at which a tap falls inside the operand.
struct Run {
    /// First position, relative to the strip.
    position: usize,
    /// Index of the element that the tap reads at the first position.
    element: usize,
    /// Number of positions.
    len: usize,
}

impl Taps {
    /// Creates the view of a window from planes of `input` to planes of `output`.
    pub fn new(window: Window, input: &[usize], output: &[usize]) -> Taps {
        Taps { window, input: input.to_vec(), output: output.to_vec() }
    }

    /// Returns the grid on which each tap is a shift. Along each axis it is at most `1 + max_spare` times as long as the positions.
    pub fn grid(&self, max_spare: f32) -> Grid {
        Grid::new(&self.window, &self.input, &self.output, max_spare)
    }

    /// Returns the number of taps.
    pub fn count(&self) -> usize {
        self.window.kernel.iter().product()
    }

    /// Returns the number of positions.
    pub fn positions(&self) -> usize {
        self.output.iter().product()
    }

    /// Returns the number of elements of the operand's plane.
    pub fn plane(&self) -> usize {
        self.input.iter().product()
    }

    /// Returns the number of elements of a row of the operand's plane.
    pub fn row_len(&self) -> usize {
        self.input[self.input.len() - 1]
    }

    /// Returns whether the result has the same elements as the operand: one tap, stride 1, no padding.
    pub fn identity(&self) -> bool {
        let w = &self.window;
        let all_one = |v: &[usize]| v.iter().all(|v| *v == 1);
        let unpadded = w.before.iter().all(|b| *b == 0) && self.input == self.output;
        all_one(&w.kernel) && all_one(&w.strides) && unpadded
    }

    /// Calls `visit` for each run of `tap` within the positions `strip`.
    fn runs(&self, tap: usize, strip: &std::ops::Range<usize>, mut visit: impl FnMut(Run)) {
        let w = &self.window;
        let last = w.rank() - 1;
        let (row_positions, stride) = (self.output[last], w.strides[last] as i64);
        let mut k: TVec<usize> = TVec::from_elem(0, w.rank());
        let mut rest = tap;
        for i in (0..w.rank()).rev() {
            k[i] = rest % w.kernel[i];
            rest /= w.kernel[i];
        }
        // Columns: p·stride + offset in 0..input.
        let offset = (k[last] * w.dilations[last]) as i64 - w.before[last] as i64;
        let low = if offset < 0 { (-offset + stride - 1) / stride } else { 0 } as usize;
        let high = (self.input[last] as i64 - offset + stride - 1)
            .div_euclid(stride)
            .clamp(0, row_positions as i64) as usize;
        if low >= high {
            return;
        }
        for row in strip.start / row_positions..strip.end.div_ceil(row_positions) {
            let start = (row * row_positions).max(strip.start) - row * row_positions;
            let end = ((row + 1) * row_positions).min(strip.end) - row * row_positions;
            let (first, stop) = (start.max(low), end.min(high));
            if first >= stop {
                continue;
            }
            let Some(base) = self.row(row, &k) else { continue };
            visit(Run {
                position: row * row_positions + first - strip.start,
                element: base * self.input[last] + (first as i64 * stride + offset) as usize,
                len: stop - first,
            });
        }
    }

    /// Returns the row of the operand that `tap` reads for row `row` of the result, if it is inside the operand.
    fn row(&self, row: usize, tap: &[usize]) -> Option<usize> {
        let w = &self.window;
        let last = w.rank() - 1;
        let (mut rest, mut base, mut step) = (row, 0, 1);
        for i in (0..last).rev() {
            let o = rest % self.output[i];
            rest /= self.output[i];
            let p = (o * w.strides[i] + tap[i] * w.dilations[i]).checked_sub(w.before[i])?;
            if p >= self.input[i] {
                return None;
            }
            base += p * step;
            step *= self.input[i];
        }
        Some(base)
    }

    fn stride(&self) -> usize {
        self.window.strides[self.window.rank() - 1]
    }

    /// Adds columns `[taps, strip]` to the plane: the value of a tap at a position goes to the element that the tap reads there.
    pub fn fold(&self, columns: &[f32], strip: &std::ops::Range<usize>, plane: &mut [f32]) {
        let stride = self.stride();
        for (tap, row) in columns.chunks_exact(strip.len()).enumerate() {
            self.runs(tap, strip, |run| {
                let source = &row[run.position..run.position + run.len];
                if stride == 1 {
                    plane[run.element..run.element + run.len]
                        .iter_mut()
                        .zip(source)
                        .for_each(|(t, v)| *t += *v);
                } else {
                    plane[run.element..].iter_mut().step_by(stride).zip(source).for_each(|(t, v)| *t += *v);
                }
            });
        }
    }

    /// Computes `y[p] += Σ w[tap] · x[element of tap at p]` for all positions `p` of a plane.
    pub fn correlate(&self, w: &[f32], x: &[f32], y: &mut [f32]) {
        let (stride, all) = (self.stride(), 0..self.positions());
        for (tap, w) in w.iter().enumerate() {
            self.runs(tap, &all, |run| {
                let target = &mut y[run.position..run.position + run.len];
                if stride == 1 {
                    target
                        .iter_mut()
                        .zip(&x[run.element..run.element + run.len])
                        .for_each(|(t, v)| *t += w * v);
                } else {
                    target
                        .iter_mut()
                        .zip(x[run.element..].iter().step_by(stride))
                        .for_each(|(t, v)| *t += w * v);
                }
            });
        }
    }

    /// Computes the adjoint of [`Taps::correlate`]: `x[element of tap at p] += w[tap] · s[p]`.
    pub fn scatter(&self, w: &[f32], s: &[f32], x: &mut [f32]) {
        let (stride, all) = (self.stride(), 0..self.positions());
        for (tap, w) in w.iter().enumerate() {
            self.runs(tap, &all, |run| {
                let source = &s[run.position..run.position + run.len];
                if stride == 1 {
                    x[run.element..run.element + run.len]
                        .iter_mut()
                        .zip(source)
                        .for_each(|(t, v)| *t += w * v);
                } else {
                    x[run.element..].iter_mut().step_by(stride).zip(source).for_each(|(t, v)| *t += w * v);
                }
            });
        }
    }

    /// Computes `y[p] = max(y[p], x[element of tap at p])` over all taps of a plane.
    pub fn maximum(&self, x: &[f32], y: &mut [f32]) {
        let (stride, all) = (self.stride(), 0..self.positions());
        let take_larger = |y: &mut f32, x: &f32| *y = if *y < *x { *x } else { *y };
        for tap in 0..self.count() {
            self.runs(tap, &all, |run| {
                let to = y[run.position..run.position + run.len].iter_mut();
                if stride == 1 {
                    to.zip(&x[run.element..]).for_each(|(y, x)| take_larger(y, x));
                } else {
                    to.zip(x[run.element..].iter().step_by(stride)).for_each(|(y, x)| take_larger(y, x));
                }
            });
        }
    }

    /// Adds 1 to `ties[p]` for each tap at which `x` equals the maximum `m[p]`.
    pub fn count_equal(&self, x: &[f32], m: &[f32], ties: &mut [f32]) {
        let (stride, all) = (self.stride(), 0..self.positions());
        for tap in 0..self.count() {
            self.runs(tap, &all, |run| {
                let range = run.position..run.position + run.len;
                let pairs = ties[range.clone()].iter_mut().zip(&m[range]);
                let tie = |x: f32, m: f32| if x == m { 1.0 } else { 0.0 };
                if stride == 1 {
                    pairs.zip(&x[run.element..]).for_each(|((t, m), x)| *t += tie(*x, *m));
                } else {
                    pairs
                        .zip(x[run.element..].iter().step_by(stride))
                        .for_each(|((t, m), x)| *t += tie(*x, *m));
                }
            });
        }
    }

    /// Adds `share[p]` to `y` at each element of the window at `p` where `x` equals the maximum `m[p]`.
    pub fn scatter_equal(&self, x: &[f32], m: &[f32], share: &[f32], y: &mut [f32]) {
        let (stride, all) = (self.stride(), 0..self.positions());
        for tap in 0..self.count() {
            self.runs(tap, &all, |run| {
                let range = run.position..run.position + run.len;
                let pairs = share[range.clone()].iter().zip(&m[range]);
                let share_of = |x: f32, m: f32, s: f32| if x == m { s } else { 0.0 };
                let (x, y) = (&x[run.element..], &mut y[run.element..]);
                if stride == 1 {
                    pairs.zip(x).zip(y).for_each(|(((s, m), x), y)| *y += share_of(*x, *m, *s));
                } else {
                    let (x, y) = (x.iter().step_by(stride), y.iter_mut().step_by(stride));
                    pairs.zip(x).zip(y).for_each(|(((s, m), x), y)| *y += share_of(*x, *m, *s));
                }
            });
        }
    }

    /// Adds `r[p]` to `y` at the first element of the window at `p` where `x` equals the maximum `m[p]`. `seen` must be 0 at the
    /// start.
    pub fn scatter_first(&self, x: &[f32], m: &[f32], r: &[f32], seen: &mut [f32], y: &mut [f32]) {
        let (stride, all) = (self.stride(), 0..self.positions());
        for tap in 0..self.count() {
            self.runs(tap, &all, |run| {
                for i in 0..run.len {
                    let (p, at) = (run.position + i, run.element + i * stride);
                    if seen[p] == 0.0 && x[at] == m[p] {
                        seen[p] = 1.0;
                        y[at] += r[p];
                    }
                }
            });
        }
    }
}
