//! Elementwise functions of two operands.

use dlbc_ops::prim::Binary;
use dlbc_ptx::kernel::pointwise::{Kind, Term};

use super::contract::*;

impl CudaPrimitive for Binary {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let kind = at.kind(0);
        let fits = match kind {
            Kind::F | Kind::I => !self.is_logic(),
            Kind::B => self.is_logic() || *self == Binary::Equal,
        };
        at.defined(fits)?;
        p.elementwise(at, &|e, x| match self {
            // The exponent is 2.
            Binary::Pow if kind == Kind::F && e.terms[x[1]].0 == Term::Float(2.0) => {
                Term::Binary(Binary::Mul, x[0], x[0])
            }
            f => Term::Binary(*f, x[0], x[1]),
        })
    }
}
