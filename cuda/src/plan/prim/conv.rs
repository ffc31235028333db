//! Convolutions: tables, tiles, groups.

use dlbc_ops::prim::{Conv, ConvGeometry, ConvTranspose, Transform};
use dlbc_ptx::kernel::conv::{self, ConvParams, ENTRY, Way};
use dlbc_ptx::kernel::epilogue::Epilogue;
use dlbc_ptx::kernel::gemm::Tile;

use super::super::product::{Product, Work, slice, tile};
use super::super::windows::three;
use super::contract::*;

/// Coordinates of a row-major index.
fn coordinates(mut index: usize, dims: [u32; 3]) -> [usize; 3] {
    let mut at = [0; 3];
    for axis in (0..3).rev() {
        at[axis] = index % dims[axis] as usize;
        index /= dims[axis] as usize;
    }
    at
}

/// Whether windows are one element each and lie side by side, with channels enough for a tile.
fn pointwise(geometry: &ConvGeometry, dims: &[usize]) -> bool {
    let window = &geometry.window;
    let alone = window.kernel.iter().all(|d| *d == 1) && window.strides.iter().all(|s| *s == 1);
    let unpadded = window.before.iter().chain(&window.after).all(|p| *p == 0);
    alone && unpadded && !dims.contains(&0) && (geometry.groups == 1 || dims[1] / geometry.groups >= 8)
}

fn elems(dims: &[usize]) -> usize {
    dims.iter().product()
}

impl CudaPrimitive for Conv {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let (x, weight) = (at.dense_part(p, 0), at.dense(p, 1));
        let bias = (at.inputs.len() > 2).then(|| at.dense(p, 2));
        let e = p.conv(&self.geometry, x, (weight, self.w), bias, &at.dims);
        Ok(at.made(p, e))
    }
}

impl CudaPrimitive for ConvTranspose {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let (s, weight) = (at.dense_part(p, 0), at.dense(p, 1));
        let e = p.conv_adjoint(&self.geometry, s, (weight, self.w), &at.dims);
        Ok(at.made(p, e))
    }
}

impl Planner {
    /// The convolution of `x`.
    fn conv(
        &mut self,
        geometry: &ConvGeometry,
        (x, of): (View, Transform),
        (w, part): (View, Transform),
        bias: Option<View>,
        dims: &[usize],
    ) -> Expression {
        let e = self.conv_alone(geometry, (x, of), (w, part), dims);
        let Some(bias) = bias else { return e };
        let mut across = vec![1; dims.len()];
        across[1] = dims[1];
        e.plus(&Expression::of(bias.with_dims(&across)))
    }

    fn conv_alone(
        &mut self,
        geometry: &ConvGeometry,
        (x, of): (View, Transform),
        (w, part): (View, Transform),
        dims: &[usize],
    ) -> Expression {
        let window = &geometry.window;
        if pointwise(geometry, dims) {
            return self.conv_pointwise(geometry.groups, [x, w], [part, of], false, dims);
        }
        let from = three(&x.dims[2..], 1);
        let (kernel, dilations) = (three(&w.dims[2..], 1), three(&window.dilations, 1));
        let (channels, taps) = (w.dims[1], elems(&w.dims[2..]));
        let size = elems(&x.dims[2..]);
        let mut words = Vec::with_capacity(channels * taps * ENTRY);
        for depth in 0..channels * taps {
            let at = coordinates(depth % taps, kernel);
            let far: [usize; 3] = std::array::from_fn(|i| at[i] * dilations[i] as usize);
            let entry = [depth / taps * size, far[0], far[1], far[2], 0, 0, 0, 0];
            words.extend(entry.map(|v| v as u32));
        }
        let outputs = w.dims[0] / geometry.groups;
        let params = ConvParams {
            m: outputs as u32,
            k: (channels * taps) as u32,
            weight_row: (channels * taps) as u32,
            data_image: (x.dims[1] * size) as u32,
            data_group: (channels * size) as u32,
            from,
            strides: three(&window.strides, 1),
            before: three(&window.before, 0),
            ..ConvParams::default()
        };
        self.implicit((Way::Forward, params), words, geometry.groups, [x, w], [part, of], dims)
    }

