//! Indices that are known at run time.

use dlbc_ptx::kernel::index::{self, IndexParams};
use dlbc_ptx::kernel::pointwise::Kind;

use super::choice::bits;
use super::expression::Expression;
use super::{Planner, Use, View};

impl Planner {
    /// Elements of data at the indices.
    pub(super) fn gather(&mut self, axis: usize, [data, indices, status]: [View; 3], dims: &[usize]) -> View {
        let out = self.buffer(data.kind, dims);
        let params = IndexParams {
            n: indices.elems() as u32,
            dim: data.dims[axis] as u32,
            inner: data.dims[axis + 1..].iter().product::<usize>() as u32,
            count: out.elems() as u32,
            ..IndexParams::default()
        };
        let kernel = index::gather(data.kind.bytes());
        let uses =
            vec![(Use::Read, data), (Use::Read, indices), (Use::Write, out.clone()), (Use::Update, status)];
        self.launch(kernel, index::blocks(params.count), uses, move |at| {
            let [x, indices, out, status] = [at[0], at[1], at[2], at[3]];
            IndexParams { x, indices, out, status, ..params }
        });
        out
    }

    /// Zeros plus each update at its index.
    pub(super) fn scatter_add(
        &mut self,
        axis: usize,
        [updates, indices, status]: [View; 3],
        dims: &[usize],
    ) -> View {
        if updates.elems() == 0 {
            return self.emit(&Expression::fill(dims, updates.kind));
        }
        let out = self.buffer(updates.kind, dims);
        let n = indices.elems() as u32;
        let inner = dims[axis + 1..].iter().product::<usize>() as u32;
        let [order, starts] = self.places(indices, status, dims[axis]);
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

    /// `data` with some rows replaced.
    pub(super) fn overwrite(&mut self, [data, indices, updates, status]: [View; 4]) -> View {
        if updates.elems() == 0 {
            return data;
        }
        let out = self.buffer(data.kind, &data.dims);
        let inner = out.dims[1..].iter().product::<usize>() as u32;
        let [order, starts] = self.places(indices, status, out.dims[0]);
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

    /// The places of the indices by rising index, and where each index begins among them.
    fn places(&mut self, indices: View, status: View, dim: usize) -> [View; 2] {
        let n = indices.elems();
        let params = IndexParams { n: n as u32, dim: dim as u32, ..IndexParams::default() };
        let keys = self.buffer(Kind::B, &[1, n]);
        let uses = vec![(Use::Read, indices), (Use::Write, keys.clone()), (Use::Update, status)];
        self.launch(index::resolve(), index::blocks(params.n), uses, move |at| {
            let [indices, keys, status] = [at[0], at[1], at[2]];
            IndexParams { indices, keys, status, count: params.n, ..params }
        });
        let order = self.ordered(&keys, bits(dim));
        let starts = self.buffer(Kind::B, &[dim + 1]);
        let count = dim as u32 + 1;
        let uses = vec![(Use::Read, keys), (Use::Read, order.clone()), (Use::Write, starts.clone())];
        self.launch(index::starts(), index::blocks(count), uses, move |at| {
            let [keys, order, starts] = [at[0], at[1], at[2]];
            IndexParams { keys, order, starts, count, ..params }
        });
        [order, starts]
    }
}
