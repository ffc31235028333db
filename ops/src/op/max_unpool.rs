//! Elements put back to where a maximum was taken from. Reads `MaxUnpool`.
//!
//! Shapes: x and indices `[n, c, d₁, …]`; an index counts in the flattened result `[n, c, e₁, …]`, the rest of which is 0.

use super::conv::read_window;
use super::read::{Reader, Reading};
use super::{Pad, ScatterAdd};
use crate::OpError;
use crate::graph::Value;
use crate::prim::PadMode;
use crate::tensor::{DType, Dim, Shape};

/// Returns the reader of `MaxUnpool`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("MaxUnpool", 9, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, indices) = (r.input(0)?, r.input(1)?);
    let ty = r.ty(x);
    let kernel = r.sizes("kernel_shape")?;
    let kernel = kernel.ok_or_else(|| OpError::missing_attribute("kernel_shape", "the size of a window"))?;
    let window = read_window(r, kernel, &ty)?;
    let spatial = (0..window.rank()).map(|i| {
        let steps = &(ty.dim(i + 2) - &Dim::known(1)) * &Dim::known(window.strides[i] as i64);
        let pads = (window.before[i] + window.after[i]) as i64;
        &steps + &Dim::known(window.extent(i) as i64 - pads)
    });
    let shape = Shape([ty.shape.0[..2].to_vec(), spatial.collect()].concat());
    let count = Shape(vec![ty.shape.elems()]);
    let updates = r.reshape(x, count.clone())?;
    let at = r.reshape(indices, count)?;
    let at = r.cast(at, DType::I64)?;
    let flat = r.add(ScatterAdd { to: shape.elems() }, &[updates, at])?;
    let y = r.reshape(flat, shape.clone())?;
    let Some(to) = r.optional(2) else { return Ok(vec![y]) };
    // Indices count in the result that the attributes give, which stands at the start of the wanted one.
    let to = r.dims_of(to, "output_shape")?;
    if to.len() != shape.rank() {
        return Err(OpError::mismatch("output_shape", format!("{} values", shape.rank()), to.len()));
    }
    let after = to.iter().zip(&shape.0).map(|(to, from)| to - from).collect();
    let before = vec![Dim::known(0); shape.rank()];
    Ok(vec![r.add(Pad { before, after, mode: PadMode::Constant(0.0) }, &[y])?])
}
