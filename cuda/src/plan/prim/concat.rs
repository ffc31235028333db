//! Concatenation.

use dlbc_ops::prim::Concat;

use super::contract::*;

impl CudaPrimitive for Concat {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let parts: Vec<View> = (0..at.inputs.len()).map(|i| at.view(p, i)).collect();
        Ok(Made::View(p.concat(self.axis, parts, &at.dims)))
    }
}

impl Planner {
    /// Parts one after another along an axis.
    pub(super) fn concat(&mut self, axis: usize, parts: Vec<View>, dims: &[usize]) -> View {
        let out = self.buffer(parts[0].kind, dims);
        let mut start = 0;
        for part in parts {
            let len = part.dims[axis];
            let place = out.sliced(axis, start, len, 1);
            start += len as i64;
            self.emit_into(&Expression::of(part), &place, place.elems() == out.elems());
        }
        out
    }
}
