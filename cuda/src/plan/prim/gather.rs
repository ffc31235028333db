//! Gathering by index and its adjoint.

use dlbc_ops::prim::{Gather, ScatterAdd};
use dlbc_ptx::kernel::index::{self, IndexParams};
use dlbc_ptx::kernel::storage::Storage;

use super::contract::*;

impl CudaPrimitive for Gather {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let operands = [
            node.stored_contiguous(p, 0),
            node.contiguous(p, 1),
            node.status(p, "an index is out of range: expected one within its axis"),
        ];
        Ok(LoweredValue::View(p.gather(self.axis, operands, &node.dims)))
    }
}

impl CudaPrimitive for ScatterAdd {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let operands = [
            node.contiguous(p, 0),
            node.contiguous(p, 1),
            node.status(p, "an index is out of range: expected one within its axis"),
        ];
        Ok(LoweredValue::View(p.scatter_add(self.axis, operands, &node.dims)))
    }
}

impl Planner {
    /// Gathers the elements of data at the indices.
    fn gather(&mut self, axis: usize, [data, indices, status]: [View; 3], dims: &[usize]) -> View {
        let out = self.buffer(data.kind, dims);
        let params = IndexParams {
            n: indices.elems() as u32,
            dim: data.dims[axis] as u32,
            inner: data.dims[axis + 1..].iter().product::<usize>() as u32,
            count: out.elems() as u32,
            ..IndexParams::default()
        };
        let kernel = match data.storage {
            Storage::F32 => index::gather(data.kind.bytes()),
            narrow => index::gather_widened(narrow),
        };
        let uses =
            vec![(Use::Read, data), (Use::Read, indices), (Use::Write, out.clone()), (Use::Update, status)];
        self.launch(kernel, index::blocks(params.count), uses, move |at| {
            let [x, indices, out, status] = [at[0], at[1], at[2], at[3]];
            IndexParams { x, indices, out, status, ..params }
        });
        out
    }

    /// Adds each update to zeros at its index.
    fn scatter_add(&mut self, axis: usize, [updates, indices, status]: [View; 3], dims: &[usize]) -> View {
        if updates.elems() == 0 {
            return self.emit(&Expression::zeros(dims, updates.kind));
        }
        let out = self.buffer(updates.kind, dims);
        let n = indices.elems() as u32;
        let inner = dims[axis + 1..].iter().product::<usize>() as u32;
        let [order, starts] = self.group_by_index(indices, status, dims[axis]);
        let count = out.elems() as u32;
        let params = IndexParams { n, dim: dims[axis] as u32, inner, count, ..IndexParams::default() };
        let kernel = index::scatter_add(updates.kind);
        let reads = [updates, order, starts].map(|v| (Use::Read, v));
        let uses = reads.into_iter().chain([(Use::Write, out.clone())]).collect();
        self.launch(kernel, index::blocks(count), uses, move |at| {
            let [x, order, starts, out] = [at[0], at[1], at[2], at[3]];
            IndexParams { x, order, starts, out, ..params }
        });
        out
    }
}
