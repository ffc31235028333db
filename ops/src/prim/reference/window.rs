//! Sliding windows over the spatial axes of `[n, c, …]`.

use ndarray::ArrayD;

use super::layout::{Number, array, elems, float, values, wrong_kind};
use crate::OpError;
use crate::prim::Window;
use crate::tensor::Array;

/// The taps of one window that fall inside the operand: index in the kernel and offset in a channel.
pub(super) type Taps = Vec<(usize, usize)>;

/// The taps of each window, row-major over the output positions.
pub(super) fn taps(window: &Window, input: &[usize], output: &[usize]) -> Result<Vec<Taps>, OpError> {
    elems(&window.kernel)?;
    let mut windows: Vec<Taps> = vec![vec![(0, 0)]];
    for axis in 0..window.rank() {
        let along: Vec<Taps> = (0..output[axis]).map(|o| taps_along(window, axis, input[axis], o)).collect();
        let (kernel, dim) = (window.kernel[axis], input[axis]);
        let join = |outer: &Taps, inner: &Taps| -> Taps {
            let pairs = outer.iter().flat_map(|o| inner.iter().map(move |i| (o, i)));
            pairs.map(|((k, at), (l, i))| (k * kernel + l, at * dim + i)).collect()
        };
        windows =
            windows.iter().flat_map(|outer| along.iter().map(move |inner| join(outer, inner))).collect();
    }
    Ok(windows)
}

fn taps_along(window: &Window, axis: usize, dim: usize, output: usize) -> Taps {
    let (kernel, dilation) = (window.kernel[axis] as i64, window.dilations[axis] as i64);
    let begin = (output * window.strides[axis]) as i64 - window.before[axis] as i64;
    let ceil_div = |a: i64| (a + dilation - 1).div_euclid(dilation);
    let first = ceil_div(-begin).clamp(0, kernel);
    let end = ceil_div(dim as i64 - begin).clamp(first, kernel);
    (first..end).map(|k| (k as usize, (begin + k * dilation) as usize)).collect()
}

/// The sum over each window; `dims` are the result's.
pub(super) fn sum(window: &Window, x: &Array, dims: &[usize]) -> Result<Array, OpError> {
    match x {
        Array::F(x) => fold(window, x, dims, 0.0, f64::plus).map(Array::F),
        Array::I(x) => fold(window, x, dims, 0, i64::plus).map(Array::I),
        Array::B(_) => Err(wrong_kind("a number type", x)),
    }
}

/// The maximum over each window; `dims` are the result's.
pub(super) fn max(window: &Window, x: &Array, dims: &[usize]) -> Result<Array, OpError> {
    match x {
        Array::F(x) => fold(window, x, dims, f64::LOWEST, f64::larger).map(Array::F),
        Array::I(x) => fold(window, x, dims, i64::LOWEST, i64::larger).map(Array::I),
        Array::B(_) => Err(wrong_kind("a number type", x)),
    }
}

fn fold<T: Number>(
    window: &Window,
    x: &ArrayD<T>,
    dims: &[usize],
    start: T,
    f: fn(T, T) -> T,
) -> Result<ArrayD<T>, OpError> {
    let windows = taps(window, &x.shape()[2..], &dims[2..])?;
    let size = elems(&x.shape()[2..])?;
    let mut out = Vec::with_capacity(elems(dims)?);
    let x = values(x);
    for channel in 0..dims[0] * dims[1] {
        let x = &x[channel * size..][..size];
        out.extend(windows.iter().map(|taps| taps.iter().fold(start, |z, (_, at)| f(z, x[*at]))));
    }
    array(dims, out)
}

/// The adjoint of [`sum`]; `dims` are the result's.
pub(super) fn sum_transpose(window: &Window, s: &Array, dims: &[usize]) -> Result<Array, OpError> {
    match s {
        Array::F(s) => spread(window, s, dims).map(Array::F),
        Array::I(s) => spread(window, s, dims).map(Array::I),
        Array::B(_) => Err(wrong_kind("a number type", s)),
    }
}

fn spread<T: Number>(window: &Window, s: &ArrayD<T>, dims: &[usize]) -> Result<ArrayD<T>, OpError> {
    let windows = taps(window, &dims[2..], &s.shape()[2..])?;
    let size = elems(&dims[2..])?;
    let mut out = vec![T::ZERO; elems(dims)?];
    let s = values(s);
    for channel in 0..dims[0] * dims[1] {
        let out = &mut out[channel * size..][..size];
        for (taps, s) in windows.iter().zip(&s[channel * windows.len()..]) {
            for (_, at) in taps {
                out[*at] = out[*at].plus(*s);
            }
        }
    }
    array(dims, out)
}

/// Each `r` goes in equal shares to the positions of its window where `x == y`.
pub(super) fn max_share(
    window: &Window,
    first: bool,
    x: &Array,
    y: &Array,
    r: &Array,
) -> Result<Array, OpError> {
    let (x, y, r) = (float(x)?, float(y)?, float(r)?);
    let dims = x.shape();
    let windows = taps(window, &dims[2..], &y.shape()[2..])?;
    let size = elems(&dims[2..])?;
    let mut out = vec![0.0; elems(dims)?];
    let (x, y, r) = (values(x), values(y), values(r));
    for channel in 0..dims[0] * dims[1] {
        let (x, out) = (&x[channel * size..][..size], &mut out[channel * size..][..size]);
        let outputs = channel * windows.len();
        for (taps, (y, r)) in windows.iter().zip(y[outputs..].iter().zip(&r[outputs..])) {
            let mut winners: Vec<usize> = taps.iter().map(|(_, at)| *at).filter(|at| x[*at] == *y).collect();
            if first {
                winners.truncate(1);
            }
            for at in &winners {
                out[*at] += r / winners.len() as f64;
            }
        }
    }
    array(dims, out).map(Array::F)
}
