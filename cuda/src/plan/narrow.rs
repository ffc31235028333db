//! Values whose floats are stored in a narrow type. Products, convolutions and gathers read constants as they are; for every other
//! reader they are widened once. Elementwise kernels and kernels along rows read values of a run as they are, too.

use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::tensor::Tensor;
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::storage::Storage;

use super::expression::Expression;
use super::{Buffer, Location, Planner, SETUP, Scope, View};

impl Planner {
    /// Returns a constant of the program.
    pub(super) fn constant(&mut self, t: &Tensor) -> View {
        let storage = self.storages.of(t);
        let view = View { storage, ..View::contiguous(self.buffers.len(), Kind::of(t.dtype()), t.dims()) };
        let bytes = (view.elems() as u64 * u64::from(view.element_bytes())).next_multiple_of(4);
        self.buffers.push(Buffer {
            location: Location::Constant(t.clone(), storage),
            bytes,
            first: 0,
            last: 0,
        });
        view
    }

    /// Returns the type in which the current stage stores the result of a node. Setup stores float32, since it runs once.
    pub(super) fn storage(&self, scope: &Scope, id: NodeId) -> Storage {
        let is_narrow = self.stage != SETUP && scope.narrow.contains(&id);
        if is_narrow { Storage::Bf16 } else { Storage::F32 }
    }

    /// Returns a value in memory as an elementwise kernel reads it: only constants are widened.
    pub(super) fn element_view(&mut self, scope: &mut Scope, v: Value) -> View {
        let view = self.stored_view(scope, v);
        let is_constant = matches!(self.buffers[view.buffer].location, Location::Constant(..));
        if is_constant { self.wide(view) } else { view }
    }

    /// Returns the same elements, floats as float32. A narrow constant is widened as a whole, in the setup stage.
    pub(super) fn wide(&mut self, view: View) -> View {
        if view.storage == Storage::F32 {
            return view;
        }
        let Location::Constant(t, storage) = &self.buffers[view.buffer].location else {
            return self.emit(&Expression::from_view(view));
        };
        let whole = View { storage: *storage, ..View::contiguous(view.buffer, Kind::F, &[t.elems()]) };
        let buffer = self.widened.get(&view.buffer).copied().unwrap_or_else(|| {
            let stage = std::mem::replace(&mut self.stage, SETUP);
            let out = self.emit(&Expression::from_view(whole));
            self.stage = stage;
            self.widened.insert(view.buffer, out.buffer);
            out.buffer
        });
        View { buffer, storage: Storage::F32, ..view }
    }
}
