//! Orders of rows.

use dlbc_ptx::kernel::order::{self, DIGIT, DIGITS, OrderParams, TILE};
use dlbc_ptx::kernel::pointwise::Kind;

use super::{Planner, Use, View};

/// Rows up to here are ranked, each element against all; a longer one is sorted.
const RANKED: usize = 1024;

/// Blocks of 256 threads.
pub(super) fn blocks(count: usize) -> u32 {
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
    pub(super) fn summed(&mut self, counts: &View) -> View {
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
    pub(super) fn order_along(&mut self, axis: usize, largest: bool, x: View) -> View {
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
}
