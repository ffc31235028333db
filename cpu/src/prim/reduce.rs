//! Reductions.

use dlbc_ops::prim::{Reduce, Reduction};
use tract_onnx::tract_core::ops::nn::{self, Reducer};

use super::contract::*;
use crate::extremum::extremum;
use crate::loops;

impl CpuPrimitive for Reduce {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        if !at.floats(w) {
            return Ok(None);
        }
        let reducer = match self.kind {
            Reduction::Prod => Reducer::Prod,
            Reduction::Sum | Reduction::Max | Reduction::Min | Reduction::ArgMax | Reduction::ArgMin => {
                return Ok(None);
            }
        };
        let op = nn::Reduce { axes: self.axes[..].into(), reducer };
        let mut y = w.wire(&at.name, op, &[at.input(w, 0)])?;
        if !self.keep {
            for axis in self.axes.iter().rev() {
                y = w.wire(&format!("{}.drop.{axis}", at.name), AxisOp::Rm(*axis), &[y])?;
            }
        }
        Ok(Some(y))
    }

    fn fast(&self, x: &Operands<'_>) -> TractResult<Option<Tensor>> {
        let Some(v) = x.floats()? else { return Ok(None) };
        match self.kind {
            Reduction::Sum => x.result(|y| loops::sum(v[0], x.shape(0), &self.axes, y)),
            Reduction::Max => x.result(|y| extremum(v[0], x.shape(0), &self.axes, true, y)),
            Reduction::Min => x.result(|y| extremum(v[0], x.shape(0), &self.axes, false, y)),
            Reduction::Prod | Reduction::ArgMax | Reduction::ArgMin => Ok(None),
        }
    }
}
