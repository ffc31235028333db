//! Slices along an axis and their adjoint.

use dlbc_ops::prim::{Slice, SliceTranspose};

use super::super::pick::{Table, whole};
use super::super::view::strides;
use super::contract::*;

impl CudaPrimitive for Slice {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let start = self.start.as_known().unwrap_or_default();
        Ok(Made::View(at.view(p, 0).sliced(self.axis, start, at.dims[self.axis], self.step)))
    }
}

impl CudaPrimitive for SliceTranspose {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let (x, start) = (at.dense(p, 0), self.start.as_known().unwrap_or_default());
        Ok(Made::View(p.slice_transpose(self.axis, start, self.step, x, &at.dims)))
    }
}

impl Planner {
    /// Zeros with `x` in a slice.
    fn slice_transpose(&mut self, axis: usize, start: i64, step: i64, x: View, dims: &[usize]) -> View {
        let mut tables: Vec<Table> = x.dims.iter().zip(strides(&x.dims)).map(|(d, s)| whole(*d, s)).collect();
        let mut table = vec![None; dims[axis]];
        for (i, entry) in tables[axis].iter().enumerate() {
            // The type rule keeps the slice inside.
            if let Some(place) = table.get_mut((start + i as i64 * step) as usize) {
                *place = *entry;
            }
        }
        tables[axis] = table;
        self.pick(x, &tables, 0.0, dims)
    }
}
