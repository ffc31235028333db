//! The innermost product: a few rows of `c`, a few vectors wide, over packed panels.
//!
//! The same code is compiled for each instruction set; [`Isa::best`] selects the best one of the processor. Each element of `c` is
//! one chain of multiply-adds over `k`, whatever the size of the kernel, so its bits do not depend on its position.

use std::sync::LazyLock;

use super::operand::{LINE, Loop, Shifted, Terms};
use crate::parallel::Tile;

/// Maximum number of rows of a panel of `a`.
pub const ROWS: usize = 8;

/// Maximum number of vectors of a panel of `b`.
pub const VECTORS: usize = 3;

/// Maximum number of columns of a panel of `b`, over all processors.
pub const WIDEST: usize = 16 * VECTORS;

/// Arguments `(k, a, b, offsets, c, row stride of c, add)`. Computes `c = a · b`, or `c += a · b` with `add`, for
/// `a [k][rows of the panel]` and `b [k][vectors · lanes]`; a kernel for lines reads term `t` of `b` from `offsets[t]` on.
type Kernel = unsafe fn(usize, *const f32, *const f32, *const usize, *mut f32, usize, bool);

/// Arguments `(source, line stride, blocks, target, width)`. Transposes blocks of eight lines by eight terms; the resulting groups
/// of eight are `width` apart.
type Transpose = unsafe fn(*const f32, usize, usize, *mut f32, usize);

/// Arguments `(taps, x, y, lines, add)`. Sums shifted lines of `x` into `y`; with `add`, adds to `y`.
type Sums = unsafe fn(&[Shifted], *const f32, *mut f32, usize, bool);

/// An instruction set and its kernels.
pub struct Isa {
    /// Floats per vector.
    pub lanes: usize,
    /// Rows per panel of `a`.
    pub rows: usize,
    /// Kernels by rows - 1 and vectors - 1: for panels, and for lines.
    kernels: [[[Kernel; 2]; VECTORS]; ROWS],
    transpose: Transpose,
    sums: Sums,
    level: Level,
}

/// Level of vector instructions.
#[derive(Clone, Copy)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Runs a loop with the widest vectors of this processor. The operations are the same on each, and so are the results.
pub fn widest(l: impl Loop) {
    Isa::best().run(l);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2(l: impl Loop) {
    l.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512(l: impl Loop) {
    l.run();
}

macro_rules! kernels {
    ($kernel:ident, $($rows:literal)*) => {
        [$([
            [$kernel::<$rows, 1, false>, $kernel::<$rows, 1, true>],
            [$kernel::<$rows, 2, false>, $kernel::<$rows, 2, true>],
            [$kernel::<$rows, 3, false>, $kernel::<$rows, 3, true>],
        ]),*]
    };
}

impl Isa {
    /// Returns the best instruction set of this processor.
    pub fn best() -> &'static Isa {
        static BEST: LazyLock<Isa> = LazyLock::new(|| Isa::available().remove(0));
        &BEST
    }

    /// Returns all instruction sets of this processor, the best first.
    pub fn available() -> Vec<Isa> {
        let mut all = vec![];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx") {
                let kernels = kernels!(avx512, 1 2 3 4 5 6 7 8);
                all.push(Isa {
                    lanes: 16,
                    rows: 8,
                    kernels,
                    transpose: transpose_avx,
                    sums: sums_avx512,
                    level: Level::Avx512,
                });
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                let kernels = kernels!(avx2, 1 2 3 4 4 4 4 4);
                all.push(Isa {
                    lanes: 8,
                    rows: 4,
                    kernels,
                    transpose: transpose_avx,
                    sums: sums_avx2,
                    level: Level::Avx2,
                });
            }
        }
        all.push(Isa::portable());
        all
    }

    /// Returns the instruction set of every processor.
    fn portable() -> Isa {
        let kernels = kernels!(portable, 1 2 3 4 4 4 4 4);
        Isa {
            lanes: 4,
            rows: 4,
            kernels,
            transpose: transpose_portable,
            sums: sums_portable,
            level: Level::Portable,
        }
    }

    /// Computes `c = a · b`, or `c += a · b` with `add`, for panels of `rows` rows and `vectors` vectors, at row `at.0` and column
    /// `at.1` of a tile.
    ///
    /// # Panics
    /// When a panel or the tile is too small.
    #[allow(unsafe_code)]
    pub fn multiply(
        &self,
        [k, rows, vectors]: [usize; 3],
        a: &[f32],
        b: Terms<'_>,
        c: &mut Tile<'_>,
        at: (usize, usize),
        add: bool,
    ) {
        let width = vectors * self.lanes;
        assert!((1..=self.rows).contains(&rows) && (1..=VECTORS).contains(&vectors), "no such kernel");
        assert!(a.len() >= k * rows, "a panel is too small");
        assert!(at.0 + rows <= c.rows && at.1 + width <= c.columns, "the tile is too small");
        let (to, row) = c.raw(at.0, at.1);
        let kernels = self.kernels[rows - 1][vectors - 1];
        match b {
            Terms::Panel(b) => {
                assert!(b.len() >= k * width, "a panel is too small");
                // SAFETY: the panels hold what the kernel reads; what it writes are `width` elements of each of `rows` rows of the
                // tile, which is a mutable borrow of them (all asserted above); and the processor has its instructions
                // (`available`).
                unsafe { kernels[0](k, a.as_ptr(), b.as_ptr(), std::ptr::null(), to, row, add) }
            }
            Terms::Lines(b, from, column) => {
                let offsets = &b.offsets[from..from + k];
                assert!(b.reach + column + width <= b.data.len(), "a line is too short");
                let from = b.data[column..].as_ptr();
                // SAFETY: as above; each term's line begins at most at `reach`, so what the kernel reads of it is in the slice.
                unsafe { kernels[1](k, a.as_ptr(), from, offsets.as_ptr(), to, row, add) }
            }
        }
    }
}

