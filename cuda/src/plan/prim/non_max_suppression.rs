//! Greedy suppression of overlapping boxes.

use dlbc_ops::prim::{Binary, NonMaxSuppression};
use dlbc_ptx::kernel::pointwise::{Kind, Term};
use dlbc_ptx::kernel::suppress::{self, SuppressParams};

use super::super::order::blocks;
use super::contract::*;

impl CudaPrimitive for NonMaxSuppression {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let operands = [0, 1, 2, 3, 4].map(|i| at.dense(p, i));
        Ok(Made::View(p.non_max_suppression(self.center, operands, &at.dims)))
    }
}

impl Planner {
    /// `(batch, class, box)` of the boxes that stay, then rows of -1. Operands are dense: boxes, scores, the most boxes, the
    /// overlap, the least score.
    fn non_max_suppression(&mut self, center: bool, x: [View; 5], dims: &[usize]) -> View {
        let out = self.emit(&Expression::fill(dims, Kind::I).with(Term::Int(1), Binary::Sub, Kind::I));
        let [boxes, scores, most, overlap, least] = x;
        let (classes, spatial) = (scores.dims[1], scores.dims[2]);
        let rows = scores.dims[0] * classes;
        let count = rows * spatial;
        if count == 0 {
            return out;
        }
        let order = self.order_along(2, true, scores.clone());
        let [alive, kept] = [0; 2].map(|_| self.buffer(Kind::B, &[rows, spatial]));
        let counts = self.buffer(Kind::B, &[1, rows]);
        let params = SuppressParams {
            count: count as u32,
            classes: classes as u32,
            spatial: spatial as u32,
            ..SuppressParams::default()
        };
        let mut uses: Vec<(Use, View)> =
            [boxes, scores, order, most, overlap, least].map(|v| (Use::Read, v)).into();
        uses.extend([(Use::Write, alive), (Use::Update, kept.clone()), (Use::Write, counts.clone())]);
        self.launch(suppress::suppress(center), rows as u32, uses, move |at| {
            let [boxes, scores, order] = [at[0], at[1], at[2]];
            let [most, overlap, least] = [at[3], at[4], at[5]];
            let [alive, kept, counts] = [at[6], at[7], at[8]];
            SuppressParams { boxes, scores, order, most, overlap, least, alive, kept, counts, ..params }
        });
        let starts = self.summed(&counts);
        let uses =
            vec![(Use::Read, kept), (Use::Read, counts), (Use::Read, starts), (Use::Update, out.clone())];
        self.launch(suppress::collect(), blocks(count), uses, move |at| {
            let [kept, counts, starts, out] = [at[0], at[1], at[2], at[3]];
            SuppressParams { kept, counts, starts, out, ..params }
        });
        out
    }
}
