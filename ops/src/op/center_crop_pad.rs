//! Crop or padding with zeros around the centre. Reads `CenterCropPad`.

use super::Pad;
use super::read::{Reader, Reading, resolve};
use crate::OpError;
use crate::graph::Value;
use crate::prim::PadMode;
use crate::tensor::Dim;

/// Returns the reader of `CenterCropPad`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("CenterCropPad", 18, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (mut x, shape) = (r.input(0)?, r.input(1)?);
    let rank = r.ty(x).rank();
    let to = r.dims_of(shape, "shape")?;
    let axes = match r.ints("axes")? {
        Some(axes) => axes.iter().map(|a| resolve(*a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    if axes.len() != to.len() {
        return Err(OpError::mismatch("shape", format!("{} values", axes.len()), to.len()));
    }
    let zeros = vec![Dim::known(0); rank];
    let (mut before, mut after) = (zeros.clone(), zeros.clone());
    for (axis, to) in axes.into_iter().zip(to) {
        let missing = &to - r.ty(x).dim(axis);
        let Some(missing) = missing.as_known() else {
            return Err(OpError::symbolic(
                &format!("difference of axis {axis} to its target"),
                "a known number",
                missing,
            ));
        };
        if missing < 0 {
            x = r.slice(x, axis, Dim::known(-missing / 2), to)?;
        } else {
            (before[axis], after[axis]) = (Dim::known(missing / 2), Dim::known(missing - missing / 2));
        }
    }
    if before == zeros && after == zeros {
        return Ok(vec![x]);
    }
    Ok(vec![r.add(Pad { before, after, mode: PadMode::Constant(0.0) }, &[x])?])
}
