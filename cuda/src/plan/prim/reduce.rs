//! Reductions.

use dlbc_ops::prim::{Reduce, Reduction};
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::reduce::{self, Pass, ReduceParams, Team};

use super::super::view::{collapse, words};
use super::contract::*;

/// A row from here on is cut into slices where there are few rows, a slice at least so long.
const LONG: usize = 16384;
const SLICE: usize = 4096;
/// Blocks that fill a large device.
const MANY_BLOCKS: usize = 132;

fn array<const N: usize, T: Copy>(values: &[T], fill: T) -> [T; N] {
    std::array::from_fn(|i| values.get(i).copied().unwrap_or(fill))
}

fn dims(values: &[usize]) -> [u32; 4] {
    array(&values.iter().map(|d| *d as u32).collect::<Vec<_>>(), 1)
}

impl CudaPrimitive for Reduce {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let x = at.view(p, 0);
        p.reduce(self.kind, &self.axes, x, &at.dims).map(Made::View).map_err(|e| at.wrong(e))
    }
}

impl Planner {
    /// The reduction of `x` over `axes` into a new buffer; the message when there is nothing to choose from.
    pub(in crate::plan) fn reduce(
        &mut self,
        kind: Reduction,
        axes: &[usize],
        x: View,
        to: &[usize],
    ) -> Result<View, String> {
        let argument = matches!(kind, Reduction::ArgMax | Reduction::ArgMin);
        if x.kind == Kind::B {
            return Err("not defined for bool".into());
        }
        let out = self.buffer(if argument { Kind::I } else { x.kind }, to);
        let (kept, gone): (Vec<usize>, Vec<usize>) = (0..x.dims.len()).partition(|a| !axes.contains(a));
        let part = |view: &View, axes: &[usize]| {
            let dims: Vec<usize> = axes.iter().map(|a| view.dims[*a]).collect();
            let strides: Vec<i64> = axes.iter().map(|a| view.strides[*a]).collect();
            let (dims, mut lists) = collapse(&dims, &[&strides]);
            (dims, lists.remove(0))
        };
        let count: usize = gone.iter().map(|a| x.dims[*a]).product();
        if out.elems() == 0 {
            return Ok(out);
        }
        if count == 0 && !matches!(kind, Reduction::Sum | Reduction::Prod) {
            return Err(format!("{kind:?} of no elements"));
        }
        let (mut kept_dims, mut kept_strides) = part(&x, &kept);
        let (mut gone_dims, mut gone_strides) = part(&x, &gone);
        let mut x = x;
        if kept_dims.len() > 4 || gone_dims.len() > 4 {
            // So many axes that lie unevenly: a copy with the reduced ones last lies evenly.
            x = self.dense(&x.transposed(&[&kept[..], &gone].concat()));
            let first: Vec<usize> = (0..kept.len()).collect();
            let rest: Vec<usize> = (kept.len()..x.dims.len()).collect();
            (kept_dims, kept_strides) = part(&x, &first);
            (gone_dims, gone_strides) = part(&x, &rest);
        }
        let outputs = out.elems();
        let beside = kept_strides.last() == Some(&1);
        let team = if argument || count < 16 || (beside && outputs >= 512) {
            Team::Thread
        } else if count < 2048 {
            Team::Warp
        } else {
            Team::Block
        };
        let cut = team == Team::Block && count >= LONG && outputs < MANY_BLOCKS;
        let slices = (count / SLICE).min(2 * MANY_BLOCKS / outputs).max(1);
        // Whole turns of a block's threads.
        let slice = count.div_ceil(slices).next_multiple_of(256).max(256);
        let slices = count.div_ceil(slice);
        let pass = if cut { Pass::Slices } else { Pass::Whole };
        let variant =
            reduce::Reduce { kind, of: x.kind, team, kept: kept_dims.len(), reduced: gone_dims.len(), pass };
        let params = ReduceParams {
            outputs: outputs as u32,
            count: count as u32,
            kept: dims(&kept_dims),
            kept_strides: array(&words(&kept_strides), 0),
            reduced: dims(&gone_dims),
            reduced_strides: array(&words(&gone_strides), 0),
            slices: slices as u32,
            slice: slice as u32,
            ..ReduceParams::default()
        };
        if !cut {
            self.reduced(variant, params, x, out.clone());
            return Ok(out);
        }
        // What a slice keeps may be wider than an element.
        let held = if variant.kept_bytes() == 8 { Kind::I } else { Kind::F };
        let kept = self.buffer(held, &[outputs, slices]);
        self.reduced(variant, params, x.clone(), kept.clone());
        let pass = if x.kind == Kind::F && held == Kind::I { Pass::Join } else { Pass::Whole };
        let join = reduce::Reduce { kind, of: x.kind, team: Team::Warp, kept: 1, reduced: 1, pass };
        let params = ReduceParams {
            outputs: outputs as u32,
            count: slices as u32,
            kept_strides: [slices as i32, 0, 0, 0],
            reduced_strides: [1, 0, 0, 0],
            ..ReduceParams::default()
        };
        self.reduced(join, params, kept, out.clone());
        Ok(out)
    }

    fn reduced(&mut self, variant: reduce::Reduce, params: ReduceParams, x: View, out: View) {
        let blocks = match variant.pass {
            Pass::Slices => params.outputs * params.slices,
            Pass::Whole | Pass::Join => variant.blocks(params.outputs),
        };
        let uses = vec![(Use::Read, x), (Use::Write, out)];
        self.launch(variant.emit(), blocks, uses, move |at| ReduceParams { x: at[0], y: at[1], ..params });
    }
}
