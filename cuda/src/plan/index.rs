//! Grouping of indices that are known only at run time.

use dlbc_ptx::kernel::index::{self, IndexParams};
use dlbc_ptx::kernel::pointwise::Kind;

use super::order::bits;
use super::{Planner, Use, View};

impl Planner {
    /// Sorts the positions of indices by index. Returns the sorted positions and the first of each index among them.
    pub(super) fn group_by_index(&mut self, indices: View, status: View, dim: usize) -> [View; 2] {
        let n = indices.elems();
        let params = IndexParams { n: n as u32, dim: dim as u32, ..IndexParams::default() };
        let keys = self.buffer(Kind::B, &[1, n]);
        let uses = vec![(Use::Read, indices), (Use::Write, keys.clone()), (Use::Update, status)];
        self.launch(index::resolve(), index::blocks(params.n), uses, move |at| {
            let [indices, keys, status] = [at[0], at[1], at[2]];
            IndexParams { indices, keys, status, count: params.n, ..params }
        });
        let order = self.sort(&keys, bits(dim));
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
