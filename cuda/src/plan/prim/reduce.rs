//! Reductions.

use dlbc_ops::prim::{Reduce, Reduction};
use dlbc_ops::tensor::Tensor;
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::reduce::{self, Pass, ReduceParams, Team};

use super::super::view::{collapse, kernel_strides};
use super::contract::*;

/// Minimum length of a row that is cut into slices, if there are few rows.
const MIN_SLICED: usize = 16384;
/// Minimum length of a slice.
const MIN_SLICE: usize = 4096;
/// Number of blocks that fills a large device.
const MANY_BLOCKS: usize = 132;

/// Returns the values, padded with `fill` at the end.
fn array<const N: usize, T: Copy>(values: &[T], fill: T) -> [T; N] {
    std::array::from_fn(|i| values.get(i).copied().unwrap_or(fill))
}

fn dims(values: &[usize]) -> [u32; 4] {
    array(&values.iter().map(|d| *d as u32).collect::<Vec<_>>(), 1)
}

impl CudaPrimitive for Reduce {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let x = node.view(p, 0);
        p.reduce(self.kind, &self.axes, x, &node.dims).map(LoweredValue::View).map_err(|e| node.error(e))
    }
}

impl Planner {
    /// Reduces `x` over `axes` into a new buffer of dimensions `out_dims`. Fails with a message if the operation is not defined.
    pub(in crate::plan) fn reduce(
        &mut self,
        reduction: Reduction,
        axes: &[usize],
        x: View,
        out_dims: &[usize],
    ) -> Result<View, String> {
        let returns_index = matches!(reduction, Reduction::ArgMax | Reduction::ArgMin);
        if x.kind == Kind::B {
            return Err("element type: expected a number, found bool".into());
        }
        let out = self.buffer(if returns_index { Kind::I } else { x.kind }, out_dims);
        let (kept_axes, reduced_axes): (Vec<usize>, Vec<usize>) =
            (0..x.dims.len()).partition(|a| !axes.contains(a));
        let merged = |view: &View, axes: &[usize]| {
            let dims: Vec<usize> = axes.iter().map(|a| view.dims[*a]).collect();
            let strides: Vec<i64> = axes.iter().map(|a| view.strides[*a]).collect();
            let (dims, mut lists) = collapse(&dims, &[&strides]);
            (dims, lists.remove(0))
        };
        let count: usize = reduced_axes.iter().map(|a| x.dims[*a]).product();
        if out.elems() == 0 {
            return Ok(out);
        }
        if count == 0 && !matches!(reduction, Reduction::Sum | Reduction::Prod) {
            let bounds = extremum_of_nothing(reduction, x.kind, out_dims);
            let bounds =
                bounds.ok_or_else(|| format!("{reduction:?} of no elements: expected at least 1"))?;
            return Ok(self.constant(&bounds));
        }
        let (mut kept_dims, mut kept_strides) = merged(&x, &kept_axes);
        let (mut reduced_dims, mut reduced_strides) = merged(&x, &reduced_axes);
        let mut x = x;
        if kept_dims.len() > 4 || reduced_dims.len() > 4 {
            // Too many axes whose strides do not merge; those of a contiguous copy with the reduced axes last do.
            x = self.contiguous(&x.transposed(&[&kept_axes[..], &reduced_axes].concat()));
            let first: Vec<usize> = (0..kept_axes.len()).collect();
            let rest: Vec<usize> = (kept_axes.len()..x.dims.len()).collect();
            (kept_dims, kept_strides) = merged(&x, &first);
            (reduced_dims, reduced_strides) = merged(&x, &rest);
        }
        let outputs = out.elems();
        let adjacent = kept_strides.last() == Some(&1);
        let team = if returns_index || count < 16 || (adjacent && outputs >= 512) {
            Team::Thread
        } else if count < 2048 {
            Team::Warp
        } else {
            Team::Block
        };
        let is_sliced = team == Team::Block && count >= MIN_SLICED && outputs < MANY_BLOCKS;
        let slices = (count / MIN_SLICE).min(2 * MANY_BLOCKS / outputs).max(1);
        // A multiple of a block's threads.
        let slice = count.div_ceil(slices).next_multiple_of(256).max(256);
        let slices = count.div_ceil(slice);
        let pass = if is_sliced { Pass::Slices } else { Pass::Whole };
        let variant = reduce::Reduce {
            reduction,
            dtype: x.kind,
            team,
            kept_axes: kept_dims.len(),
            reduced_axes: reduced_dims.len(),
            pass,
        };
        let params = ReduceParams {
            outputs: outputs as u32,
            count: count as u32,
            kept_dims: dims(&kept_dims),
            kept_strides: array(&kernel_strides(&kept_strides), 0),
            reduced_dims: dims(&reduced_dims),
            reduced_strides: array(&kernel_strides(&reduced_strides), 0),
            slices: slices as u32,
            slice: slice as u32,
            ..ReduceParams::default()
        };
        if !is_sliced {
            self.launch_reduce(variant, params, x, out.clone());
            return Ok(out);
        }
        // The accumulator of a slice may be wider than an element.
        let partial_kind = if variant.accumulator_bytes() == 8 { Kind::I } else { Kind::F };
        let partials = self.buffer(partial_kind, &[outputs, slices]);
        self.launch_reduce(variant, params, x.clone(), partials.clone());
        let pass = if x.kind == Kind::F && partial_kind == Kind::I { Pass::Join } else { Pass::Whole };
        let join = reduce::Reduce { team: Team::Warp, kept_axes: 1, reduced_axes: 1, pass, ..variant };
        let params = ReduceParams {
            outputs: outputs as u32,
            count: slices as u32,
            kept_strides: [slices as i32, 0, 0, 0],
            reduced_strides: [1, 0, 0, 0],
            ..ReduceParams::default()
        };
        self.launch_reduce(join, params, partials, out.clone());
        Ok(out)
    }

    fn launch_reduce(&mut self, variant: reduce::Reduce, params: ReduceParams, x: View, out: View) {
        let blocks = match variant.pass {
            Pass::Slices => params.outputs * params.slices,
            Pass::Whole | Pass::Join => variant.blocks(params.outputs),
        };
        let uses = vec![(Use::Read, x), (Use::Write, out)];
        self.launch(variant.emit(), blocks, uses, move |at| ReduceParams { x: at[0], y: at[1], ..params });
    }
}

/// Returns the extrema of no elements: the lower bound of all numbers for the maximum, the upper one for the minimum. `None` for
/// indices.
fn extremum_of_nothing(reduction: Reduction, kind: Kind, dims: &[usize]) -> Option<Tensor> {
    let (float, integer) = match reduction {
        Reduction::Max => (f32::NEG_INFINITY, i64::MIN),
        Reduction::Min => (f32::INFINITY, i64::MAX),
        _ => return None,
    };
    let count = dims.iter().product();
    Some(match kind {
        Kind::I => Tensor::from_i64(dims, &vec![integer; count]),
        _ => Tensor::from_f32(dims, &vec![float; count]),
    })
}
