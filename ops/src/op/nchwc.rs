//! Operators on channels in blocks, as ONNX Runtime's optimizer writes them at its highest level: those of domain
//! com.microsoft.nchwc.
//!
//! Here channels stay in their order, so that `ReorderInput` changes nothing, and `ReorderOutput` leaves out the channels that fill
//! the last block. The weights are in blocks in the file: `[O/b, I/b, height, width, b, b]`, the input channels of a block before its output
//! channels, or `[O/b, I, height, width, b]` where the input is not in blocks. The size b of a block is that of the machine that wrote the
//! file; sizes of the weight which only one b divides tell it, and otherwise it is that of this machine, as in ONNX Runtime.

use super::conv::convolution;
use super::fused_product::with_sum_and_activation;
use super::pool::{read_average, read_max};
use super::read::{Reader, Reading};
use super::reduce::global;
use super::{ReduceKind, Transpose, resize};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{Dim, Shape};

const DOMAIN: &str = "com.microsoft.nchwc";

/// Sizes of a block on the machines that ONNX Runtime has kernels for.
const BLOCKS: [i64; 2] = [16, 8];

/// Returns the readers of the operators.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::of(DOMAIN, "Conv", read_conv),
        Reader::of(DOMAIN, "MaxPool", read_max),
        Reader::of(DOMAIN, "AveragePool", read_average),
        Reader::of(DOMAIN, "GlobalAveragePool", |r| global(r, ReduceKind::Mean)),
        Reader::of(DOMAIN, "GlobalMaxPool", |r| global(r, ReduceKind::Max)),
        Reader::of(DOMAIN, "Upsample", resize::read),
        Reader::of(DOMAIN, "ReorderInput", |r| {
            let x = r.input(0)?;
            match r.flag("channels_last", false)? {
                true => Ok(vec![r.add(Transpose { perm: vec![0, 3, 1, 2] }, &[x])?]),
                false => Ok(vec![x]),
            }
        }),
        Reader::of(DOMAIN, "ReorderOutput", |r| {
            let x = r.input(0)?;
            let missing = || OpError::missing_attribute("channels", "an integer");
            let channels = Dim::known(r.int("channels")?.ok_or_else(missing)?);
            let is_whole = r.ty(x).shape.0.get(1) == Some(&channels);
            let y = if is_whole { x } else { r.slice(x, 1, Dim::known(0), channels)? };
            match r.flag("channels_last", false)? {
                true => Ok(vec![r.add(Transpose { perm: vec![0, 2, 3, 1] }, &[y])?]),
                false => Ok(vec![y]),
            }
        }),
    ]
}

/// Reads a convolution. Operands: x, weight in blocks, bias, addend.
fn read_conv(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, w) = (r.input(0)?, r.input(1)?);
    let groups = r.int_or("group", 1)?;
    let weight = unblocked(r, w, groups > 1)?;
    let channels = r.ty(x).shape.0.get(1).and_then(Dim::as_known);
    let weight = match (channels, r.ty(weight).dim(1).as_known()) {
        // The channels that fill the last block of the input are 0, and x is without them.
        (Some(channels), Some(all)) if groups == 1 && channels < all => {
            r.slice(weight, 1, Dim::known(0), Dim::known(channels))?
        }
        _ => weight,
    };
    let y = convolution(r, x, weight)?;
    with_sum_and_activation(r, y)
}

/// Puts the weight of a convolution in the order `[O, I, height, width]`.
fn unblocked(r: &mut Reading, weight: Value, grouped: bool) -> Result<Value, OpError> {
    let sizes = r.ty(weight).shape.as_known();
    let Some([o, i, height, width]) = sizes.as_deref() else {
        return Err(OpError::mismatch("weight", "4 known dimensions", r.ty(weight)));
    };
    let [o, i, height, width] = [o, i, height, width].map(|d| *d as i64);
    let fits = |block: i64| o % block == 0 && (i < block || i % block == 0);
    let candidates: Vec<i64> = BLOCKS.into_iter().filter(|block| fits(*block)).collect();
    let block = match candidates.as_slice() {
        [] => {
            return Err(OpError::mismatch("channels of the weight", "whole blocks of 8 or 16", r.ty(weight)));
        }
        [block] => *block,
        _ => block_of_this_machine(),
    };
    let is_by_output = i < block || (grouped && i == 1);
    let (inner, outer) = if is_by_output { (1, i) } else { (block, i / block) };
    let dims = [o / block, outer, height, width, inner, block].map(Dim::known);
    let blocks = r.reshape(weight, Shape(dims.to_vec()))?;
    let blocks = r.add(Transpose { perm: vec![0, 5, 1, 4, 2, 3] }, &[blocks])?;
    r.reshape(blocks, Shape([o, i, height, width].map(Dim::known).to_vec()))
}

/// Returns the size of a block in ONNX Runtime's kernels for this machine.
fn block_of_this_machine() -> i64 {
    #[cfg(target_arch = "x86_64")]
    if !std::arch::is_x86_feature_detected!("avx512f") {
        return 8;
    }
    16
}
