//! Movement that views cannot say: what fills, joins or mirrors.

use dlbc_ops::prim::PadMode;
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::pick::{self, MISSING, PickParams};
use dlbc_ptx::kernel::pointwise::Kind;

use super::expression::Expression;
use super::view::{collapse, strides};
use super::{Planner, Step, View};

/// For each index along an axis of the result, the operand's offset; `None` picks the fill.
type Table = Vec<Option<i64>>;

fn whole(dim: usize, stride: i64) -> Table {
    (0..dim as i64).map(|i| Some(i * stride)).collect()
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

    /// Zeros with `x` in a slice.
    pub(super) fn slice_transpose(
        &mut self,
        axis: usize,
        start: i64,
        step: i64,
        x: View,
        dims: &[usize],
    ) -> View {
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

    /// Padding; the message when there is nothing to mirror.
    pub(super) fn pad(
        &mut self,
        before: &[i64],
        mode: PadMode,
        x: View,
        dims: &[usize],
    ) -> Result<View, String> {
        let mut tables = vec![];
        for (axis, (dim, stride)) in x.dims.iter().zip(strides(&x.dims)).enumerate() {
            let constant = matches!(mode, PadMode::Constant(_));
            if *dim == 0 && dims[axis] > 0 && !constant {
                return Err(format!("axis {axis} is empty, so no element can pad it"));
            }
            let last = *dim as i64 - 1;
            let source = |i: i64| {
                let i = i - before[axis];
                let at = match mode {
                    PadMode::Constant(_) => i,
                    PadMode::Edge => i.min(last).max(0),
                    PadMode::Reflect if i > last => 2 * last - i,
                    PadMode::Reflect => i.abs(),
                };
                (0..=last).contains(&at).then_some(at * stride)
            };
            tables.push((0..dims[axis] as i64).map(source).collect());
        }
        let fill = match mode {
            PadMode::Constant(fill) => fill,
            PadMode::Reflect | PadMode::Edge => 0.0,
        };
        Ok(self.pick(x, &tables, fill, dims))
    }

    fn pick(&mut self, x: View, tables: &[Table], fill: f32, dims: &[usize]) -> View {
        let out = self.buffer(x.kind, dims);
        let count = out.elems() as u32;
        if count == 0 {
            return out;
        }
        // Axes that are taken whole and lie evenly are one; the kernel knows up to eight.
        let (dims, tables) = joined(dims, tables);
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
        let (source, entries, own) = (x.clone(), table.clone(), out.clone());
        let params = move |at: &super::Addresses| {
            let (x, y, table) = (at.of(&source), at.of(&own), at.of(&entries));
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

/// Joins neighbouring axes that are taken whole.
fn joined(dims: &[usize], tables: &[Table]) -> (Vec<usize>, Vec<Table>) {
    let even = |t: &Table| {
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
            out.push(whole(*dim, *stride));
        }
    };
    for (dim, table) in dims.iter().zip(tables) {
        match even(table) {
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
