//! Convolutions and their adjoints.

use dlbc_ops::prim::{Conv, ConvGeometry, ConvTranspose, Transform, Window};
use dlbc_ops::tensor::Dim;

use super::contract::*;
use super::transform::transform;
use super::window::{attributes, pads, without_ceil};
use crate::onnx_builder::types::sizes;

impl OnnxLowering for Conv {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let weight = transform(builder, operands.names[1], self.w, operands.types[1].dtype);
        let operands: Vec<&str> =
            [operands.names[0], &weight].into_iter().chain(operands.names.get(2).copied()).collect();
        let window = &self.geometry.window;
        let mut attributes = attributes(&self.geometry)?;
        attributes.push(pads(&window.before, &window.after));
        Ok(builder.add("Conv", &operands, attributes))
    }

    fn transforms(&self) -> Vec<Transform> {
        vec![self.w]
    }
}

impl OnnxLowering for ConvTranspose {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let weight = transform(builder, operands.names[1], self.w, operands.types[1].dtype);
        adjoint(builder, &self.geometry, operands.names[0], &weight, &self.to)
    }

    fn transforms(&self) -> Vec<Transform> {
        vec![self.w]
    }
}

/// Adds the adjoint of a convolution in its operand `x`: `r` has the shape of the convolution's result, `to` has the spatial
/// dimensions of `x`.
pub(super) fn adjoint(
    builder: &mut OnnxBuilder,
    geometry: &ConvGeometry,
    r: &str,
    weight: &str,
    to: &[Dim],
) -> Lowered {
    let geometry = ConvGeometry { window: without_ceil(&geometry.window), groups: geometry.groups };
    let w = &geometry.window;
    let mut attributes = attributes(&geometry)?;
    // Axes whose size is known only at run time become as large as possible and are sliced_axes afterwards.
    let (mut after, mut output_padding, mut sliced_axes) = (vec![], vec![], vec![]);
    for (i, to) in to.iter().enumerate() {
        match unread_positions(w, i, to) {
            Some(unread) => {
                after.push(w.after[i].saturating_sub(unread));
                output_padding.push(unread.saturating_sub(w.after[i]));
            }
            None => {
                after.push(0);
                output_padding.push(w.strides[i] - 1);
                sliced_axes.push(i);
            }
        }
    }
    attributes.push(pads(&w.before, &after));
    if output_padding.iter().any(|p| *p != 0) {
        attributes.push(sizes("output_padding", &output_padding));
    }
    let x = builder.add("ConvTranspose", &[r, weight], attributes);
    if sliced_axes.is_empty() {
        return Ok(x);
    }
    let starts = builder.ints(&vec![0; sliced_axes.len()]);
    let ends = builder.vector(&sliced_axes.iter().map(|i| to[*i].clone()).collect::<Vec<_>>())?;
    let axes = builder.ints(&sliced_axes.iter().map(|i| *i as i64 + 2).collect::<Vec<_>>());
    Ok(builder.add("Slice", &[&x, &starts, &ends, &axes], vec![]))
}

/// Returns the number of trailing positions, pads included, that no window of the convolution reads; `None` if it depends on a
/// symbolic dimension.
fn unread_positions(w: &Window, axis: usize, to: &Dim) -> Option<usize> {
    let reach = (w.before[axis] + w.after[axis]) as i64 - w.extent(axis) as i64;
    let span = to + &Dim::known(reach);
    let stride = Dim::known(w.strides[axis] as i64);
    let whole = &span.floor_div(&stride) * &stride;
    (&span - &whole).as_known().and_then(|v| usize::try_from(v).ok())
}
