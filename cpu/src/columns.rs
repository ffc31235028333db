//! Windows laid out as columns: what turns a convolution into a matrix product.

use dlbc_ops::prim::Window;
use tract_onnx::tract_core::internal::TVec;

use super::grid::Grid;

/// A window over one plane, with the dimensions on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taps {
    window: Window,
    /// Spatial dimensions of the operand.
    input: Vec<usize>,
    /// Spatial dimensions of the result: the positions.
    output: Vec<usize>,
}

/// Positions `first..last` of one output row where a tap falls inside the operand.
struct Run {
    /// Position of the row's element `first`, counted from the strip's start.
    at: usize,
    /// Index in the operand's plane for position `first`.
    from: usize,
    /// How many positions.
    len: usize,
}

impl Taps {
    /// The taps of `window` from `input` to `output`.
    pub fn new(window: Window, input: &[usize], output: &[usize]) -> Taps {
        Taps { window, input: input.to_vec(), output: output.to_vec() }
    }

    /// The grid on which each tap is a shift; along an axis at most `1 + most` times as long as the positions.
    pub fn grid(&self, most: f32) -> Grid {
        Grid::new(&self.window, &self.input, &self.output, most)
    }

    /// How many taps a window has.
    pub fn count(&self) -> usize {
        self.window.kernel.iter().product()
    }

    /// How many positions there are.
    pub fn positions(&self) -> usize {
        self.output.iter().product()
    }

    /// Elements of the operand's plane.
    pub fn plane(&self) -> usize {
        self.input.iter().product()
    }

    /// Elements of a row of the operand's plane.
    pub fn row_len(&self) -> usize {
        self.input[self.input.len() - 1]
    }

    /// Whether the operand's plane is its own column: one tap, stride 1, no pads.
    pub fn identity(&self) -> bool {
        let w = &self.window;
        let one = |v: &[usize]| v.iter().all(|v| *v == 1);
        one(&w.kernel) && one(&w.strides) && w.before.iter().all(|b| *b == 0) && self.input == self.output
    }

    /// Calls `visit` for each run of `tap` within positions `strip`.
    fn runs(&self, tap: usize, strip: &std::ops::Range<usize>, mut visit: impl FnMut(Run)) {
        let w = &self.window;
        let last = w.rank() - 1;
        let (wide, stride) = (self.output[last], w.strides[last] as i64);
        let mut k: TVec<usize> = TVec::from_elem(0, w.rank());
        let mut rest = tap;
        for i in (0..w.rank()).rev() {
            k[i] = rest % w.kernel[i];
            rest /= w.kernel[i];
        }
        // Columns: p·stride + offset in 0..input.
        let offset = (k[last] * w.dilations[last]) as i64 - w.before[last] as i64;
        let low = if offset < 0 { (-offset + stride - 1) / stride } else { 0 } as usize;
        let high =
            (self.input[last] as i64 - offset + stride - 1).div_euclid(stride).clamp(0, wide as i64) as usize;
        if low >= high {
            return;
        }
        for row in strip.start / wide..strip.end.div_ceil(wide) {
            let start = (row * wide).max(strip.start) - row * wide;
            let end = ((row + 1) * wide).min(strip.end) - row * wide;
            let (first, stop) = (start.max(low), end.min(high));
            if first >= stop {
                continue;
            }
            let Some(base) = self.row(row, &k) else { continue };
            visit(Run {
                at: row * wide + first - strip.start,
                from: base * self.input[last] + (first as i64 * stride + offset) as usize,
                len: stop - first,
            });
        }
    }

    /// The operand's row that `tap` reads for output row `row`, when there is one.
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

    /// Adds `[taps, strip]` to the plane, each tap of a position to the element that it reads.
    pub fn fold(&self, columns: &[f32], strip: &std::ops::Range<usize>, plane: &mut [f32]) {
        let stride = self.stride();
        for (tap, row) in columns.chunks_exact(strip.len()).enumerate() {
            self.runs(tap, strip, |run| {
                let from = &row[run.at..run.at + run.len];
                if stride == 1 {
                    plane[run.from..run.from + run.len].iter_mut().zip(from).for_each(|(t, v)| *t += *v);
                } else {
                    plane[run.from..].iter_mut().step_by(stride).zip(from).for_each(|(t, v)| *t += *v);
                }
            });
        }
    }

