//! Convolution and its adjoint: windows as columns of a matrix, then one product per image and group.

use ndarray::ArrayD;

use super::layout::{array, elems, float, values};
use super::matmul::{multiply_float, part_float, parts, view, view_mut};
use super::window::{Taps, taps};
use crate::OpError;
use crate::prim::{ConvGeometry, Part};
use crate::tensor::Array;

/// The sizes of a convolution of `x` with `w` to `y`.
struct Sizes {
    images: usize,
    groups: usize,
    /// Channels of `x` in a group.
    channels: usize,
    /// Channels of `y` in a group.
    outputs: usize,
    /// Spatial elements of `x`, `w` and `y`.
    x: usize,
    kernel: usize,
    y: usize,
}

impl Sizes {
    fn new(geometry: &ConvGeometry, x: &[usize], w: &[usize], y: &[usize]) -> Result<Sizes, OpError> {
        let groups = geometry.groups;
        let sizes = Sizes {
            images: x[0],
            groups,
            channels: w[1],
            outputs: w[0] / groups,
            x: elems(&x[2..])?,
            kernel: elems(&w[2..])?,
            y: elems(&y[2..])?,
        };
        elems(&[sizes.channels, sizes.kernel, sizes.y])?;
        Ok(sizes)
    }

    /// Rows of the matrix of windows.
    fn rows(&self) -> usize {
        self.channels * self.kernel
    }

    /// Image, group: where their channels begin in `x`, in `y` and (by group) in `w`.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let (x, y, w) = (self.channels * self.x, self.outputs * self.y, self.outputs * self.rows());
        let pairs = (0..self.images).flat_map(|image| (0..self.groups).map(move |group| (image, group)));
        pairs.map(move |(image, group)| {
            let block = image * self.groups + group;
            (block * x, block * y, group * w)
        })
    }

    /// Calls `f` with each element of the matrix of windows that lies in `x`: its index there, and in the group's `x`.
    fn each_tap(&self, windows: &[Taps], mut f: impl FnMut(usize, usize)) {
        for channel in 0..self.channels {
            for (position, taps) in windows.iter().enumerate() {
                for (tap, at) in taps {
                    f((channel * self.kernel + tap) * self.y + position, channel * self.x + at);
                }
            }
        }
    }
}

/// `x [n, c, …]`, `w [o, c/groups, …]`, `bias [o]` to `dims`.
pub(super) fn conv(
    geometry: &ConvGeometry,
    x: &Array,
    (w, part): (&Array, Part),
    bias: Option<&Array>,
    dims: &[usize],
) -> Result<Array, OpError> {
    let (x, w) = (float(x)?, float(w)?);
    let sizes = Sizes::new(geometry, x.shape(), w.shape(), dims)?;
    let windows = taps(&geometry.window, &x.shape()[2..], &dims[2..])?;
    let mut y = vec![0.0; elems(dims)?];
    let (xs, ws) = (values(x), parts(w, part, part_float));
    if sizes.rows() > 0 && !y.is_empty() {
        for (x_at, y_at, w_at) in sizes.blocks() {
            let x = &xs[x_at..][..sizes.channels * sizes.x];
            let mut columns = vec![0.0; sizes.rows() * sizes.y];
            sizes.each_tap(&windows, |column, at| columns[column] = x[at]);
            let w = view(&ws[w_at..][..sizes.outputs * sizes.rows()], sizes.outputs, sizes.rows())?;
            let y = view_mut(&mut y[y_at..][..sizes.outputs * sizes.y], sizes.outputs, sizes.y)?;
            multiply_float(w, view(&columns, sizes.rows(), sizes.y)?, y);
        }
    }
    if let Some(bias) = bias {
        add_bias(&mut y, float(bias)?, sizes.y);
    }
    array(dims, y).map(Array::F)
}

fn add_bias(y: &mut [f64], bias: &ArrayD<f64>, size: usize) {
    // No chunk can be empty: an empty `y` has none to add to.
    for (y, b) in y.chunks_mut(size.max(1)).zip(values(bias).iter().cycle()) {
        y.iter_mut().for_each(|y| *y += b);
    }
}

/// The adjoint of [`conv`] in `x`: `s [n, o, …]` to `dims`.
pub(super) fn conv_transpose(
    geometry: &ConvGeometry,
    s: &Array,
    (w, part): (&Array, Part),
    dims: &[usize],
) -> Result<Array, OpError> {
    let (s, w) = (float(s)?, float(w)?);
    let sizes = Sizes::new(geometry, dims, w.shape(), s.shape())?;
    let windows = taps(&geometry.window, &dims[2..], &s.shape()[2..])?;
    let mut x = vec![0.0; elems(dims)?];
    let (ss, ws) = (values(s), parts(w, part, part_float));
    if sizes.outputs > 0 && !x.is_empty() {
        for (x_at, s_at, w_at) in sizes.blocks() {
            let x = &mut x[x_at..][..sizes.channels * sizes.x];
            let s = view(&ss[s_at..][..sizes.outputs * sizes.y], sizes.outputs, sizes.y)?;
            let w = view(&ws[w_at..][..sizes.outputs * sizes.rows()], sizes.outputs, sizes.rows())?;
            let mut columns = vec![0.0; sizes.rows() * sizes.y];
            multiply_float(w.reversed_axes(), s, view_mut(&mut columns, sizes.rows(), sizes.y)?);
            sizes.each_tap(&windows, |column, at| x[at] += columns[column]);
        }
    }
    array(dims, x).map(Array::F)
}
