//! Places of the maxima of a pool: the second result of `MaxPool`.
//!
//! Shapes: x `[n, c, d₁, …]`, result of the pool's shape, int64: the index of the first maximum of each window in the flattened
//! `x`, whose spatial axes count row-major or column-major (`storage_order`).

use super::read::Reading;
use super::{Add, Arg, Concat, Gather, Mul, Pad, Slice};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{PadMode, Window};
use crate::tensor::{DType, Dim, Shape, Tensor};

/// Returns the indices of the maxima of `window` over `x`.
pub(super) fn indices(
    r: &mut Reading,
    x: Value,
    window: &Window,
    column_major: bool,
) -> Result<Value, OpError> {
    let ty = r.ty(x);
    let spatial = &ty.shape.0[2..];
    let output = window.output(spatial)?;
    let taps = taps(&window.kernel);
    let tap = first_maximum(r, x, window, &output, &taps)?;
    // Strides of the spatial axes in a channel.
    let mut strides = vec![Dim::known(1); spatial.len()];
    let axes: Vec<usize> =
        if column_major { (0..spatial.len()).collect() } else { (0..spatial.len()).rev().collect() };
    for pair in axes.windows(2) {
        strides[pair[1]] = &strides[pair[0]] * &spatial[pair[0]];
    }
    let rank = ty.rank();
    let channel = spatial.iter().fold(Dim::known(1), |n, d| &n * d);
    let scaled = |r: &mut Reading, v: Value, by: &Dim| {
        let by = r.dim_scalar(by)?;
        r.add(Mul, &[v, by])
    };
    let images = r.count_along(ty.dim(0), 0, rank)?;
    let image = scaled(r, images, &(ty.dim(1) * &channel))?;
    let channels = r.count_along(ty.dim(1), 1, rank)?;
    let channels = scaled(r, channels, &channel)?;
    let mut index = r.add(Add, &[image, channels])?;
    for (axis, stride) in strides.iter().enumerate() {
        let position = r.count_along(&output[axis], axis + 2, rank)?;
        let position = scaled(r, position, &Dim::known(window.strides[axis] as i64))?;
        // Offset of each tap from the position of its window.
        let offset =
            |tap: &Vec<usize>| (tap[axis] * window.dilations[axis]) as i64 - window.before[axis] as i64;
        let offsets: Vec<i64> = taps.iter().map(offset).collect();
        let offsets = r.add_constant(Tensor::from_i64(&[offsets.len()], &offsets));
        let offset = r.add(Gather { axis: 0 }, &[offsets, tap])?;
        let place = r.add(Add, &[position, offset])?;
        let place = scaled(r, place, stride)?;
        index = r.add(Add, &[index, place])?;
    }
    Ok(index)
}

/// Returns the coordinates of each tap of a window, row-major.
fn taps(kernel: &[usize]) -> Vec<Vec<usize>> {
    kernel.iter().fold(vec![vec![]], |taps, k| {
        taps.iter().flat_map(|tap| (0..*k).map(move |i| [tap.as_slice(), &[i]].concat())).collect()
    })
}

/// Returns the number of the tap that holds the first maximum of each window.
fn first_maximum(
    r: &mut Reading,
    x: Value,
    window: &Window,
    output: &[Dim],
    taps: &[Vec<usize>],
) -> Result<Value, OpError> {
    let rank = r.ty(x).rank();
    // A window whose size is rounded up reaches further than the padding.
    let reach = |axis: usize| window.after[axis] + if window.ceil { window.strides[axis] } else { 0 };
    let pads = |pads: Vec<usize>| [0, 0].into_iter().chain(pads).map(|p| Dim::known(p as i64)).collect();
    let (before, after) = (pads(window.before.clone()), pads((0..window.rank()).map(reach).collect()));
    let padded = r.add(Pad { before, after, mode: PadMode::Constant(f32::NEG_INFINITY) }, &[x])?;
    let mut elements = vec![];
    for tap in taps {
        let mut element = padded;
        for (axis, at) in tap.iter().enumerate() {
            let start = Dim::known((at * window.dilations[axis]) as i64);
            let (len, step) = (output[axis].clone(), window.strides[axis] as i64);
            element = r.add(Slice { axis: axis + 2, start, len, step }, &[element])?;
        }
        let mut shape = r.ty(element).shape.0;
        shape.push(Dim::known(1));
        elements.push(r.reshape(element, Shape(shape))?);
    }
    let elements =
        if let [single] = elements[..] { single } else { r.add(Concat { axis: rank }, &elements)? };
    let tap = r.add(Arg { max: true, axis: rank, keep: false }, &[elements])?;
    r.cast(tap, DType::I64)
}
