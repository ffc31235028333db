//! Kernels, launches and status words of a plan.

use dlbc_backend::BackendError;
use dlbc_ops::graph::NodeId;
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::{Kernel, Params};

use super::{Addresses, Buffer, Location, Planner, Scope, Step, Use, View, node_error};

impl Planner {
    /// Returns the index of the kernel with this name, which is emitted at its first use.
    pub(super) fn kernel(&mut self, name: String, emit: impl FnOnce() -> Kernel) -> usize {
        if let Some(index) = self.kernel_indices.get(&name) {
            return *index;
        }
        self.kernels.push(emit());
        self.kernel_indices.insert(name, self.kernels.len() - 1);
        self.kernels.len() - 1
    }

    /// Appends a launch over views, unless it has no blocks. `params` builds the parameter block from the addresses of `uses`, in
    /// order.
    pub(super) fn launch<P: Params>(
        &mut self,
        kernel: Kernel,
        blocks: u32,
        uses: Vec<(Use, View)>,
        params: impl Fn(&[u64]) -> P + Send + 'static,
    ) {
        if blocks > 0 {
            self.launch_grid(kernel, [blocks, 1, 1], uses, params);
        }
    }

    /// Appends a launch over views with a grid.
    pub(super) fn launch_grid<P: Params>(
        &mut self,
        kernel: Kernel,
        grid: [u32; 3],
        uses: Vec<(Use, View)>,
        params: impl Fn(&[u64]) -> P + Send + 'static,
    ) {
        let kernel = self.kernel(kernel.name.clone(), || kernel);
        let views = |access: Use| uses.iter().filter(|(u, _)| *u == access).map(|(_, v)| v.clone()).collect();
        let (reads, writes, updates) = (views(Use::Read), views(Use::Write), views(Use::Update));
        let views: Vec<View> = uses.into_iter().map(|(_, v)| v).collect();
        let params = move |at: &Addresses| {
            let addresses: Vec<u64> = views.iter().map(|v| at.address_of(v)).collect();
            params(&addresses).bytes()
        };
        self.push(Step { kernel, grid, params: Box::new(params), reads, writes, updates });
    }

    /// Appends a step to the current stage.
    pub(super) fn push(&mut self, step: Step) {
        self.clock += 1;
        let buffers: Vec<usize> =
            step.reads.iter().chain(&step.writes).chain(&step.updates).map(|v| v.buffer).collect();
        for buffer in buffers {
            self.touch(buffer);
        }
        self.stages[self.stage].steps.push(step);
    }

    /// Returns a new status word, which the node's kernel sets to report the error `message`.
    pub(super) fn status(&mut self, scope: &Scope, id: NodeId, message: &str) -> View {
        let stage = &mut self.stages[self.stage];
        let buffers = &mut self.buffers;
        let words = stage.status.get_or_insert_with(|| {
            buffers.push(Buffer { location: Location::Arena, bytes: 0, first: 0, last: usize::MAX });
            View::contiguous(buffers.len() - 1, Kind::B, &[1])
        });
        let view = View { offset: stage.status_messages.len() as i64, ..words.clone() };
        stage.status_messages.push(match node_error(scope, id, message) {
            BackendError::Node(text) => text,
            other => other.to_string(),
        });
        view
    }
}
