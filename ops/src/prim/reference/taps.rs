//! Taps of sliding windows over the spatial axes of `[n, c, …]`.

use ndarray::ArrayD;

use super::layout::{Number, array, elems, values};
use crate::OpError;
use crate::prim::Window;

/// Taps of a window that lie inside the operand: index in the kernel and offset in the channel.
pub(in crate::prim) type Taps = Vec<(usize, usize)>;

/// Returns the taps of each window, row-major over the output positions.
pub(in crate::prim) fn taps(
    window: &Window,
    input: &[usize],
    output: &[usize],
) -> Result<Vec<Taps>, OpError> {
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

/// Folds the elements of each window with `f` from `start`; the result has dimensions `dims`.
pub(in crate::prim) fn fold<T: Number>(
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
