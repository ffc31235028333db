//! Sum of the blocks of an image at their places, the adjoint of cutting an image into blocks. Reads `Col2Im` as a transposed
//! convolution with a kernel of indicators.
//!
//! Shapes: x `[n, c · elements of a block, blocks]`, y `[n, c, d₁, …]`.

use super::ConvTranspose;
use super::read::{Reader, Reading};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{ConvGeometry, Window};
use crate::tensor::{Dim, Shape, Tensor};

/// Returns the reader of `Col2Im`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Col2Im", 18, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let (image, block) = (r.input(1)?, r.input(2)?);
    let image = r.dims_of(image, "image_shape")?;
    let block = r.ints_of(block, "block_shape")?;
    let block: Option<Vec<usize>> =
        block.iter().map(|b| usize::try_from(*b).ok().filter(|b| *b > 0)).collect();
    let block = block.ok_or_else(|| OpError::invalid("block_shape", "positive values", "one below 1"))?;
    let rank = block.len();
    let dims = r.ty(x).shape.0;
    let [n, rows, _] = dims.as_slice() else {
        return Err(OpError::mismatch("rank of the operand", 3, r.ty(x)));
    };
    if image.len() != rank {
        return Err(OpError::mismatch("image_shape", format!("{rank} values"), image.len()));
    }
    let strides = r.sizes("strides")?.unwrap_or_else(|| vec![1; rank]);
    let dilations = r.sizes("dilations")?.unwrap_or_else(|| vec![1; rank]);
    let pads = r.sizes("pads")?.unwrap_or_else(|| vec![0; 2 * rank]);
    if pads.len() != 2 * rank {
        return Err(OpError::mismatch("pads", format!("{} values", 2 * rank), pads.len()));
    }
    let (before, after) = (pads[..rank].to_vec(), pads[rank..].to_vec());
    let window = Window { kernel: block.clone(), strides, before, after, dilations, ceil: false };
    window.check()?;
    // Number of blocks along each axis.
    let counts = (0..rank).map(|i| {
        let padded = &image[i] + &Dim::known((window.before[i] + window.after[i]) as i64);
        let last = &padded - &Dim::known(window.extent(i) as i64);
        &last.floor_div(&Dim::known(window.strides[i] as i64)) + &Dim::known(1)
    });
    let counts: Vec<Dim> = counts.collect();
    let taps: usize = block.iter().product();
    let channels = rows.floor_div(&Dim::known(taps as i64));
    let by_tap = [vec![n * &channels, Dim::known(taps as i64)], counts].concat();
    let by_tap = r.reshape(x, Shape(by_tap))?;
    // Tap `i` goes to place `i` of its block.
    let mut indicators = vec![0.0; taps * taps];
    (0..taps).for_each(|i| indicators[i * taps + i] = 1.0);
    let kernel = r.add_constant(Tensor::from_f32(&[vec![taps, 1], block].concat(), &indicators));
    let op = ConvTranspose { geometry: ConvGeometry { window, groups: 1 }, to: image.clone() };
    let y = r.add(op, &[by_tap, kernel])?;
    Ok(vec![r.reshape(y, Shape([vec![n.clone(), channels], image].concat()))?])
}
