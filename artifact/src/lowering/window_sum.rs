//! Window sums and their adjoint.

use dlbc_ops::prim::{Window, WindowSum, WindowSumTranspose};
use dlbc_ops::tensor::{Shape, Tensor};
use dlbc_proto::write::attr_int;

use super::contract::*;
use super::conv::adjoint;
use super::expand::expand;
use super::window::{attributes, flat, padded, pads, pads_fit, pool, settled, single, unflat, unpadded};

impl OnnxLowering for WindowSum {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let (x, ty) = (at.x[0], &at.types[0]);
        let w = settled(&self.0);
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
        attributes.push(attr_int("count_include_pad", 1));
        let mean = s.add("AveragePool", &[&x], attributes);
        let size = s.scalar(ty.dtype, w.kernel.iter().product::<usize>() as f64);
        Ok(s.add("Mul", &[&mean, &size], vec![]))
    }
}

impl OnnxLowering for WindowSumTranspose {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let WindowSumTranspose { window, to } = self;
        let (r, ty) = (at.x[0], &at.types[0]);
        let w = settled(window);
        let whole = |i: usize| {
            w.before[i] == 0 && w.after[i] == 0 && w.dilations[i] == 1 && to[i].is(w.kernel[i] as i64)
        };
        if (0..w.rank()).all(whole) {
            let to = Shape([&ty.shape.0[..2], to].concat());
            return expand(s, r, &ty.shape, &to);
        }
        let flat = flat(s, r, ty.rank());
        let (geometry, ones) = (single(&w), ones(s, &w));
        let x = adjoint(s, &geometry, &flat, &ones, to)?;
        unflat(s, &x, ty)
    }
}

fn ones(s: &mut OnnxBuilder, w: &Window) -> String {
    let dims = [&[1, 1], w.kernel.as_slice()].concat();
    s.constant(&Tensor::from_f32(&dims, &vec![1.0; w.kernel.iter().product()]))
}
