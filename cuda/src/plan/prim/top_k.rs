//! Indices of the largest elements.

use dlbc_ops::prim::TopK;
use dlbc_ptx::kernel::order::{self, OrderParams};
use dlbc_ptx::kernel::pointwise::Kind;

use super::super::order::blocks;
use super::contract::*;

impl CudaPrimitive for TopK {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let x = node.contiguous(p, 0);
        p.top_k(self.axis, self.largest, x, &node.dims).map(LoweredValue::View).map_err(|e| node.error(e))
    }
}

impl Planner {
    /// Computes the indices of the first `k` elements along an axis, by value.
    fn top_k(&mut self, axis: usize, largest: bool, x: View, dims: &[usize]) -> Result<View, String> {
        if x.kind == Kind::B {
            return Err("element type: expected a number, found bool".into());
        }
        let out = self.buffer(Kind::I, dims);
        let count = out.elems();
        if count == 0 {
            return Ok(out);
        }
        let (n, k) = (x.dims[axis] as u32, dims[axis] as u32);
        let inner = x.dims[axis + 1..].iter().product::<usize>() as u32;
        let order = self.sort_axis(axis, largest, x);
        let uses = vec![(Use::Read, order), (Use::Write, out.clone())];
        self.launch(order::top(), blocks(count), uses, move |at| {
            let params = OrderParams { n, k, inner, count: count as u32, ..OrderParams::default() };
            OrderParams { order: at[0], out: at[1], ..params }
        });
        Ok(out)
    }
}
