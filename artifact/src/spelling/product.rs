//! Matrix products and convolutions.

use dlbc_ops::prim::{ConvGeometry, Prim, Window};
use dlbc_ops::tensor::{Dim, TensorType};
use dlbc_proto::onnx::AttributeProto;
use dlbc_proto::write::{attr_int, attr_ints};

use super::{Body, ints};

pub(super) fn spell(b: &mut Body, prim: &Prim, inputs: &[TensorType], result: &TensorType) -> Result<(), String> {
    match prim {
        Prim::MatMul { a, b: part_b, ta, tb } => {
            let mut side = |name: &str, part, swap: bool, rank: usize| {
                let x = b.part(name, part);
                if !swap {
                    return x;
                }
                let mut perm: Vec<usize> = (0..rank).collect();
                perm.swap(rank - 2, rank - 1);
                b.node("Transpose", &[&x], vec![ints("perm", &perm)])
            };
            let left = side("x0", *a, *ta, inputs[0].rank());
            let right = side("x1", *part_b, *tb, inputs[1].rank());
            b.finish("MatMul", &[&left, &right], vec![]);
        }
        Prim::Conv { geometry, w } => {
            let weight = b.part("x1", *w);
            let mut operands = vec!["x0", &weight];
            if inputs.len() > 2 {
                operands.push("x2");
            }
            let window = &geometry.window;
            let mut attributes = attributes(geometry);
            attributes.push(pads(&window.before, &window.after));
            b.finish("Conv", &operands, attributes);
        }
        Prim::ConvTranspose { geometry, w, to } => {
            let weight = b.part("x1", *w);
            let y = transpose(b, "x0", &weight, geometry, &inputs[0].shape.0[2..], to, result.rank());
            b.finish("Identity", &[&y], vec![]);
        }
        _ => {}
    }
    Ok(())
}

/// Kernel, strides, dilations and groups.
pub(super) fn attributes(geometry: &ConvGeometry) -> Vec<AttributeProto> {
    let w = &geometry.window;
    vec![
        ints("kernel_shape", &w.kernel),
        ints("strides", &w.strides),
        ints("dilations", &w.dilations),
        attr_int("group", geometry.groups as i64),
    ]
}

pub(super) fn pads(before: &[usize], after: &[usize]) -> AttributeProto {
    ints("pads", &[before, after].concat())
}

/// The adjoint of a convolution of `s` with spatial dimensions `from`, giving spatial dimensions `to`.
pub(super) fn transpose(
    b: &mut Body,
    s: &str,
    weight: &str,
    geometry: &ConvGeometry,
    from: &[Dim],
    to: &[Dim],
    rank: usize,
) -> String {
    let w: &Window = &geometry.window;
    let mut attributes = attributes(geometry);
    let known = |d: &[Dim]| d.iter().map(Dim::as_known).collect::<Option<Vec<i64>>>();
    if let (Some(from), Some(to)) = (known(from), known(to)) {
        // What the full adjoint reaches beyond `to`: cropped by pads; what it lacks: output padding.
        let over: Vec<i64> = (0..w.rank())
            .map(|i| (from[i] - 1) * w.strides[i] as i64 + w.extent(i) as i64 - w.before[i] as i64 - to[i])
            .collect();
        let after: Vec<usize> = over.iter().map(|o| (*o).max(0) as usize).collect();
        attributes.push(pads(&w.before, &after));
        attributes.push(attr_ints("output_padding", over.iter().map(|o| (-o).max(0)).collect::<Vec<_>>()));
        return b.node("ConvTranspose", &[s, weight], attributes);
    }
    attributes.push(ints("pads", &vec![0; 2 * w.rank()]));
    let full = b.node("ConvTranspose", &[s, weight], attributes);
    // The forward may have left up to stride - 1 trailing positions unread: zeros there, then the part that is wanted.
    let mut margins = vec![0i64; 2 * rank];
    for i in 0..w.rank() {
        margins[rank + 2 + i] = (w.strides[i] + w.before[i] + w.after[i]) as i64;
    }
    let margins = b.ints(&margins);
    let padded = b.node("Pad", &[&full, &margins], vec![]);
    let starts = b.ints(&w.before.iter().map(|p| *p as i64).collect::<Vec<_>>());
    let ends: Vec<Dim> = to.iter().zip(&w.before).map(|(d, p)| d + &Dim::known(*p as i64)).collect();
    let ends = b.vector(&ends);
    let axes = b.ints(&(2..2 + w.rank() as i64).collect::<Vec<_>>());
    b.node("Slice", &[&padded, &starts, &ends, &axes], vec![])
}
