//! Convolution and its adjoint.

use ndarray::ArrayD;

use super::contract::*;
use super::reference::layout::{array, elems, float, values};
use super::reference::matrix::{multiply_float, view, view_mut};
use super::reference::taps::{Taps, taps};
use super::transform::{transform_float, transformed};
use super::{ConvGeometry, Reduction, Transform};

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
        let (x, w, r) = (d.x[0], d.x[1], d.r);
        if d.is_requested(0) {
            let to = d.shape(0).0[2..].to_vec();
            let v = d.b.conv_transpose(&self.geometry, r, w, self.w, &to);
            d.set(0, v);
        }
        if d.is_requested(1) {
            if self.w != Transform::Id {
                return Err(d.unsupported());
            }
            let v = d.b.conv_weight(&self.geometry, x, r);
            d.set(1, v);
        }
        if d.is_requested(2) {
            let axes: Vec<usize> = (0..d.b.ty(r).rank()).filter(|axis| *axis != 1).collect();
            let v = d.b.reduce(Reduction::Sum, r, &axes);
            d.set(2, v);
        }
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
        let (s, w, r) = (d.x[0], d.x[1], d.r);
        if d.is_requested(0) {
            let v = d.b.conv(&self.geometry, r, w, self.w, None);
            d.set(0, v);
        }
        if d.is_requested(1) {
            if self.w != Transform::Id {
                return Err(d.unsupported());
            }
            let v = d.b.conv_weight(&self.geometry, r, s);
            d.set(1, v);
        }
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
        return Err(OpError::invalid("group", "at least 1", 0));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prim::tests::arrays::{
        assert_close, data, elements, error, eval, floats, indices, inner, known, random, row,
        transform_value, transforms,
    };
    use crate::prim::tests::windows::{convolutions, line, taps_of};
    use crate::tensor::Bindings;

    /// Evaluates a convolution in a loop over channels and taps.
    fn direct_conv(geometry: &ConvGeometry, x: &Array, w: &Array, bias: &Array, dims: &[usize]) -> Array {
        let (channels, outputs) = (w.dims()[1], w.dims()[0] / geometry.groups);
        let element = |i: &Vec<usize>| {
            let group = i[1] / outputs;
            let mut y = data(bias)[i[1]];
            for c in 0..channels {
                let taps = taps_of(&geometry.window, x, &[i[0], group * channels + c], &i[2..]);
                for (k, x) in indices(&geometry.window.kernel).iter().zip(taps) {
                    y += elements(w)[[&[i[1], c], k.as_slice()].concat().as_slice()] * x.unwrap_or(0.0);
                }
            }
            y
        };
        floats(dims, &indices(dims).iter().map(element).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn conv_is_the_direct_loop((geometry, x, w) in convolutions(), transform in transforms(), seed in any::<u64>()) {
            let (x, w) = (random(&x, seed), random(&w, seed ^ 1));
            let bias = random(&w.dims()[..1], seed ^ 2);
            let y = eval(Conv { geometry: geometry.clone(), w: transform }, &[&x, &w, &bias]);
            assert_close(&y, &direct_conv(&geometry, &x, &Array::F(elements(&w).mapv(|w| transform_value(transform, w))), &bias, y.dims()));
        }

        #[test]
        fn conv_transpose_is_the_adjoint_of_conv((geometry, x, w) in convolutions(), transform in transforms(), seed in any::<u64>()) {
            let (x, w) = (random(&x, seed), random(&w, seed ^ 1));
            let y = eval(Conv { geometry: geometry.clone(), w: transform }, &[&x, &w]);
            let s = random(y.dims(), seed ^ 2);
            let back = eval(ConvTranspose { geometry, w: transform, to: known(&x.dims()[2..]) }, &[&s, &w]);
            prop_assert!((inner(&y, &s) - inner(&x, &back)).abs() < 1e-9);
        }

        #[test]
        fn symbolic_types_bind_to_the_dimensions_of_the_value((geometry, x, w) in convolutions(), seed in any::<u64>()) {
            let (x, w) = (random(&x, seed), random(&w, seed ^ 1));
            let names: Vec<String> = (0..x.dims().len()).map(|i| format!("d{i}")).collect();
            let bindings: Bindings = names.iter().zip(x.dims()).map(|(n, d)| (n.as_str().into(), *d as i64)).collect();
            let mut dims: Vec<Dim> = names.iter().map(|n| Dim::symbol(n)).collect();
            dims[1] = Dim::known(x.dims()[1] as i64);
            let types = [TensorType::new(DType::F32, dims), TensorType::new(DType::F32, known(w.dims()))];
            let prim = Conv { geometry, w: Transform::Id };
            let bound = prim.infer(&types).expect("a convolution of symbolic dimensions").shape.substitute(&bindings);
            let y = eval(prim, &[&x, &w]);
            prop_assert_eq!(bound.as_known(), Some(y.dims().to_vec()));
        }
    }

    #[test]
    fn conv_has_hand_computed_values() {
        let geometry = ConvGeometry { window: line(2, 1, (1, 0), false), groups: 1 };
        let (x, w) = (floats(&[1, 1, 3], &[1.0, 2.0, 3.0]), floats(&[1, 1, 2], &[10.0, -1.0]));
        let conv = |w| Conv { geometry: geometry.clone(), w };
        assert_eq!(
            eval(conv(Transform::Id), &[&x, &w, &row(&[0.5])]),
            floats(&[1, 1, 3], &[-0.5, 8.5, 17.5])
        );
        assert_eq!(
            eval(conv(Transform::Neg), &[&x, &w, &row(&[0.5])]),
            floats(&[1, 1, 3], &[-0.5, -1.5, -2.5])
        );
        let back = ConvTranspose { geometry: geometry.clone(), w: Transform::Id, to: vec![Dim::known(3)] };
        assert_eq!(eval(back, &[&x, &w]), floats(&[1, 1, 3], &[19.0, 28.0, -3.0]));
        let unknown = ConvTranspose { geometry, w: Transform::Id, to: vec![Dim::symbol("h")] };
        assert!(error(unknown, &[&x, &w]).contains('h'));
    }

    #[test]
    fn empty_operands_give_empty_or_bias() {
        let geometry = ConvGeometry { window: line(1, 1, (0, 0), false), groups: 1 };
        let conv = Conv { geometry, w: Transform::Id };
        let none = eval(conv.clone(), &[&floats(&[0, 1, 2], &[]), &floats(&[1, 1, 1], &[1.0])]);
        assert_eq!(none, floats(&[0, 1, 2], &[]));
        let bias = eval(conv, &[&floats(&[1, 0, 2], &[]), &floats(&[1, 0, 1], &[]), &row(&[3.0])]);
        assert_eq!(bias, floats(&[1, 1, 2], &[3.0, 3.0]));
    }
}
