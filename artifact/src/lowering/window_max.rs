//! Window maxima, and relevance to them, in equal shares where they tie.

use dlbc_ops::prim::{Window, WindowMax, WindowMaxShare};
use dlbc_ops::tensor::{DType, Tensor};
use dlbc_proto::write::attr_int;

use super::binary::guarded_div;
use super::contract::*;
use super::conv::adjoint;
use super::window::{flat, padded, pads_fit, pool, settled, single, unflat, unpadded};
use crate::onnx_builder::types::sizes;

/// The most taps that are written.
const MAX_TAPS: usize = 4096;

impl OnnxLowering for WindowMax {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let (x, ty) = (at.x[0], &at.types[0]);
        let w = settled(&self.0);
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
}

/// `(x, y, r)`: a mask a tap of where `x` is the maximum `y`; `r` in as many shares as masks agree, put back by the
/// adjoint of a convolution that has an output a tap.
impl OnnxLowering for WindowMaxShare {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let (x, ty) = (at.x, &at.types[0]);
        let w = settled(&self.window);
        let taps = w.kernel.iter().try_fold(1usize, |n, k| n.checked_mul(*k)).filter(|n| *n <= MAX_TAPS);
        let taps = taps.ok_or_else(|| format!("its window has more than {MAX_TAPS} elements"))?;
        if ty.dtype != DType::F32 {
            return Err(format!("relevance of windows of {}", ty.dtype));
        }
        let [x, y, r] = [x[0], x[1], x[2]].map(|v| flat(s, v, ty.rank()));
        // Not a number equals nothing: pads take no share.
        let x = padded(s, &w, &x, ty.dtype, f32::NAN)?;
        let seen: Vec<String> = (0..taps).map(|tap| slice(s, &w, &x, tap)).collect();
        let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
        let seen = s.add("Concat", &seen, vec![attr_int("axis", 1)]);
        let equal = s.add("Equal", &[&seen, &y], vec![]);
        let masks = s.add("Cast", &[&equal], vec![attr_int("to", 1)]);
        let axis = s.ints(&[1]);
        let masks = if self.first {
            // The first of the taps that agree is the one at which their count so far is 1.
            let along = s.constant(&Tensor::from_i64(&[], &[1]));
            let so_far = s.add("CumSum", &[&masks, &along], vec![]);
            let one = s.scalar(ty.dtype, 1.0);
            let initial = s.add("Equal", &[&so_far, &one], vec![]);
            let first = s.add("And", &[&initial, &equal], vec![]);
            s.add("Cast", &[&first], vec![attr_int("to", 1)])
        } else {
            masks
        };
        let count = s.add("ReduceSum", &[&masks, &axis], vec![attr_int("keepdims", 1)]);
        let each = guarded_div(s, &r, &count, ty.dtype);
        let shares = s.add("Mul", &[&masks, &each], vec![]);
        let weight = selection(s, &w, taps);
        let back = adjoint(s, &single(&w), &shares, &weight, &ty.shape.0[2..])?;
        unflat(s, &back, ty)
    }
}

/// The element of each window at a tap.
fn slice(s: &mut OnnxBuilder, w: &Window, x: &str, tap: usize) -> String {
    let (mut starts, mut ends) = (vec![0i64; w.rank()], vec![0i64; w.rank()]);
    let mut rest = tap;
    for i in (0..w.rank()).rev() {
        let at = rest % w.kernel[i] * w.dilations[i];
        rest /= w.kernel[i];
        starts[i] = at as i64;
        // The last window ends where the padded operand ends, or a part of a step before.
        let left = w.extent(i) - 1 - at;
        ends[i] = if left == 0 { i64::MAX } else { -(left as i64) };
    }
    let axes: Vec<i64> = (0..w.rank()).map(|i| i as i64 + 2).collect();
    let steps: Vec<i64> = w.strides.iter().map(|v| *v as i64).collect();
    let [starts, ends, axes, steps] = [starts, ends, axes, steps].map(|v| s.ints(&v));
    s.add("Slice", &[x, &starts, &ends, &axes, &steps], vec![])
}

/// The weight `[taps, 1, …]` whose output `t` is tap `t`.
fn selection(s: &mut OnnxBuilder, w: &Window, taps: usize) -> String {
    let mut values = vec![0.0f32; taps * taps];
    (0..taps).for_each(|t| values[t * taps + t] = 1.0);
    s.constant(&Tensor::from_f32(&[&[taps, 1], w.kernel.as_slice()].concat(), &values))
}
