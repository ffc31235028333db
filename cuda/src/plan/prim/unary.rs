//! Elementwise functions of one operand.

use dlbc_ops::prim::Unary;
use dlbc_ptx::kernel::pointwise::{Kind, Term};

use super::contract::*;

impl CudaPrimitive for Unary {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let kind = at.kind(0);
        let fits = match kind {
            Kind::F => *self != Unary::Not,
            Kind::I => {
                matches!(self, Unary::Abs | Unary::Neg | Unary::Sign | Unary::Relu | Unary::Clip { .. })
            }
            Kind::B => *self == Unary::Not,
        };
        at.defined(fits)?;
        p.elementwise(at, &|_, x| Term::Unary(*self, x[0]))
    }
}
