//! Maxima of windows, and their relevance in equal shares where elements tie.

use dlbc_ops::prim::{Window, WindowMax, WindowMaxShare};
use dlbc_ops::tensor::{DType, Tensor};
use dlbc_proto::write::attr_int;

use super::binary::guarded_div;
use super::contract::*;
use super::conv::adjoint;
use super::window::{
    flatten_channels, padded, pads_fit, pool, single, unflatten_channels, unpadded, without_ceil,
};
use crate::onnx_builder::types::sizes;

/// Largest number of taps of a window.
const MAX_TAPS: usize = 4096;

impl OnnxLowering for WindowMax {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let (x, ty) = (operands.names[0], &operands.types[0]);
        let w = without_ceil(&self.0);
        let fits = pads_fit(&w);
        let (x, w) = if fits {
            (x.to_string(), w)
        } else {
            (padded(builder, &w, x, ty.dtype, f32::NEG_INFINITY)?, unpadded(&w))
        };
        let mut attributes = pool(&w)?;
        if w.dilations.iter().any(|d| *d != 1) {
            attributes.push(sizes("dilations", &w.dilations));
        }
        Ok(builder.add("MaxPool", &[&x], attributes))
    }
}

/// `(x, y, r)`: unit mask per tap marks the windows whose maximum `y` is the element at that tap. The relevance `r` is shared
/// equally among the marked taps, and moved back to `x` by the adjoint of a convolution with unit output channel per tap.
impl OnnxLowering for WindowMaxShare {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let (x, ty) = (operands.names, &operands.types[0]);
        let w = without_ceil(&self.window);
        let taps = w.kernel.iter().try_fold(1usize, |n, k| n.checked_mul(*k)).filter(|n| *n <= MAX_TAPS);
        let taps = taps.ok_or_else(|| format!("window has too many elements: the limit is {MAX_TAPS}"))?;
        if ty.dtype != DType::F32 {
            return Err(format!("expected windows of f32, found {}", ty.dtype));
        }
        let [x, y, r] = [x[0], x[1], x[2]].map(|v| flatten_channels(builder, v, ty.rank()));
        // NaN equals nothing, so pads get no share.
        let x = padded(builder, &w, &x, ty.dtype, f32::NAN)?;
        let elements: Vec<String> = (0..taps).map(|tap| elements_at(builder, &w, &x, tap)).collect();
        let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
        let elements = builder.add("Concat", &elements, vec![attr_int("axis", 1)]);
        let equal = builder.add("Equal", &[&elements, &y], vec![]);
        let masks = builder.add("Cast", &[&equal], vec![attr_int("to", 1)]);
        let axis = builder.ints(&[1]);
        let masks = if self.first {
            // The first marked tap is the unit at which the running count of marks is 1.
            let along = builder.constant(&Tensor::from_i64(&[], &[1]));
            let so_far = builder.add("CumSum", &[&masks, &along], vec![]);
            let unit = builder.scalar(ty.dtype, 1.0);
            let initial = builder.add("Equal", &[&so_far, &unit], vec![]);
            let first = builder.add("And", &[&initial, &equal], vec![]);
            builder.add("Cast", &[&first], vec![attr_int("to", 1)])
        } else {
            masks
        };
        let count = builder.add("ReduceSum", &[&masks, &axis], vec![attr_int("keepdims", 1)]);
        let share = guarded_div(builder, &r, &count, ty.dtype);
        let shares = builder.add("Mul", &[&masks, &share], vec![]);
        let weight = selection(builder, &w, taps);
        let back = adjoint(builder, &single(&w), &shares, &weight, &ty.shape.0[2..])?;
        unflatten_channels(builder, &back, ty)
    }
}

/// Slices the element at a tap of each window.
fn elements_at(builder: &mut OnnxBuilder, w: &Window, x: &str, tap: usize) -> String {
    let (mut starts, mut ends) = (vec![0i64; w.rank()], vec![0i64; w.rank()]);
    let mut remaining = tap;
    for i in (0..w.rank()).rev() {
        let offset = remaining % w.kernel[i] * w.dilations[i];
        remaining /= w.kernel[i];
        starts[i] = offset as i64;
        // The last window ends at the end of the padded operand, or less than a stride before it.
        let remainder = w.extent(i) - 1 - offset;
        ends[i] = if remainder == 0 { i64::MAX } else { -(remainder as i64) };
    }
    let axes: Vec<i64> = (0..w.rank()).map(|i| i as i64 + 2).collect();
    let steps: Vec<i64> = w.strides.iter().map(|v| *v as i64).collect();
    let [starts, ends, axes, steps] = [starts, ends, axes, steps].map(|v| builder.ints(&v));
    builder.add("Slice", &[x, &starts, &ends, &axes, &steps], vec![])
}

/// Adds the weight `[taps, 1, …]` of a convolution whose output channel `t` is the element at tap `t`.
fn selection(builder: &mut OnnxBuilder, w: &Window, taps: usize) -> String {
    let mut values = vec![0.0f32; taps * taps];
    (0..taps).for_each(|t| values[t * taps + t] = 1.0);
    builder.constant(&Tensor::from_f32(&[&[taps, 1], w.kernel.as_slice()].concat(), &values))
}
