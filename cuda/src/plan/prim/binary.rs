//! Elementwise functions of two operands.

use dlbc_ops::prim::Binary;
use dlbc_ptx::kernel::pointwise::{Kind, Term};

use super::contract::*;

impl CudaPrimitive for Binary {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let kind = node.kind(0);
        let fits = match kind {
            Kind::F => !self.is_logic(),
            Kind::I => true,
            Kind::B => self.is_logic() || *self == Binary::Equal,
        };
        node.require_support(fits)?;
        p.elementwise(node, &|e, x| match self {
            // A square.
            Binary::Pow if kind == Kind::F && e.terms[x[1]].0 == Term::Float(2.0) => {
                Term::Binary(Binary::Mul, x[0], x[0])
            }
            f => Term::Binary(*f, x[0], x[1]),
        })
    }
}
