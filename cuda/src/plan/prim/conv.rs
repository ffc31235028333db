//! Convolutions: lowering to implicit matrix products, or to plain ones for windows of one element.

use dlbc_ops::prim::{Conv, ConvGeometry, ConvTranspose, Transform};
use dlbc_ptx::kernel::conv::{self, ConvParams, Direction, ENTRY};
use dlbc_ptx::kernel::epilogue::Epilogue;
use dlbc_ptx::kernel::gemm::{Math, Tile, Unit};

use super::super::partner::with_partner;
use super::super::product::{Complete, Product, Work, slice, tile, unchanged};
use super::super::windows::three_axes;
use super::contract::*;

/// Returns the coordinates of a row-major index.
fn coordinates(mut index: usize, dims: [u32; 3]) -> [usize; 3] {
    let mut coordinates = [0; 3];
    for axis in (0..3).rev() {
        coordinates[axis] = index % dims[axis] as usize;
        index /= dims[axis] as usize;
    }
    coordinates
}

/// Returns whether each window is one element, without strides and padding, and groups have enough channels for a tile.
fn is_pointwise(geometry: &ConvGeometry, dims: &[usize]) -> bool {
    let window = &geometry.window;
    let single = window.kernel.iter().all(|d| *d == 1) && window.strides.iter().all(|s| *s == 1);
    let unpadded = window.before.iter().chain(&window.after).all(|p| *p == 0);
    single && unpadded && !dims.contains(&0) && (geometry.groups == 1 || dims[1] / geometry.groups >= 8)
}

fn elems(dims: &[usize]) -> usize {
    dims.iter().product()
}

impl CudaPrimitive for Conv {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let (x, weight) = (node.contiguous_operand(p, 0), node.stored_contiguous(p, 1));
        let bias = (node.inputs.len() > 2).then(|| node.contiguous(p, 2));
        let (dims, inner) = (node.dims.clone(), [Transform::Id, x.1]);
        let mut complete = |p: &mut Planner, product| with_partner(p, node, product, inner);
        let e = p.conv(&self.geometry, x, (weight, self.w), &dims, &mut complete);
        let e = match bias {
            None => e,
            Some(bias) => {
                let mut across = vec![1; dims.len()];
                across[1] = dims[1];
                e.plus(&Expression::from_view(bias.with_dims(&across)))
            }
        };
        Ok(node.fuse_or_store(p, e))
    }
}

impl CudaPrimitive for ConvTranspose {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let (s, weight) = (node.contiguous_operand(p, 0), node.stored_contiguous(p, 1));
        let e = p.conv_adjoint(&self.geometry, s, (weight, self.w), &node.dims);
        Ok(node.fuse_or_store(p, e))
    }
}

impl Planner {
    /// Lowers the convolution of `x` with the weights `w`. `complete` may add a second product.
    fn conv(
        &mut self,
        geometry: &ConvGeometry,
        (x, x_transform): (View, Transform),
        (w, w_transform): (View, Transform),
        dims: &[usize],
        complete: Complete<'_>,
    ) -> Expression {
        let window = &geometry.window;
        if is_pointwise(geometry, dims) {
            let transforms = [w_transform, x_transform];
            let shape = (geometry.groups, Direction::Forward);
            return self.conv_pointwise(shape, [x, w], transforms, dims, complete);
        }
        let data_dims = three_axes(&x.dims[2..], 1);
        let (kernel, dilations) = (three_axes(&w.dims[2..], 1), three_axes(&window.dilations, 1));
        let (channels, taps) = (w.dims[1], elems(&w.dims[2..]));
        let size = elems(&x.dims[2..]);
        let mut words = Vec::with_capacity(channels * taps * ENTRY);
        for depth in 0..channels * taps {
            let tap = coordinates(depth % taps, kernel);
            let [z, y, x]: [usize; 3] = std::array::from_fn(|i| tap[i] * dilations[i] as usize);
            words.extend([depth / taps * size, z, y, x, 0, 0, 0, 0].map(|v| v as u32));
        }
        let outputs = w.dims[0] / geometry.groups;
        let params = ConvParams {
            m: outputs as u32,
            k: (channels * taps) as u32,
            weight_row: (channels * taps) as u32,
            data_image: (x.dims[1] * size) as u32,
            data_group: (channels * size) as u32,
            data_dims,
            strides: three_axes(&window.strides, 1),
            before: three_axes(&window.before, 0),
            ..ConvParams::default()
        };
        let transforms = [w_transform, x_transform];
        let form = (Direction::Forward, params, words);
        self.implicit_product(form, geometry.groups, [x, w], transforms, dims, complete)
    }

