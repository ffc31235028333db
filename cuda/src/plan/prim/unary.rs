//! Elementwise functions of one operand.

use dlbc_ops::prim::Unary;
use dlbc_ptx::kernel::pointwise::{Kind, Term};

use super::contract::*;

impl CudaPrimitive for Unary {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let kind = node.kind(0);
        let fits = match kind {
            Kind::F => *self != Unary::Not,
            Kind::I => {
                matches!(self, Unary::Abs | Unary::Neg | Unary::Sign | Unary::Relu | Unary::Clip { .. })
            }
            Kind::B => *self == Unary::Not,
        };
        node.require_support(fits)?;
        p.elementwise(node, &|_, x| Term::Unary(*self, x[0]))
    }
}
