//! Convolutions and their adjoint.

use dlbc_ops::prim::{Conv, ConvGeometry, ConvTranspose, Transform, Window};
use dlbc_ops::tensor::Dim;

use super::contract::*;
use super::part::part;
use super::window::{attributes, pads, settled};
use crate::onnx_builder::types::sizes;

impl OnnxLowering for Conv {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let weight = part(s, at.x[1], self.w, at.types[1].dtype);
        let operands: Vec<&str> = [at.x[0], &weight].into_iter().chain(at.x.get(2).copied()).collect();
        let window = &self.geometry.window;
        let mut attributes = attributes(&self.geometry)?;
        attributes.push(pads(&window.before, &window.after));
        Ok(s.add("Conv", &operands, attributes))
    }

    fn parts(&self) -> Vec<Transform> {
        vec![self.w]
    }
}

impl OnnxLowering for ConvTranspose {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let weight = part(s, at.x[1], self.w, at.types[1].dtype);
        adjoint(s, &self.geometry, at.x[0], &weight, &self.to)
    }

    fn parts(&self) -> Vec<Transform> {
        vec![self.w]
    }
}

/// The adjoint in `x` of a convolution whose `x` had spatial dimensions `to`: `r` has those of its result.
pub(super) fn adjoint(
    s: &mut OnnxBuilder,
    geometry: &ConvGeometry,
    r: &str,
    weight: &str,
    to: &[Dim],
) -> Lowered {
    let geometry = ConvGeometry { window: settled(&geometry.window), groups: geometry.groups };
    let w = &geometry.window;
    let mut attributes = attributes(&geometry)?;
    let (mut after, mut more, mut sliced) = (vec![], vec![], vec![]);
    for (i, to) in to.iter().enumerate() {
        match unread(w, i, to) {
            Some(unread) => {
                after.push(w.after[i].saturating_sub(unread));
                more.push(unread.saturating_sub(w.after[i]));
            }
            None => {
                after.push(0);
                more.push(w.strides[i] - 1);
                sliced.push(i);
            }
        }
    }
    attributes.push(pads(&w.before, &after));
    if more.iter().any(|m| *m != 0) {
        attributes.push(sizes("output_padding", &more));
    }
    let x = s.add("ConvTranspose", &[r, weight], attributes);
    if sliced.is_empty() {
        return Ok(x);
    }
    let starts = s.ints(&vec![0; sliced.len()]);
    let ends = s.vector(&sliced.iter().map(|i| to[*i].clone()).collect::<Vec<_>>())?;
    let axes = s.ints(&sliced.iter().map(|i| *i as i64 + 2).collect::<Vec<_>>());
    Ok(s.add("Slice", &[&x, &starts, &ends, &axes], vec![]))
}

/// The number of trailing positions, pads included, that no window of the forward read; `None` when only a run can tell.
fn unread(w: &Window, axis: usize, to: &Dim) -> Option<usize> {
    let reach = (w.before[axis] + w.after[axis]) as i64 - w.extent(axis) as i64;
    let span = to + &Dim::known(reach);
    let stride = Dim::known(w.strides[axis] as i64);
    let whole = &span.floor_div(&stride) * &stride;
    (&span - &whole).as_known().and_then(|v| usize::try_from(v).ok())
}
