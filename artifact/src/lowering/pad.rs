//! Padding.

use dlbc_ops::prim::{Pad, PadMode};
use dlbc_ops::tensor::{DType, Dim};
use dlbc_proto::write::attr_string;

use super::contract::*;

impl OnnxLowering for Pad {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        pad(s, at.x[0], at.types[0].dtype, &self.before, &self.after, self.mode)
    }
}

/// The value `x` with pads around it.
pub(super) fn pad(
    s: &mut OnnxBuilder,
    x: &str,
    dtype: DType,
    before: &[Dim],
    after: &[Dim],
    mode: PadMode,
) -> Lowered {
    let pads = s.vector(&[before, after].concat())?;
    Ok(match mode {
        PadMode::Constant(fill) => {
            let fill = s.scalar(dtype, f64::from(fill));
            s.add("Pad", &[x, &pads, &fill], vec![])
        }
        PadMode::Reflect => s.add("Pad", &[x, &pads], vec![attr_string("mode", "reflect")]),
        PadMode::Edge => s.add("Pad", &[x, &pads], vec![attr_string("mode", "edge")]),
    })
}
