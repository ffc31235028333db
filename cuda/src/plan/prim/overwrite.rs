//! Overwriting of rows.

use dlbc_ops::prim::Overwrite;
use dlbc_ptx::kernel::index::{self, IndexParams};

use super::contract::*;

impl CudaPrimitive for Overwrite {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let [data, indices, updates] = [0, 1, 2].map(|i| node.contiguous(p, i));
        let status = node.status(p, "an index is out of range: expected one within its axis");
        Ok(LoweredValue::View(p.overwrite([data, indices, updates, status])))
    }
}

impl Planner {
    /// Copies `data` and overwrites the indexed rows.
    fn overwrite(&mut self, [data, indices, updates, status]: [View; 4]) -> View {
        if updates.elems() == 0 {
            return data;
        }
        let out = self.buffer(data.kind, &data.dims);
        let inner = out.dims[1..].iter().product::<usize>() as u32;
        let [order, starts] = self.group_by_index(indices, status, out.dims[0]);
        let count = out.elems() as u32;
        let kernel = index::overwrite(data.kind.bytes());
        let reads = [updates, data, order, starts].map(|v| (Use::Read, v));
        let uses = reads.into_iter().chain([(Use::Write, out.clone())]).collect();
        self.launch(kernel, index::blocks(count), uses, move |at| {
            let [x, data, order, starts, out] = [at[0], at[1], at[2], at[3], at[4]];
            IndexParams { x, data, order, starts, out, inner, count, ..IndexParams::default() }
        });
        out
    }
}
