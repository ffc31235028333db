//! Slices along an axis and their adjoint.

use dlbc_ops::prim::{Slice, SliceTranspose};

use super::super::pick::{Table, unchanged};
use super::super::view::strides;
use super::contract::*;

impl CudaPrimitive for Slice {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let start = self.start.as_known().unwrap_or_default();
        Ok(LoweredValue::View(node.stored(p, 0).sliced(self.axis, start, node.dims[self.axis], self.step)))
    }
}

impl CudaPrimitive for SliceTranspose {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let (x, start) = (node.contiguous(p, 0), self.start.as_known().unwrap_or_default());
        Ok(LoweredValue::View(p.slice_transpose(self.axis, start, self.step, x, &node.dims)))
    }
}

impl Planner {
    /// Writes `x` to a slice of zeros.
    fn slice_transpose(&mut self, axis: usize, start: i64, step: i64, x: View, dims: &[usize]) -> View {
        let mut tables: Vec<Table> =
            x.dims.iter().zip(strides(&x.dims)).map(|(d, s)| unchanged(*d, s)).collect();
        let mut table = vec![None; dims[axis]];
        for (i, entry) in tables[axis].iter().enumerate() {
            // The type rules keep the slice within bounds.
            if let Some(target) = table.get_mut((start + i as i64 * step) as usize) {
                *target = *entry;
            }
        }
        tables[axis] = table;
        self.pick(x, &tables, 0.0, dims)
    }
}