    /// `y[p] += w[tap] · x[p's tap]` over all taps of a plane.
    pub fn correlate(&self, w: &[f32], x: &[f32], y: &mut [f32]) {
        let (stride, all) = (self.stride(), 0..self.positions());
        for (tap, w) in w.iter().enumerate() {
            self.runs(tap, &all, |run| {
                let to = &mut y[run.at..run.at + run.len];
                if stride == 1 {
                    to.iter_mut().zip(&x[run.from..run.from + run.len]).for_each(|(t, v)| *t += w * v);
                } else {
                    to.iter_mut().zip(x[run.from..].iter().step_by(stride)).for_each(|(t, v)| *t += w * v);
                }
            });
        }
    }

    /// The adjoint of [`Taps::correlate`]: `x[p's tap] += w[tap] · s[p]`.
    pub fn scatter(&self, w: &[f32], s: &[f32], x: &mut [f32]) {
        let (stride, all) = (self.stride(), 0..self.positions());
        for (tap, w) in w.iter().enumerate() {
            self.runs(tap, &all, |run| {
                let from = &s[run.at..run.at + run.len];
                if stride == 1 {
                    x[run.from..run.from + run.len].iter_mut().zip(from).for_each(|(t, v)| *t += w * v);
                } else {
                    x[run.from..].iter_mut().step_by(stride).zip(from).for_each(|(t, v)| *t += w * v);
                }
            });
        }
    }

    /// `y[p] = max(y[p], x[p's tap])` over all taps of a plane.
    pub fn maximum(&self, x: &[f32], y: &mut [f32]) {
        let (stride, all) = (self.stride(), 0..self.positions());
        let greater = |y: &mut f32, x: &f32| *y = if *y < *x { *x } else { *y };
        for tap in 0..self.count() {
            self.runs(tap, &all, |run| {
                let to = y[run.at..run.at + run.len].iter_mut();
                if stride == 1 {
                    to.zip(&x[run.from..]).for_each(|(y, x)| greater(y, x));
                } else {
                    to.zip(x[run.from..].iter().step_by(stride)).for_each(|(y, x)| greater(y, x));
                }
            });
        }
    }

    /// `ties[p] += 1` for each tap of `p` where `x` equals `m[p]`.
    pub fn count_equal(&self, x: &[f32], m: &[f32], ties: &mut [f32]) {
        let (stride, all) = (self.stride(), 0..self.positions());
        for tap in 0..self.count() {
            self.runs(tap, &all, |run| {
                let range = run.at..run.at + run.len;
                let pairs = ties[range.clone()].iter_mut().zip(&m[range]);
                let one = |x: f32, m: f32| if x == m { 1.0 } else { 0.0 };
                if stride == 1 {
                    pairs.zip(&x[run.from..]).for_each(|((t, m), x)| *t += one(*x, *m));
                } else {
                    pairs.zip(x[run.from..].iter().step_by(stride)).for_each(|((t, m), x)| *t += one(*x, *m));
                }
            });
        }
    }

    /// `y[p's tap] += share[p]` for each tap of `p` where `x` equals `m[p]`.
    pub fn scatter_equal(&self, x: &[f32], m: &[f32], share: &[f32], y: &mut [f32]) {
        let (stride, all) = (self.stride(), 0..self.positions());
        for tap in 0..self.count() {
            self.runs(tap, &all, |run| {
                let range = run.at..run.at + run.len;
                let pairs = share[range.clone()].iter().zip(&m[range]);
                let given = |x: f32, m: f32, s: f32| if x == m { s } else { 0.0 };
                let (x, y) = (&x[run.from..], &mut y[run.from..]);
                if stride == 1 {
                    pairs.zip(x).zip(y).for_each(|(((s, m), x), y)| *y += given(*x, *m, *s));
                } else {
                    let (x, y) = (x.iter().step_by(stride), y.iter_mut().step_by(stride));
                    pairs.zip(x).zip(y).for_each(|(((s, m), x), y)| *y += given(*x, *m, *s));
                }
            });
        }
    }

    /// `y[p's tap] += r[p]` for the first tap of `p` where `x` equals `m[p]`; `seen` is 0 for each `p` at the start.
    pub fn scatter_first(&self, x: &[f32], m: &[f32], r: &[f32], seen: &mut [f32], y: &mut [f32]) {
        let (stride, all) = (self.stride(), 0..self.positions());
        for tap in 0..self.count() {
            self.runs(tap, &all, |run| {
                for i in 0..run.len {
                    let (p, at) = (run.at + i, run.from + i * stride);
                    if seen[p] == 0.0 && x[at] == m[p] {
                        seen[p] = 1.0;
                        y[at] += r[p];
                    }
                }
            });
        }
    }
}
