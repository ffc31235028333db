//! Window sums and maxima, and their adjoints.

use dlbc_ops::prim::{ConvGeometry, Prim, Window};
use dlbc_ops::tensor::{Dim, Tensor, TensorType};
use dlbc_proto::write::attr_int;

use super::product::{attributes, pads, transpose};
use super::{Body, ints};

pub(super) fn spell(b: &mut Body, prim: &Prim, inputs: &[TensorType], result: &TensorType) -> Result<(), String> {
    let x = &inputs[0];
    match prim {
        Prim::WindowSum(w) => {
            let (geometry, ones) = ones(b, w, x)?;
            let mut attributes = attributes(&geometry);
            // With `ceil`, windows may reach beyond the pads: pad as far as they can, then keep as many as there are.
            let reach = |i: usize| w.after[i] + if w.ceil { w.strides[i] - 1 } else { 0 };
            attributes.push(pads(&w.before, &(0..w.rank()).map(reach).collect::<Vec<_>>()));
            let y = b.node("Conv", &["x0", &ones], attributes);
            let starts = b.ints(&vec![0; w.rank()]);
            let ends = b.vector(&result.shape.0[2..]);
            let axes = b.ints(&(2..2 + w.rank() as i64).collect::<Vec<_>>());
            if w.ceil {
                b.finish("Slice", &[&y, &starts, &ends, &axes], vec![]);
            } else {
                b.finish("Identity", &[&y], vec![]);
            }
        }
        Prim::WindowSumTranspose { window, to } => {
            let (geometry, ones) = ones(b, window, x)?;
            let y = transpose(b, "x0", &ones, &geometry, &x.shape.0[2..], to, x.rank());
            b.finish("Identity", &[&y], vec![]);
        }
        Prim::WindowMax(w) => {
            let attributes = vec![
                ints("kernel_shape", &w.kernel),
                ints("strides", &w.strides),
                ints("dilations", &w.dilations),
                pads(&w.before, &w.after),
                attr_int("ceil_mode", i64::from(w.ceil)),
            ];
            b.finish("MaxPool", &["x0"], attributes);
        }
        Prim::WindowMaxShare(w) => share(b, w, x, &inputs[1]),
        _ => {}
    }
    Ok(())
}

/// A depthwise convolution by ones.
fn ones(b: &mut Body, w: &Window, x: &TensorType) -> Result<(ConvGeometry, String), String> {
    let channels = x.dim(1).as_known().and_then(|c| usize::try_from(c).ok());
    let channels = channels.ok_or_else(|| format!("a window over {} channels", x.dim(1)))?;
    let dims = [&[channels, 1], w.kernel.as_slice()].concat();
    let weight = b.constant(&Tensor::from_f32(&dims, &vec![1.0; dims.iter().product()]));
    Ok((ConvGeometry { window: Window { ceil: false, ..w.clone() }, groups: channels }, weight))
}

/// Shares `r` (x2) among the positions of its window where `x` (x0) equals the maximum (x1): a mask a tap, counted, and
/// put back by the adjoint of a convolution whose kernel has one output a tap.
fn share(b: &mut Body, w: &Window, x: &TensorType, y: &TensorType) {
    let rank = x.rank();
    let output = &y.shape.0[2..];
    let mut margins = vec![0i64; 2 * rank];
    for i in 0..w.rank() {
        margins[2 + i] = w.before[i] as i64;
        margins[rank + 2 + i] = (w.after[i] + if w.ceil { w.strides[i] - 1 } else { 0 }) as i64;
    }
    let margins = b.ints(&margins);
    let lowest = b.float(f32::NEG_INFINITY);
    let padded = b.node("Pad", &["x0", &margins, &lowest], vec![]);
    let axes = b.ints(&(2..2 + w.rank() as i64).collect::<Vec<_>>());
    let steps = b.ints(&w.strides.iter().map(|s| *s as i64).collect::<Vec<_>>());
    let axis = b.ints(&[2]);
    let taps: usize = w.kernel.iter().product();
    let mut masks = vec![];
    let mut tap = vec![0usize; w.rank()];
    for _ in 0..taps {
        let at: Vec<i64> = (0..w.rank()).map(|i| (tap[i] * w.dilations[i]) as i64).collect();
        let starts = b.ints(&at);
        let ends: Vec<Dim> = (0..w.rank())
            .map(|i| {
                let last = &(&output[i] - &Dim::known(1)) * &Dim::known(w.strides[i] as i64);
                &last + &Dim::known(at[i] + 1)
            })
            .collect();
        let ends = b.vector(&ends);
        let seen = b.node("Slice", &[&padded, &starts, &ends, &axes, &steps], vec![]);
        let equal = b.node("Equal", &[&seen, "x1"], vec![]);
        let mask = b.node("Cast", &[&equal], vec![attr_int("to", 1)]);
        masks.push(b.node("Unsqueeze", &[&mask, &axis], vec![]));
        for i in (0..w.rank()).rev() {
            tap[i] += 1;
            if tap[i] < w.kernel[i] {
                break;
            }
            tap[i] = 0;
        }
    }
    let names: Vec<&str> = masks.iter().map(String::as_str).collect();
    let masks = b.node("Concat", &names, vec![attr_int("axis", 2)]);
    let count = b.node("ReduceSum", &[&masks, &axis], vec![attr_int("keepdims", 1)]);
    let r = b.node("Unsqueeze", &["x2", &axis], vec![]);
    let each = b.guarded_div(&r, &count);
    let shares = b.node("Mul", &[&masks, &each], vec![]);
    let planes = x.dim(0) * x.dim(1);
    let merged = [&[planes, Dim::known(taps as i64)], output].concat();
    let merged = b.vector(&merged);
    let shares = b.node("Reshape", &[&shares, &merged], vec![]);
    let mut kernel = vec![0.0f32; taps * taps];
    for t in 0..taps {
        kernel[t * taps + t] = 1.0;
    }
    let dims = [&[taps, 1], w.kernel.as_slice()].concat();
    let kernel = b.constant(&Tensor::from_f32(&dims, &kernel));
    let geometry = ConvGeometry { window: Window { ceil: false, ..w.clone() }, groups: 1 };
    let back = transpose(b, &shares, &kernel, &geometry, output, &x.shape.0[2..], rank);
    let shape = b.vector(&x.shape.0);
    b.finish("Reshape", &[&back, &shape], vec![]);
}
