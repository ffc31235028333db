//! Matrix products, convolutions and their adjoints.

use dlbc_ops::prim::{ConvGeometry, Part, Window};
use dlbc_ops::tensor::{Dim, TensorType};
use dlbc_proto::onnx::AttributeProto;
use dlbc_proto::write::attr_int;

use super::window::settled;
use super::{Spelled, part};
use crate::onnx_builder::OnnxBuilder;
use crate::onnx_builder::types::sizes;

/// An operand of a matrix product: its name, the part that counts, and whether it is transposed.
type Side<'a> = (&'a str, Part, bool);

pub(super) fn matmul(s: &mut OnnxBuilder, a: Side, b: Side, types: &[TensorType]) -> Spelled {
    let left = part(s, a.0, a.1, types[0].dtype);
    let right = part(s, b.0, b.1, types[1].dtype);
    let plain = types.iter().all(|t| t.rank() == 2 && t.dtype.is_float());
    if plain && (a.2 || b.2) {
        let swaps = vec![attr_int("transA", i64::from(a.2)), attr_int("transB", i64::from(b.2))];
        return Ok(s.add("Gemm", &[&left, &right], swaps));
    }
    let left = swapped(s, left, a.2, types[0].rank());
    let right = swapped(s, right, b.2, types[1].rank());
    Ok(s.add("MatMul", &[&left, &right], vec![]))
}

fn swapped(s: &mut OnnxBuilder, x: String, swap: bool, rank: usize) -> String {
    if !swap {
        return x;
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    s.add_cached("Transpose", &[&x], vec![sizes("perm", &perm)])
}

pub(super) fn conv(
    s: &mut OnnxBuilder,
    geometry: &ConvGeometry,
    w: Part,
    x: &[&str],
    types: &[TensorType],
) -> Spelled {
    let weight = part(s, x[1], w, types[1].dtype);
    let operands: Vec<&str> = [x[0], &weight].into_iter().chain(x.get(2).copied()).collect();
    let window = &geometry.window;
    let mut attributes = attributes(geometry)?;
    attributes.push(pads(&window.before, &window.after));
    Ok(s.add("Conv", &operands, attributes))
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

/// The adjoint in `x` of a convolution whose `x` had spatial dimensions `to`: `r` has those of its result.
pub(super) fn adjoint(
    s: &mut OnnxBuilder,
    geometry: &ConvGeometry,
    r: &str,
    weight: &str,
    to: &[Dim],
) -> Spelled {
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

/// How many trailing positions, pads included, no window of the forward read; `None` when only a run can tell.
fn unread(w: &Window, axis: usize, to: &Dim) -> Option<usize> {
    let reach = (w.before[axis] + w.after[axis]) as i64 - w.extent(axis) as i64;
    let span = to + &Dim::known(reach);
    let stride = Dim::known(w.strides[axis] as i64);
    let whole = &span.floor_div(&stride) * &stride;
    (&span - &whole).as_known().and_then(|v| usize::try_from(v).ok())
}
