//! Indices that are known at run time.

use dlbc_ptx::kernel::index::{self, IndexParams};
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::{Kernel, Params as _};

use super::chain::Expression;
use super::{Planner, Step, View};

/// What the kernels read and write.
#[derive(Clone, Default)]
struct Operands {
    x: Option<View>,
    indices: Option<View>,
    out: Option<View>,
    next: Option<View>,
    head: Option<View>,
    status: Option<View>,
}

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
        let operands = Operands {
            x: Some(data),
            indices: Some(indices),
            out: Some(out.clone()),
            status: Some(status),
            ..Operands::default()
        };
        self.indexed(kernel, params, operands, [true, false]);
        out
    }

    /// Zeros plus each update at its index.
    pub(super) fn scatter_add(
        &mut self,
        axis: usize,
        [updates, indices, status]: [View; 3],
        dims: &[usize],
    ) -> View {
        let out = self.emit(&Expression::fill(dims, updates.kind));
        let params = IndexParams {
            n: indices.elems() as u32,
            dim: dims[axis] as u32,
            inner: dims[axis + 1..].iter().product::<usize>() as u32,
            count: updates.elems() as u32,
            ..IndexParams::default()
        };
        let kernel = index::scatter_add(updates.kind);
        self.linked(kernel, params, updates, indices, out.clone(), status);
        out
    }

    /// `data` with some rows replaced.
    pub(super) fn overwrite(&mut self, data: View, [indices, updates, status]: [View; 3]) -> View {
        let out = self.emit(&Expression::of(data));
        let params = IndexParams {
            n: indices.elems() as u32,
            dim: out.dims[0] as u32,
            inner: out.dims[1..].iter().product::<usize>() as u32,
            count: updates.elems() as u32,
            ..IndexParams::default()
        };
        let kernel = index::overwrite(updates.kind.bytes());
        self.linked(kernel, params, updates, indices, out.clone(), status);
        out
    }

    fn linked(
        &mut self,
        kernel: Kernel,
        params: IndexParams,
        x: View,
        indices: View,
        out: View,
        status: View,
    ) {
        let n = indices.elems();
        let [next, head] = [0; 2].map(|_| self.buffer(Kind::B, &[n]));
        let mut operands = Operands {
            indices: Some(indices),
            next: Some(next),
            head: Some(head),
            status: Some(status),
            ..Operands::default()
        };
        let list = IndexParams { count: n as u32, ..params };
        self.indexed(index::links(), list, operands.clone(), [false, true]);
        (operands.x, operands.out, operands.status) = (Some(x), Some(out), None);
        self.indexed(kernel, params, operands, [false, false]);
    }

    /// `makes`: whether the result is written as a whole, and whether the lists are made rather than read.
    fn indexed(
        &mut self,
        kernel: Kernel,
        params: IndexParams,
        operands: Operands,
        [whole, lists]: [bool; 2],
    ) {
        if params.count == 0 {
            return;
        }
        let grid = [index::blocks(params.count), 1, 1];
        let kernel = self.kernel(kernel.name.clone(), || kernel);
        let o = operands.clone();
        let views = |list: Vec<Option<View>>| -> Vec<View> { list.into_iter().flatten().collect() };
        let (mut reads, mut writes, mut updates) = (vec![o.x, o.indices], vec![], vec![o.status]);
        if whole {
            writes.push(o.out)
        } else {
            updates.push(o.out)
        }
        if lists {
            writes.extend([o.next, o.head])
        } else {
            reads.extend([o.next, o.head])
        }
        let (reads, writes, updates) = (views(reads), views(writes), views(updates));
        let params = move |at: &super::Addresses| {
            let address = |v: &Option<View>| v.as_ref().map_or(0, |v| at.of(v));
            let params = IndexParams {
                x: address(&operands.x),
                indices: address(&operands.indices),
                out: address(&operands.out),
                next: address(&operands.next),
                head: address(&operands.head),
                status: address(&operands.status),
                ..params
            };
            params.bytes()
        };
        self.push(Step { kernel, grid, params: Box::new(params), reads, writes, updates });
    }
}
