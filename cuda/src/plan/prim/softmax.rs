//! Softmax.

use dlbc_ops::prim::Softmax;
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::softmax::{self, SoftmaxParams};

use super::contract::*;

impl CudaPrimitive for Softmax {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let x = node.contiguous(p, 0);
        Ok(LoweredValue::View(p.softmax(self.axis, x)))
    }
}

impl Planner {
    /// Computes a softmax over one axis.
    fn softmax(&mut self, axis: usize, x: View) -> View {
        let out = self.buffer(Kind::F, &x.dims);
        if out.elems() == 0 {
            return out;
        }
        let inner: usize = x.dims[axis + 1..].iter().product();
        let dim = x.dims[axis];
        let rows = (out.elems() / dim) as u32;
        let uses = vec![(Use::Read, x), (Use::Write, out.clone())];
        self.launch(softmax::softmax(), softmax::blocks(rows), uses, move |at| SoftmaxParams {
            x: at[0],
            y: at[1],
            rows,
            dim: dim as u32,
            inner: inner as u32,
        });
        out
    }
}
