//! Padding.

use dlbc_ops::prim::{Pad, PadMode};

use super::super::view::strides;
use super::contract::*;

impl CudaPrimitive for Pad {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let x = node.contiguous(p, 0);
        let before: Vec<i64> = self.before.iter().map(|b| b.as_known().unwrap_or_default()).collect();
        p.pad(&before, self.mode, x, &node.dims).map(LoweredValue::View).map_err(|e| node.error(e))
    }
}

impl Planner {
    /// Pads `x`. Fails with a message if an axis to mirror is empty.
    fn pad(&mut self, before: &[i64], mode: PadMode, x: View, dims: &[usize]) -> Result<View, String> {
        let mut tables = vec![];
        for (axis, (dim, stride)) in x.dims.iter().zip(strides(&x.dims)).enumerate() {
            let constant = matches!(mode, PadMode::Constant(_));
            if *dim == 0 && dims[axis] > 0 && !constant {
                return Err(format!(
                    "axis {axis}, whose elements pad it: expected at least 1 element, found 0"
                ));
            }
            let last = *dim as i64 - 1;
            let source = |i: i64| {
                let i = i - before[axis];
                let source = match mode {
                    PadMode::Constant(_) => i,
                    PadMode::Edge => i.min(last).max(0),
                    PadMode::Reflect if i > last => 2 * last - i,
                    PadMode::Reflect => i.abs(),
                };
                (0..=last).contains(&source).then_some(source * stride)
            };
            tables.push((0..dims[axis] as i64).map(source).collect());
        }
        let fill = match mode {
            PadMode::Constant(fill) => fill,
            PadMode::Reflect | PadMode::Edge => 0.0,
        };
        Ok(self.pick(x, &tables, fill, dims))
    }
}
