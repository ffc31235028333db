//! Indices of the nonzero elements.

use dlbc_ops::prim::{Binary, NonZero};
use dlbc_ptx::kernel::order::{self, OrderParams};
use dlbc_ptx::kernel::pointwise::{Kind, Term};

use super::super::order::blocks;
use super::super::view::strides;
use super::contract::*;

impl CudaPrimitive for NonZero {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let x = node.contiguous(p, 0);
        Ok(LoweredValue::View(p.non_zero(x, &node.dims)))
    }
}

impl Planner {
    /// Computes the indices of the nonzero elements along each axis, padded with zeros.
    fn non_zero(&mut self, x: View, dims: &[usize]) -> View {
        let out = self.buffer(Kind::I, dims);
        let n = x.elems();
        if out.elems() == 0 {
            return out;
        }
        let axes: Vec<(usize, i64)> = x.dims.iter().copied().zip(strides(&x.dims)).collect();
        let zero = match x.kind {
            Kind::F => Term::Float(0.0),
            Kind::I => Term::Int(0),
            Kind::B => Term::Bool(false),
        };
        let is_zero = Expression::from_view(x).with_constant(zero, Binary::Equal, Kind::B);
        let keys = self.emit(&is_zero).with_dims(&[1, n]);
        let order = self.sort(&keys, 1);
        for (axis, (dim, stride)) in axes.into_iter().enumerate() {
            let uses = vec![
                (Use::Read, order.clone()),
                (Use::Read, keys.clone()),
                (Use::Update, out.index_axis(0, axis)),
            ];
            self.launch(order::columns(), blocks(n), uses, move |at| OrderParams {
                order: at[0],
                keys: at[1],
                out: at[2],
                count: n as u32,
                stride: stride as u32,
                dim: dim as u32,
                ..OrderParams::default()
            });
        }
        out
    }
}
