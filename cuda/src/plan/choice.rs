//! Which elements: orders of rows, the greatest, those other than 0, boxes that suppression keeps.

use dlbc_ops::prim::Binary;
use dlbc_ptx::kernel::order::{self, DIGIT, DIGITS, OrderParams, TILE};
use dlbc_ptx::kernel::pointwise::{Kind, Term};
use dlbc_ptx::kernel::suppress::{self, SuppressParams};

use super::expression::Expression;
use super::view::strides;
use super::{Planner, Use, View};

/// Rows up to here are ranked, each element against all; a longer one is sorted.
const RANKED: usize = 1024;

/// Blocks of 256 threads.
fn blocks(count: usize) -> u32 {
    count.div_ceil(256) as u32
}

/// The bits of a key that may be set, for keys below `limit`.
pub(super) fn bits(limit: usize) -> u32 {
    usize::BITS - limit.saturating_sub(1).leading_zeros()
}

impl Planner {
    /// The places of each row's elements by rising key, of which the lowest `bits` count; keys are `[rows, n]`.
    pub(super) fn ordered(&mut self, keys: &View, bits: u32) -> View {
        let (rows, n) = (keys.dims[0], keys.dims[1]);
        let bytes = keys.kind.bytes();
        if n <= RANKED {
            let order = self.buffer(Kind::B, &[rows, n]);
            let uses = vec![(Use::Read, keys.clone()), (Use::Write, order.clone())];
            self.launch(order::rank(bytes), blocks(rows * n), uses, move |at| OrderParams {
                keys: at[0],
                order: at[1],
                count: (rows * n) as u32,
                n: n as u32,
                ..OrderParams::default()
            });
            return order;
        }
        let tiles = n.div_ceil(TILE as usize);
        let (mut keys, mut from) = (keys.clone(), None::<View>);
        for shift in (0..bits.max(1)).step_by(DIGIT as usize) {
            let params = OrderParams { n: n as u32, tiles: tiles as u32, shift, ..OrderParams::default() };
            let counts = self.buffer(Kind::B, &[rows, DIGITS as usize * tiles]);
            let uses = vec![(Use::Read, keys.clone()), (Use::Write, counts.clone())];
            self.launch(order::digits(bytes), (rows * tiles) as u32, uses, move |at| OrderParams {
                keys: at[0],
                counts: at[1],
                ..params
            });
            let starts = self.summed(&counts);
            let [moved, order] = [keys.kind, Kind::B].map(|kind| self.buffer(kind, &[rows, n]));
            let mut uses = vec![(Use::Read, keys), (Use::Read, starts)];
            uses.extend([(Use::Write, moved.clone()), (Use::Write, order.clone())]);
            uses.extend(from.map(|v| (Use::Read, v)));
            self.launch(order::shift(bytes), (rows * tiles) as u32, uses, move |at| OrderParams {
                keys: at[0],
                starts: at[1],
                moved: at[2],
                order: at[3],
                from: at.get(4).copied().unwrap_or(0),
                ..params
            });
            (keys, from) = (moved, Some(order));
        }
        // There is at least one digit.
        from.unwrap_or(keys)
    }

    /// The sum of the words before each word of a row.
    fn summed(&mut self, counts: &View) -> View {
        let starts = self.buffer(Kind::B, &counts.dims);
        let n = counts.dims[1] as u32;
        let uses = vec![(Use::Read, counts.clone()), (Use::Write, starts.clone())];
        self.launch(order::scan(), counts.dims[0] as u32, uses, move |at| OrderParams {
            counts: at[0],
            starts: at[1],
            n,
            ..OrderParams::default()
        });
        starts
    }

    /// The order of the elements along an axis of a dense operand: `[outer · inner, n]`.
    fn order_along(&mut self, axis: usize, largest: bool, x: View) -> View {
        let n = x.dims[axis];
        let inner: usize = x.dims[axis + 1..].iter().product();
        let count = x.elems();
        let (kind, width) = if x.kind == Kind::F { (Kind::B, 32) } else { (Kind::I, 64) };
        let keys = self.buffer(kind, &[count / n, n]);
        let flip = if largest { u64::MAX } else { 0 };
        let made = order::keys(x.kind);
        self.launch(made, blocks(count), vec![(Use::Read, x), (Use::Write, keys.clone())], move |at| {
            let (count, n, inner) = (count as u32, n as u32, inner as u32);
            OrderParams { x: at[0], keys: at[1], flip, count, n, inner, ..OrderParams::default() }
        });
        self.ordered(&keys, width)
    }

    /// Indices of the first `k` along an axis.
    pub(super) fn top_k(
        &mut self,
        axis: usize,
        largest: bool,
        x: View,
        dims: &[usize],
    ) -> Result<View, String> {
        if x.kind == Kind::B {
            return Err("not defined for bool".into());
        }
        let out = self.buffer(Kind::I, dims);
        let count = out.elems();
        if count == 0 {
            return Ok(out);
        }
        let (n, k) = (x.dims[axis] as u32, dims[axis] as u32);
        let inner = x.dims[axis + 1..].iter().product::<usize>() as u32;
        let order = self.order_along(axis, largest, x);
        let uses = vec![(Use::Read, order), (Use::Write, out.clone())];
        self.launch(order::top(), blocks(count), uses, move |at| {
            let params = OrderParams { n, k, inner, count: count as u32, ..OrderParams::default() };
            OrderParams { order: at[0], out: at[1], ..params }
        });
        Ok(out)
    }

    /// The indices of the elements other than 0, by axis, then zeros.
    pub(super) fn non_zero(&mut self, x: View, dims: &[usize]) -> View {
        let out = self.buffer(Kind::I, dims);
        let n = x.elems();
        if out.elems() == 0 {
            return out;
        }
        let axes: Vec<(usize, i64)> = x.dims.iter().copied().zip(strides(&x.dims)).collect();
        let zero = match x.kind {
            Kind::F => Term::Float(0.0),
            Kind::I => Term::Int(0),
            Kind::B => Term::Bool(false),
        };
        let keys = self.emit(&Expression::of(x).with(zero, Binary::Equal, Kind::B)).with_dims(&[1, n]);
        let order = self.ordered(&keys, 1);
        for (axis, (dim, stride)) in axes.into_iter().enumerate() {
            let uses =
                vec![(Use::Read, order.clone()), (Use::Read, keys.clone()), (Use::Update, out.at(0, axis))];
            self.launch(order::columns(), blocks(n), uses, move |at| OrderParams {
                order: at[0],
                keys: at[1],
                out: at[2],
                count: n as u32,
                stride: stride as u32,
                dim: dim as u32,
                ..OrderParams::default()
            });
        }
        out
    }

    /// `(batch, class, box)` of the boxes that stay, then rows of -1. Operands are dense: boxes, scores, the most boxes, the
    /// overlap, the least score.
    pub(super) fn non_max_suppression(&mut self, center: bool, x: [View; 5], dims: &[usize]) -> View {
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

    /// The relevance of a branch's operand: what the merged value was given where that branch was taken, else zeros.
    pub(super) fn merge_transpose(&mut self, taken: bool, r: View, dims: &[usize]) -> View {
        if taken { r } else { self.emit(&Expression::fill(dims, r.kind)) }
    }
}
