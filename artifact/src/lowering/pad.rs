//! Padding.

use dlbc_ops::prim::{Pad, PadMode};
use dlbc_ops::tensor::{DType, Dim};
use dlbc_proto::write::attr_string;

use super::contract::*;

impl OnnxLowering for Pad {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        pad(builder, operands.names[0], operands.types[0].dtype, &self.before, &self.after, self.mode)
    }
}

/// Pads `x` by `before` and `after` elements on each axis.
pub(super) fn pad(
    builder: &mut OnnxBuilder,
    x: &str,
    dtype: DType,
    before: &[Dim],
    after: &[Dim],
    mode: PadMode,
) -> Lowered {
    let pads = builder.vector(&[before, after].concat())?;
    Ok(match mode {
        PadMode::Constant(fill) => {
            let fill = builder.scalar(dtype, f64::from(fill));
            builder.add("Pad", &[x, &pads, &fill], vec![])
        }
        PadMode::Reflect => builder.add("Pad", &[x, &pads], vec![attr_string("mode", "reflect")]),
        PadMode::Edge => builder.add("Pad", &[x, &pads], vec![attr_string("mode", "edge")]),
    })
}