    /// The adjoint of the convolution in its data.
    fn conv_adjoint(
        &mut self,
        geometry: &ConvGeometry,
        (s, of): (View, Transform),
        (w, part): (View, Transform),
        dims: &[usize],
    ) -> Expression {
        let window = &geometry.window;
        if pointwise(geometry, dims) {
            return self.conv_pointwise(geometry.groups, [s, w], [part, of], true, dims);
        }
        let (kernel, dilations) = (three(&w.dims[2..], 1), three(&window.dilations, 1));
        let (channels, taps) = (w.dims[1], elems(&w.dims[2..]));
        let outputs = w.dims[0] / geometry.groups;
        let size = elems(&s.dims[2..]);
        let mut words = Vec::with_capacity(outputs * taps * ENTRY);
        for depth in 0..outputs * taps {
            let (output, tap) = (depth / taps, depth % taps);
            let at = coordinates(tap, kernel);
            let far: [usize; 3] = std::array::from_fn(|i| at[i] * dilations[i] as usize);
            let weight = output * channels * taps + tap;
            words.extend([output * size, far[0], far[1], far[2], weight, 0, 0, 0].map(|v| v as u32));
        }
        let strided = window.strides.iter().any(|s| *s != 1);
        let params = ConvParams {
            m: channels as u32,
            k: (outputs * taps) as u32,
            weight_row: taps as u32,
            data_image: (s.dims[1] * size) as u32,
            data_group: (outputs * size) as u32,
            from: three(&s.dims[2..], 1),
            strides: three(&window.strides, 1),
            before: three(&window.before, 0),
            ..ConvParams::default()
        };
        let way = if strided { Way::AdjointStrided } else { Way::Adjoint };
        self.implicit((way, params), words, geometry.groups, [s, w], [part, of], dims)
    }

    /// A convolution of windows of one element is a product for each image and group.
    fn conv_pointwise(
        &mut self,
        groups: usize,
        [data, w]: [View; 2],
        parts: [Transform; 2],
        adjoint: bool,
        dims: &[usize],
    ) -> Expression {
        let (images, positions) = (dims[0], elems(&dims[2..]));
        let data = data.with_dims(&[images, groups, data.dims[1] / groups, positions]);
        let w = w.with_dims(&[groups, w.dims[0] / groups, w.dims[1]]);
        let whole = [images, groups, dims[1] / groups, positions];
        let e = self.product([w, data], parts, [adjoint, false], &whole);
        // Dense all of it.
        e.reshaped(dims).unwrap_or(e)
    }

    fn implicit(
        &mut self,
        (way, params): (Way, ConvParams),
        table: Vec<u32>,
        groups: usize,
        [data, weight]: [View; 2],
        parts: [Transform; 2],
        dims: &[usize],
    ) -> Expression {
        if dims.contains(&0) {
            return Expression::of(self.buffer(data.kind, dims));
        }
        let positions = elems(&dims[2..]);
        let (m, n) = (params.m, (dims[0] * positions) as u32);
        let shape = [m, n, params.k].map(|d| d as usize);
        // A tile of few channels would be idle for the most part: with many small groups each thread does an element.
        let tile = match m {
            0..8 if groups > 1 => None,
            0..=16 => Some(Tile::FLAT),
            _ => Some(tile(self.precision, shape, groups)),
        };
        // Values begin at multiples of 16 bytes.
        let wide = way == Way::Forward && params.weight_row.is_multiple_of(4) && weight.offset % 4 == 0;
        let variant = conv::Conv { way, parts, second: None, wide, tile, then: Epilogue::default() };
        let params = ConvParams {
            n,
            slice: tile.map_or(params.k, |tile| slice(tile, shape, groups) as u32),
            groups: groups as u32,
            elements: elems(dims) as u32,
            weight_group: (weight.elems() / groups) as u32,
            positions: positions as u32,
            channels: dims[1] as u32,
            to: three(&dims[2..], 1),
            ..params
        };
        let sides = [data, weight, self.table(table)];
        self.wait(Product { work: Work::Conv { variant, params, sides }, dims: dims.to_vec() })
    }
}
