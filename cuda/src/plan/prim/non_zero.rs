//! Indices of the elements other than 0.

use dlbc_ops::prim::{Binary, NonZero};
use dlbc_ptx::kernel::order::{self, OrderParams};
use dlbc_ptx::kernel::pointwise::{Kind, Term};

use super::super::order::blocks;
use super::super::view::strides;
use super::contract::*;

impl CudaPrimitive for NonZero {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let x = at.dense(p, 0);
        Ok(Made::View(p.non_zero(x, &at.dims)))
    }
}

impl Planner {
    /// The indices of the elements other than 0, by axis, then zeros.
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
        let keys = self.emit(&Expression::of(x).with(zero, Binary::Equal, Kind::B)).with_dims(&[1, n]);
        let order = self.ordered(&keys, 1);
        for (axis, (dim, stride)) in axes.into_iter().enumerate() {
            let uses =
                vec![(Use::Read, order.clone()), (Use::Read, keys.clone()), (Use::Update, out.at(0, axis))];
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