    /// Lowers the adjoint of the convolution with respect to its data.
    fn conv_adjoint(
        &mut self,
        geometry: &ConvGeometry,
        (s, s_transform): (View, Transform),
        (w, w_transform): (View, Transform),
        dims: &[usize],
    ) -> Expression {
        let window = &geometry.window;
        if is_pointwise(geometry, dims) {
            let transforms = [w_transform, s_transform];
            let shape = (geometry.groups, Direction::Adjoint);
            return self.conv_pointwise(shape, [s, w], transforms, dims, &mut unchanged);
        }
        let (kernel, dilations) = (three_axes(&w.dims[2..], 1), three_axes(&window.dilations, 1));
        let (channels, taps) = (w.dims[1], elems(&w.dims[2..]));
        let outputs = w.dims[0] / geometry.groups;
        let size = elems(&s.dims[2..]);
        let mut words = Vec::with_capacity(outputs * taps * ENTRY);
        for depth in 0..outputs * taps {
            let (output, tap) = (depth / taps, depth % taps);
            let weight = output * channels * taps + tap;
            let tap = coordinates(tap, kernel);
            let [z, y, x]: [usize; 3] = std::array::from_fn(|i| tap[i] * dilations[i] as usize);
            words.extend([output * size, z, y, x, weight, 0, 0, 0].map(|v| v as u32));
        }
        let strided = window.strides.iter().any(|s| *s != 1);
        let params = ConvParams {
            m: channels as u32,
            k: (outputs * taps) as u32,
            weight_row: taps as u32,
            data_image: (s.dims[1] * size) as u32,
            data_group: (outputs * size) as u32,
            data_dims: three_axes(&s.dims[2..], 1),
            strides: three_axes(&window.strides, 1),
            before: three_axes(&window.before, 0),
            ..ConvParams::default()
        };
        let direction = if strided { Direction::AdjointStrided } else { Direction::Adjoint };
        let transforms = [w_transform, s_transform];
        let form = (direction, params, words);
        self.implicit_product(form, geometry.groups, [s, w], transforms, dims, &mut unchanged)
    }

    /// Lowers a convolution whose windows are one element: a matrix product per image and group.
    fn conv_pointwise(
        &mut self,
        (groups, direction): (usize, Direction),
        [data, w]: [View; 2],
        transforms: [Transform; 2],
        dims: &[usize],
        complete: Complete<'_>,
    ) -> Expression {
        let (images, positions) = (dims[0], elems(&dims[2..]));
        let data = data.with_dims(&[images, groups, data.dims[1] / groups, positions]);
        let w = w.with_dims(&[groups, w.dims[0] / groups, w.dims[1]]);
        let whole = [images, groups, dims[1] / groups, positions];
        let transposed = [direction != Direction::Forward, false];
        let e = self.product_with([w, data], transforms, transposed, &whole, complete);
        // The reshape succeeds, since the result is contiguous.
        e.reshaped(dims).unwrap_or(e)
    }

    /// Lowers a convolution to an implicit matrix product.
    fn implicit_product(
        &mut self,
        (direction, params, table): (Direction, ConvParams, Vec<u32>),
        groups: usize,
        [data, weight]: [View; 2],
        transforms: [Transform; 2],
        dims: &[usize],
        complete: Complete<'_>,
    ) -> Expression {
        if dims.contains(&0) {
            return Expression::from_view(self.buffer(data.kind, dims));
        }
        let positions = elems(&dims[2..]);
        let (m, n) = (params.m, (dims[0] * positions) as u32);
        let shape = [m, n, params.k].map(|d| d as usize);
        // A tile of few channels would be mostly idle, so with many small groups each thread computes one element.
        let tile = match m {
            0..8 if groups > 1 => None,
            0..=16 => Some(Tile::FLAT),
            _ => match tile(self.precision, shape, groups) {
                // Addresses of windows and two instructions' operands at a time exceed the registers of the large tile.
                Tile { unit: Unit::Mma(_, Math::Tf32), .. } => Some(Tile::tensor(Math::Tf32)),
                tile => Some(tile),
            },
        };
        // Buffers start at multiples of 16 bytes.
        let (weights, group) = (weight.storage, weight.storage.group());
        let aligned = params.weight_row.is_multiple_of(group) && weight.offset % i64::from(group) == 0;
        let vectorised = direction == Direction::Forward && aligned;
        let tile = tile.map(|tile| tile.copying(&[(weights, vectorised)]));
        let epilogue = Epilogue::default();
        let variant = conv::Conv { direction, transforms, second: None, vectorised, weights, tile, epilogue };
        let params = ConvParams {
            n,
            slice: tile.map_or(params.k, |tile| slice(tile, shape, groups) as u32),
            groups: groups as u32,
            elements: elems(dims) as u32,
            weight_group: (weight.elems() / groups) as u32,
            positions: positions as u32,
            channels: dims[1] as u32,
            out_dims: three_axes(&dims[2..], 1),
            ..params
        };
        let operands = [data, weight, self.table(table)];
        let product = Product::new(Work::Conv { variant, params, operands }, dims);
        let product = complete(self, product);
        self.defer(product)
    }
}
