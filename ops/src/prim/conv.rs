//! Convolution and its adjoint.

use ndarray::ArrayD;

use super::contract::*;
use super::reference::layout::{array, elems, float, values};
use super::reference::matrix::{multiply_float, view, view_mut};
use super::reference::taps::{Taps, taps};
use super::transform::{transform_float, transformed};
use super::{ConvGeometry, Transform};

/// Convolution. `(x [n, c, …], w [o, c/groups, …], bias? [o])` → `[n, o, …]`. The bias is added unchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv {
    /// Window and groups.
    pub geometry: ConvGeometry,
    /// Transform of `w`.
    pub w: Transform,
}

/// Adjoint of [`Conv`] in `x`. `(s [n, o, …], w [o, c/groups, …])` → `[n, c, to…]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConvTranspose {
    /// Window and groups of the forward convolution.
    pub geometry: ConvGeometry,
    /// Transform of `w`.
    pub w: Transform,
    /// Spatial dimensions of the result.
    pub to: Vec<Dim>,
}

impl Builder {
    /// Adds a convolution of `x` with the transformed `w`.
    pub fn conv(
        &mut self,
        geometry: &ConvGeometry,
        x: Value,
        w: Value,
        transform: Transform,
        bias: Option<Value>,
    ) -> Value {
        let inputs: Vec<Value> = [x, w].into_iter().chain(bias).collect();
        self.add(Conv { geometry: geometry.clone(), w: transform }, &inputs)
    }

    /// Adds the adjoint of a convolution whose operand had the spatial dimensions `to`.
    pub fn conv_transpose(
        &mut self,
        geometry: &ConvGeometry,
        s: Value,
        w: Value,
        transform: Transform,
        to: &[Dim],
    ) -> Value {
        self.add(ConvTranspose { geometry: geometry.clone(), w: transform, to: to.to_vec() }, &[s, w])
    }
}

fields!(Conv { geometry: Geometry, w: Any });

impl Primitive for Conv {
    fn arity(&self) -> RangeInclusive<usize> {
        2..=3
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let (x, w, bias, geometry) = (&x[0], &x[1], x.get(2), &self.geometry);
        let spatial = spatial(x, &geometry.window)?;
        weight(w, geometry, x.dim(1))?;
        if let Some(b) = bias {
            equal("shape of bias", &b.shape, &Shape(vec![w.dim(0).clone()]))?;
        }
        let out = geometry.window.output(spatial)?;
        Ok(x.with_shape([vec![x.dim(0).clone(), w.dim(0).clone()], out].concat()))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        conv(&self.geometry, x[0], (x[1], self.w), x.get(2).copied(), dims)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        if d.is_requested(1) {
            return Err(d.unsupported());
        }
        let to = d.shape(0).0[2..].to_vec();
        let v = d.b.conv_transpose(&self.geometry, d.r, d.x[1], self.w, &to);
        d.set(0, v);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(if t.any_batched_from(1) { t.per_target(self.clone()) } else { t.fold_into_rows(self.clone(), 1) })
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.count() == 2 && (x.is_zero(0) || x.is_zero(1))
    }

    fn attributes(&self) -> String {
        format!("{} w={:?}", self.geometry, self.w)
    }
}

fields!(ConvTranspose { geometry: Geometry, w: Any, to: Dims });

impl Primitive for ConvTranspose {
    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let (s, w, ConvTranspose { geometry, to, .. }) = (&x[0], &x[1], self);
        let spatial = spatial(s, &geometry.window)?;
        let channels = w.shape.0.get(1).map(|c| c * &Dim::known(geometry.groups as i64)).unwrap_or_default();
        weight(w, geometry, &channels)?;
        dim_equal("output channels", s.dim(1), w.dim(0))?;
        dims_equal("output of the convolution", spatial, &geometry.window.output(to)?)?;
        Ok(s.with_shape([vec![s.dim(0).clone(), channels], to.clone()].concat()))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        conv_transpose(&self.geometry, x[0], (x[1], self.w), dims)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        if d.is_requested(1) {
            return Err(d.unsupported());
        }
        let v = d.b.conv(&self.geometry, d.r, d.x[1], self.w, None);
        d.set(0, v);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(if t.any_batched_from(1) { t.per_target(self.clone()) } else { t.fold_into_rows(self.clone(), 1) })
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero(0) || x.is_zero(1)
    }

    fn attributes(&self) -> String {
        format!("{} w={:?} to={:?}", self.geometry, self.w, self.to)
    }
}

