//! Constants, whose floats may be stored in a narrow type. Products, convolutions and gathers read them as they are; for every
//! other reader they are widened once.

use dlbc_ops::tensor::Tensor;
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::storage::Storage;

use super::expression::Expression;
use super::{Buffer, Location, Planner, SETUP, View};

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

    /// Returns the same elements, floats as float32. A narrow constant is widened as a whole, in the setup stage.
    pub(super) fn wide(&mut self, view: View) -> View {
        let Location::Constant(t, storage) = &self.buffers[view.buffer].location else { return view };
        if *storage == Storage::F32 {
            return view;
        }
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
