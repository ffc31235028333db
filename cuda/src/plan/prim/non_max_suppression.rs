//! Greedy non-maximum suppression.

use dlbc_ops::prim::{Binary, NonMaxSuppression};
use dlbc_ptx::kernel::pointwise::{Kind, Term};
use dlbc_ptx::kernel::suppress::{self, SuppressParams};

use super::super::order::blocks;
use super::contract::*;

impl CudaPrimitive for NonMaxSuppression {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let operands = [0, 1, 2, 3, 4].map(|i| node.contiguous(p, i));
        Ok(LoweredValue::View(p.non_max_suppression(self.center, operands, &node.dims)))
    }
}

impl Planner {
    /// Computes rows `(batch, class, box)` of the selected boxes, padded with rows of -1. The operands are contiguous: boxes, scores,
    /// maximum number of boxes, maximum overlap, minimum score.
    fn non_max_suppression(&mut self, center: bool, x: [View; 5], dims: &[usize]) -> View {
        let minus_one = Expression::zeros(dims, Kind::I).with_constant(Term::Int(1), Binary::Sub, Kind::I);
        let out = self.emit(&minus_one);
        let [boxes, scores, max_boxes, overlap, min_score] = x;
        let (classes, spatial) = (scores.dims[1], scores.dims[2]);
        let rows = scores.dims[0] * classes;
        let count = rows * spatial;
        if count == 0 {
            return out;
        }
        let order = self.sort_axis(2, true, scores.clone());
        let [alive, selected] = [0; 2].map(|_| self.buffer(Kind::B, &[rows, spatial]));
        let counts = self.buffer(Kind::B, &[1, rows]);
        let params = SuppressParams {
            count: count as u32,
            classes: classes as u32,
            spatial: spatial as u32,
            ..SuppressParams::default()
        };
        let mut uses: Vec<(Use, View)> =
            [boxes, scores, order, max_boxes, overlap, min_score].map(|v| (Use::Read, v)).into();
        uses.extend([(Use::Write, alive), (Use::Update, selected.clone()), (Use::Write, counts.clone())]);
        self.launch(suppress::suppress(center), rows as u32, uses, move |at| {
            let [boxes, scores, order] = [at[0], at[1], at[2]];
            let [max_boxes, overlap, min_score] = [at[3], at[4], at[5]];
            let [alive, selected, counts] = [at[6], at[7], at[8]];
            let params = SuppressParams { boxes, scores, order, max_boxes, overlap, min_score, ..params };
            SuppressParams { alive, selected, counts, ..params }
        });
        let starts = self.exclusive_scan(&counts);
        let uses =
            vec![(Use::Read, selected), (Use::Read, counts), (Use::Read, starts), (Use::Update, out.clone())];
        self.launch(suppress::collect(), blocks(count), uses, move |at| {
            let [selected, counts, starts, out] = [at[0], at[1], at[2], at[3]];
            SuppressParams { selected, counts, starts, out, ..params }
        });
        out
    }
}
