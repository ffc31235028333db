//! Concatenation.

use dlbc_ops::prim::Concat;

use super::contract::*;

impl CudaPrimitive for Concat {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let parts: Vec<View> = (0..node.inputs.len()).map(|i| node.view(p, i)).collect();
        Ok(LoweredValue::View(p.concat(self.axis, parts, &node.dims)))
    }
}

impl Planner {
    /// Concatenates views along an axis.
    pub(super) fn concat(&mut self, axis: usize, parts: Vec<View>, dims: &[usize]) -> View {
        let out = self.buffer(parts[0].kind, dims);
        let mut start = 0;
        for part in parts {
            let len = part.dims[axis];
            let target = out.sliced(axis, start, len, 1);
            start += len as i64;
            let access = if target.elems() == out.elems() { Use::Write } else { Use::Update };
            self.emit_into(&Expression::from_view(part), &target, access);
        }
        out
    }
}
