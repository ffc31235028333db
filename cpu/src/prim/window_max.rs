//! Maxima of windows and the distribution of their relevance.

use dlbc_ops::prim::{WindowMax, WindowMaxShare};

use super::contract::*;
use crate::columns::Taps;
use crate::loops;

impl CpuPrimitive for WindowMax {
    fn fast(&self, x: &Operands<'_>) -> TractResult<Option<Tensor>> {
        let Some(v) = x.floats()? else { return Ok(None) };
        let taps = Taps::new(self.0.clone(), &x.shape(0)[2..], &x.dims[2..]);
        x.result(|y| loops::window_max(&taps, v[0], y))
    }
}

impl CpuPrimitive for WindowMaxShare {
    fn fast(&self, x: &Operands<'_>) -> TractResult<Option<Tensor>> {
        let Some(v) = x.floats()? else { return Ok(None) };
        let taps = Taps::new(self.window.clone(), &x.shape(0)[2..], &x.shape(1)[2..]);
        x.result(|y| loops::max_share(&taps, self.first, v[0], v[1], v[2], y))
    }
}