/// Checks the weight of a convolution of `channels` input channels.
fn weight(w: &TensorType, geometry: &ConvGeometry, channels: &Dim) -> Result<(), OpError> {
    if w.rank() != geometry.window.rank() + 2 {
        return Err(OpError::mismatch("rank of the weight", geometry.window.rank() + 2, w));
    }
    if geometry.groups == 0 {
        return Err(OpError::Invalid("group: expected at least 1, found 0".into()));
    }
    let groups = Dim::known(geometry.groups as i64);
    dim_equal("channels (weight channels × groups)", channels, &(w.dim(1) * &groups))?;
    if w.dim(0).as_known().is_some_and(|o| o % geometry.groups as i64 != 0) {
        return Err(OpError::mismatch("output channels", format!("a multiple of {groups} groups"), w.dim(0)));
    }
    let kernel: Vec<Dim> = geometry.window.kernel.iter().map(|k| Dim::known(*k as i64)).collect();
    dims_equal("kernel of the weight", &w.shape.0[2..], &kernel)
}

/// Sizes of a convolution of `x` with `w` to `y`.
struct Sizes {
    images: usize,
    groups: usize,
    /// Channels of `x` per group.
    channels: usize,
    /// Channels of `y` per group.
    outputs: usize,
    /// Number of spatial elements of `x`; `kernel` and `y` are those of `w` and `y`.
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

    /// Returns the number of rows of the matrix of windows.
    fn rows(&self) -> usize {
        self.channels * self.kernel
    }

    /// Iterates over images and groups: the offsets of their channels in `x`, in `y`, and of the group's weights in
    /// `w`.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let (x, y, w) = (self.channels * self.x, self.outputs * self.y, self.outputs * self.rows());
        let pairs = (0..self.images).flat_map(|image| (0..self.groups).map(move |group| (image, group)));
        pairs.map(move |(image, group)| {
            let block = image * self.groups + group;
            (block * x, block * y, group * w)
        })
    }

    /// Calls `f` with each element of the matrix of windows that lies in `x`: its index in the matrix, and in the
    /// group's `x`.
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

/// Evaluates a convolution of `x [n, c, …]` and `w [o, c/groups, …]` with `bias [o]`; the result has dimensions `dims`.
fn conv(
    geometry: &ConvGeometry,
    x: &Array,
    (w, transform): (&Array, Transform),
    bias: Option<&Array>,
    dims: &[usize],
) -> Result<Array, OpError> {
    let (x, w) = (float(x)?, float(w)?);
    let sizes = Sizes::new(geometry, x.shape(), w.shape(), dims)?;
    let windows = taps(&geometry.window, &x.shape()[2..], &dims[2..])?;
    let mut y = vec![0.0; elems(dims)?];
    let (xs, ws) = (values(x), transformed(w, transform, transform_float));
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
    // `max(1)`: chunks cannot be empty, and an empty `y` has no chunks.
    for (y, b) in y.chunks_mut(size.max(1)).zip(values(bias).iter().cycle()) {
        y.iter_mut().for_each(|y| *y += b);
    }
}

/// Evaluates the adjoint of [`conv`] in `x`, from `s [n, o, …]`; the result has dimensions `dims`.
fn conv_transpose(
    geometry: &ConvGeometry,
    s: &Array,
    (w, transform): (&Array, Transform),
    dims: &[usize],
) -> Result<Array, OpError> {
    let (s, w) = (float(s)?, float(w)?);
    let sizes = Sizes::new(geometry, dims, w.shape(), s.shape())?;
    let windows = taps(&geometry.window, &dims[2..], &s.shape()[2..])?;
    let mut x = vec![0.0; elems(dims)?];
    let (ss, ws) = (values(s), transformed(w, transform, transform_float));
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
