//! Attributes, pads and reshapes that the primitives of windows share.

use dlbc_ops::prim::{ConvGeometry, PadMode, Window};
use dlbc_ops::tensor::{DType, Dim};
use dlbc_proto::onnx::AttributeProto;
use dlbc_proto::write::attr_int;

use super::contract::*;
use super::pad::pad;
use crate::onnx_builder::types::sizes;

/// Replaces `ceil` by larger pads after the operand that give the same windows for every operand size.
///
/// A window must begin inside the operand or its leading pads. Where rounding up could add a window that begins later, the
/// pads are cut so that only the allowed windows fit; elsewhere they are enlarged so that the rounded-up number fits.
pub(super) fn without_ceil(w: &Window) -> Window {
    let mut floored = Window { ceil: false, ..w.clone() };
    if w.ceil {
        for (i, after) in floored.after.iter_mut().enumerate() {
            let (stride, extent) = (w.strides[i], w.extent(i));
            if stride > 1 {
                *after = if stride + *after >= extent { extent - 1 } else { *after + stride - 1 };
            }
        }
    }
    floored
}

/// Returns whether the pools of ONNX Runtime take these pads: smaller than the kernel, and without dilation.
pub(super) fn pads_fit(w: &Window) -> bool {
    let fits = |pads: &[usize]| pads.iter().zip(&w.kernel).all(|(pad, k)| pad < k);
    let is_unpadded = w.before.iter().chain(&w.after).all(|pad| *pad == 0);
    is_unpadded || (fits(&w.before) && fits(&w.after) && w.dilations.iter().all(|d| *d == 1))
}

/// Pads the spatial axes of `x` by the pads of a window.
pub(super) fn padded(builder: &mut OnnxBuilder, w: &Window, x: &str, dtype: DType, fill: f32) -> Lowered {
    if w.before.iter().chain(&w.after).all(|p| *p == 0) {
        return Ok(x.into());
    }
    let margins = |p: &[usize]| [0, 0].iter().chain(p).map(|p| Dim::known(*p as i64)).collect::<Vec<_>>();
    pad(builder, x, dtype, &margins(&w.before), &margins(&w.after), PadMode::Constant(fill))
}

/// Kernel, strides and pads of a pool.
///
/// # Errors
/// For a window without spatial axis.
pub(super) fn pool(w: &Window) -> Result<Vec<AttributeProto>, String> {
    if w.rank() == 0 {
        return Err("expected a window with a spatial axis, found none".into());
    }
    Ok(vec![sizes("kernel_shape", &w.kernel), sizes("strides", &w.strides), pads(&w.before, &w.after)])
}

/// The same window without pads.
pub(super) fn unpadded(w: &Window) -> Window {
    let zeros = vec![0; w.rank()];
    Window { before: zeros.clone(), after: zeros, ..w.clone() }
}

/// The geometry of a convolution with one channel.
pub(super) fn single(w: &Window) -> ConvGeometry {
    ConvGeometry { window: w.clone(), groups: 1 }
}

/// Kernel, strides, dilations and groups of a convolution.
///
/// # Errors
/// For a window without spatial axis.
pub(super) fn attributes(geometry: &ConvGeometry) -> Result<Vec<AttributeProto>, String> {
    let w = &geometry.window;
    if w.rank() == 0 {
        return Err("expected a window with a spatial axis, found none".into());
    }
    Ok(vec![
        sizes("kernel_shape", &w.kernel),
        sizes("strides", &w.strides),
        sizes("dilations", &w.dilations),
        attr_int("group", geometry.groups as i64),
    ])
}

/// The attribute `pads`.
pub(super) fn pads(before: &[usize], after: &[usize]) -> AttributeProto {
    sizes("pads", &[before, after].concat())
}

/// Reshapes `[n, c, …]` to `[n·c, 1, …]`.
pub(super) fn flatten_channels(builder: &mut OnnxBuilder, x: &str, rank: usize) -> String {
    // In the target of `Reshape`, 0 keeps a dimension.
    let to = builder.ints(&[&[-1, 1], vec![0; rank - 2].as_slice()].concat());
    builder.add("Reshape", &[x, &to], vec![])
}

/// Reshapes `[n·c, 1, …]` to `[n, c, …]` with the first two dimensions of `ty`.
pub(super) fn unflatten_channels(builder: &mut OnnxBuilder, x: &str, ty: &TensorType) -> Lowered {
    let (n, c) = (ty.dim(0).clone(), ty.dim(1).clone());
    let (n, c) = if c.as_known().is_some() { (Dim::known(-1), c) } else { (n, Dim::known(-1)) };
    let rest = vec![Dim::known(0); ty.rank() - 2];
    let to = builder.vector(&[&[n, c], rest.as_slice()].concat())?;
    Ok(builder.add("Reshape", &[x, &to], vec![]))
}
