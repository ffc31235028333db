//! Sorting of rows.

use dlbc_ptx::kernel::order::{self, DIGIT_BITS, DIGITS, OrderParams, TILE};
use dlbc_ptx::kernel::pointwise::Kind;

use super::{Planner, Use, View};

/// Maximum length of a row that is sorted by rank; a radix sort takes longer ones.
const MAX_RANKED: usize = 1024;

/// Returns the number of blocks of 256 threads for `count` threads.
pub(super) fn blocks(count: usize) -> u32 {
    count.div_ceil(256) as u32
}

/// Returns the number of bits of keys below `limit`.
pub(super) fn bits(limit: usize) -> u32 {
    usize::BITS - limit.saturating_sub(1).leading_zeros()
}

impl Planner {
    /// Returns the positions of each row's elements by ascending key. Keys are `[rows, n]`, and only their lowest `bits` are compared.
    pub(super) fn sort(&mut self, keys: &View, bits: u32) -> View {
        let (rows, n) = (keys.dims[0], keys.dims[1]);
        let bytes = keys.kind.bytes();
        if n <= MAX_RANKED {
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
        let (mut keys, mut previous) = (keys.clone(), None::<View>);
        for shift in (0..bits.max(1)).step_by(DIGIT_BITS as usize) {
            let params = OrderParams { n: n as u32, tiles: tiles as u32, shift, ..OrderParams::default() };
            let counts = self.buffer(Kind::B, &[rows, DIGITS as usize * tiles]);
            let uses = vec![(Use::Read, keys.clone()), (Use::Write, counts.clone())];
            self.launch(order::digits(bytes), (rows * tiles) as u32, uses, move |at| OrderParams {
                keys: at[0],
                counts: at[1],
                ..params
            });
            let starts = self.exclusive_scan(&counts);
            let [moved, order] = [keys.kind, Kind::B].map(|kind| self.buffer(kind, &[rows, n]));
            let mut uses = vec![(Use::Read, keys), (Use::Read, starts)];
            uses.extend([(Use::Write, moved.clone()), (Use::Write, order.clone())]);
            uses.extend(previous.map(|v| (Use::Read, v)));
            self.launch(order::shift(bytes), (rows * tiles) as u32, uses, move |at| OrderParams {
                keys: at[0],
                starts: at[1],
                moved: at[2],
                order: at[3],
                previous: at.get(4).copied().unwrap_or(0),
                ..params
            });
            (keys, previous) = (moved, Some(order));
        }
        // The loop runs at least once.
        previous.unwrap_or(keys)
    }

    /// Computes the exclusive scan of each row of words.
    pub(super) fn exclusive_scan(&mut self, counts: &View) -> View {
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

    /// Sorts the elements along an axis of a contiguous operand, the largest first if `largest`. The result is
    /// `[outer · inner, n]`.
    pub(super) fn sort_axis(&mut self, axis: usize, largest: bool, x: View) -> View {
        let n = x.dims[axis];
        let inner: usize = x.dims[axis + 1..].iter().product();
        let count = x.elems();
        let (kind, width) = if x.kind == Kind::F { (Kind::B, 32) } else { (Kind::I, 64) };
        let keys = self.buffer(kind, &[count / n, n]);
        let flip = if largest { u64::MAX } else { 0 };
        let kernel = order::keys(x.kind);
        self.launch(kernel, blocks(count), vec![(Use::Read, x), (Use::Write, keys.clone())], move |at| {
            let (count, n, inner) = (count as u32, n as u32, inner as u32);
            OrderParams { x: at[0], keys: at[1], flip, count, n, inner, ..OrderParams::default() }
        });
        self.sort(&keys, width)
    }
}
