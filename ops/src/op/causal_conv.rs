//! Depthwise convolution of a sequence by its past, with a state. Reads `CausalConvWithState` of the standard and
//! of com.microsoft.
//!
//! Shapes: x `[batch, channels, length]`, weight `[channels, 1, k]`, bias `[channels]`, past and present state
//! `[batch, channels, k - 1]`.

use super::read::{MICROSOFT, Reader, Reading};
use super::{Activation, Concat, Conv, Function, Pad};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{ConvGeometry, PadMode, Window};
use crate::tensor::Dim;

/// Attributes that com.microsoft adds, with their defaults, the only values that are read.
const ADDED: [(&str, i64); 9] = [
    ("ndim", 1),
    ("dilation", 1),
    ("channels_last", 0),
    ("state_channels_last", -1),
    ("state_window", 0),
    ("state_length", 0),
    ("state_update_capacity", 0),
    ("input_channels", 0),
    ("input_channel_offset", 0),
];

/// Returns the readers of `CausalConvWithState`, of the standard and of com.microsoft.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("CausalConvWithState", 27, read),
        Reader::of(MICROSOFT, "CausalConvWithState", |r| {
            for (name, default) in ADDED {
                let value = r.int_or(name, default)?;
                if value != default {
                    return Err(OpError::unsupported(name, default, value));
                }
            }
            read(r)
        }),
    ]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, weight, bias, past) = (r.input(0)?, r.input(1)?, r.optional(2), r.optional(3));
    let (ty, sizes) = (r.ty(x), r.ty(weight).shape.as_known());
    let (Some([channels, 1, k]), 3) = (sizes.as_deref(), ty.rank()) else {
        let actual = format!("{ty} and {}", r.ty(weight));
        return Err(OpError::mismatch("operand and weight", "3 axes, those of the weight known", actual));
    };
    let (channels, k) = (*channels, *k);
    if k == 0 {
        return Err(OpError::mismatch("kernel of the weight", "at least 1", k));
    }
    let state = Dim::known(k as i64 - 1);
    let padded = match past {
        Some(past) => r.add(Concat { axis: 2 }, &[past, x])?,
        None => {
            let (none, before) = (vec![Dim::known(0); 3], vec![Dim::known(0), Dim::known(0), state.clone()]);
            r.add(Pad { before, after: none, mode: PadMode::Constant(0.0) }, &[x])?
        }
    };
    let window = Window {
        kernel: vec![k],
        strides: vec![1],
        before: vec![0],
        after: vec![0],
        dilations: vec![1],
        ceil: false,
    };
    let operands: Vec<Value> = [padded, weight].into_iter().chain(bias).collect();
    let mut y = r.add(Conv { geometry: ConvGeometry { window, groups: channels } }, &operands)?;
    match r.string_or("activation", "none")?.as_str() {
        "none" => {}
        "silu" | "swish" => y = r.add(Activation { f: Function::Silu { alpha: 1.0 } }, &[y])?,
        other => return Err(OpError::mismatch("activation", "none, silu or swish", other)),
    }
    let start = r.ty(x).dim(2).clone();
    let present = r.slice(padded, 2, start, state)?;
    Ok(vec![y, present])
}
