//! Window sums and maxima, and the adjoint of the sum.

use dlbc_ops::prim::{ConvGeometry, PadMode, Window};
use dlbc_ops::tensor::{DType, Dim, Shape, Tensor, TensorType};

use super::Spelled;
use super::movement::{expand, pad};
use super::product::{adjoint, attributes, pads};
use crate::onnx_builder::OnnxBuilder;
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

/// Whether the pools of ONNX Runtime take these pads: smaller than the kernel, and not dilated.
fn pads_fit(w: &Window) -> bool {
    let small = |p: &[usize]| p.iter().zip(&w.kernel).all(|(p, k)| p < k);
    let none = w.before.iter().chain(&w.after).all(|p| *p == 0);
    none || (small(&w.before) && small(&w.after) && w.dilations.iter().all(|d| *d == 1))
}

/// `x` with the pads of a window around its spatial axes.
pub(super) fn padded(s: &mut OnnxBuilder, w: &Window, x: &str, dtype: DType, fill: f32) -> Spelled {
    if w.before.iter().chain(&w.after).all(|p| *p == 0) {
        return Ok(x.into());
    }
    let margins = |p: &[usize]| [0, 0].iter().chain(p).map(|p| Dim::known(*p as i64)).collect::<Vec<_>>();
    pad(s, x, dtype, &margins(&w.before), &margins(&w.after), PadMode::Constant(fill))
}

pub(super) fn sum(s: &mut OnnxBuilder, w: &Window, x: &str, ty: &TensorType) -> Spelled {
    let w = settled(w);
    if w.dilations.iter().any(|d| *d != 1) {
        let flat = flat(s, x, ty.rank());
        let (geometry, ones) = (single(&w), ones(s, &w));
        let mut attributes = attributes(&geometry)?;
        attributes.push(pads(&w.before, &w.after));
        let y = s.add("Conv", &[&flat, &ones], attributes);
        return unflat(s, &y, ty);
    }
    let (x, w) =
        if pads_fit(&w) { (x.to_string(), w) } else { (padded(s, &w, x, ty.dtype, 0.0)?, unpadded(&w)) };
    let mut attributes = pool(&w)?;
    attributes.push(dlbc_proto::write::attr_int("count_include_pad", 1));
    let mean = s.add("AveragePool", &[&x], attributes);
    let size = s.scalar(ty.dtype, w.kernel.iter().product::<usize>() as f64);
    Ok(s.add("Mul", &[&mean, &size], vec![]))
}

pub(super) fn max(s: &mut OnnxBuilder, w: &Window, x: &str, ty: &TensorType) -> Spelled {
    let w = settled(w);
    let fits = pads_fit(&w);
    let (x, w) = if fits {
        (x.to_string(), w)
    } else {
        (padded(s, &w, x, ty.dtype, f32::NEG_INFINITY)?, unpadded(&w))
    };
    let mut attributes = pool(&w)?;
    if w.dilations.iter().any(|d| *d != 1) {
        attributes.push(sizes("dilations", &w.dilations));
    }
    Ok(s.add("MaxPool", &[&x], attributes))
}

fn pool(w: &Window) -> Result<Vec<dlbc_proto::onnx::AttributeProto>, String> {
    if w.rank() == 0 {
        return Err("its window has no spatial axis".into());
    }
    Ok(vec![sizes("kernel_shape", &w.kernel), sizes("strides", &w.strides), pads(&w.before, &w.after)])
}

pub(super) fn unpadded(w: &Window) -> Window {
    let zeros = vec![0; w.rank()];
    Window { before: zeros.clone(), after: zeros, ..w.clone() }
}

pub(super) fn sum_transpose(
    s: &mut OnnxBuilder,
    window: &Window,
    r: &str,
    ty: &TensorType,
    to: &[Dim],
) -> Spelled {
    let w = settled(window);
    let whole =
        |i: usize| w.before[i] == 0 && w.after[i] == 0 && w.dilations[i] == 1 && to[i].is(w.kernel[i] as i64);
    if (0..w.rank()).all(whole) {
        let to = Shape([&ty.shape.0[..2], to].concat());
        return expand(s, r, &ty.shape, &to);
    }
    let flat = flat(s, r, ty.rank());
    let (geometry, ones) = (single(&w), ones(s, &w));
    let x = adjoint(s, &geometry, &flat, &ones, to)?;
    unflat(s, &x, ty)
}

/// A convolution of one channel.
pub(super) fn single(w: &Window) -> ConvGeometry {
    ConvGeometry { window: w.clone(), groups: 1 }
}

fn ones(s: &mut OnnxBuilder, w: &Window) -> String {
    let dims = [&[1, 1], w.kernel.as_slice()].concat();
    s.constant(&Tensor::from_f32(&dims, &vec![1.0; w.kernel.iter().product()]))
}

/// `[n, c, …]` as `[n·c, 1, …]`.
pub(super) fn flat(s: &mut OnnxBuilder, x: &str, rank: usize) -> String {
    // 0 keeps a dimension.
    let to = s.ints(&[&[-1, 1], vec![0; rank - 2].as_slice()].concat());
    s.add("Reshape", &[x, &to], vec![])
}

/// `[n·c, 1, …]` as `[n, c, …]`, the first two of `ty`.
pub(super) fn unflat(s: &mut OnnxBuilder, x: &str, ty: &TensorType) -> Spelled {
    let (n, c) = (ty.dim(0).clone(), ty.dim(1).clone());
    let (n, c) = if c.as_known().is_some() { (Dim::known(-1), c) } else { (n, Dim::known(-1)) };
    let rest = vec![Dim::known(0); ty.rank() - 2];
    let to = s.vector(&[&[n, c], rest.as_slice()].concat())?;
    Ok(s.add("Reshape", &[x, &to], vec![]))
}
