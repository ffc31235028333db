//! Windows as ONNX has them, with the attributes and reshapes that their primitives share.

use dlbc_ops::prim::{ConvGeometry, PadMode, Window};
use dlbc_ops::tensor::{DType, Dim};
use dlbc_proto::onnx::AttributeProto;
use dlbc_proto::write::attr_int;

use super::contract::*;
use super::pad::pad;
use crate::onnx_builder::types::sizes;

/// The same windows without `ceil`: the pads after are as large as the windows reach, whatever the operand's size.
///
/// A last window must begin inside the operand or its leading pads. Where the windows can get past that, the pads after
/// are such that exactly those which begin there fit; else such that the rounded-up number fits.
pub(super) fn settled(w: &Window) -> Window {
    let mut settled = Window { ceil: false, ..w.clone() };
    if w.ceil {
        for (i, after) in settled.after.iter_mut().enumerate() {
            let (stride, extent) = (w.strides[i], w.extent(i));
            if stride > 1 {
                *after = if stride + *after >= extent { extent - 1 } else { *after + stride - 1 };
            }
        }
    }
    settled
}

/// Returns whether the pools of ONNX Runtime take these pads: smaller than the kernel, and not dilated.
pub(super) fn pads_fit(w: &Window) -> bool {
    let small = |p: &[usize]| p.iter().zip(&w.kernel).all(|(p, k)| p < k);
    let none = w.before.iter().chain(&w.after).all(|p| *p == 0);
    none || (small(&w.before) && small(&w.after) && w.dilations.iter().all(|d| *d == 1))
}

/// `x` with the pads of a window around its spatial axes.
pub(super) fn padded(s: &mut OnnxBuilder, w: &Window, x: &str, dtype: DType, fill: f32) -> Lowered {
    if w.before.iter().chain(&w.after).all(|p| *p == 0) {
        return Ok(x.into());
    }
    let margins = |p: &[usize]| [0, 0].iter().chain(p).map(|p| Dim::known(*p as i64)).collect::<Vec<_>>();
    pad(s, x, dtype, &margins(&w.before), &margins(&w.after), PadMode::Constant(fill))
}

pub(super) fn pool(w: &Window) -> Result<Vec<AttributeProto>, String> {
    if w.rank() == 0 {
        return Err("its window has no spatial axis".into());
    }
    Ok(vec![sizes("kernel_shape", &w.kernel), sizes("strides", &w.strides), pads(&w.before, &w.after)])
}

pub(super) fn unpadded(w: &Window) -> Window {
    let zeros = vec![0; w.rank()];
    Window { before: zeros.clone(), after: zeros, ..w.clone() }
}

/// A convolution of one channel.
pub(super) fn single(w: &Window) -> ConvGeometry {
    ConvGeometry { window: w.clone(), groups: 1 }
}

/// Kernel, strides, dilations and groups.
pub(super) fn attributes(geometry: &ConvGeometry) -> Result<Vec<AttributeProto>, String> {
    let w = &geometry.window;
    if w.rank() == 0 {
        return Err("its window has no spatial axis".into());
    }
    Ok(vec![
        sizes("kernel_shape", &w.kernel),
        sizes("strides", &w.strides),
        sizes("dilations", &w.dilations),
        attr_int("group", geometry.groups as i64),
    ])
}

pub(super) fn pads(before: &[usize], after: &[usize]) -> AttributeProto {
    sizes("pads", &[before, after].concat())
}

/// `[n, c, …]` as `[n·c, 1, …]`.
pub(super) fn flat(s: &mut OnnxBuilder, x: &str, rank: usize) -> String {
    // 0 keeps a dimension.
    let to = s.ints(&[&[-1, 1], vec![0; rank - 2].as_slice()].concat());
    s.add("Reshape", &[x, &to], vec![])
}

/// `[n·c, 1, …]` as `[n, c, …]`, the first two of `ty`.
pub(super) fn unflat(s: &mut OnnxBuilder, x: &str, ty: &TensorType) -> Lowered {
    let (n, c) = (ty.dim(0).clone(), ty.dim(1).clone());
    let (n, c) = if c.as_known().is_some() { (Dim::known(-1), c) } else { (n, Dim::known(-1)) };
    let rest = vec![Dim::known(0); ty.rank() - 2];
    let to = s.vector(&[&[n, c], rest.as_slice()].concat())?;
    Ok(s.add("Reshape", &[x, &to], vec![]))
}
