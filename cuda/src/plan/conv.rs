//! Convolutions: tables, tiles, groups.

use dlbc_ops::prim::{Binary, ConvGeometry, Part};
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::conv::{Conv, ConvParams, ENTRY, Way};
use dlbc_ptx::kernel::epilogue::{Epilogue, Reach};
use dlbc_ptx::kernel::gemm::Tile;
use dlbc_ptx::kernel::pointwise::{Kind, Term};

use super::product::tile;
use super::{Planner, Step, View};

/// Three spatial axes; those that do not exist are 1.
pub(super) fn three(values: &[usize], fill: usize) -> [u32; 3] {
    let lead = 3 - values.len().min(3);
    std::array::from_fn(|i| i.checked_sub(lead).map_or(fill, |i| values[i]) as u32)
}

/// Coordinates of a row-major index.
fn coordinates(mut index: usize, dims: [u32; 3]) -> [usize; 3] {
    let mut at = [0; 3];
    for axis in (0..3).rev() {
        at[axis] = index % dims[axis] as usize;
        index /= dims[axis] as usize;
    }
    at
}

fn elems(dims: &[usize]) -> usize {
    dims.iter().product()
}

impl Planner {
    /// The convolution of `x` into a new buffer.
    pub(super) fn conv(
        &mut self,
        geometry: &ConvGeometry,
        x: View,
        (w, part): (View, Part),
        bias: Option<View>,
        dims: &[usize],
    ) -> View {
        let window = &geometry.window;
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
        self.implicit(Way::Forward, params, words, geometry.groups, [x, w], part, bias, dims)
    }

    /// The adjoint of the convolution in its data.
    pub(super) fn conv_adjoint(
        &mut self,
        geometry: &ConvGeometry,
        s: View,
        (w, part): (View, Part),
        dims: &[usize],
    ) -> View {
        let window = &geometry.window;
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
        self.implicit(way, params, words, geometry.groups, [s, w], part, None, dims)
    }

    #[allow(clippy::too_many_arguments)]
    fn implicit(
        &mut self,
        way: Way,
        params: ConvParams,
        table: Vec<u32>,
        groups: usize,
        [data, weight]: [View; 2],
        part: Part,
        bias: Option<View>,
        dims: &[usize],
    ) -> View {
        let out = self.buffer(data.kind, dims);
        if out.elems() == 0 {
            return out;
        }
        let positions = elems(&dims[2..]);
        let (m, n) = (params.m, (dims[0] * positions) as u32);
        // A tile of few channels would be idle for the most part: with many small groups each thread does an element.
        let tile = match m {
            0..8 if groups > 1 => None,
            0..=16 => Some(Tile::FLAT),
            _ => Some(tile(self.precision, [m, n, params.k].map(|d| d as usize), groups)),
        };
        // Values begin at multiples of 16 bytes.
        let wide = way == Way::Forward && params.weight_row.is_multiple_of(4) && weight.offset % 4 == 0;
        let then = match bias {
            None => Epilogue::default(),
            Some(_) => Epilogue {
                operands: vec![Reach::Row],
                terms: vec![
                    (Term::Operand(0), Kind::F),
                    (Term::Operand(1), Kind::F),
                    (Term::Binary(Binary::Add, 0, 1), Kind::F),
                ],
            },
        };
        let variant = Conv { way, part, wide, tile, then };
        let params = ConvParams {
            n,
            slice: params.k,
            groups: groups as u32,
            elements: out.elems() as u32,
            weight_group: (weight.elems() / groups) as u32,
            positions: positions as u32,
            channels: dims[1] as u32,
            to: three(&dims[2..], 1),
            ..params
        };
        let table = self.table(table);
        let kernel = self.kernel(variant.name(), || variant.emit());
        let mut reads = vec![data.clone(), weight.clone(), table.clone()];
        reads.extend(bias.clone());
        let (own, grid) = (out.clone(), variant.grid(&params));
        let params = move |at: &super::Addresses| {
            let params = ConvParams {
                data: at.of(&data),
                weight: at.of(&weight),
                then: [bias.as_ref().map_or(0, |b| at.of(b)), 0, 0, 0],
                out: at.of(&own),
                table: at.of(&table),
                ..params
            };
            params.bytes()
        };
        let writes = vec![out.clone()];
        self.push(Step { kernel, grid, params: Box::new(params), reads, writes, updates: vec![] });
        out
    }
}