impl Isa {
    /// Transposes eight lines of `k` terms, `line` apart, to `k` groups of eight, `width` apart.
    ///
    /// # Panics
    /// When a slice is too short.
    #[allow(unsafe_code)]
    pub fn transpose(&self, from: &[f32], line: usize, k: usize, to: &mut [f32], width: usize) {
        if k == 0 {
            return;
        }
        assert!(from.len() >= 7 * line + k && to.len() >= (k - 1) * width + 8, "a panel is too small");
        // SAFETY: the slices hold what is read and written (asserted above), and the processor has its instructions (`available`).
        unsafe { (self.transpose)(from.as_ptr(), line, k / 8, to.as_mut_ptr(), width) }
        for t in k / 8 * 8..k {
            for i in 0..8 {
                to[t * width + i] = from[i * line + t];
            }
        }
    }
}

impl Isa {
    /// Runs a loop with these instructions.
    #[allow(unsafe_code)]
    pub fn run(&self, l: impl Loop) {
        match self.level {
            Level::Portable => l.run(),
            // SAFETY: the processor has these instructions (`available`).
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { with_avx2(l) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { with_avx512(l) },
        }
    }

    /// Computes `y[i] = Σ factor · x[shift + i]`; with `add`, the sum is added to `y`.
    ///
    /// # Panics
    /// When the length of `y` is not a multiple of [`LINE`], or a line exceeds `x`.
    #[allow(unsafe_code)]
    pub fn shifted_sums(&self, taps: &[Shifted], x: &[f32], y: &mut [f32], add: bool) {
        assert_eq!(y.len() % LINE, 0, "no whole lines");
        let reach = taps.iter().map(|t| t.shift).max().unwrap_or(0);
        assert!(x.len().checked_sub(y.len()).is_some_and(|most| reach <= most), "a line reaches too far");
        // SAFETY: all that is read lies in `x`, what is written are the lines of `y` (asserted above), and the processor has
        // its instructions (`available`).
        unsafe { (self.sums)(taps, x.as_ptr(), y.as_mut_ptr(), y.len() / LINE, add) }
    }
}

/// Prefetches the cache lines of `x`.
#[allow(unsafe_code)]
pub fn prefetch(x: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in x.chunks(16) {
        // SAFETY: a hint; nothing is read.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = x;
}

/// # Safety
/// As [`Isa::transpose`] asserts.
#[allow(unsafe_code)]
unsafe fn transpose_portable(from: *const f32, line: usize, blocks: usize, to: *mut f32, width: usize) {
    for t in 0..8 * blocks {
        for i in 0..8 {
            // SAFETY: within the slices, as the caller asserts.
            unsafe { *to.add(t * width + i) = *from.add(i * line + t) };
        }
    }
}

/// # Safety
/// As [`Isa::transpose`] asserts.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[target_feature(enable = "avx")]
unsafe fn transpose_avx(from: *const f32, line: usize, blocks: usize, to: *mut f32, width: usize) {
    use std::arch::x86_64::*;
    for block in 0..blocks {
        // SAFETY: within the slices, as the caller asserts.
        unsafe {
            let from = from.add(8 * block);
            let x: [__m256; 8] = std::array::from_fn(|i| _mm256_loadu_ps(from.add(i * line)));
            // Interleave pairs, then groups of four, then halves.
            let pair = |i: usize| (_mm256_unpacklo_ps(x[i], x[i + 1]), _mm256_unpackhi_ps(x[i], x[i + 1]));
            let ((a0, a1), (a2, a3), (a4, a5), (a6, a7)) = (pair(0), pair(2), pair(4), pair(6));
            let four =
                |a: __m256, b: __m256| (_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xee>(a, b));
            let ((b0, b1), (b2, b3)) = (four(a0, a2), four(a1, a3));
            let ((b4, b5), (b6, b7)) = (four(a4, a6), four(a5, a7));
            let to = to.add(8 * block * width);
            for (t, (low, high)) in [(b0, b4), (b1, b5), (b2, b6), (b3, b7)].into_iter().enumerate() {
                _mm256_storeu_ps(to.add(t * width), _mm256_permute2f128_ps::<0x20>(low, high));
                _mm256_storeu_ps(to.add((t + 4) * width), _mm256_permute2f128_ps::<0x31>(low, high));
            }
        }
    }
}

/// # Safety
/// As [`Isa::shifted_sums`] asserts.
#[allow(unsafe_code)]
unsafe fn sums_portable(taps: &[Shifted], x: *const f32, y: *mut f32, lines: usize, add: bool) {
    for at in (0..lines * LINE).step_by(LINE) {
        // SAFETY: a line of `y`, as the caller asserts.
        let y = unsafe { std::slice::from_raw_parts_mut(y.add(at), LINE) };
        if !add {
            y.fill(0.0);
        }
        for tap in taps {
            // SAFETY: a line of `x`, as the caller asserts.
            let x = unsafe { std::slice::from_raw_parts(x.add(tap.shift + at), LINE) };
            y.iter_mut().zip(x).for_each(|(y, x)| *y += tap.factor * x);
        }
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! vector_kernel {
    ($name:ident, $sums:ident, $features:literal, $lanes:literal, $zero:ident, $load:ident, $store:ident, $splat:ident, $fma:ident, $add:ident) => {
        /// # Safety
        /// As [`Isa::multiply`] asserts.
        #[allow(unsafe_code)]
        #[target_feature(enable = $features)]
        unsafe fn $name<const R: usize, const V: usize, const LINES: bool>(
            k: usize,
            mut a: *const f32,
            b: *const f32,
            offsets: *const usize,
            c: *mut f32,
            row: usize,
            add: bool,
        ) {
            use std::arch::x86_64::*;
            let mut sum = [[$zero(); V]; R];
            // SAFETY: all within the panels and the tile, as the caller asserts.
            unsafe {
                for t in 0..k {
                    let from = if LINES { b.add(*offsets.add(t)) } else { b.add(t * $lanes * V) };
                    let mut right = [$zero(); V];
                    for (j, right) in right.iter_mut().enumerate() {
                        *right = $load(from.add($lanes * j));
                    }
                    for (i, sum) in sum.iter_mut().enumerate() {
                        let factor = $splat(*a.add(i));
                        for j in 0..V {
                            sum[j] = $fma(factor, right[j], sum[j]);
                        }
                    }
                    a = a.add(R);
                }
                for (i, sum) in sum.iter().enumerate() {
                    for (j, sum) in sum.iter().enumerate() {
                        let to = c.add(i * row + $lanes * j);
                        $store(to, if add { $add($load(to), *sum) } else { *sum });
                    }
                }
            }
        }

        /// # Safety
        /// As [`Isa::shifted_sums`] asserts.
        #[allow(unsafe_code)]
        #[target_feature(enable = $features)]
        unsafe fn $sums(taps: &[Shifted], x: *const f32, y: *mut f32, lines: usize, add: bool) {
            use std::arch::x86_64::*;
            const V: usize = LINE / $lanes;
            for at in (0..lines * LINE).step_by(LINE) {
                // SAFETY: a line of `y` and lines of `x`, as the caller asserts.
                unsafe {
                    let to = y.add(at);
                    let mut sum = [$zero(); V];
                    if add {
                        sum = std::array::from_fn(|j| $load(to.add($lanes * j)));
                    }
                    for tap in taps {
                        let (from, factor) = (x.add(tap.shift + at), $splat(tap.factor));
                        for (j, sum) in sum.iter_mut().enumerate() {
                            *sum = $fma(factor, $load(from.add($lanes * j)), *sum);
                        }
                    }
                    for (j, sum) in sum.iter().enumerate() {
                        $store(to.add($lanes * j), *sum);
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector_kernel!(
    avx512,
    sums_avx512,
    "avx512f",
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    _mm512_add_ps
);
#[cfg(target_arch = "x86_64")]
vector_kernel!(
    avx2,
    sums_avx2,
    "avx2,fma",
    8,
    _mm256_setzero_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps
);

/// # Safety
/// As [`Isa::multiply`] asserts.
#[allow(unsafe_code)]
unsafe fn portable<const R: usize, const V: usize, const LINES: bool>(
    k: usize,
    a: *const f32,
    b: *const f32,
    offsets: *const usize,
    c: *mut f32,
    row: usize,
    add: bool,
) {
    const LANES: usize = 4;
    let mut sum = [[[0.0f32; LANES]; V]; R];
    for t in 0..k {
        // SAFETY: all within the panels, the lines and the tile, as the caller asserts.
        let (a, b) = unsafe {
            let at = if LINES { *offsets.add(t) } else { t * V * LANES };
            (std::slice::from_raw_parts(a.add(t * R), R), std::slice::from_raw_parts(b.add(at), V * LANES))
        };
        for i in 0..R {
            for j in 0..V {
                for l in 0..LANES {
                    sum[i][j][l] += a[i] * b[j * LANES + l];
                }
            }
        }
    }
    for (i, sum) in sum.iter().enumerate() {
        for (j, sum) in sum.iter().flatten().enumerate() {
            // SAFETY: within the tile, as the caller asserts.
            let to = unsafe { &mut *c.add(i * row + j) };
            *to = if add { *to + sum } else { *sum };
        }
    }
}
