//! Sums of windows, and their adjoint.

use dlbc_ops::prim::{Window, WindowSum, WindowSumTranspose};
use dlbc_ops::tensor::{Shape, Tensor};
use dlbc_proto::write::attr_int;

use super::contract::*;
use super::conv::adjoint;
use super::expand::expand;
use super::window::{
    attributes, flatten_channels, padded, pads, pads_fit, pool, single, unflatten_channels, unpadded,
    without_ceil,
};

impl OnnxLowering for WindowSum {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let (x, ty) = (operands.names[0], &operands.types[0]);
        let w = without_ceil(&self.0);
        if w.dilations.iter().any(|d| *d != 1) {
            let flat = flatten_channels(builder, x, ty.rank());
            let (geometry, ones) = (single(&w), ones(builder, &w));
            let mut attributes = attributes(&geometry)?;
            attributes.push(pads(&w.before, &w.after));
            let y = builder.add("Conv", &[&flat, &ones], attributes);
            return unflatten_channels(builder, &y, ty);
        }
        let (x, w) = if pads_fit(&w) {
            (x.to_string(), w)
        } else {
            (padded(builder, &w, x, ty.dtype, 0.0)?, unpadded(&w))
        };
        let mut attributes = pool(&w)?;
        attributes.push(attr_int("count_include_pad", 1));
        let mean = builder.add("AveragePool", &[&x], attributes);
        let size = builder.scalar(ty.dtype, w.kernel.iter().product::<usize>() as f64);
        Ok(builder.add("Mul", &[&mean, &size], vec![]))
    }
}

impl OnnxLowering for WindowSumTranspose {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let WindowSumTranspose { window, to } = self;
        let (r, ty) = (operands.names[0], &operands.types[0]);
        let w = without_ceil(window);
        let covers_axis = |i: usize| {
            w.before[i] == 0 && w.after[i] == 0 && w.dilations[i] == 1 && to[i].is(w.kernel[i] as i64)
        };
        if (0..w.rank()).all(covers_axis) {
            let to = Shape([&ty.shape.0[..2], to].concat());
            return expand(builder, r, &ty.shape, &to);
        }
        let flat = flatten_channels(builder, r, ty.rank());
        let (geometry, ones) = (single(&w), ones(builder, &w));
        let x = adjoint(builder, &geometry, &flat, &ones, to)?;
        unflatten_channels(builder, &x, ty)
    }
}

/// Adds the weight `[1, 1, …]` of a convolution that sums each window.
fn ones(builder: &mut OnnxBuilder, w: &Window) -> String {
    let dims = [&[1, 1], w.kernel.as_slice()].concat();
    builder.constant(&Tensor::from_f32(&dims, &vec![1.0; w.kernel.iter().product()]))
}
