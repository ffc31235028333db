//! Windows.

use dlbc_ops::prim::Window;
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::pool::{self, PoolParams};
use dlbc_ptx::{Kernel, Params as _};

use super::conv::three;
use super::{Planner, Step, View};

fn geometry(window: &Window, from: &[usize], to: &[usize]) -> PoolParams {
    PoolParams {
        taps: window.kernel.iter().product::<usize>() as u32,
        from: three(from, 1),
        to: three(to, 1),
        kernel: three(&window.kernel, 1),
        strides: three(&window.strides, 1),
        before: three(&window.before, 0),
        dilations: three(&window.dilations, 1),
        ..PoolParams::default()
    }
}

impl Planner {
    /// The sum over each window, or the maximum.
    pub(super) fn window_fold(&mut self, window: &Window, max: bool, x: View, dims: &[usize]) -> View {
        let params = geometry(window, &x.dims[2..], &dims[2..]);
        let out = self.buffer(x.kind, dims);
        self.window(pool::fold(x.kind, max), params, [Some(x), None, None, None], out)
    }

    /// The adjoint of the sum.
    pub(super) fn window_spread(&mut self, window: &Window, s: View, dims: &[usize]) -> View {
        let params = geometry(window, &dims[2..], &s.dims[2..]);
        let out = self.buffer(s.kind, dims);
        self.window(pool::spread(s.kind), params, [Some(s), None, None, None], out)
    }

    /// The reverse of the maximum, in two steps.
    pub(super) fn window_share(&mut self, window: &Window, first: bool, [x, y, r]: [View; 3]) -> View {
        let params = geometry(window, &x.dims[2..], &y.dims[2..]);
        let kind = if first { Kind::B } else { Kind::F };
        let shares = self.buffer(kind, &y.dims);
        let given = if first { None } else { Some(r.clone()) };
        let shares =
            self.window(pool::shares(first), params, [Some(x.clone()), Some(y.clone()), given, None], shares);
        let out = self.buffer(Kind::F, &x.dims);
        let operands = if first {
            [Some(x), None, Some(r), Some(shares)]
        } else {
            [Some(x), Some(y), Some(shares), None]
        };
        self.window(pool::give(first), params, operands, out)
    }

    fn window(&mut self, kernel: Kernel, params: PoolParams, operands: [Option<View>; 4], out: View) -> View {
        let count = out.elems() as u32;
        if count == 0 {
            return out;
        }
        let kernel = self.kernel(kernel.name.clone(), || kernel);
        let reads: Vec<View> = operands.iter().flatten().cloned().collect();
        let own = out.clone();
        let params = move |at: &super::Addresses| {
            let [x, y, r, winner] = [0, 1, 2, 3].map(|i| operands[i].as_ref().map_or(0, |v| at.of(v)));
            PoolParams { x, y, r, winner, out: at.of(&own), count, ..params }.bytes()
        };
        let grid = [pool::blocks(count), 1, 1];
        let writes = vec![out.clone()];
        self.push(Step { kernel, grid, params: Box::new(params), reads, writes, updates: vec![] });
        out
    }
}
