//! Data movement that views cannot express: each element of the result is an element of the operand, or the fill value.

use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::pick::{self, MISSING, PickParams};
use dlbc_ptx::kernel::pointwise::Kind;

use super::view::collapse;
use super::{Planner, Step, View};

/// Offset in the operand for each index along an axis of the result; `None` selects the fill value.
pub(super) type Table = Vec<Option<i64>>;

/// Returns the table that copies an axis unchanged.
pub(super) fn unchanged(dim: usize, stride: i64) -> Table {
    (0..dim as i64).map(|i| Some(i * stride)).collect()
}

impl Planner {
    /// Gathers elements of `x`; the offset of each is the sum of one table entry per axis.
    pub(super) fn pick(&mut self, x: View, tables: &[Table], fill: f32, dims: &[usize]) -> View {
        let out = self.buffer(x.kind, dims);
        let count = out.elems() as u32;
        if count == 0 {
            return out;
        }
        // Unchanged axes with uniform strides are merged, since the kernel supports up to eight axes.
        let (dims, tables) = merge_axes(dims, tables);
        let starts = std::array::from_fn(|axis| tables.iter().take(axis).map(Vec::len).sum::<usize>() as u32);
        let words: Vec<u32> =
            tables.iter().flatten().map(|entry| entry.map_or(MISSING, |offset| offset as u32)).collect();
        let table = self.table(words);
        let bits = match x.kind {
            Kind::F => u64::from(fill.to_bits()),
            Kind::I => fill as i64 as u64,
            Kind::B => u64::from(fill != 0.0),
        };
        let kernel = pick::pick(dims.len(), x.kind.bytes());
        let kernel = self.kernel(kernel.name.clone(), || kernel);
        let dims = std::array::from_fn(|axis| dims.get(axis).map_or(1, |d| *d as u32));
        let (source, entries, target) = (x.clone(), table.clone(), out.clone());
        let params = move |at: &super::Addresses| {
            let (x, y, table) = (at.address_of(&source), at.address_of(&target), at.address_of(&entries));
            PickParams { x, y, table, fill: bits, count, dims, starts }.bytes()
        };
        let step = Step {
            kernel,
            grid: [count.div_ceil(256), 1, 1],
            params: Box::new(params),
            reads: vec![x, table],
            writes: vec![out.clone()],
            updates: vec![],
        };
        self.push(step);
        out
    }
}

/// Merges neighbouring axes that are copied unchanged.
fn merge_axes(dims: &[usize], tables: &[Table]) -> (Vec<usize>, Vec<Table>) {
    let uniform_stride = |t: &Table| {
        let stride = t.get(1).copied().flatten().unwrap_or(0);
        let fits = t.iter().enumerate().all(|(i, e)| *e == Some(i as i64 * stride));
        fits.then_some(stride)
    };
    let (mut out_dims, mut out): (Vec<usize>, Vec<Table>) = (vec![], vec![]);
    let mut run: Vec<(usize, i64)> = vec![];
    let flush = |run: &mut Vec<(usize, i64)>, out_dims: &mut Vec<usize>, out: &mut Vec<Table>| {
        let (dims, strides): (Vec<usize>, Vec<i64>) = run.drain(..).unzip();
        let (dims, lists) = collapse(&dims, &[&strides]);
        for (dim, stride) in dims.iter().zip(&lists[0]) {
            out_dims.push(*dim);
            out.push(unchanged(*dim, *stride));
        }
    };
    for (dim, table) in dims.iter().zip(tables) {
        match uniform_stride(table) {
            Some(stride) => run.push((*dim, stride)),
            None => {
                flush(&mut run, &mut out_dims, &mut out);
                out_dims.push(*dim);
                out.push(table.clone());
            }
        }
    }
    flush(&mut run, &mut out_dims, &mut out);
    (out_dims, out)
}
