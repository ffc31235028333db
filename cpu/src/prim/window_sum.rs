//! Sums of windows and the adjoint.

use dlbc_ops::prim::{WindowSum, WindowSumTranspose};

use super::contract::*;
use crate::columns::Taps;
use crate::loops;

impl CpuPrimitive for WindowSum {
    fn fast(&self, x: &Operands<'_>) -> TractResult<Option<Tensor>> {
        let Some(v) = x.floats()? else { return Ok(None) };
        let taps = Taps::new(self.0.clone(), &x.shape(0)[2..], &x.dims[2..]);
        x.result(|y| loops::window_sum(&taps, v[0], y))
    }
}

impl CpuPrimitive for WindowSumTranspose {
    fn fast(&self, x: &Operands<'_>) -> TractResult<Option<Tensor>> {
        let Some(v) = x.floats()? else { return Ok(None) };
        let taps = Taps::new(self.window.clone(), &x.dims[2..], &x.shape(0)[2..]);
        x.result(|y| loops::window_sum_transpose(&taps, v[0], y))
    }
}
