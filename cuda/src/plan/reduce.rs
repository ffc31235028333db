//! Reductions and softmax.

use dlbc_ops::prim::Reduction;
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::reduce::{Reduce, ReduceParams, Team};
use dlbc_ptx::kernel::softmax::{self, SoftmaxParams};

use super::view::{collapse, words};
use super::{Planner, Step, View};

fn array<const N: usize, T: Copy>(values: &[T], fill: T) -> [T; N] {
    std::array::from_fn(|i| values.get(i).copied().unwrap_or(fill))
}

fn dims(values: &[usize]) -> [u32; 4] {
    array(&values.iter().map(|d| *d as u32).collect::<Vec<_>>(), 1)
}

impl Planner {
    /// The reduction of `x` over `axes` into a new buffer; the message when there is nothing to choose from.
    pub(super) fn reduce(
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
        let variant = Reduce { kind, of: x.kind, team, kept: kept_dims.len(), reduced: gone_dims.len() };
        let kernel = self.kernel(variant.name(), || variant.emit());
        let params = ReduceParams {
            outputs: outputs as u32,
            count: count as u32,
            kept: dims(&kept_dims),
            kept_strides: array(&words(&kept_strides), 0),
            reduced: dims(&gone_dims),
            reduced_strides: array(&words(&gone_strides), 0),
            ..ReduceParams::default()
        };
        let (source, own) = (x.clone(), out.clone());
        let params =
            move |at: &super::Addresses| ReduceParams { x: at.of(&source), y: at.of(&own), ..params }.bytes();
        let step = Step {
            kernel,
            grid: [variant.blocks(outputs as u32), 1, 1],
            params: Box::new(params),
            reads: vec![x],
            writes: vec![out.clone()],
            updates: vec![],
        };
        self.push(step);
        Ok(out)
    }

    /// Softmax over one axis.
    pub(super) fn softmax(&mut self, axis: usize, x: View) -> View {
        let out = self.buffer(Kind::F, &x.dims);
        if out.elems() == 0 {
            return out;
        }
        let inner: usize = x.dims[axis + 1..].iter().product();
        let dim = x.dims[axis];
        let rows = (out.elems() / dim) as u32;
        let kernel = softmax::softmax();
        let kernel = self.kernel(kernel.name.clone(), || kernel);
        let (source, own) = (x.clone(), out.clone());
        let params = move |at: &super::Addresses| {
            let (x, y) = (at.of(&source), at.of(&own));
            SoftmaxParams { x, y, rows, dim: dim as u32, inner: inner as u32 }.bytes()
        };
        let step = Step {
            kernel,
            grid: [softmax::blocks(rows), 1, 1],
            params: Box::new(params),
            reads: vec![x],
            writes: vec![out.clone()],
            updates: vec![],
        };
        self.push(step);
        out
    }
}
